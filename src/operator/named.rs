//! Secrets and ConfigMaps that a spec names: what is missing of them, and a hash of a database's
//! credentials. Nothing of their content goes any further.

use serde_json::Value;

use crate::{
    api::v1alpha1::{BrokerClusterSpec, CaKey, DatabaseAccess},
    broker::{settings::DatabaseKind, store::Database},
    core::{
        database,
        validate::{ValidCluster, short_hash},
    },
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
    purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Users of the brokers.
    Users,
    /// The database's user and password.
    Credentials,
    /// Who signed the database's certificate.
    Authority,
}

/// Everything that the spec names.
fn wanted(spec: &BrokerClusterSpec) -> Vec<Wanted<'_>> {
    let secret = |field: String, name, keys, purpose| Wanted {
        field,
        kind: Kind::Secret,
        name,
        keys,
        purpose,
    };
    let mut all = Vec::new();
    for (field, named, keys) in [
        ("spec.auth.usersSecret", spec.auth.users_secret.as_ref(), &[][..]),
        ("spec.auth.adminSecret", spec.auth.admin_secret.as_ref(), &["username", "password"][..]),
    ] {
        let Some(named) = named else { continue };
        all.push(secret(field.to_owned(), &named.name, keys.to_vec(), Purpose::Users));
    }
    if let Some((field, access)) = database::named(&spec.storage) {
        let field = format!("spec.storage.{field}");
        let named = &access.credentials_secret;
        let keys = vec![named.username_key.as_str(), &named.password_key];
        let field_of = format!("{field}.credentialsSecret");
        all.push(secret(field_of, &named.name, keys, Purpose::Credentials));
        all.extend(authority(&field, access));
    }
    all
}

fn authority<'a>(field: &str, access: &'a DatabaseAccess) -> Option<Wanted<'a>> {
    let tls = access.tls.as_ref()?;
    let wanted = |kind, name: &str, key: &'a CaKey| Wanted {
        field: format!("{field}.tls.{name}"),
        kind,
        name: &key.name,
        keys: vec![&key.key],
        purpose: Purpose::Authority,
    };
    let secret = tls.ca_secret.as_ref().map(|key| wanted(Kind::Secret, "caSecret", key));
    let map = || tls.ca_config_map.as_ref().map(|key| wanted(Kind::ConfigMap, "caConfigMap", key));
    secret.or_else(map)
}

/// Whether the spec names this object.
pub(super) fn names(spec: &BrokerClusterSpec, kind: Kind, name: &str) -> bool {
    wanted(spec).iter().any(|wanted| wanted.kind == kind && wanted.name == name)
}

/// Reads what the spec names.
pub(super) async fn look(
    children: &Children,
    cluster: &ValidCluster,
) -> Result<Named, RequestError> {
    let mut named = Named::default();
    // Brokers read the authority's certificates at each connection; MySQL's driver reads a copy
    // that is made at the broker's start.
    let mysql = cluster.store.database().and_then(Database::kind) == Some(DatabaseKind::MySQL);
    let mut credentials = cluster.database().map(|_| Vec::new());
    for wanted in wanted(&cluster.spec) {
        let values = named.read(children, cluster, &wanted).await?;
        match wanted.purpose {
            Purpose::Authority if !mysql => {}
            Purpose::Credentials | Purpose::Authority => {
                credentials = credentials.zip(values).map(|(all, new)| [all, new].concat());
            }
            Purpose::Users => {}
        }
    }
    named.database_credentials =
        credentials.map(|credentials| short_hash(credentials.join("\0").as_bytes()));
    Ok(named)
}

impl Named {
    /// The values of the wanted keys, if the object has them all; otherwise a problem is noted.
    async fn read(
        &mut self,
        children: &Children,
        cluster: &ValidCluster,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Vec<String>>, RequestError> {
        let Wanted { field, kind, name, keys, .. } = wanted;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spec_names_is_known_by_kind_and_name() {
        let spec = serde_saphyr::from_str(
            "auth: {usersSecret: {name: users}}\n\
             storage: {database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: \
             {name: login}, tls: {caConfigMap: {name: ca}}}}",
        )
        .unwrap();
        for (kind, name, named) in [
            (Kind::Secret, "users", true),
            (Kind::Secret, "login", true),
            (Kind::ConfigMap, "ca", true),
            (Kind::Secret, "ca", false),
            (Kind::ConfigMap, "login", false),
            (Kind::Secret, "other", false),
        ] {
            assert_eq!(names(&spec, kind, name), named, "{kind:?} {name}");
        }
    }
}
