//! Secrets and ConfigMaps that a spec names: what is missing of them, and a keyed hash of a database's
//! credentials. Nothing of their content goes any further.

use serde_json::Value;

use crate::{
    api::v1alpha1::{BrokerClusterSpec, CaKey, DatabaseAccess},
    broker::{settings::DatabaseKind, store::Database},
    core::{credentials::applied, database, observed::Sealed, seal::Seal, validate::ValidCluster},
    kube_ext::{Children, RequestError},
    resources::Kind,
};

/// What was seen of the named objects.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Objects that are missing or lack a key, in words.
    pub problems: Vec<String>,
    /// What stands for the content of the database's credentials.
    pub credentials: Option<Sealed>,
    /// The Secret with the seal, without its content.
    pub seal: Option<Value>,
}

/// A Secret without its content; any other object as it is.
pub(super) fn without_content(mut object: Value) -> Value {
    if object.get("kind").and_then(Value::as_str) == Some("Secret")
        && let Some(fields) = object.as_object_mut()
    {
        fields.retain(|field, _| ["apiVersion", "kind", "metadata", "type"].contains(&&**field));
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            // `kubectl apply` repeats the content there.
            metadata.remove("annotations");
            metadata.remove("managedFields");
        }
    }
    object
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

/// Reads what the spec names. `set` is the live StatefulSet, whose pods may have a mark already.
pub(super) async fn look(
    children: &Children,
    cluster: &ValidCluster,
    set: Option<&Value>,
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
    if let Some(credentials) = credentials {
        named.sealed(children, cluster, set, credentials.join("\0").as_bytes()).await?;
    }
    Ok(named)
}

impl Named {
    /// Hashes the credentials with the group's key, or with a new one that is to be created.
    async fn sealed(
        &mut self,
        children: &Children,
        cluster: &ValidCluster,
        set: Option<&Value>,
        credentials: &[u8],
    ) -> Result<(), RequestError> {
        let name = cluster.name.seal();
        let live = children.get(Kind::Secret, &name).await?;
        let applied = set.and_then(applied).map(|(_, mark)| mark);
        let new = || Some(Seal::new(rand::random(), credentials, applied));
        let (seal, is_new) = (live.as_ref().map_or_else(new, Seal::of), live.is_none());
        self.credentials = seal.map(|seal| Sealed { hash: seal.hash(credentials), seal, is_new });
        if self.credentials.is_none() {
            self.problems.push(format!("Secret {name} holds no key; delete it: it is made anew"));
        }
        self.seal = live.map(without_content);
        Ok(())
    }

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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_content_of_secrets_goes_no_further() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied": "b25l"}},
            "data": {"password": "b25l"}, "stringData": {"user": "mq"},
        });
        let left = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "a"},
        });
        assert_eq!(without_content(secret), left);
        let map = json!({"kind": "ConfigMap", "data": {"a": "b"}});
        assert_eq!(without_content(map.clone()), map);
    }

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
