//! Nodes that are lost, or lose touch with the control plane.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Address, Group, Lab, Server, Store, TestClient,
    group::{LIMIT, now_millis},
    wait,
};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use testbed::From;

use crate::Outcome;

/// Both kinds of clients, beside the standby: the master's node is about to fail.
pub async fn clients_beside_the_standby(
    group: &Group<'_>,
    master: &str,
) -> Result<Vec<TestClient>> {
    let node = format!("n{}", group.node_of(&group.other(master)).await?);
    let start = Address::ALL.map(|address| TestClient::start_on(group, address, Some(&node)));
    futures::future::try_join_all(start).await
}

/// The master's node loses its power. A file's lock is free as soon as the processes are dead,
/// because the bed's volume is a directory of one kernel; on network storage its timeout comes first.
/// A lease in a database has to run out.
pub async fn lost(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-node-lost");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let (master, epoch) = group.await_master(0).await?;
    let clients = clients_beside_the_standby(&group, &master).await?;
    let node = lab.bed.node(group.node_of(&master).await?)?;
    let at = now_millis();
    node.power_off()?;
    let taken_over = take_over(&group, &clients, &master, epoch, at).await;
    let anew = made_anew(&group, &master).await;
    node.power_on()?;
    let (outages, anew) = (taken_over?, anew?);
    group.await_complete().await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{outages}; {anew}; {account}"))
}

/// Somebody says that the node is certainly off: its pod is made anew. Kubernetes itself would do that
/// only once it has noticed that the node is lost. The bed has no third node for the new pod, so it
/// waits for the lost one.
async fn made_anew(group: &Group<'_>, pod: &str) -> Result<String> {
    let before = group.pods().get(pod).await?;
    let node = before.spec.and_then(|spec| spec.node_name).unwrap_or_default();
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    let at = tokio::time::Instant::now();
    group.lab.bed.kubectl(&["taint", "node", &node, taint])?;
    let anew = wait::until(&format!("{pod} is made anew"), LIMIT, async || {
        let uid = group.pods().get(pod).await?.metadata.uid;
        Ok(if uid == before.metadata.uid { Err(format!("it is still {uid:?}")) } else { Ok(()) })
    })
    .await;
    let after = at.elapsed();
    group.lab.bed.kubectl(&["taint", "node", &node, &format!("{taint}-")])?;
    anew?;
    let events = group.lab.bed.kubectl(&["-n", &group.namespace, "get", "events"])?;
    ensure!(events.contains("LostPodDeleted"), "Tandem did not delete it: {events}");
    Ok(format!("its pod made anew {:.1} s after the taint", after.as_secs_f64()))
}

async fn take_over(
    group: &Group<'_>,
    clients: &[TestClient],
    master: &str,
    epoch: i64,
    at: i64,
) -> Result<String> {
    let (next, _) = group.await_master(epoch).await?;
    ensure!(next == group.other(master), "{next} took over from {master}");
    // Clients of a node that vanished learn of it by their own limits, long after that.
    let promoted = group.promoted(&next, at).await?;
    Ok(format!("{promoted}, {}", crate::faults::outages(clients, at).await?))
}

/// The master's node loses the control plane only: the master serves on, is not evicted, and is not
/// killed when the node is healed.
pub async fn cut_from_api(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-node-cut");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let (master, epoch) = group.await_master(0).await?;
    let clients = clients_beside_the_standby(&group, &master).await?;
    let broker = group.process(&master, "java").await?.process.pid();
    let number = group.node_of(&master).await?;
    let node = lab.bed.node(number)?;
    node.cut(From::Api)?;
    let noticed = await_node_ready(lab, number, false).await;
    node.heal()?;
    noticed?;
    await_node_ready(lab, number, true).await?;
    group.await_complete().await?;
    ensure!(group.record().await? == (Some(master.clone()), epoch), "the mastership moved");
    ensure!(
        group.process(&master, "java").await?.process.pid() == broker,
        "the broker was restarted"
    );
    let mut text = Vec::new();
    for client in &clients {
        client.await_flow().await?;
        text.push(format!(
            "{} {} ms",
            client.address.as_str(),
            client.stats().await?["longestGapMillis"]
        ));
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("longest silence: {}; {account}", text.join(", ")))
}

/// Waits until the API server's view of a node is so.
pub async fn await_node_ready(lab: &Lab, number: u8, ready: bool) -> Result<()> {
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let name = format!("n{number}");
    wait::until(&format!("{name} Ready={ready}"), Duration::from_secs(180), async || {
        let status = nodes.get(&name).await?.status.unwrap_or_default();
        let condition =
            status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "Ready");
        let now = condition.map(|c| c.status).unwrap_or_default();
        Ok(if (now == "True") == ready { Ok(()) } else { Err(now) })
    })
    .await
}
