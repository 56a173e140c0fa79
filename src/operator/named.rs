//! Secrets and ConfigMaps that a spec names: what is missing of them, and a hash of a database's
//! credentials. Nothing of their content goes any further.

use serde_json::Value;

use crate::{
    api::v1alpha1::{CaKey, DatabaseAccess},
    broker::{settings::DatabaseKind, store::Database},
    core::validate::{ValidCluster, short_hash},
    kube_ext::{Children, RequestError},
    resources::Kind,
};

/// What was seen of the named objects.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Objects that are missing or lack a key, in words.
    pub problems: Vec<String>,
    /// Stands for the content of the database's credentials.
    pub database_credentials: Option<String>,
}

/// A named object and the keys that it must have.
struct Wanted<'a> {
    field: String,
    kind: Kind,
    name: &'a str,
    keys: Vec<&'a str>,
}

/// Reads what the spec names.
pub(super) async fn look(
    children: &Children,
    cluster: &ValidCluster,
) -> Result<Named, RequestError> {
    let mut named = Named::default();
    let auth = &cluster.spec.auth;
    for (field, secret, keys) in [
        ("spec.auth.usersSecret", auth.users_secret.as_ref(), &[][..]),
        ("spec.auth.adminSecret", auth.admin_secret.as_ref(), &["username", "password"][..]),
    ] {
        let Some(secret) = secret else { continue };
        let (field, keys) = (field.to_owned(), keys.to_vec());
        let wanted = Wanted { field, kind: Kind::Secret, name: &secret.name, keys };
        named.read(children, cluster, &wanted).await?;
    }
    if let Some((field, access)) = cluster.database() {
        named.database(children, cluster, &format!("spec.storage.{field}"), access).await?;
    }
    Ok(named)
}

impl Named {
    async fn database(
        &mut self,
        children: &Children,
        cluster: &ValidCluster,
        field: &str,
        access: &DatabaseAccess,
    ) -> Result<(), RequestError> {
        let secret = &access.credentials_secret;
        let wanted = Wanted {
            field: format!("{field}.credentialsSecret"),
            kind: Kind::Secret,
            name: &secret.name,
            keys: vec![&secret.username_key, &secret.password_key],
        };
        let credentials = self.read(children, cluster, &wanted).await?;
        let authority = match authority(field, access) {
            Some(wanted) => self.read(children, cluster, &wanted).await?,
            None => Some(Vec::new()),
        };
        // Brokers read the authority's certificates at each connection; MySQL's driver reads a copy
        // that is made at the broker's start.
        let mysql = cluster.store.database().and_then(Database::kind) == Some(DatabaseKind::MySQL);
        let authority = if mysql { authority } else { Some(Vec::new()) };
        self.database_credentials = credentials.zip(authority).map(|(credentials, authority)| {
            short_hash([credentials, authority].concat().join("\0").as_bytes())
        });
        Ok(())
    }

    /// The values of the wanted keys, if the object has them all; otherwise a problem is noted.
    async fn read(
        &mut self,
        children: &Children,
        cluster: &ValidCluster,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Vec<String>>, RequestError> {
        let Wanted { field, kind, name, keys } = wanted;
        let Some(live) = children.get(*kind, name).await? else {
            let namespace = &cluster.name.namespace;
            self.problems.push(format!(
                "{field}: {kind:?} {name} does not exist in namespace {namespace}; create it"
            ));
            return Ok(None);
        };
        let mut values = Vec::new();
        for key in keys {
            let value = ["data", "binaryData"].iter().find_map(|data| live.get(data)?.get(*key));
            let Some(value) = value.and_then(Value::as_str) else {
                self.problems.push(format!("{field}: {kind:?} {name} has no key {key}; add it"));
                return Ok(None);
            };
            values.push(value.to_owned());
        }
        Ok(Some(values))
    }
}

fn authority<'a>(field: &str, access: &'a DatabaseAccess) -> Option<Wanted<'a>> {
    let tls = access.tls.as_ref()?;
    let wanted = |kind, name: &str, key: &'a CaKey| Wanted {
        field: format!("{field}.tls.{name}"),
        kind,
        name: &key.name,
        keys: vec![&key.key],
    };
    let secret = tls.ca_secret.as_ref().map(|key| wanted(Kind::Secret, "caSecret", key));
    let map = || tls.ca_config_map.as_ref().map(|key| wanted(Kind::ConfigMap, "caConfigMap", key));
    secret.or_else(map)
}
