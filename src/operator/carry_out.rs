//! The writes of a pass. A crash between any two of them is harmless: the next pass observes anew.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::json;

use super::record;
use crate::{
    api::labels,
    core::{
        plan::Plan,
        rollout::{Manner, Victim},
        validate::ValidCluster,
    },
    kube_ext::{Children, RequestError, only, request},
    reports::Reports,
    resources,
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
    if let Some(seal) = &plan.create_seal {
        let secret = resources::secret::seal(cluster, seal);
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
        record::correct(&children, &pods, reports, cluster, step).await?;
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

/// Deletes a pod, if it is still the one that was seen; the StatefulSet makes it anew from its
/// template.
async fn replace_pod(
    pods: &Api<Pod>,
    cluster: &ValidCluster,
    victim: &Victim,
) -> Result<(), RequestError> {
    let params = match victim.manner {
        Manner::Graceful => only(&victim.uid),
        Manner::Force => only(&victim.uid).grace_period(0),
    };
    let (name, why) = (&victim.pod, &victim.why);
    tracing::info!(cluster = %cluster.name, pod = name, why, manner = ?victim.manner, "replacing a pod");
    match request(format!("delete pod {name}"), pods.delete(name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
