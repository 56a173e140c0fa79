//! What Tandem itself costs while nothing happens: memory, processor time, requests, probes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};
use tandem::broker::settings::AGENT_PORT;
use testbed::PodProcess;
use tokio::time::sleep;

use super::{
    clear, note,
    proc::{self, Memory},
    requests::{self, Requests, Who},
};
use crate::{Group, Lab, http, lab::SYSTEM};

/// The name in `--only`.
pub const GROUP: &str = "footprint";
const NAMESPACE: &str = "bench-footprint";
/// After the last group is complete: whatever its start set off is over.
const SETTLE: Duration = Duration::from_mins(1);
/// How long the operator is watched.
const WATCHED: Duration = Duration::from_mins(2);
/// How long the agents are watched.
const AGENTS_WATCHED: Duration = Duration::from_secs(30);
/// Everything that the operator makes for a group, and the group.
const OBJECTS: &str = "brokerclusters,statefulsets,services,endpointslices,configmaps,secrets,\
    persistentvolumeclaims,poddisruptionbudgets,networkpolicies,serviceaccounts,roles,rolebindings";

/// Measures the operator with so many pairs, and the agents of one.
///
/// # Errors
/// When the groups do not come up.
pub async fn measure(lab: &Lab, clusters: usize) -> Result<Value> {
    requests::count(lab, NAMESPACE).await?;
    let group = groups(lab, clusters).await?;
    note(&format!("{GROUP}: {} s for everything to settle ...", SETTLE.as_secs()));
    sleep(SETTLE).await;
    let operator = operator(lab, clusters).await?;
    let agents = agents(&group).await?;
    requests::stop(lab).await?;
    clear(group).await?;
    Ok(json!({"schema": 1, "operator": operator, "agents": agents}))
}

/// Pairs with real brokers, small ones, one after the other: two processors start one pair fast
/// and ten at once slowly. Returns the first; all are in its namespace.
async fn groups(lab: &Lab, clusters: usize) -> Result<Group<'_>> {
    let spec = json!({
        "broker": {"java": {"heap": "64Mi"}},
        "pod": {"resources": {"requests": {"cpu": "10m", "memory": "192Mi"}, "limits": {"memory": "384Mi"}}}
    });
    let first = Group::prepare(lab, NAMESPACE).await?;
    for number in 1..=clusters {
        note(&format!("{GROUP}: group {number}/{clusters} ..."));
        let other;
        let group = if number == 1 {
            &first
        } else {
            other = first.beside(&format!("orders-{number}")).await?;
            &other
        };
        group.apply(&spec).await?;
        group.await_complete().await?;
    }
    Ok(first)
}

async fn operator(lab: &Lab, clusters: usize) -> Result<Value> {
    let pods: Api<Pod> = Api::namespaced(lab.client.clone(), SYSTEM);
    let found = pods.list(&ListParams::default()).await?;
    let pod = found.items.first().context("no operator")?;
    let processes = tandems(lab, pod)?;
    note(&format!("{GROUP}: the operator, {} s ...", WATCHED.as_secs()));
    let before = (versions(lab)?, requests::counted(lab, Who::Operator)?, proc::cpu(&processes)?);
    let agents_before = requests::counted(lab, Who::Agents)?;
    // Both have asked a lot while the groups came up: if that was not counted, nothing is.
    ensure!(before.1 != Requests::default(), "no request of the operator was counted");
    ensure!(agents_before != Requests::default(), "no request of the agents was counted");
    sleep(WATCHED).await;
    let counted = requests::counted(lab, Who::Operator)? - before.1;
    let agents = requests::counted(lab, Who::Agents)? - agents_before;
    let mut operator = json!({
        "clusters": clusters,
        "seconds": WATCHED.as_secs(),
        "cpu_percent": percent(proc::cpu(&processes)?.saturating_sub(before.2), WATCHED),
        "memory": memory(proc::memory(&processes)?),
        "requests_per_minute": per_minute(counted),
        "reads_and_writes_per_minute_and_cluster":
            rounded(minutes(counted.reads + counted.writes) / count(clusters)),
        "objects_observed": before.0.len(),
        "objects_changed": changed(&before.0, &versions(lab)?),
    });
    operator["agents_requests_per_minute"] = per_minute(agents);
    Ok(operator)
}

/// The agents of a pair: the master's and the standby's.
async fn agents(group: &Group<'_>) -> Result<Value> {
    let master = group.master().await?;
    let pods = [group.other(&master), master];
    note(&format!("{GROUP}: agents, {} s ...", AGENTS_WATCHED.as_secs()));
    let mut before = Vec::new();
    for name in &pods {
        let pod = group.pods().get(name).await?;
        let processes = tandems(group.lab, &pod)?;
        before.push((proc::cpu(&processes)?, probes(&pod).await?, pod, processes));
    }
    sleep(AGENTS_WATCHED).await;
    let mut told = Vec::new();
    for (cpu, looked, pod, processes) in &before {
        let seconds = AGENTS_WATCHED.as_secs_f64();
        let (agent, helpers) = processes.split_first().context("no agent")?;
        told.push(json!({
            "seconds": AGENTS_WATCHED.as_secs(),
            "cpu_percent": percent(proc::cpu(processes)?.saturating_sub(*cpu), AGENTS_WATCHED),
            "memory": memory(proc::memory(processes)?),
            "memory_of_agent": memory(proc::memory(std::slice::from_ref(agent))?),
            "memory_of_helper": memory(proc::memory(helpers)?),
            "lock_probes_per_second": rounded((probes(pod).await? - looked) / seconds),
        }));
    }
    let mut told = told.into_iter();
    Ok(json!({"standby": told.next(), "master": told.next()}))
}

/// Tandem's processes of a pod; the first is the one that the others are children of.
fn tandems(lab: &Lab, pod: &Pod) -> Result<Vec<PodProcess>> {
    let uid = pod.uid().context("a pod without uid")?;
    let mut all = lab.bed.processes_of_pod(&uid)?;
    all.retain(|process| process.name == "tandem");
    let pids: Vec<i32> = all.iter().map(|process| process.process.pid()).collect();
    all.sort_by_key(|process| pids.contains(&process.parent));
    ensure!(!all.is_empty(), "no process of Tandem in {}", pod.name_any());
    Ok(all)
}

/// How often an agent has looked at the lock.
async fn probes(pod: &Pod) -> Result<f64> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let url = format!("http://{}:{AGENT_PORT}/metrics", ip.context("no address")?);
    let metrics = http::text(Method::GET, &url, Duration::from_secs(5)).await?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tandem_agent_lock_probe_seconds_count "));
    Ok(line.context("no count of looks at the lock")?.trim().parse()?)
}

/// The `resourceVersion` of every object of the groups.
fn versions(lab: &Lab) -> Result<Vec<(String, String)>> {
    let list: Value =
        serde_json::from_str(&lab.bed.kubectl(&["-n", NAMESPACE, "get", OBJECTS, "-o", "json"])?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().context("no list")?;
    Ok(items
        .iter()
        .map(|item| {
            let meta = &item["metadata"];
            (
                format!("{} {}", text(&item["kind"]), text(&meta["name"])),
                text(&meta["resourceVersion"]),
            )
        })
        .collect())
}

/// What has another version, or is new.
fn changed(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    after.iter().filter(|object| !before.contains(object)).map(|(name, _)| name.clone()).collect()
}

fn memory(memory: Memory) -> Value {
    let mib = |kib: u64| rounded(whole(kib) / 1024.0);
    json!({
        "resident_mib": mib(memory.resident),
        "anonymous_mib": mib(memory.anonymous),
        "proportional_mib": mib(memory.proportional),
    })
}

fn per_minute(requests: Requests) -> Value {
    let rate = |count: u64| rounded(minutes(count));
    json!({
        "reads": rate(requests.reads), "writes": rate(requests.writes),
        "leases": rate(requests.leases), "watches": rate(requests.watches),
    })
}

fn minutes(count: u64) -> f64 {
    whole(count) * 60.0 / WATCHED.as_secs_f64()
}

fn percent(used: Duration, of: Duration) -> f64 {
    rounded(100.0 * used.as_secs_f64() / of.as_secs_f64())
}

fn count(number: usize) -> f64 {
    whole(u64::try_from(number).unwrap_or(u64::MAX))
}

fn whole(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// To two digits: more would not be the same the next time.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The figures for people, with the project's bars beside them.
pub fn text(figures: &Value) -> String {
    let operator = &figures["operator"];
    let rates = &operator["requests_per_minute"];
    let told = format!(
        "operator with {} clusters: {} MiB resident ({} anonymous), {} % CPU\n  \
         requests a minute: {} reads, {} writes, {} of its Lease, {} watches begun\n  \
         {} objects of the groups, changed meanwhile: {}\n",
        operator["clusters"],
        operator["memory"]["resident_mib"],
        operator["memory"]["anonymous_mib"],
        operator["cpu_percent"],
        rates["reads"],
        rates["writes"],
        rates["leases"],
        rates["watches"],
        operator["objects_observed"],
        operator["objects_changed"],
    );
    let agents = ["master", "standby"].map(|role| {
        let agent = &figures["agents"][role];
        format!(
            "agent of a {role}: {} MiB resident ({} anonymous) and {} of its helper; \
             {} % CPU, {} looks at the lock a second\n",
            agent["memory_of_agent"]["resident_mib"],
            agent["memory_of_agent"]["anonymous_mib"],
            agent["memory_of_helper"]["resident_mib"],
            agent["cpu_percent"],
            agent["lock_probes_per_second"],
        )
    });
    told + &agents.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_versions_count_as_changes() {
        let object = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let before = [object("Service a", "1"), object("Service b", "2")];
        let after = [object("Service a", "1"), object("Service b", "3"), object("Secret c", "4")];
        assert_eq!(changed(&before, &after), ["Service b", "Secret c"]);
        assert!(changed(&before, &before).is_empty());
    }

    #[test]
    fn rates_are_per_minute() {
        let requests = Requests { leases: 120, writes: 0, watches: 1, reads: 7 };
        let expected = json!({"reads": 3.5, "writes": 0.0, "leases": 60.0, "watches": 0.5});
        assert_eq!(per_minute(requests), expected);
        assert_eq!(json!(percent(Duration::from_millis(300), AGENTS_WATCHED)), json!(1.0));
    }
}
