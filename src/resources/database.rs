//! What a pod has for a database: credentials, an authority's certificates, JDBC drivers.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EmptyDirVolumeSource, KeyToPath, SecretVolumeSource, Volume,
    VolumeMount,
};

use super::pod::{container_security, init_resources, mount};
use crate::{
    api::v1alpha1::{CaKey, DatabaseAccess},
    broker::classic::paths,
    core::validate::ValidCluster,
};

/// The directory of a driver image when none is named.
const DRIVERS_OF_IMAGE: &str = "/drivers";

fn access(cluster: &ValidCluster) -> Option<&DatabaseAccess> {
    cluster.database().map(|(_, access)| access)
}

/// Copies the drivers out of their image. The program comes from the agent's volume, so the image needs
/// nothing but the jars.
pub(super) fn install_drivers(cluster: &ValidCluster) -> Option<Container> {
    let driver = &access(cluster)?.driver;
    let image = driver.image.clone()?;
    let from = driver.path.as_deref().unwrap_or(DRIVERS_OF_IMAGE);
    let program = format!("{}/tandem", paths::AGENT);
    let command = [&program, "install-drivers", "--from", from, "--to", paths::DRIVERS];
    Some(Container {
        name: "install-drivers".to_owned(),
        image: Some(image),
        image_pull_policy: driver.image_pull_policy.map(|policy| format!("{policy:?}")),
        command: Some(command.map(str::to_owned).to_vec()),
        resources: Some(init_resources()),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount("agent", paths::AGENT, true),
            mount("drivers", paths::DRIVERS, false),
        ]),
        ..Container::default()
    })
}

/// What the broker's container mounts.
pub(super) fn mounts(cluster: &ValidCluster) -> Vec<VolumeMount> {
    let Some(access) = access(cluster) else { return Vec::new() };
    let mut mounts = vec![mount("database", paths::DATABASE, true)];
    if authority(access).is_some() {
        mounts.push(mount("database-ca", paths::DATABASE_CA_DIRECTORY, true));
    }
    if access.driver.image.is_some() {
        mounts.push(mount("drivers", paths::DRIVERS, true));
    }
    mounts
}

/// The pod's volumes. The keys are mounted by fixed names, whatever they are called in the objects.
pub(super) fn volumes(cluster: &ValidCluster) -> Vec<Volume> {
    let Some(access) = access(cluster) else { return Vec::new() };
    let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let secret = &access.credentials_secret;
    let mut volumes = vec![Volume {
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            items: Some(vec![
                item(&secret.username_key, "username"),
                item(&secret.password_key, "password"),
            ]),
            ..SecretVolumeSource::default()
        }),
        ..named("database")
    }];
    volumes.extend(authority(access).map(|authority| match authority {
        Authority::Secret(key) => Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(key.name.clone()),
                items: Some(vec![item(&key.key, paths::DATABASE_CA_FILE)]),
                ..SecretVolumeSource::default()
            }),
            ..named("database-ca")
        },
        Authority::ConfigMap(key) => Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: key.name.clone(),
                items: Some(vec![item(&key.key, paths::DATABASE_CA_FILE)]),
                ..ConfigMapVolumeSource::default()
            }),
            ..named("database-ca")
        },
    }));
    if access.driver.image.is_some() {
        let empty = EmptyDirVolumeSource::default();
        volumes.push(Volume { empty_dir: Some(empty), ..named("drivers") });
    }
    volumes
}

/// Whether the pod has an emptyDir for drivers.
pub(super) fn copies_drivers(cluster: &ValidCluster) -> bool {
    access(cluster).is_some_and(|access| access.driver.image.is_some())
}

enum Authority<'a> {
    Secret(&'a CaKey),
    ConfigMap(&'a CaKey),
}

fn authority(access: &DatabaseAccess) -> Option<Authority<'_>> {
    let tls = access.tls.as_ref()?;
    let secret = tls.ca_secret.as_ref().map(Authority::Secret);
    secret.or_else(|| tls.ca_config_map.as_ref().map(Authority::ConfigMap))
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}
