//! Publishes the status and the Events that its change is worth.

use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder},
};
use serde_json::json;

use crate::{
    api::{
        labels,
        v1alpha1::{BrokerCluster, BrokerClusterStatus},
    },
    core::events,
    kube_ext::{RequestError, request},
};

/// Writes the status if it says something new; Events go out only for what was written.
///
/// # Errors
/// See [`RequestError`].
pub async fn publish(
    client: &Client,
    recorder: &Recorder,
    cluster: &BrokerCluster,
    status: &BrokerClusterStatus,
) -> Result<(), RequestError> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(());
    }
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let api: Api<BrokerCluster> = Api::namespaced(client.clone(), namespace);
    let patch = json!({
        "apiVersion": BrokerCluster::api_version(&()),
        "kind": BrokerCluster::kind(&()),
        // The version keeps a late write away from a newer status and from a new cluster of the same
        // name: an apply of the status ignores the uid.
        "metadata": {"name": name, "resourceVersion": cluster.metadata.resource_version},
        "status": status,
    });
    let params = PatchParams::apply(labels::OPERATOR).force();
    match request(
        format!("publish status of {name}"),
        api.patch_status(name, &params, &Patch::Apply(&patch)),
    )
    .await
    {
        Ok(_) => {}
        // Changed meanwhile: the watch brings it, and with it the next pass.
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
        Err(error) => return Err(error),
    }
    for occurrence in events::between(cluster.status.as_ref(), status) {
        announce(recorder, cluster, occurrence).await;
    }
    Ok(())
}

/// An Event that cannot be written is logged and no reason to fail: nothing depends on it.
pub(super) async fn announce(
    recorder: &Recorder,
    cluster: &BrokerCluster,
    occurrence: events::Occurrence,
) {
    tracing::info!(
        cluster = cluster.metadata.name,
        namespace = cluster.metadata.namespace,
        reason = occurrence.reason.as_str(),
        "{}",
        occurrence.note
    );
    let event = Event {
        type_: if occurrence.warning { EventType::Warning } else { EventType::Normal },
        reason: occurrence.reason.as_str(),
        note: Some(occurrence.note.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let about = cluster.object_ref(&());
    let published =
        tokio::time::timeout(crate::kube_ext::REQUEST_DEADLINE, recorder.publish(&event, &about));
    match published.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an Event could not be written"),
        Err(_elapsed) => tracing::warn!("an Event could not be written in time"),
    }
}
