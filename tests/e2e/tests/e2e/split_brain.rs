//! Two real brokers that hold a lock each, because their nodes do not share the volume.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, group::LIMIT, http, lab::SYSTEM, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use tandem::{
    api::labels,
    broker::report::{AgentState, ExitReason},
};

use crate::Outcome;

/// The node that has another directory in the volume's place.
const ASTRAY: u8 = 2;
/// Longer than a broker needs that nothing holds back.
const QUIET: Duration = Duration::from_secs(12);

/// Both brokers become master. One is killed and kept down, clients are led to the other one, all of it
/// is told, and the group is whole as soon as the node has the volume.
pub async fn two_stores(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-split-brain").await?;
    let volume = group.store_directory()?;
    let other = lab.bed.volume("e2e-split-brain-astray")?;
    mount(lab, &["--bind", path(&other)?, path(&volume)?], "mount")?;
    let outcome = split(&group).await;
    mount(lab, &["--lazy", path(&volume)?], "umount")?;
    let (told, loser) = outcome?;
    let astray =
        if group.node_of(&loser).await? == ASTRAY { loser.clone() } else { group.other(&loser) };
    group.delete_pod(&astray, None).await?;
    if astray != loser {
        accept_the_volumes_store(&group, &loser).await?;
    }
    group.await_complete().await?;
    ensure!(events(&group)?.iter().filter(|event| *event == "SplitBrainDetected").count() == 1);
    group.remove().await?;
    Ok(told)
}

/// The broker on the other directory has served last, so its store is the group's. That the volume's own one is to
/// be it again is for a person to say.
async fn accept_the_volumes_store(group: &Group<'_>, pod: &str) -> Result<()> {
    group.await_condition("StorageLockVerified", "False", "the group served from store").await?;
    let found = group.report(pod).await?.store.and_then(|store| store.identity);
    let found = found.with_context(|| format!("{pod} tells no store"))?;
    group.annotate(labels::ACCEPT_STORE, &found.to_string()).await.map(drop)
}

/// What became of it, and the pod whose broker was killed.
async fn split(group: &Group<'_>) -> Result<(String, String)> {
    // Required, as by default, the volume would be refused before any broker is started.
    group.apply(&json!({"storage": {"sharedVolume": {"preflight": "Warn"}}})).await?;
    await_event(group, "SplitBrainDetected").await?;
    await_event(group, "SplitBrainOver").await?;
    group.await_condition("SplitBrain", "False", "OneAtMost").await?;
    let (winner, epoch) = group.await_master(0).await?;
    let loser = group.other(&winner);
    let end = group.report(&loser).await?.last_exit.context("no broker of it has ended")?;
    ensure!(end.reason == ExitReason::SplitBrain, "{loser}: {end:?}");
    group
        .await_condition("StandbyReady", "False", "holds the lock, which is not seen here")
        .await?;
    group.await_condition("Ready", "True", "").await?;
    let metric = metric(group).await?;
    ensure!(metric.0 == "1" && metric.1 == "0", "metrics: {metric:?}");

    // Nothing but time shows that it stays down.
    tokio::time::sleep(QUIET).await;
    let down = group.report(&loser).await?;
    ensure!(down.child.is_none() && down.state == AgentState::Fenced, "{loser}: {:?}", down.state);
    ensure!(group.record().await? == (Some(winner.clone()), epoch), "the record was written again");
    let taken = group.report(&winner).await?.promotion.context("no promotion")?.lock_taken;
    let millis = end.at.as_millisecond() - taken.as_millisecond();
    Ok((format!("{loser} killed {millis} ms after {winner} took its lock, epoch {epoch}"), loser))
}

fn mount(lab: &Lab, arguments: &[&str], program: &str) -> Result<()> {
    let status = lab.bed.node(ASTRAY)?.command(program)?.args(arguments).status()?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the path is no text")
}

/// The reasons of the namespace's Events.
fn events(group: &Group<'_>) -> Result<Vec<String>> {
    let list = group.lab.bed.kubectl(&["get", "events", "-n", &group.namespace, "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    let events = list["items"].as_array().into_iter().flatten();
    Ok(events.filter_map(|event| event["reason"].as_str()).map(str::to_owned).collect())
}

async fn await_event(group: &Group<'_>, reason: &str) -> Result<()> {
    wait::until(&format!("the Event {reason}"), LIMIT, async || {
        let events = events(group)?;
        Ok(if events.iter().any(|event| event == reason) { Ok(()) } else { Err(events.join(", ")) })
    })
    .await
}

/// How many the operator has counted of this group, and whether one is on.
async fn metric(group: &Group<'_>) -> Result<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(group.lab.client.clone(), SYSTEM);
    let pods = pods.list(&ListParams::default().labels("app.kubernetes.io/name=tandem")).await?;
    let pod = pods.items.into_iter().next().context("no operator")?;
    let ip = pod.status.and_then(|status| status.pod_ip).context("no address")?;
    let url = format!("http://{ip}:8080/metrics");
    let text = http::text(hyper::Method::GET, &url, Duration::from_secs(5)).await?;
    let value = |name: &str| {
        let of_group =
            |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(&group.namespace);
        let line = text.lines().find(of_group).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    Ok((
        value("tandem_operator_cluster_split_brains_total"),
        value("tandem_operator_cluster_split_brain"),
    ))
}
