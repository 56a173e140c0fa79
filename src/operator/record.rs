//! Corrections of the promotion record: read, prove, write. The version that was read first makes
//! the write void if anything was promoted since.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;

use super::observe;
use crate::{
    clock,
    core::{
        observed::PodView,
        plan::RecordStep,
        promotion::{self, Author, Claim, Next, RecordError},
        record::RecordView,
        validate::ValidCluster,
    },
    kube_ext::{Children, RequestError, request},
    reports::Reports,
    resources::{Kind, config_map},
};

/// Carries a correction out, if it still applies. That somebody was faster is no failure.
pub(super) async fn correct<R: Reports>(
    children: &Children,
    pods: &Api<Pod>,
    reports: &R,
    cluster: &ValidCluster,
    step: &RecordStep,
) -> Result<(), RequestError> {
    let name = cluster.name.main();
    let Some(record) = children.get(Kind::EndpointSlice, &name).await? else { return Ok(()) };
    let corrected = match step {
        RecordStep::Withdraw { uid } => {
            let target = RecordView::read(&record).target.unwrap_or_default();
            let applies = target.uid.as_ref() == Some(uid);
            if !applies || exists(pods, target.pod.as_deref(), uid).await? {
                return Ok(());
            }
            legible(cluster, promotion::without_endpoint(&record))
        }
        RecordStep::Repoint { pod, uid } => {
            let proven = proven(pods, reports, pod, uid).await?;
            proven.and_then(|view| repointed(cluster, &record, &view))
        }
    };
    let Some(corrected) = corrected else { return Ok(()) };
    tracing::warn!(cluster = %cluster.name, ?step, "correcting the promotion record");
    match children.replace(Kind::EndpointSlice, &name, &corrected).await {
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
        other => other,
    }
}

async fn exists(pods: &Api<Pod>, name: Option<&str>, uid: &str) -> Result<bool, RequestError> {
    let Some(name) = name else { return Ok(false) };
    let live = request(format!("get pod {name}"), pods.get_opt(name)).await?;
    Ok(live.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)))
}

/// A master proven by a report that was asked for after the record was read.
async fn proven<R: Reports>(
    pods: &Api<Pod>,
    reports: &R,
    name: &str,
    uid: &str,
) -> Result<Option<PodView>, RequestError> {
    let Some(live) = request(format!("get pod {name}"), pods.get_opt(name)).await? else {
        return Ok(None);
    };
    let pod = observe::view(reports, &live).await;
    Ok((pod.uid == uid && !pod.terminating && pod.serves()).then_some(pod))
}

/// The record as this master's own agent would write it.
fn repointed(cluster: &ValidCluster, record: &Value, pod: &PodView) -> Option<Value> {
    let author = Author {
        pod: promotion::Pod {
            name: pod.name.clone(),
            namespace: cluster.name.namespace.clone(),
            uid: pod.uid.clone(),
            ips: pod.addresses.iter().filter_map(|address| address.parse().ok()).collect(),
            node: pod.node.clone().unwrap_or_default(),
        },
        cluster: cluster.name.main(),
        ports: config_map::ports(cluster),
    };
    let floor = pod.report().map_or(0, |report| report.epoch);
    let claim = Claim { floor, tried: None, takeover_millis: 0, now: clock::now() };
    match legible(cluster, promotion::next(record, &author, &claim))? {
        Next::Write { record, .. } => Some(record),
        Next::Ours { .. } => None,
    }
}

/// A record that cannot be written, because it is malformed or of another address family, is left to
/// the next pass, which applies it anew.
fn legible<T>(cluster: &ValidCluster, made: Result<T, RecordError>) -> Option<T> {
    made.inspect_err(|error| {
        tracing::warn!(cluster = %cluster.name, %error, "the promotion record cannot be corrected");
    })
    .ok()
}
