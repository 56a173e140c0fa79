//! Which children a cluster has: those of the record, those of somebody else, those that are not wanted any
//! more.

use serde_json::Value;

use super::{
    observed::{Observed, PodView},
    validate::ValidCluster,
};
use crate::{
    api::labels,
    broker::settings::RecordPort,
    resources::{
        self, Kind, Manifest,
        endpoint_slice::{self, Family},
    },
};

/// The record, and its follower where pods have addresses of both families. Their ports follow the
/// promoted pod's configuration, which during a rollout may be older than the spec.
pub(super) fn record_manifests(cluster: &ValidCluster, observed: &Observed) -> Vec<Manifest> {
    let promoted = observed.record.as_ref().and_then(|record| record.master.as_deref());
    let annotated = promoted
        .and_then(|name| observed.pod(name))
        .and_then(|pod| pod.ports_annotation.as_deref())
        .and_then(|text| serde_json::from_str::<Vec<RecordPort>>(text).ok());
    let ports = annotated.unwrap_or_else(|| resources::config_map::ports(cluster));
    let family = family(cluster, observed);
    let mut manifests = vec![endpoint_slice::build(cluster, family, &ports)];
    let second =
        |pod: &PodView| pod.addresses.iter().any(|address| Family::of(address) == family.other());
    let follower = endpoint_slice::follower(cluster, family, &ports);
    if observed.pods.iter().any(second)
        || observed.child(Kind::EndpointSlice, &follower.name).is_some()
    {
        manifests.push(follower);
    }
    manifests
}

/// The record has the family of the pods' first address; an existing record's never changes.
fn family(cluster: &ValidCluster, observed: &Observed) -> Family {
    let live = observed.child(Kind::EndpointSlice, &cluster.name.main());
    let recorded = live.and_then(|slice| slice.get("addressType")).and_then(Value::as_str);
    match recorded {
        Some(recorded) if recorded == Family::V6.as_str() => Family::V6,
        Some(_) => Family::V4,
        None => observed
            .pods
            .iter()
            .find_map(|pod| pod.addresses.first())
            .map_or(Family::V4, |a| Family::of(a)),
    }
}

fn controller_uid(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?
        .get("uid")?
        .as_str()
}

/// Wanted names that objects of somebody else bear. The claim has no owner: ours is known by its
/// labels, also one that an earlier cluster of the same name left.
pub(super) fn foreign(
    cluster: &ValidCluster,
    observed: &Observed,
    wanted: &[Manifest],
) -> Vec<(Kind, String)> {
    let mut names: Vec<(Kind, String)> = wanted.iter().map(|m| (m.kind, m.name.clone())).collect();
    if cluster.spec.auth.generates_admin() {
        names.push((Kind::Secret, cluster.name.admin()));
    }
    if cluster.store.database().is_some() {
        names.push((Kind::Secret, cluster.name.seal()));
    }
    let is_foreign = |(kind, name): &(Kind, String)| {
        let Some(live) = observed.child(*kind, name) else { return false };
        let label = |key: &str| {
            live.pointer("/metadata/labels").and_then(|map| map.get(key)).and_then(Value::as_str)
        };
        if *kind == Kind::PersistentVolumeClaim {
            label(labels::INSTANCE) != Some(&cluster.name.name)
                || label(labels::MANAGED_BY) != Some(labels::MANAGER)
        } else {
            controller_uid(live) != Some(&cluster.uid) && !recreated_record(cluster, *kind, live)
        }
    };
    names.into_iter().filter(is_foreign).collect()
}

/// An agent that re-created a deleted record could not name the owner.
fn recreated_record(cluster: &ValidCluster, kind: Kind, live: &Value) -> bool {
    let label = |key: &str| {
        live.pointer("/metadata/labels").and_then(|map| map.get(key)).and_then(Value::as_str)
    };
    kind == Kind::EndpointSlice
        && controller_uid(live).is_none()
        && label(labels::SLICE_MANAGED_BY) == Some(labels::GROUP)
        && label(labels::INSTANCE) == Some(&cluster.name.name)
}

/// Children of ours that are not wanted any more, but for configurations that a pod or the
/// StatefulSet still mounts.
pub(super) fn prune(
    cluster: &ValidCluster,
    observed: &Observed,
    wanted: &[Manifest],
) -> Vec<(Kind, String, String)> {
    let template = observed
        .child(Kind::StatefulSet, &cluster.name.main())
        .map(Value::to_string)
        .unwrap_or_default();
    let keeps = |name: &str| {
        (name == cluster.name.admin() && cluster.spec.auth.generates_admin())
            || (name == cluster.name.seal() && cluster.store.database().is_some())
    };
    let unwanted = |kind: Kind, name: &str| {
        !wanted.iter().any(|manifest| manifest.kind == kind && manifest.name == name)
            && kind != Kind::PersistentVolumeClaim
            && !(kind == Kind::Secret && keeps(name))
    };
    let mounted = |kind: Kind, name: &str| {
        kind == Kind::ConfigMap
            && (template.contains(&format!("\"{name}\""))
                || observed.pods.iter().any(|pod| pod.config_map.as_deref() == Some(name)))
    };
    observed
        .children
        .iter()
        .filter(|((kind, name), live)| {
            controller_uid(live) == Some(&cluster.uid)
                && unwanted(*kind, name)
                && !mounted(*kind, name)
        })
        .filter_map(|((kind, name), live)| {
            let uid = live.pointer("/metadata/uid")?.as_str()?;
            Some((*kind, name.clone(), uid.to_owned()))
        })
        .collect()
}
