//! Planned work on a group under load: drains, fenced pods, hibernation, another size, the operator killed
//! in the midst of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, group::LIMIT, group::now_millis, wait};
use kube::api::ListParams;
use serde_json::{Value, json};
use tandem::api::{labels, v1alpha1::SwitchoverResult};
use testbed::Bed;
use tokio::time::Instant;

use crate::{
    Outcome,
    faults::{outages_until, repetitions},
    lifecycle::kill_operator,
    rollout::{await_replaced, uid},
    switchover::answer,
};

/// Each node in turn is cordoned and drained, as for its maintenance: one failover each, and the standby
/// that had to go is back afterwards.
pub async fn drained(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-drain").await?;
    let clients = TestClient::start_both(&group).await?;
    let mut text = Vec::new();
    for _ in 0..2 {
        let (master, epoch) = group.await_steady().await?;
        let node = format!("n{}", group.node_of(&master).await?);
        let drained = drain(&group, &node, &master, epoch).await;
        lab.bed.kubectl(&["uncordon", &node])?;
        let at = drained?;
        text.push(outages_until(&clients, at, now_millis()).await?);
        group.await_complete().await?;
        ensure!(group.record().await?.1 == epoch + 1, "more than one failover");
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{}; {account}", text.join("; ")))
}

/// Cordons the master's node, which moves the mastership in place, and drains it.
async fn drain(group: &Group<'_>, node: &str, master: &str, epoch: i64) -> Result<i64> {
    let bed = &group.lab.bed;
    let before = uid(group, master).await?;
    let at = now_millis();
    bed.kubectl(&["cordon", node])?;
    let (next, _) = group.await_master(epoch).await?;
    ensure!(next == group.other(master), "{next} took over from {master}");
    ensure!(uid(group, master).await? == before, "the pod was replaced");
    // All that is on the node goes, the operator too; only the clients keep the account.
    let flags = ["--pod-selector=app!=client", "--ignore-daemonsets", "--delete-emptydir-data"];
    bed.kubectl(&[["drain", node, "--timeout=120s"].as_slice(), &flags].concat())?;
    ensure!(group.record().await? == (Some(next), epoch + 1), "the drain cost a second failover");
    Ok(at)
}

/// A master is fenced: it makes way and stays down, also when its pod is made anew, until it is let go.
pub async fn fenced(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-fenced");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_steady().await?;
    let next = group.other(&master);
    let at = now_millis();
    group.edit(&json!({"fencedPods": [master]})).await?;
    await_down(&group, &master).await?;
    let outages = outages_until(&clients, at, now_millis()).await?;
    ensure!(group.record().await? == (Some(next.clone()), epoch + 1), "one failover");
    let message = group.await_condition("StandbyReady", "False", "Fenced").await?;
    ensure!(message.contains(&master), "{message}");
    group.delete_pod(&master, None).await?;
    await_down(&group, &master).await?;
    // The other one is the last: it stays.
    group.edit(&json!({"fencedPods": [master, next]})).await?;
    group.await_condition("Progressing", "False", "RolloutWaiting").await?;
    ensure!(group.record().await? == (Some(next), epoch + 1), "the last broker was fenced");
    group.edit(&json!({"fencedPods": []})).await?;
    group.await_complete().await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{outages}; {account}"))
}

/// Waits until no broker runs in a pod whose agent answers.
async fn await_down(group: &Group<'_>, pod: &str) -> Result<()> {
    wait::until(&format!("the broker of {pod} is down"), LIMIT, async || {
        let report = group.report(pod).await?;
        Ok(if report.child.is_none() { Ok(()) } else { Err(format!("{report:?}")) })
    })
    .await
}

/// A group hibernates with messages in its store, and hands them out when it wakes.
pub async fn hibernated(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-hibernated");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    for client in &clients {
        client.consume(false).await?;
        client.await_sent(20).await?;
    }
    let (_, epoch) = group.await_steady().await?;
    group.edit(&json!({"hibernated": true})).await?;
    group.await_condition("Progressing", "False", "Hibernated").await?;
    group.await_condition("Ready", "False", "Hibernated").await?;
    let pods = ListParams::default().labels(&format!("{}=broker", labels::COMPONENT));
    ensure!(group.pods().list(&pods).await?.items.is_empty(), "pods are left");
    ensure!(group.record().await? == (None, epoch), "a standby took over while the group ended");
    let woken = Instant::now();
    group.edit(&json!({"hibernated": false})).await?;
    group.await_complete().await?;
    let awake = woken.elapsed().as_secs_f64();
    for client in &clients {
        client.consume(true).await?;
        client.await_flow().await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("awake and complete after {awake:.1} s; {account}"))
}

/// One pod becomes five, the last one becomes master, and one is left: that costs one more failover.
pub async fn scaled(lab: &Lab) -> Outcome {
    let group = Group::prepare_on(lab, "e2e-scaled", Store::File, Server::Shared).await?;
    // The bed has two nodes.
    let anywhere = json!({"replicas": 1, "pod": {"affinity": {"podAntiAffinity": {}}}});
    group.apply(&anywhere).await?;
    group.await_condition("Ready", "True", "").await?;
    let clients = TestClient::start_both(&group).await?;
    let (_, epoch) = group.await_master(0).await?;
    group.edit(&json!({"replicas": 5})).await?;
    group.await_complete().await?;
    ensure!(group.record().await?.1 == epoch, "a larger group has the same master");
    let last = format!("{}-4", group.name);
    let done = answer(&group, &format!("to={last}")).await?;
    ensure!(done.result == SwitchoverResult::Succeeded && done.to == Some(last), "{done:?}");
    group.await_complete().await?;
    let at = now_millis();
    group.edit(&json!({"replicas": 1})).await?;
    group.await_condition("Progressing", "False", "UpToDate").await?;
    group.await_condition("StandbyReady", "False", "SinglePod").await?;
    let outages = outages_until(&clients, at, now_millis()).await?;
    let expected = (Some(format!("{}-0", group.name)), epoch + 2);
    ensure!(group.record().await? == expected, "{:?}", group.record().await?);
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{outages}; {account}"))
}

/// Every kind of change that a restart is needed for: each costs one failover, and no message.
pub async fn updated(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-updated").await?;
    let clients = TestClient::start_both(&group).await?;
    lab.bed.tag_image("docker.io/apache/activemq:6.3.1", "localhost/activemq:other")?;
    let policy = r#"<destinationPolicy><policyMap><policyEntries><policyEntry queue=">" producerFlowControl="true"/></policyEntries></policyMap></destinationPolicy>"#;
    let changes = [
        ("configuration", json!({"broker": {"config": {"xml": policy}}})),
        ("resources", json!({"pod": {"resources": {"limits": {"memory": "800Mi"}}}})),
        // In a short run `version_upgrade` and `spec_edit_rolls_standby_first` change these.
        ("image", json!({"broker": {"image": "localhost/activemq:other"}})),
        ("options", json!({"broker": {"java": {"options": ["-Dtandem.test=1"]}}})),
    ];
    let mut text = Vec::new();
    for (what, change) in changes.into_iter().take(repetitions(2, 4)) {
        let (master, epoch) = group.await_steady().await?;
        let at = now_millis();
        group.edit(&change).await?;
        let (next, _) = group.await_master(epoch).await?;
        let handed_over = now_millis();
        ensure!(next == group.other(&master), "{next} took over from {master}");
        group.await_complete().await?;
        let since =
            |at: i64| Duration::from_millis((now_millis() - at).unsigned_abs()).as_secs_f32();
        ensure!(group.record().await?.1 == epoch + 1, "{what}: more than one failover");
        text.push(format!(
            "{what}: complete after {:.0} s, {:.1} s after the mastership was handed over",
            since(at),
            since(handed_over)
        ));
    }
    // Nothing is restarted for what needs no restart.
    let before = (uid(&group, "orders-0").await?, uid(&group, "orders-1").await?);
    let failover = json!({"unreachableNode": {"forceDeleteAfter": "2m"}});
    group.edit(&json!({"failover": failover, "update": {"haltAfter": "10m"}})).await?;
    group.await_complete().await?;
    let after = (uid(&group, "orders-0").await?, uid(&group, "orders-1").await?);
    ensure!(before == after, "a pod was replaced for nothing");
    for client in &clients {
        let gap = &client.stats().await?["longestGapMillis"];
        text.push(format!("{}: longest silence {gap} ms", client.address.as_str()));
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{}; {account}", text.join("; ")))
}

/// The operator is killed at moments of an update and of a switchover, which are asked for at the same time:
/// both are done in the end, one after the other, and each costs one failover.
pub async fn operator_killed(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-operator-killed").await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_steady().await?;
    let mut kills = 0;
    // The template is changed, the standby is being replaced, and somebody wants a switchover too.
    let standby = group.other(&master);
    let before = uid(&group, &standby).await?;
    group.edit(&json!({"broker": {"java": {"heap": "45%"}}})).await?;
    group.annotate(labels::SWITCHOVER, "in the midst of it").await?;
    await_replaced(&group, &standby, &before).await?;
    kills += kill_operator(lab).await?;
    // The mastership was asked for.
    await_request(&group, epoch).await?;
    kills += kill_operator(lab).await?;
    group.await_master(epoch).await?;
    kills += kill_operator(lab).await?;
    group.await_complete().await?;
    let refused = group.status().await?.last_switchover.context("no answer")?;
    ensure!(group.record().await?.1 == epoch + 1, "more than one failover: {refused:?}");
    // And a switchover alone.
    let (_, epoch) = group.await_steady().await?;
    group.annotate(labels::SWITCHOVER, "alone").await?;
    await_request(&group, epoch).await?;
    kills += kill_operator(lab).await?;
    group.await_master(epoch).await?;
    group.await_complete().await?;
    ensure!(group.record().await?.1 == epoch + 1, "more than one failover");
    for client in &clients {
        client.await_flow().await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("the operator was killed {kills} times; {account}"))
}

/// Waits until the record asks the master of this epoch to step down, or somebody has followed it.
async fn await_request(group: &Group<'_>, epoch: i64) -> Result<()> {
    wait::until("the master is asked to step down", LIMIT, async || {
        let record = record(&group.lab.bed, group)?;
        let asked = record["metadata"]["annotations"][labels::STEP_DOWN].as_str().unwrap_or("{}");
        let asked: Value = serde_json::from_str(asked)?;
        let asks = asked["epoch"].as_i64() == Some(epoch) && asked["refused"].is_null();
        Ok(if asks { Ok(()) } else { Err(asked.to_string()) })
    })
    .await
}

fn record(bed: &Bed, group: &Group<'_>) -> Result<Value> {
    let arguments = ["-n", &group.namespace, "get", "endpointslice", &group.name, "-o", "json"];
    Ok(serde_json::from_str(&bed.kubectl(&arguments)?)?)
}
