//! More messages than memory holds: they go to the store or to the temporary store, and no broker fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Address, Group, Lab, objects, wait};
use kube::api::LogParams;
use serde_json::{Value, json};

use crate::Outcome;

/// A flow by its name: what the client is to send.
type Flow = (&'static str, &'static [&'static str]);

/// For a heap of 64 MiB, of which messages may have 45 MiB: 100 MB each.
const SHORT: [Flow; 3] = [
    ("persistent", &["--count", "5000", "--size", "20000"]),
    ("transient", &["--count", "5000", "--size", "20000", "--transient"]),
    (
        "topic",
        &[
            "--topic",
            "slow",
            "--count",
            "5000",
            "--size",
            "20000",
            "--transient",
            "--consumers",
            "1",
            "--pause",
            "1",
        ],
    ),
];

/// For default settings: a heap of 384 MiB here.
const FULL: [Flow; 5] = [
    ("persistent", &["--count", "1000000"]),
    ("transient", &["--count", "1000000", "--transient"]),
    ("large", &["--count", "20000", "--size", "50000"]),
    (
        "topic",
        &[
            "--topic",
            "slow",
            "--count",
            "300000",
            "--transient",
            "--consumers",
            "1",
            "--pause",
            "1",
        ],
    ),
    ("largest", &["--count", "400", "--size", "1500000", "--producers", "20"]),
];

/// Sends more than the heap holds, without a receiver or with a slow one, and then receives it all. In a
/// full run with a million messages and the default heap, otherwise with a small one.
pub async fn spooled(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-backlog").await?;
    let full = std::env::var_os("TANDEM_FULL").is_some();
    let heap = if full { json!({}) } else { json!({"broker": {"java": {"heap": "64Mi"}}}) };
    group.start(&heap).await?;
    let (master, epoch) = group.await_steady().await?;
    let mut text = Vec::new();
    let flows: &[Flow] = if full { &FULL } else { &SHORT };
    for (name, arguments) in flows {
        let report = flow(&group, name, arguments).await?;
        text.push(format!("{name} {report}"));
    }
    ensure!(group.record().await? == (Some(master), epoch), "a failover: {text:?}");
    group.remove().await?;
    Ok(text.join("; "))
}

/// Runs a flow in a pod and tells its report.
async fn flow(group: &Group<'_>, name: &str, arguments: &[&str]) -> Result<Value> {
    let pod_name = format!("flow-{name}");
    let url = group.url(Address::Service).await?;
    let queue = format!("flow.{name}");
    let own = ["flow", "--url", &url, "--queue", &queue];
    let all: Vec<&str> = own.iter().chain(arguments).copied().collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod_name, "namespace": group.namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "flow", "image": "localhost/tandem-client:1", "imagePullPolicy": "Never", "args": all,
                "env": e2e::client::login(group),
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
            }]
        }
    });
    objects::apply(&group.lab.client, &pod).await?;
    // The client itself ends when nothing moves for a minute.
    let phase = wait::until(&format!("{pod_name} ends"), Duration::from_secs(1800), async || {
        let status = group.pods().get(&pod_name).await?.status;
        let phase = status.and_then(|status| status.phase).unwrap_or_default();
        Ok(if phase == "Succeeded" || phase == "Failed" { Ok(phase) } else { Err(phase) })
    })
    .await?;
    let log = group.pods().logs(&pod_name, &LogParams::default()).await?;
    ensure!(phase == "Succeeded", "{pod_name}: {log}");
    let last = log.lines().last().context("the flow has told nothing")?;
    serde_json::from_str(last).with_context(|| log.clone())
}
