//! The StatefulSet.

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy},
    core::v1::PodTemplateSpec,
};
use serde_json::Value;

use super::{Kind, Manifest, Settings, meta, pod};
use crate::core::validate::ValidCluster;

/// The StatefulSet with the template of the current spec, or with an earlier one that the group has
/// to stay with for now.
///
/// `OnDelete`: Kubernetes must not replace pods, it does not know the master. `Parallel`: a standby
/// must be able to start while its peer is down. The set re-creates *any* lost pod from its template.
pub fn build(
    cluster: &ValidCluster,
    settings: &Settings,
    keep: Option<&Value>,
    replicas: i32,
) -> Manifest {
    let object = StatefulSet {
        metadata: meta::owned(cluster, cluster.name.main(), "broker"),
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(cluster.name.headless()),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            revision_history_limit: Some(3),
            selector: meta::selector(&cluster.name),
            template: if keep.is_some() {
                PodTemplateSpec::default()
            } else {
                pod::template(cluster, settings)
            },
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    let mut manifest = Manifest::of(Kind::StatefulSet, cluster.name.main(), &object);
    if let (Some(template), Some(spec)) =
        (keep, manifest.object.get_mut("spec").and_then(Value::as_object_mut))
    {
        spec.insert("template".to_owned(), template.clone());
    }
    manifest
}
