//! The generated administrator.

use k8s_openapi::api::core::v1::Secret;

use super::{Kind, Manifest, meta};
use crate::core::validate::ValidCluster;

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
