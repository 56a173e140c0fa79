//! The claim of the store.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};

use super::{Kind, Manifest, meta};
use crate::core::validate::ValidCluster;

/// The claim, if the user did not name one. It has no owner: message data outlives the cluster.
pub(super) fn build(cluster: &ValidCluster) -> Option<Manifest> {
    let claim = cluster.spec.storage.shared_volume.as_ref()?.claim.as_ref()?;
    let object = PersistentVolumeClaim {
        metadata: meta::kept(cluster, cluster.name.store(), "store"),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(claim.access_modes.clone()),
            storage_class_name: claim.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(
                    [("storage".to_owned(), (&claim.resources.requests.storage).into())].into(),
                ),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    Some(Manifest::of(Kind::PersistentVolumeClaim, cluster.name.store(), &object))
}
