//! The generated administrator, and the key of the mark for a database's credentials.

use k8s_openapi::api::core::v1::Secret;

use super::{Kind, Manifest, meta};
use crate::core::{seal::Seal, validate::ValidCluster};

/// The user name of a generated administrator.
pub const ADMIN: &str = "admin";

/// The Secret of a generated administrator. It is created once and never changed: a new password at
/// every reconcile would lock people out.
pub fn admin(cluster: &ValidCluster, password: &str) -> Manifest {
    let name = cluster.name.admin();
    let text = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    let object = Secret {
        metadata: meta::owned(cluster, name.clone(), "auth"),
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some(
            [("username".to_owned(), text(ADMIN)), ("password".to_owned(), text(password))].into(),
        ),
        ..Secret::default()
    };
    Manifest::of(Kind::Secret, name, &object)
}

/// The Secret with a seal. It is created once and never changed.
pub fn seal(cluster: &ValidCluster, seal: &Seal) -> Manifest {
    let name = cluster.name.seal();
    let object = Secret {
        metadata: meta::owned(cluster, name.clone(), "broker"),
        type_: Some("Opaque".to_owned()),
        immutable: Some(true),
        data: Some(seal.data()),
        ..Secret::default()
    };
    Manifest::of(Kind::Secret, name, &object)
}
