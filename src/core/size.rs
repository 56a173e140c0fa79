//! How many pods there are, and which of their brokers are kept down.
//!
//! What must be true before a broker is kept down: another pod is proven to serve. Its agent stops it only if
//! it does not hold the lock, whatever the record says; so a broker that has just become master goes on, and is
//! switched over first.
//!
//! A StatefulSet that is made smaller ends its pods of the highest ordinals, so the master must not be one of
//! them; and one that hibernates would see its standbys take over from each other, so they are stopped first.

use super::{
    lock::{Group, Lock},
    observed::{Observed, PodView},
    rollout::Rollout,
    validate::ValidCluster,
};
use crate::resources::Kind;

/// How many pods there are, and which of their brokers are kept down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// What the StatefulSet is to have.
    pub replicas: i32,
    /// Pods whose brokers are kept down, in the order of their names.
    pub held: Vec<String>,
    /// What this waits for, if it does.
    pub waits: Option<Rollout>,
}

/// How large the group is to be now.
pub fn now(cluster: &ValidCluster, observed: &Observed, group: &Group, lock: &Lock) -> Size {
    let live = observed.child(Kind::StatefulSet, &cluster.name.main());
    let live = live.and_then(|set| set.pointer("/spec/replicas")?.as_i64());
    let live = live.and_then(|replicas| i32::try_from(replicas).ok());
    if cluster.spec.hibernated {
        return hibernating(observed, group, lock, live.unwrap_or_default());
    }
    let wanted = cluster.spec.replicas;
    // A switchover comes first, or it is not known who the master is.
    let not_smaller = wanted.max(live.unwrap_or(wanted));
    let (replicas, waits) = match group {
        Group::Dead => (wanted, None),
        Group::Serving(master) if cluster.keeps(master) => (wanted, None),
        Group::Serving(master) => {
            let why = format!(
                "the group is made smaller once {master} is not the master: the mastership is handed over first"
            );
            (not_smaller, Some(Rollout::Moving(why)))
        }
        Group::InTransit(why) => {
            let why = format!("the group is not made smaller while {why}");
            (not_smaller, Some(Rollout::Waiting(why)))
        }
    };
    let waits = waits.filter(|_| replicas != wanted);
    Size { replicas, held: fenced(cluster, observed, group), waits }
}

/// Pods of `spec.fencedPods` whose brokers may be kept down. While nobody is proven to serve, the ones that
/// are stay so, and no others join them.
fn fenced(cluster: &ValidCluster, observed: &Observed, group: &Group) -> Vec<String> {
    let held = observed.record.as_ref().map(|record| record.held.as_slice()).unwrap_or_default();
    let may_be = |pod: &PodView| match group {
        Group::Serving(master) => pod.name != *master,
        Group::Dead | Group::InTransit(_) => held.contains(&pod.name),
    };
    let pods = observed.pods.iter().filter(|pod| cluster.fences(&pod.name) && may_be(pod));
    sorted(pods)
}

/// Standbys are stopped first, then all pods go.
fn hibernating(observed: &Observed, group: &Group, lock: &Lock, live: i32) -> Size {
    match (group, lock) {
        (_, Lock::Disputed(pods)) => Size {
            replicas: live,
            held: Vec::new(),
            waits: Some(Rollout::Waiting(format!(
                "the group does not hibernate while {} all claim the lock",
                pods.join(" and ")
            ))),
        },
        (Group::Serving(master), _) => {
            let others = || observed.pods.iter().filter(|pod| pod.name != *master);
            let idle = others().all(|pod| pod.terminating || pod.holds_nothing());
            Size {
                replicas: if idle { 0 } else { live },
                held: sorted(others()),
                waits: Some(Rollout::Moving("standbys are stopped, then the master".to_owned())),
            }
        }
        // Nobody serves: that all are ended is what people asked for.
        (Group::Dead | Group::InTransit(_), _) => Size {
            replicas: 0,
            held: Vec::new(),
            waits: (!observed.pods.is_empty())
                .then(|| Rollout::Moving(format!("{} pods are ending", observed.pods.len()))),
        },
    }
}

fn sorted<'a>(pods: impl Iterator<Item = &'a PodView>) -> Vec<String> {
    let mut names: Vec<String> = pods.map(|pod| pod.name.clone()).collect();
    names.sort();
    names
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;
