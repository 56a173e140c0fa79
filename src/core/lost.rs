//! Whether a pod of a lost node may be deleted by force, so that it is made anew elsewhere.
//!
//! A StatefulSet never replaces a pod whose node does not answer: it may still run there. It may be
//! replaced when all of this is so:
//! * its agent does not answer, now;
//! * another pod is proven to serve, by the lock: so this one is not the master;
//! * on a volume: the serving pod's agent sees that its beats have stopped, and that the storage no
//!   longer counts it as holding its own lock there. So the storage has given up this client, or its
//!   process is dead. In a database the lease says the same of the master, and a standby has nothing;
//! * its node is gone, or marked `node.kubernetes.io/out-of-service`, or has not been ready for
//!   `failover.unreachableNode.forceDeleteAfter`.
//!
//! Whatever is not known leads to waiting. The deletion names the pod's uid, and so do its beats and
//! its lease: a pod of the same name that comes after it is never mistaken for it.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    lock::Group,
    observed::{NodeView, Observed, PodView, ReportView},
    rollout::{Manner, Victim},
    validate::ValidCluster,
};
use crate::broker::{classic::config::millis, report::PeerReport, store::Store};

/// Beats that have not been seen for so long have stopped. A standby's come every second.
const STOPPED: Duration = Duration::from_secs(10);

/// What is to be done about a pod that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is known to be lost.
    None,
    /// Its node is lost; why it is not deleted yet, for people.
    Waits(String),
    /// It may be deleted by force, for this reason.
    Delete(String),
}

/// Judges one pod.
pub fn judge(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    pod: &PodView,
    now: Timestamp,
) -> Loss {
    if matches!(pod.report, ReportView::Fresh(_)) {
        return Loss::None;
    }
    let Some(lost) = node(cluster, pod, now) else { return Loss::None };
    let (node, overdue) = match lost {
        Ok(why) => (why, true),
        Err(waits) => (waits, false),
    };
    if let Err(why) = proven_idle(cluster, observed, group, pod) {
        return Loss::Waits(format!("{node}; it is not deleted by force, because {why}"));
    }
    if overdue { Loss::Delete(node) } else { Loss::Waits(node) }
}

/// Why the pod's node counts as lost, or what that waits for; nothing while the node is fine or not
/// known.
fn node(cluster: &ValidCluster, pod: &PodView, now: Timestamp) -> Option<Result<String, String>> {
    let name = pod.node.as_deref().unwrap_or("its node");
    match &pod.node_state {
        NodeView::Unknown | NodeView::Ready => None,
        NodeView::Gone => Some(Ok(format!("node {name} no longer exists"))),
        NodeView::OutOfService => Some(Ok(format!("node {name} is marked as out of service"))),
        NodeView::NotReady { since } => {
            let after = &cluster.spec.failover.unreachable_node.force_delete_after;
            let after = Duration::from_millis(millis(after));
            let so_far = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
            Some(if so_far >= after {
                Ok(format!("node {name} has not been ready since {since}"))
            } else {
                Err(format!(
                    "node {name} has not been ready since {since}; its pod is deleted by force after \
                     {} s, or at once when the node is marked with the taint \
                     node.kubernetes.io/out-of-service",
                    after.as_secs()
                ))
            })
        }
    }
}

/// Proven not to be the master, and to be nothing else.
fn proven_idle(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    pod: &PodView,
) -> Result<(), String> {
    let Group::Serving(master) = group else {
        return Err("no other pod is proven to hold the lock".to_owned());
    };
    let serving = observed.pod(master).filter(|serving| serving.uid != pod.uid);
    let Some(report) = serving.and_then(PodView::report) else {
        return Err("no other pod is proven to hold the lock".to_owned());
    };
    if matches!(cluster.store, Store::Database { .. }) {
        return Ok(());
    }
    let Some(volume) = &report.volume else {
        return Err(format!("{master} does not tell of its volume"));
    };
    let beats = volume.peers.iter().find(|peer| peer.uid == pod.uid);
    match beats {
        Some(beats) => stopped(beats),
        None if pod.holds_nothing() => Ok(()),
        None => Err(format!("{master} has never seen it beat on the volume")),
    }
}

fn stopped(beats: &PeerReport) -> Result<(), String> {
    let quiet = Duration::from_millis(beats.quiet_millis.unwrap_or(beats.known_millis));
    if quiet < STOPPED {
        return Err(format!("it wrote to the volume {} s ago", quiet.as_secs()));
    }
    match beats.locked {
        Some(false) => Ok(()),
        Some(true) => {
            Err("the storage still counts it as alive: it holds a lock on the volume".to_owned())
        }
        None => Err("the storage does not say whether it still holds its lock".to_owned()),
    }
}

/// Pods of lost nodes with what becomes of them, and the one that is to be deleted by force.
pub fn all(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    now: Timestamp,
) -> (Vec<(String, String)>, Option<Victim>) {
    let (mut told, mut victim) = (Vec::new(), None);
    for pod in &observed.pods {
        match judge(cluster, observed, group, pod, now) {
            Loss::None => {}
            Loss::Waits(why) => told.push((pod.name.clone(), why)),
            Loss::Delete(why) => {
                told.push((pod.name.clone(), format!("{why}; it is deleted by force")));
                victim.get_or_insert_with(|| Victim {
                    pod: pod.name.clone(),
                    uid: pod.uid.clone(),
                    why,
                    manner: Manner::Force,
                });
            }
        }
    }
    (told, victim)
}

#[cfg(test)]
#[path = "lost_tests.rs"]
mod tests;
