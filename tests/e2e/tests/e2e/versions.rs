//! Updates from one version of the broker to another, and brokers of two versions on one store.

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nix::sys::signal::Signal;
use serde_json::json;
use tandem::api::v1alpha1::{VERSIONS, classic_image};

use crate::{
    Outcome,
    faults::repetitions,
    rollout::{await_replaced, uid},
};

/// So many messages wait in the store when another version opens it.
const WAITING: i64 = 50;

/// From the oldest version to the newest by the spec: one failover, nothing lost.
pub async fn upgrade(lab: &Lab, store: Store) -> Outcome {
    let [oldest, .., newest] = VERSIONS;
    let group = on(lab, &store.namespace("e2e-upgrade"), store, oldest).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_steady().await?;
    let_wait(&clients).await?;
    group.edit(&json!({"broker": {"version": newest}})).await?;
    group.await_complete().await?;
    let now = group.await_master(0).await?;
    ensure!(
        now == (group.other(&master), epoch + 1),
        "one failover: from {master}, {epoch} to {now:?}"
    );
    for pod in [&master, &now.0] {
        runs(&group, pod, newest).await?;
    }
    receive(&clients).await?;
    let account = group.prove(&clients).await?;
    group.remove().await?;
    Ok(format!("{oldest} to {newest}, one failover; {account}"))
}

/// Two versions in one group, each in turn the master: each reads what the other has written, and waits
/// while the other one serves. The operator would not leave it at that, so it is told to change nothing.
pub async fn side_by_side(lab: &Lab, store: Store) -> Outcome {
    let [oldest, middle, newest] = VERSIONS;
    let pairs = [(oldest, newest), (oldest, middle), (middle, newest)];
    let mut text = Vec::new();
    for (one, other) in pairs.into_iter().take(repetitions(1, pairs.len())) {
        text.push(pair(lab, store, one, other).await?);
    }
    Ok(text.join("; "))
}

async fn pair(lab: &Lab, store: Store, one: &str, other: &str) -> Outcome {
    let group = on(lab, &store.namespace("e2e-versions"), store, one).await?;
    let clients = TestClient::start_both(&group).await?;
    group.edit(&json!({"paused": true})).await?;
    group.await_condition("Paused", "True", "").await?;
    let (first, _) = group.await_steady().await?;
    let second = group.other(&first);
    change_template(&group, other).await?;
    let before = uid(&group, &second).await?;
    group.delete_pod(&second, None).await?;
    // Until the kubelet tells it to end, the old pod is a standby, and would take over.
    await_replaced(&group, &second, &before).await?;
    for (master, version) in [(&first, other), (&second, one)] {
        let (now, epoch) = group.await_steady().await?;
        ensure!(now == *master, "{now} is master, not {master}");
        let_wait(&clients).await?;
        group.signal_broker(master, Signal::SIGKILL).await?;
        let (next, _) = group.await_master(epoch).await?;
        runs(&group, &next, version).await?;
        receive(&clients).await?;
    }
    group.edit(&json!({"paused": false, "broker": {"version": other}})).await?;
    group.await_complete().await?;
    let account = group.prove(&clients).await?;
    group.remove().await?;
    Ok(format!("{one} and {other}: {account}"))
}

async fn on<'a>(lab: &'a Lab, namespace: &str, store: Store, version: &str) -> Result<Group<'a>> {
    let group = Group::prepare_on(lab, namespace, store, Server::Shared).await?;
    group.start(&json!({"broker": {"version": version}})).await?;
    Ok(group)
}

/// Messages wait in the store until [`receive`].
async fn let_wait(clients: &[TestClient]) -> Result<()> {
    for client in clients {
        client.consume(false).await?;
        client.await_sent(WAITING).await?;
    }
    Ok(())
}

async fn receive(clients: &[TestClient]) -> Result<()> {
    for client in clients {
        client.consume(true).await?;
        client.await_flow().await?;
    }
    Ok(())
}

/// Pods that are made from now on run this version.
async fn change_template(group: &Group<'_>, version: &str) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(group.lab.client.clone(), &group.namespace);
    let broker = json!({"name": "broker", "image": classic_image(version)});
    let patch = json!({"spec": {"template": {"spec": {"containers": [broker]}}}});
    let patch = Patch::Strategic(patch);
    sets.patch(&group.name, &PatchParams::default(), &patch).await.map(drop)?;
    Ok(())
}

/// Checks which version a pod runs.
async fn runs(group: &Group<'_>, pod: &str, version: &str) -> Result<()> {
    let spec = group.pods().get(pod).await?.spec.context("a pod without spec")?;
    let image = spec.containers.into_iter().find_map(|container| container.image);
    ensure!(image.as_deref() == Some(&classic_image(version)), "{pod} runs {image:?}");
    Ok(())
}
