//! Corrections of the promotion record: read, prove, write. The version that was read first makes
//! the write void if anything was promoted since.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;

use super::{observe, split_brain::confirm};
use crate::{
    clock,
    core::{
        observed::PodView,
        plan::RecordStep,
        promotion::{self, Author, Claim, Next, RecordError},
        record::RecordView,
        split_brain::{Mark, over},
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
        RecordStep::Dispute => {
            let claims = confirm(reports, &seen(pods, reports, cluster).await?).await;
            let mark = Mark::new(&claims, &RecordView::read(&record), clock::now());
            let proven = !claims.is_empty();
            proven.then(|| legible(cluster, promotion::disputed(&record, &mark))).flatten()
        }
        RecordStep::Settle => {
            let seen = seen(pods, reports, cluster).await?;
            let settled = Mark::of(&record).is_none_or(|mark| over(&seen, &mark).is_ok());
            settled.then(|| legible(cluster, promotion::undisputed(&record))).flatten()
        }
        RecordStep::Request(request) => {
            let view = RecordView::read(&record);
            let applies = view.epoch == request.epoch && view.disputed.is_none();
            applies.then(|| legible(cluster, promotion::requested(&record, request))).flatten()
        }
        RecordStep::Hold { epoch, pods } => {
            let view = RecordView::read(&record);
            let applies = view.epoch == *epoch && view.disputed.is_none();
            applies.then(|| legible(cluster, promotion::holding(&record, pods))).flatten()
        }
        RecordStep::Accept { epoch, store } => {
            let view = RecordView::read(&record);
            let applies = view.epoch == *epoch && view.disputed.is_none();
            let accepting = || promotion::accepting(&record, store.as_ref());
            applies.then(|| legible(cluster, accepting())).flatten()
        }
        RecordStep::Repoint { pod, uid } => {
            let proven = proven(pods, reports, pod, uid).await?;
            proven.and_then(|view| repointed(cluster, &record, &view))
        }
    };
    let Some(corrected) = corrected else { return Ok(()) };
    tracing::warn!(cluster = %cluster.name, ?step, "writing the promotion record");
    replace(children, &name, &corrected).await?;
    if *step == RecordStep::Dispute {
        empty_followers(children, cluster, &name).await?;
    }
    Ok(())
}

async fn replace(children: &Children, name: &str, slice: &Value) -> Result<(), RequestError> {
    match children.replace(Kind::EndpointSlice, name, slice).await {
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
        other => other,
    }
}

/// The slice of the second family, on dual-stack clusters: the next promotion fills it again.
async fn empty_followers(
    children: &Children,
    cluster: &ValidCluster,
    record: &str,
) -> Result<(), RequestError> {
    for family in ["v4", "v6"] {
        let name = format!("{record}-{family}");
        let Some(slice) = children.get(Kind::EndpointSlice, &name).await? else { continue };
        if let Some(empty) = legible(cluster, promotion::without_endpoint(&slice)) {
            replace(children, &name, &empty).await?;
        }
    }
    Ok(())
}

/// The group's pods and what their agents say now.
async fn seen<R: Reports>(
    pods: &Api<Pod>,
    reports: &R,
    cluster: &ValidCluster,
) -> Result<Vec<PodView>, RequestError> {
    let list = observe::list(pods, cluster).await?;
    Ok(join_all(list.iter().map(|(pod, _)| observe::view(reports, pod))).await)
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
    let store = pod.report().and_then(|report| report.store.as_ref()?.identity.clone());
    let claim = Claim { floor, tried: None, takeover_millis: 0, store, now: clock::now() };
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
