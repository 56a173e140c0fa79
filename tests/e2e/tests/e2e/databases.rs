//! Brokers, pods and nodes that fail while the lock is a lease in a database. A witness in the
//! database tells whether two of them ever wrote at the same time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, group::now_millis, store::GroupDatabase, wait};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Node};
use kube::{
    Api,
    api::{LogParams, Patch, PatchParams},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::From;

use crate::{
    Outcome,
    faults::{CEILING, fault, outages},
    nodes, rollout,
};

/// So long that only the lease can be what ends a frozen broker.
const NEVER_HUNG: &str = "5m";

/// SIGSTOP of the master's JVM: its lease is not renewed, so it is killed before the lease ends.
pub async fn frozen(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-frozen");
    let group = Group::prepare_on(lab, &namespace, store, Server::Shared).await?;
    group.start(&json!({"failover": {"hangTimeout": NEVER_HUNG}})).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, _) = group.await_master(0).await?;
    let broker = group.process(&master, "java").await?;
    let text = fault(&group, &clients, async |pod| group.signal_broker(pod, Signal::SIGSTOP).await)
        .await?;
    ensure!(!broker.process.is_alive()?, "a broker without a lease was left alive");
    let exit = group.last_exit(&master).await?;
    ensure!(exit == "LeaseUnproven", "{master} tells {exit}");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{text}; {account}"))
}

/// A database of which agents see nothing: the condition says so, and a killed master's lease runs out.
pub async fn unseen_killed(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-unseen");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    group.await_condition("StorageLockVerified", "Unknown", "LockNotObservable").await?;
    let clients = TestClient::start_both(&group).await?;
    let text = fault(&group, &clients, async |pod| group.signal_broker(pod, Signal::SIGKILL).await)
        .await?;
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{restarts} container restarts");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{text}; {account}"))
}

/// The whole pod is frozen, its agent too, so that nobody ends the broker. When it wakes, the broker
/// comes first: it finds its clients' last messages waiting, and must not write them.
pub async fn pod_frozen(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-pod-frozen");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_master(0).await?;
    let processes = group.processes(&master).await?;
    let broker = group.process(&master, "java").await?;
    let at = now_millis();
    for process in &processes {
        process.signal(Signal::SIGSTOP)?;
    }
    let (next, _) = group.await_master(epoch).await?;
    ensure!(next == group.other(&master), "{next} took over from {master}");
    let promoted = group.promoted(&next, at).await?;
    // Their connections to the frozen pod end by their own limits.
    let text = outages(&clients, at).await?;
    broker.signal(Signal::SIGCONT)?;
    let woken = now_millis();
    let ended = wait::until("the woken broker ends", Duration::from_secs(20), async || {
        Ok(if broker.process.is_alive()? { Err("it runs".to_owned()) } else { Ok(()) })
    })
    .await;
    let alone = match ended {
        Ok(()) => format!("the woken broker ended by itself after {} ms", now_millis() - woken),
        Err(_) => "the woken broker was left to its agent".to_owned(),
    };
    for process in &processes {
        process.signal(Signal::SIGCONT)?;
    }
    group.await_complete().await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{promoted}, {text}; {alone}; {account}"))
}

/// The lock's row is deleted under a running master: it comes back, and nobody takes the chance.
pub async fn lock_row_deleted(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-row");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (_, epoch) = group.await_master(0).await?;
    let database = group.database()?;
    let at = now_millis();
    database.sql(&format!("DELETE FROM {}", database.lock_table()))?;
    let (next, _) = group.await_master(epoch).await?;
    let text = outages(&clients, at).await?;
    await_lease_of(database, &next).await?;
    group.await_complete().await?;
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{restarts} container restarts");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{next} after the repair; {text}; {account}"))
}

async fn await_lease_of(database: &GroupDatabase, pod: &str) -> Result<()> {
    wait::until(&format!("the lease is {pod}'s"), CEILING, async || {
        let lease = database.lease()?;
        let theirs = lease.as_ref().is_some_and(|(holder, _)| holder.starts_with(pod));
        Ok(if theirs { Ok(()) } else { Err(format!("{lease:?}")) })
    })
    .await
}

/// Waits until the master has renewed its lease for so long.
pub async fn await_renewals(database: &GroupDatabase, time: Duration) -> Result<()> {
    let (_, first) = database.lease()?.context("nobody has the lease")?;
    let wanted = first + i64::try_from(time.as_millis())?;
    wait::until("the lease is renewed", time + CEILING, async || {
        let lease = database.lease()?;
        let so = lease.as_ref().is_some_and(|(_, end)| *end >= wanted);
        Ok(if so { Ok(()) } else { Err(format!("{lease:?}, not yet {wanted}")) })
    })
    .await
}

/// The clock of one JVM jumps an hour ahead, the standby's first: the database's clock alone counts.
pub async fn clock_ahead(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-clock");
    let group = Group::prepare_on(lab, &namespace, store, Server::Shared).await?;
    e2e::objects::apply(&lab.client, &faketime(&group)?).await?;
    group.start(&with_false_clock()).await?;
    let clients = TestClient::start_both(&group).await?;
    let before = group.await_master(0).await?;
    for pod in [group.other(&before.0), before.0.clone()] {
        let broker = group.process(&pod, "java").await?;
        std::fs::write(format!("/proc/{}/root/clock/offset", broker.process.pid()), "+1h\n")?;
        // Twice the lease: had the clock a say, the lease would be another's by then.
        await_renewals(group.database()?, Duration::from_secs(10)).await?;
        let now = group.await_master(0).await?;
        ensure!(now == before, "{pod}'s clock made {now:?} of {before:?}");
    }
    let text = fault(&group, &clients, async |pod| group.signal_broker(pod, Signal::SIGKILL).await)
        .await?;
    for pod in ["orders-0", "orders-1"] {
        await_ahead(&group, pod).await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("no failover; then killed: {text}; {account}"))
}

/// Waits until a pod's JVM says something an hour ahead: its log bears its own time.
async fn await_ahead(group: &Group<'_>, pod: &str) -> Result<()> {
    wait::until(&format!("{pod} logs a false time"), CEILING, async || {
        let log = group.pods().logs(pod, &LogParams::default()).await?;
        let times =
            log.lines().filter_map(|line| line.split(' ').next()?.parse::<Timestamp>().ok());
        let latest = times.map(Timestamp::as_millisecond).max().context("a log without times")?;
        let ahead = latest - now_millis();
        Ok(if ahead > 50 * 60 * 1000 { Ok(()) } else { Err(format!("{ahead} ms ahead")) })
    })
    .await
}

/// The library that gives a program a false clock, from this machine's own package.
fn faketime(group: &Group<'_>) -> Result<Value> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    let bytes = std::fs::read(library).with_context(|| format!("reading {library}"))?;
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "faketime", "namespace": group.namespace},
        "binaryData": {"libfaketime.so": ByteString(bytes)}
    }))
}

/// The agent is a static binary: what is preloaded touches the JVM alone.
fn with_false_clock() -> Value {
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    json!({"pod": {
        "env": [
            env("LD_PRELOAD", "/faketime/libfaketime.so"),
            env("FAKETIME_TIMESTAMP_FILE", "/clock/offset"),
            env("FAKETIME_CACHE_DURATION", "1"),
            env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            // Otherwise timed waits by the monotonic clock end at once, and every thread spins.
            env("FAKETIME_FORCE_MONOTONIC_FIX", "0"),
        ],
        "volumes": [
            {"name": "faketime", "configMap": {"name": "faketime"}},
            {"name": "clock", "emptyDir": {}}
        ],
        "volumeMounts": [
            {"name": "faketime", "mountPath": "/faketime"},
            {"name": "clock", "mountPath": "/clock"}
        ]
    }})
}

/// Another password: pods are replaced, the standby first.
pub async fn credentials_rotated(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-rotated");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_master(0).await?;
    let standby = group.other(&master);
    let old = [rollout::uid(&group, &master).await?, rollout::uid(&group, &standby).await?];
    let database = group.database()?;
    database.set_password("another")?;
    group.write_credentials(&database.name, "another").await?;
    wait::until("both pods are replaced", e2e::group::LIMIT, async || {
        let new = [rollout::uid(&group, &master).await?, rollout::uid(&group, &standby).await?];
        let replaced = old.iter().zip(&new).all(|(old, new)| old != new && !new.is_empty());
        Ok(if replaced { Ok(()) } else { Err(format!("{new:?}")) })
    })
    .await?;
    group.await_complete().await?;
    let (_, now) = group.await_master(0).await?;
    for client in &clients {
        client.await_flow().await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{} failover(s); {account}", now - epoch))
}

/// A master's node loses the control plane, its pod is deleted by force, and another one of the same
/// name starts while the old one still runs: holders of one name are not one holder.
pub async fn namesake(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-namesake");
    let group = Group::prepare_on(lab, &namespace, store, Server::Shared).await?;
    group.start(&rather_apart()).await?;
    let (master, epoch) = group.await_master(0).await?;
    let clients = nodes::clients_beside_the_standby(&group, &master).await?;
    let number = group.node_of(&master).await?;
    let node = lab.bed.node(number)?;
    let broker = group.process(&master, "java").await?;
    let holder = group.database()?.lease()?.context("nobody has the lease")?.0;
    node.cut(From::Api)?;
    let beside = namesake_waits(&group, &master, number, &holder).await;
    let healed = node.heal();
    schedulable(lab, number, true).await?;
    beside?;
    healed?;
    nodes::await_node_ready(lab, number, true).await?;
    let (next, _) = group.await_master(epoch).await?;
    ensure!(!broker.process.is_alive()?, "the deleted pod's broker still runs");
    group.await_complete().await?;
    for client in &clients {
        client.await_flow().await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("the namesake waited; then {next}; {account}"))
}

/// On two nodes where that is possible; by default it is a must, and with one of two nodes cut off no
/// pod could start.
fn rather_apart() -> Value {
    let term = json!({
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "broker"}}
    });
    let preferred = json!([{"weight": 100, "podAffinityTerm": term}]);
    let affinity = json!({"preferredDuringSchedulingIgnoredDuringExecution": preferred});
    json!({"pod": {"affinity": {"podAntiAffinity": affinity}}})
}

async fn namesake_waits(group: &Group<'_>, master: &str, node: u8, holder: &str) -> Result<()> {
    // Otherwise the new pod may be meant for the node that cannot be told of it.
    schedulable(group.lab, node, false).await?;
    let old = rollout::uid(group, master).await?;
    group.delete_pod(master, Some(0)).await?;
    wait::until(&format!("another {master} waits for the lease"), CEILING, async || {
        let new = rollout::uid(group, master).await?;
        let state = format!("{:?}", group.report(master).await?.state);
        let waits = new != old && state == "Standby";
        Ok(if waits { Ok(()) } else { Err(format!("{new}: {state}")) })
    })
    .await?;
    let database = group.database()?;
    await_renewals(database, Duration::from_secs(10)).await?;
    let now = database.lease()?.map(|(holder, _)| holder);
    ensure!(now.as_deref() == Some(holder), "{now:?} has the lease of {holder}");
    Ok(())
}

async fn schedulable(lab: &Lab, node: u8, so: bool) -> Result<()> {
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let patch = Patch::Merge(json!({"spec": {"unschedulable": (!so).then_some(true)}}));
    nodes.patch(&format!("n{node}"), &PatchParams::default(), &patch).await?;
    Ok(())
}
