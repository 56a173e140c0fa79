//! `retention: Delete`: the claim goes with its BrokerCluster, by a finalizer on the BrokerCluster.
//!
//! An owner reference on the claim would be less work, and wrong: a BrokerCluster that was restored from
//! a backup has another uid, and the garbage collector would delete the messages of a claim whose owner
//! it does not find. The finalizer asks for nothing by itself: what the spec says when the BrokerCluster
//! is deleted, read anew, decides.

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::Recorder,
};
use serde_json::json;

use super::{claims, publish::announce};
use crate::{
    api::{labels, names::ClusterName, v1alpha1::BrokerCluster},
    core::{
        claim::{Removal, goes_with_cluster, removal},
        events::{EventReason, Occurrence},
    },
    kube_ext::{Children, RequestError, request},
    resources::Kind,
};

/// Puts the finalizer on a BrokerCluster, or takes it off, as its spec asks; also while it is paused,
/// because that changes nothing of the group. Returns whether it wrote: before the claim is made the
/// finalizer has to be there.
///
/// # Errors
/// See [`RequestError`]; a conflict when somebody wrote in between.
pub(super) async fn prepare(
    client: &Client,
    cluster: &BrokerCluster,
) -> Result<bool, RequestError> {
    let wanted = goes_with_cluster(&cluster.spec);
    if has_finalizer(cluster) == wanted {
        return Ok(false);
    }
    set_finalizer(client, cluster, wanted).await.map(|()| true)
}

/// Does what a deleted BrokerCluster's spec asks for and takes the finalizer off. Paused or not: to
/// delete it is the user's later word. Crashes are harmless: as long as the finalizer is there, all of
/// this is done again.
///
/// # Errors
/// See [`RequestError`].
pub(super) async fn finish(
    client: &Client,
    recorder: &Recorder,
    cluster: &BrokerCluster,
) -> Result<(), RequestError> {
    if !has_finalizer(cluster) {
        return Ok(());
    }
    let name = ClusterName {
        namespace: cluster.namespace().unwrap_or_default(),
        name: cluster.name_any(),
    };
    // Not the watch's copy: the user may have changed the spec to Retain a moment ago.
    let what = format!("get brokercluster {}", name.name);
    let Some(fresh) = request(what, clusters(client, &name.namespace).get_opt(&name.name)).await?
    else {
        return Ok(());
    };
    if fresh.metadata.uid != cluster.metadata.uid || !has_finalizer(&fresh) {
        return Ok(());
    }
    let store = name.store();
    let children = Children::new(client.clone(), &name.namespace);
    let live = children.get(Kind::PersistentVolumeClaim, &store).await?;
    let users = claims::others(client, &name, &store).await?;
    let told = match removal(&name.name, &fresh.spec, live.as_ref(), &users) {
        Removal::Delete { uid } => {
            children.delete(Kind::PersistentVolumeClaim, &store, &uid).await?;
            Some((
                EventReason::ClaimDeleted,
                false,
                format!("{store} was deleted with its messages: retention is Delete"),
            ))
        }
        Removal::Kept(why) => Some((
            EventReason::ClaimKept,
            true,
            format!("{store} is kept although retention is Delete: {why}"),
        )),
        Removal::Nothing => None,
    };
    if let Some((reason, warning, note)) = told {
        announce(recorder, &fresh, Occurrence { reason, warning, note }).await;
    }
    match set_finalizer(client, &fresh, false).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn has_finalizer(cluster: &BrokerCluster) -> bool {
    cluster.finalizers().iter().any(|name| name == labels::CLAIM_FINALIZER)
}

/// Writes the list of finalizers with or without ours, on condition of the version that was read: a merge
/// patch replaces the whole list, and others may have theirs in it.
async fn set_finalizer(
    client: &Client,
    cluster: &BrokerCluster,
    wanted: bool,
) -> Result<(), RequestError> {
    let others = cluster.finalizers().iter().filter(|name| *name != labels::CLAIM_FINALIZER);
    let ours = wanted.then(|| labels::CLAIM_FINALIZER.to_owned());
    let finalizers: Vec<String> = others.cloned().chain(ours).collect();
    let patch = json!({"metadata": {
        "resourceVersion": cluster.metadata.resource_version,
        "finalizers": finalizers,
    }});
    let params =
        PatchParams { field_manager: Some(labels::OPERATOR.to_owned()), ..PatchParams::default() };
    let name = cluster.name_any();
    let clusters = clusters(client, &cluster.namespace().unwrap_or_default());
    tracing::info!(cluster = name, wanted, "setting the finalizer of the claim");
    request(
        format!("set finalizer of brokercluster {name}"),
        clusters.patch_metadata(&name, &params, &Patch::Merge(&patch)),
    )
    .await
    .map(drop)
}

fn clusters(client: &Client, namespace: &str) -> Api<BrokerCluster> {
    Api::namespaced(client.clone(), namespace)
}
