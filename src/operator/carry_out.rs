//! The writes of a pass. A crash between any two of them is harmless: the next pass observes anew.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};

use super::reports::Reports;
use crate::{
    api::labels,
    core::{
        observed::{PodView, ReportView},
        plan::{Plan, RecordStep},
        record::RecordView,
        rollout::Victim,
        validate::ValidCluster,
    },
    kube_ext::{Children, RequestError, only, request},
    resources::{self, Kind},
};

/// Length of a generated password: 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// Carries a plan out, in its order, up to the first failure.
///
/// # Errors
/// The first write that failed.
pub async fn carry_out<R: Reports>(
    client: &Client,
    reports: &R,
    cluster: &ValidCluster,
    plan: &Plan,
) -> Result<(), RequestError> {
    let children = Children::new(client.clone(), &cluster.name.namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &cluster.name.namespace);
    if plan.create_admin {
        let password = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH);
        let secret = resources::secret::admin(cluster, &password);
        children.create(secret.kind, &secret.name, &secret.object).await?;
    }
    for manifest in &plan.apply {
        tracing::info!(cluster = %cluster.name, kind = ?manifest.kind, name = manifest.name, "applying");
        children.apply(manifest.kind, &manifest.name, &manifest.object).await?;
    }
    for (kind, name, uid) in &plan.prune {
        tracing::info!(cluster = %cluster.name, ?kind, name, "removing what is no longer wanted");
        children.delete(*kind, name, uid).await?;
    }
    for (pod, uid, role) in &plan.roles {
        label(&pods, pod, uid, role).await?;
    }
    if let Some(step) = &plan.record {
        correct_record(&children, &pods, reports, cluster, step).await?;
    }
    if let Some(victim) = &plan.step {
        replace_pod(&pods, cluster, victim).await?;
    }
    Ok(())
}

/// Labels a pod, if it is still the one that was seen: the API server calls a patch with another
/// uid invalid, since a uid cannot be changed.
async fn label(pods: &Api<Pod>, name: &str, uid: &str, role: &str) -> Result<(), RequestError> {
    let patch = json!({"metadata": {"uid": uid, "labels": {labels::ROLE: role}}});
    let params =
        PatchParams { field_manager: Some(labels::OPERATOR.to_owned()), ..PatchParams::default() };
    match request(
        format!("label pod {name}"),
        pods.patch_metadata(name, &params, &Patch::Merge(&patch)),
    )
    .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() || error.is_invalid() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes a pod gracefully; the StatefulSet makes it anew from its template.
async fn replace_pod(
    pods: &Api<Pod>,
    cluster: &ValidCluster,
    victim: &Victim,
) -> Result<(), RequestError> {
    tracing::info!(cluster = %cluster.name, pod = victim.pod, why = victim.why, "replacing a pod");
    match request(
        format!("delete pod {}", victim.pod),
        pods.delete(&victim.pod, &only(&victim.uid)),
    )
    .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Read, prove, write: the version read first makes the write void if anything was promoted since.
async fn correct_record<R: Reports>(
    children: &Children,
    pods: &Api<Pod>,
    reports: &R,
    cluster: &ValidCluster,
    step: &RecordStep,
) -> Result<(), RequestError> {
    let name = cluster.name.main();
    let Some(slice) = children.get(Kind::EndpointSlice, &name).await? else { return Ok(()) };
    let corrected = match step {
        RecordStep::Withdraw { uid } => {
            let target = RecordView::read(&slice).target.unwrap_or_default();
            if target.uid.as_ref() != Some(uid) || exists(pods, target.pod.as_deref(), uid).await? {
                return Ok(());
            }
            tracing::info!(cluster = %cluster.name, uid, "the promoted pod is gone: withdrawing it from the Service");
            withdrawn(slice)
        }
        RecordStep::Repoint { pod, uid } => match proven(pods, reports, pod, uid).await? {
            Some(view) => {
                tracing::warn!(cluster = %cluster.name, pod, "the record does not name the master: repairing it");
                crate::core::record::promoted(slice, &view.promotion())
            }
            None => return Ok(()),
        },
    };
    match children.replace(Kind::EndpointSlice, &name, &corrected).await {
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(()), // somebody was faster
        other => other,
    }
}

fn withdrawn(mut slice: Value) -> Value {
    if let Some(object) = slice.as_object_mut() {
        object.insert("endpoints".to_owned(), json!([]));
    }
    slice
}

async fn exists(pods: &Api<Pod>, name: Option<&str>, uid: &str) -> Result<bool, RequestError> {
    let Some(name) = name else { return Ok(false) };
    let live = request(format!("get pod {name}"), pods.get_opt(name)).await?;
    Ok(live.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)))
}

/// A master proven by a report that was asked for after the record was read.
struct Proven {
    pod: PodView,
    namespace: String,
}

impl Proven {
    fn promotion(&self) -> crate::core::record::Promotion {
        crate::core::record::Promotion {
            pod: self.pod.name.clone(),
            uid: self.pod.uid.clone(),
            namespace: self.namespace.clone(),
            node: self.pod.node.clone(),
            addresses: self.pod.addresses.clone(),
            at: crate::clock::now(),
            epoch_floor: self.pod.report().map_or(0, |report| report.epoch),
        }
    }
}

async fn proven<R: Reports>(
    pods: &Api<Pod>,
    reports: &R,
    name: &str,
    uid: &str,
) -> Result<Option<Proven>, RequestError> {
    let Some(live) = request(format!("get pod {name}"), pods.get_opt(name)).await? else {
        return Ok(None);
    };
    let pod = super::observe::view(reports, &live).await;
    let namespace = live.metadata.namespace.clone().unwrap_or_default();
    let asked = matches!(pod.report, ReportView::Fresh(_))
        && pod.addresses.iter().all(|a| a.parse::<IpAddr>().is_ok());
    Ok((asked && pod.uid == uid && !pod.terminating && pod.serves())
        .then_some(Proven { pod, namespace }))
}
