//! Faults of brokers, agents, pods and the control plane.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, group::now_millis, lab::SYSTEM, wait};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use nix::sys::signal::Signal;
use serde_json::json;
use testbed::Component;

use crate::Outcome;

/// A generous ceiling: figures are for `make bench`.
pub const CEILING: Duration = Duration::from_secs(60);

/// How often each fault is placed: once in a short run, more in a full one.
pub fn repetitions(short: usize, full: usize) -> usize {
    if std::env::var_os("TANDEM_FULL").is_some() { full } else { short }
}

/// Waits until every client sends again, and tells how long each was cut off.
pub async fn outages(clients: &[TestClient], fault: i64) -> Result<String> {
    outages_until(clients, fault, fault).await
}

/// As [`outages`], told once sends go on after this later moment: not every fault ends the master's
/// service at once.
pub async fn outages_until(clients: &[TestClient], fault: i64, later: i64) -> Result<String> {
    let mut text = Vec::new();
    for client in clients {
        let millis = client.outage_until(fault, later, CEILING).await?;
        text.push(format!("{} {millis} ms", client.address.as_str()));
    }
    Ok(text.join(", "))
}

/// Places a fault at the master and checks that the other pod takes over and that the group is
/// complete again; tells the outages.
pub async fn fault<F: AsyncFnOnce(&str) -> Result<i64>>(
    group: &Group<'_>,
    clients: &[TestClient],
    place: F,
) -> Result<String> {
    let (master, epoch) = group.await_master(0).await?;
    let at = place(&master).await?;
    let (next, _) = group.await_master(epoch).await?;
    ensure!(next == group.other(&master), "{next} took over from {master}");
    let text = outages(clients, at).await?;
    group.await_complete().await?;
    let complete = (now_millis() - at) / 1000;
    ensure!(group.master().await? == next, "the mastership moved on without a reason");
    Ok(format!("{text}, complete after {complete} s"))
}

/// SIGKILL of the master's JVM, again and again: directions alternate by themselves.
pub async fn killed(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-killed");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let mut text = Vec::new();
    for _ in 0..repetitions(3, 10) {
        let (master, _) = group.await_master(0).await?;
        let restarts = group.restarts().await?;
        text.push(
            fault(&group, &clients, async |pod| group.signal_broker(pod, Signal::SIGKILL).await)
                .await?,
        );
        ensure!(
            group.restarts().await? == restarts,
            "a container was restarted: the JVM restarts in place"
        );
        let exit = group.last_exit(&master).await?;
        ensure!(exit == "BrokerCrashed", "{master} tells {exit}");
    }
    let status = group.status().await?;
    let failover = status.last_failover.clone();
    ensure!(
        failover.as_ref().is_some_and(|f| f.reason == "BrokerCrashed"),
        "lastFailover: {failover:?}"
    );
    ensure!(status.failovers >= i64::try_from(text.len())?, "failovers: {}", status.failovers);
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{}; {account}", text.join("; ")))
}

/// SIGSTOP of the master's JVM: it still holds the lock and still accepts connections.
pub async fn frozen(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-frozen").await?;
    group.apply(&json!({"failover": {"hangTimeout": "3s"}})).await?;
    group.await_complete().await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, _) = group.await_master(0).await?;
    let text = fault(&group, &clients, async |pod| group.signal_broker(pod, Signal::SIGSTOP).await)
        .await?;
    let exit = group.last_exit(&master).await?;
    ensure!(exit == "BrokerHung", "{master} tells {exit}");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("hangTimeout 3 s: {text}; {account}"))
}

/// SIGKILL of PID 1: the container ends with everything in it, the kubelet starts it again.
pub async fn agent_killed(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-agent").await?;
    let clients = TestClient::start_both(&group).await?;
    let text = fault(&group, &clients, async |pod| {
        let agent = group.process(pod, "tandem").await?;
        let at = now_millis();
        agent.signal(Signal::SIGKILL)?;
        Ok(at)
    })
    .await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{text}; {account}"))
}

/// `kubectl delete pod`, politely and with grace 0.
pub async fn pod_deleted(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-deleted");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let polite = fault(&group, &clients, async |pod| group.delete_pod(pod, None).await).await?;
    let at_once = fault(&group, &clients, async |pod| group.delete_pod(pod, Some(0)).await).await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("graceful: {polite}; grace 0: {at_once}; {account}"))
}

/// With no operator, and then without the controller manager too, failover goes on.
pub async fn without_operator(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-headless").await?;
    let clients = TestClient::start_both(&group).await?;
    scale_operator(lab, 0).await?;
    let (first, epoch) = group.await_master(0).await?;
    let at = group.signal_broker(&first, Signal::SIGKILL).await?;
    let (second, epoch) = group.await_master(epoch).await?;
    let no_operator = outages(&clients, at).await?;
    await_waiting(&group, &first).await?;

    let controllers = lab.bed.component(Component::ControllerManager);
    controllers.stop()?;
    let at = group.signal_broker(&second, Signal::SIGKILL).await?;
    let third = group.await_master(epoch).await;
    let no_controllers = outages(&clients, at).await;
    controllers.start()?;
    scale_operator(lab, 1).await?;
    ensure!(third?.0 == first && second == group.other(&first), "the wrong pod took over");
    let no_controllers = no_controllers?;
    group.await_complete().await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("no operator: {no_operator}; no controllers either: {no_controllers}; {account}"))
}

/// Waits until a pod's agent says that its broker waits for the lock.
async fn await_waiting(group: &Group<'_>, pod: &str) -> Result<()> {
    wait::until(&format!("{pod} waits for the lock"), CEILING, async || {
        let state = format!("{:?}", group.report(pod).await?.state);
        Ok(if state == "Standby" { Ok(()) } else { Err(state) })
    })
    .await
}

/// Scales the operator and waits until it is so.
pub async fn scale_operator(lab: &Lab, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(lab.client.clone(), SYSTEM);
    let name = "tandem";
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch(name, &PatchParams::default(), &patch).await?;
    wait::until(&format!("{replicas} operators"), CEILING, async || {
        let status = deployments.get(name).await?.status.unwrap_or_default();
        let now = (status.replicas.unwrap_or_default(), status.ready_replicas.unwrap_or_default());
        Ok(if now == (replicas, replicas) { Ok(()) } else { Err(format!("{now:?}")) })
    })
    .await
}

/// The API server is away while the master is killed: clients with a list go on, and the record and
/// the status are right after its return.
pub async fn without_api_server(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-api").await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_master(0).await?;
    let broker = group.process(&master, "java").await?;
    let standby_ip =
        group.pods().get(&group.other(&master)).await?.status.and_then(|status| status.pod_ip);
    let apiserver = lab.bed.component(Component::Apiserver);
    apiserver.stop()?;
    let at = now_millis();
    broker.signal(Signal::SIGKILL)?;
    let list = clients.iter().find(|client| client.address == e2e::Address::List);
    let listed = match list {
        Some(client) => client.outage(at, CEILING).await,
        None => Ok(0),
    };
    // The fault lasts as the issue says; nothing can be awaited while there is nobody to ask.
    let rest = 30_000 - (now_millis() - at);
    tokio::time::sleep(Duration::from_millis(u64::try_from(rest).unwrap_or_default())).await;
    apiserver.start()?;
    let back = now_millis();
    let (next, _) = group.await_master(epoch).await?;
    ensure!(next == group.other(&master), "{next} is master, its address was {standby_ip:?}");
    let record = now_millis() - back;
    group.await_complete().await?;
    let pods: Vec<String> = group
        .pods()
        .list(&kube::api::ListParams::default())
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!(
        "list {} ms; record right {record} ms after the API server's return; {} pods; {account}",
        listed?,
        pods.len()
    ))
}
