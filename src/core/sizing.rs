//! How much memory and disk a broker may use, and what must fit into what.

use crate::{
    api::v1alpha1::{
        BrokerClusterSpec, QuantityValue, Resources, amount, default_resources, mebibytes, whole,
    },
    broker::classic::{connectors, usage::Usage},
};

/// Kubernetes' name of a node's disk as a resource. Tandem asks for none of it: nodes without
/// `localStorageCapacityIsolation` (rootless ones) report none, and a pod that asks for some stays Pending.
const DISK: &str = "ephemeral-storage";

const MEBIBYTE: u64 = 1 << 20;
/// What `/tmp` holds beside the temporary store: the JVM's files, and the messages that were on their way when
/// the limit was reached.
const BESIDE_THE_TEMPORARY_STORE: u64 = 512 * MEBIBYTE;
/// What a pod holds on the node's disk beside `/tmp`: agent, drivers, and the container's log, which
/// kubelets cut at 10 MiB in five files by default.
const BESIDE_TMP: u64 = 512 * MEBIBYTE;

/// What a container needs beside the heap: 100 MiB for classes, compiled code, the collector and the agent,
/// and the rest for the threads and buffers of 1,000 connections (docs/decisions/0022).
const BESIDE_THE_HEAP: u64 = 256 * MEBIBYTE;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The largest heap.
    pub heap: u64,
    /// The limit of the volume at `/tmp`. The kubelet evicts a pod that exceeds it, so it is above all
    /// that the broker may write there.
    pub tmp: u64,
}

/// What of the spec does not fit together: the field and what to do.
pub type Problem = (&'static str, String);

/// The sizes for a spec.
///
/// # Errors
/// What does not fit.
pub fn sizes(spec: &BrokerClusterSpec, usage: &Usage) -> Result<Sizes, Vec<Problem>> {
    let resources = resources(spec);
    let heap = heap(&spec.broker.java.heap, resources.limits.get("memory"))
        .map_err(|text| vec![("broker.java.heap", text)])?;
    let tmp = usage.temp_bytes().saturating_add(BESIDE_THE_TEMPORARY_STORE);
    let sizes = Sizes { heap, tmp };
    let problems: Vec<Problem> = disk_problem(&resources, usage, tmp.saturating_add(BESIDE_TMP))
        .into_iter()
        .chain(spec.listeners.iter().filter_map(|listener| {
            connectors::problem(listener, heap).map(|text| ("listeners", text))
        }))
        .collect();
    if problems.is_empty() { Ok(sizes) } else { Err(problems) }
}

/// The broker's resources: the user's, or the default ones.
pub fn resources(spec: &BrokerClusterSpec) -> Resources {
    spec.pod.resources.clone().unwrap_or_else(default_resources)
}

/// The heap in bytes.
fn heap(text: &str, limit: Option<&QuantityValue>) -> Result<u64, String> {
    let bytes = limit.and_then(QuantityValue::amount).map(whole);
    let heap = match (text.strip_suffix('%'), bytes) {
        (None, _) => amount(text)
            .map(whole)
            .ok_or_else(|| format!("{text} is not a size; write one like 2Gi"))?,
        (Some(percent), Some(limit)) => {
            let percent: u64 =
                percent.parse().map_err(|_| format!("{text} is not a percentage"))?;
            limit.saturating_mul(percent) / 100
        }
        (Some(_), None) => {
            return Err(format!(
                "{text} is a part of the container's memory limit, and there is none: the JVM would take that \
                 part of the node's memory; set pod.resources.limits.memory, or write a size like 512Mi"
            ));
        }
    };
    match bytes {
        Some(limit) if heap.saturating_add(BESIDE_THE_HEAP) > limit => Err(format!(
            "{text} is a heap of {}, and the container's memory limit is {}: {} must remain for threads, classes and \
             buffers, or the kernel kills the broker; lower the heap, or raise pod.resources.limits.memory to {}",
            mebibytes(heap),
            mebibytes(limit),
            mebibytes(BESIDE_THE_HEAP),
            mebibytes(heap.saturating_add(BESIDE_THE_HEAP)),
        )),
        _ => Ok(heap),
    }
}

fn disk_problem(resources: &Resources, usage: &Usage, disk: u64) -> Option<Problem> {
    let limit = resources.limits.get(DISK)?;
    let fits =
        limit.amount().zip(amount(&mebibytes(disk))).is_some_and(|(limit, disk)| limit >= disk);
    let text = format!(
        "limits.{DISK} is {}, but the broker's temporary store may become {} and a pod needs 1Gi beside it; \
         raise the limit to {}, or lower <tempUsage> in broker.config.xml",
        limit.0,
        mebibytes(usage.temp_bytes()),
        mebibytes(disk),
    );
    (!fits).then_some(("pod.resources", text))
}

#[cfg(test)]
#[path = "sizing_tests.rs"]
mod tests;
