//! Clients that send what brokers log of themselves.

use anyhow::{Result, ensure};
use e2e::{Group, Lab, Server, Store};
use kube::api::LogParams;
use serde_json::json;

use crate::{Outcome, lifecycle};

/// How a line begins that no broker has written.
const FORGED: &str = "2026-01-01T00:00:00.000Z";

/// Whatever clients send over any protocol, as strangers or as users, the same process stays master by the
/// same epoch, the standby waits on, and no line of the log is theirs.
pub async fn clients(lab: &Lab, store: Store, version: &str) -> Outcome {
    let namespace = store.namespace(&format!("e2e-hostile-{}", version.replace('.', "-")));
    let group = Group::prepare_on(lab, &namespace, store, Server::Shared).await?;
    let listeners = lifecycle::listeners_of_all_protocols();
    group.start(&json!({"listeners": listeners, "broker": {"version": version}})).await?;
    group.await_complete().await?;
    let (master, epoch) = group.await_master(0).await?;
    let standby = group.other(&master);
    let before = [processes(&group, &master).await?, processes(&group, &standby).await?];
    let done = lifecycle::all_protocols(&group, "hostile", "clients", &[]).await?;
    let after = [processes(&group, &master).await?, processes(&group, &standby).await?];
    ensure!(before == after, "the brokers were {before:?} and are {after:?}");
    let record = group.record().await?;
    ensure!(record == (Some(master.clone()), epoch), "the record is {record:?}");
    let log = group.pods().logs(&master, &LogParams::default()).await?;
    let quoted = log.lines().filter(|line| line.contains(FORGED)).count();
    ensure!(quoted > 0, "the broker logged nothing of what clients sent");
    let forged = log.lines().find(|line| line.starts_with(FORGED) || line.starts_with("lock-lost"));
    ensure!(forged.is_none(), "a client wrote a line of the log: {forged:?}");
    group.remove().await?;
    let summary = done.lines().last().unwrap_or_default();
    Ok(format!("{version}: no failover; {quoted} lines of the log quote forged ones; {summary}"))
}

/// The broker process and how often it was started.
async fn processes(group: &Group<'_>, pod: &str) -> Result<Option<(String, u32)>> {
    let child = group.report(pod).await?.child;
    Ok(child.map(|child| (child.instance, child.restarts)))
}
