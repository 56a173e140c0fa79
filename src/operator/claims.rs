//! Claims: who else uses one, and its growth.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{labels, names::ClusterName, v1alpha1::BrokerCluster},
    core::{claim_users, plan::Plan, validate::ValidCluster},
    kube_ext::{Children, RequestError, request},
};

/// Lets the claim ask for a larger volume, if that is planned. A refusal is returned in the API server's
/// words and fails no pass: nothing else depends on it, and it is tried again by each pass that comes for
/// another reason, but by none of its own.
///
/// # Errors
/// A request that failed otherwise.
pub(super) async fn grow(
    client: &Client,
    cluster: &ValidCluster,
    plan: &Plan,
) -> Result<Option<String>, RequestError> {
    let Some(claim) = &plan.grow else { return Ok(None) };
    let children = Children::new(client.clone(), &cluster.name.namespace);
    tracing::info!(cluster = %cluster.name, name = claim.name, "asking for a larger volume");
    match children.apply(claim.kind, &claim.name, &claim.object).await {
        Ok(()) => Ok(None),
        Err(error) => error.refusal().map(Some).ok_or(error),
    }
}

/// Other groups that use the cluster's claim and came first, in words.
///
/// # Errors
/// See [`RequestError`]: what cannot be read is not taken for free.
pub(super) async fn holders(
    client: &Client,
    cluster: &ValidCluster,
) -> Result<Vec<String>, RequestError> {
    let Some(claim) = cluster.store.claim() else { return Ok(Vec::new()) };
    let (clusters, pods) = candidates(client, &cluster.name).await?;
    Ok(claim_users::holders(&cluster.name, claim, &clusters, &pods))
}

/// All other groups that use a claim, in words.
///
/// # Errors
/// See [`RequestError`].
pub(super) async fn others(
    client: &Client,
    cluster: &ClusterName,
    claim: &str,
) -> Result<Vec<String>, RequestError> {
    let (clusters, pods) = candidates(client, cluster).await?;
    Ok(claim_users::others(cluster, claim, &clusters, &pods))
}

/// All BrokerClusters of the namespace, as they are stored, and all pods of groups.
async fn candidates(
    client: &Client,
    cluster: &ClusterName,
) -> Result<(Vec<Value>, Vec<Value>), RequestError> {
    let resource = ApiResource::erase::<BrokerCluster>(&());
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &cluster.namespace, &resource);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &cluster.namespace);
    let brokers =
        format!("{}=broker,{}={}", labels::COMPONENT, labels::MANAGED_BY, labels::MANAGER);
    let what = format!("list {}", BrokerCluster::plural(&()));
    let clusters = request(what.clone(), clusters.list(&ListParams::default())).await?;
    let clusters = values(&what, &clusters.items)?;
    let what = "list pods of groups".to_owned();
    let pods = request(what.clone(), pods.list(&ListParams::default().labels(&brokers))).await?;
    Ok((clusters, values(&what, &pods.items)?))
}

fn values<K: Serialize>(what: &str, items: &[K]) -> Result<Vec<Value>, RequestError> {
    let value = |item| {
        serde_json::to_value(item)
            .map_err(|source| RequestError::Answer { what: what.to_owned(), source })
    };
    items.iter().map(value).collect()
}
