//! Which pod is replaced next, if one may be.
//!
//! What must be true before a pod is deleted (S4):
//! * it is of another revision than the spec, and the operator is not paused;
//! * it holds nothing (its container does not run, or its agent says that no broker runs) and no
//!   promotion can be under way; or
//! * another pod is proven to serve, and it is not needed as a standby: it does not wait for the
//!   lock itself, or all other standbys do; or
//! * it is the proven master, and every other pod is of the new revision and proven to wait; or
//! * the group has one pod only, and no other way.
//!
//! Silence, a disputed lock, or a takeover under way lead to waiting.

use super::{
    lock::Group,
    observed::{ContainerView, Observed, PodView},
    validate::ValidCluster,
};
use crate::broker::report::AgentState;

/// Where a change of the pods stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// Every pod is of the spec's revision and does its part.
    Done,
    /// This pod is to be deleted now.
    Replace(Victim),
    /// Pods are on their way; why it takes a moment.
    Moving(String),
    /// It cannot be done safely now; why, and what to do.
    Waiting(String),
    /// A pod of the new revision does not get along; why, and what to do.
    Stuck(String),
}

/// A pod to be deleted, and only if it is still the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its name.
    pub pod: String,
    /// Its uid, a precondition of the deletion.
    pub uid: String,
    /// Why.
    pub why: String,
    /// How.
    pub manner: Manner,
}

/// How a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Its broker is stopped, as its grace period allows.
    Graceful,
    /// Its object goes at once; whatever is left of the pod is on a lost node. See [`super::lost`].
    Force,
}

/// Whether the StatefulSet may be given a template of another revision. A StatefulSet makes *any*
/// lost pod from its template, so a changed one is applied only when its rollout may start.
///
/// # Errors
/// Why not.
pub fn may_change_template(
    observed: &Observed,
    group: &Group,
    current: &str,
) -> Result<(), String> {
    match group {
        Group::Dead => Ok(()),
        Group::InTransit(why) => Err(why.clone()),
        Group::Serving(master) => {
            let under_way = observed.pods.iter().any(|pod| pod.revision != current);
            let idle = observed.pods.iter().find(|pod| pod.name != *master && !pod.waits());
            match idle {
                Some(pod) if !under_way && pod.revision == current && !spoilt(pod) => {
                    Err(format!("{} is not waiting for the lock: {}", pod.name, describe(pod)))
                }
                _ => Ok(()),
            }
        }
    }
}

/// A standby that will not come up by itself: correcting the spec is the only way on.
fn spoilt(pod: &PodView) -> bool {
    match &pod.container {
        ContainerView::NotRunning { stuck, .. } => *stuck,
        ContainerView::Running => pod.report().is_some_and(|report| match report.state {
            AgentState::Backoff => true,
            AgentState::Preflight => {
                let volume = report.volume.as_ref().is_some_and(|it| it.problem.is_some());
                volume || report.database.as_ref().is_some_and(|it| it.problem.is_some())
            }
            AgentState::Starting
            | AgentState::Standby
            | AgentState::Promoting
            | AgentState::Master
            | AgentState::SteppingDown
            | AgentState::Fenced
            | AgentState::Held
            | AgentState::Stopped
            | AgentState::Unknown => false,
        }),
    }
}

/// The next step towards the spec, once the StatefulSet has the spec's template.
pub fn next(cluster: &ValidCluster, observed: &Observed, group: &Group) -> Rollout {
    let outdated: Vec<&PodView> = observed
        .pods
        .iter()
        .filter(|pod| pod.revision != cluster.revision && !pod.terminating)
        .collect();
    if outdated.is_empty() {
        return settled(cluster, observed, group);
    }
    if let Some(pod) = observed.pods.iter().find(|pod| pod.terminating) {
        return Rollout::Moving(format!("{} is ending", pod.name));
    }
    let stopped = |pod: &&&PodView| matches!(pod.container, ContainerView::NotRunning { .. });
    if let Some(pod) = outdated.iter().find(stopped) {
        return replace(pod, "its container does not run");
    }
    match group {
        Group::Dead => outdated.first().map_or(Rollout::Done, |pod| replace(pod, "no broker runs")),
        Group::InTransit(why) => {
            Rollout::Waiting(format!("the pods are of an older spec; none is replaced while {why}"))
        }
        Group::Serving(master) => beside(cluster, observed, &outdated, master),
    }
}

/// One master serves: standbys first, it last.
fn beside(
    cluster: &ValidCluster,
    observed: &Observed,
    outdated: &[&PodView],
    master: &str,
) -> Rollout {
    let standbys = || observed.pods.iter().filter(|pod| pod.name != master);
    if let Some(pod) = outdated.iter().find(|pod| pod.name != master && !pod.waits()) {
        return match pod.report() {
            Some(_) => replace(pod, "it does not wait for the lock, so nothing is lost"),
            None => {
                Rollout::Waiting(format!("{} must be replaced, but {}", pod.name, describe(pod)))
            }
        };
    }
    if let Some(pod) = standbys().find(|pod| !pod.waits()) {
        return lagging(pod);
    }
    let missing = usize::try_from(cluster.spec.replicas)
        .unwrap_or_default()
        .saturating_sub(observed.pods.len());
    if missing > 0 {
        return Rollout::Moving(format!("{missing} pods are still to be made"));
    }
    if let Some(pod) = outdated.iter().find(|pod| pod.name != master) {
        return replace(pod, "standbys go first");
    }
    match outdated.first() {
        Some(pod) if standbys().next().is_some() || cluster.spec.replicas == 1 => {
            replace(pod, "the master goes last, one failover")
        }
        Some(pod) => Rollout::Waiting(format!("{} is the master and has no standby", pod.name)),
        None => Rollout::Done,
    }
}

/// All pods are of the spec's revision: do they do their part?
fn settled(cluster: &ValidCluster, observed: &Observed, group: &Group) -> Rollout {
    let wanted = usize::try_from(cluster.spec.replicas).unwrap_or_default();
    if let Some(pod) = observed.pods.iter().find(|pod| pod.terminating) {
        return Rollout::Moving(format!("{} is ending", pod.name));
    }
    let master = match group {
        Group::Serving(master) => Some(master.as_str()),
        Group::Dead | Group::InTransit(_) => None,
    };
    let idle = observed.pods.iter().find(|pod| Some(pod.name.as_str()) != master && !pod.waits());
    match idle {
        Some(pod) => lagging(pod),
        None if observed.pods.len() != wanted => {
            Rollout::Moving(format!("{} of {wanted} pods exist", observed.pods.len()))
        }
        None if master.is_none() => Rollout::Moving("no master yet".to_owned()),
        None => Rollout::Done,
    }
}

fn lagging(pod: &PodView) -> Rollout {
    if spoilt(pod) {
        Rollout::Stuck(format!(
            "{} does not come up: {}; correct the spec to go on",
            pod.name,
            describe(pod)
        ))
    } else {
        Rollout::Moving(format!("{}: {}", pod.name, describe(pod)))
    }
}

/// What a pod does, for people.
pub fn describe(pod: &PodView) -> String {
    match (&pod.container, pod.report()) {
        (ContainerView::NotRunning { why, .. }, _) => why.clone(),
        (ContainerView::Running, None) => "its agent does not answer".to_owned(),
        (ContainerView::Running, Some(report)) => {
            let state = match report.state {
                AgentState::Preflight | AgentState::Starting => "its broker is starting",
                AgentState::Standby => "its broker waits for the lock",
                AgentState::Promoting => "its broker has the lock and is not serving yet",
                AgentState::Master => "its broker is master",
                AgentState::SteppingDown => "its broker is stopping",
                AgentState::Fenced => "its broker was killed because its lock was in doubt",
                AgentState::Backoff => "its broker ended and will be started again",
                AgentState::Held => "its broker is kept down, as asked for",
                AgentState::Stopped => "its agent is ending",
                AgentState::Unknown => "its agent is newer, and does what is not known here",
            };
            let exit = report
                .last_exit
                .as_ref()
                .filter(|_| report.child.is_none())
                .map(|exit| format!(" (it ended with {})", exit.status))
                .unwrap_or_default();
            let message =
                report.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            let leaving = if pod.terminating { " (the pod is ending)" } else { "" };
            format!("{state}{leaving}{exit}{message}")
        }
    }
}

fn replace(pod: &PodView, why: &str) -> Rollout {
    let (pod, uid) = (pod.name.clone(), pod.uid.clone());
    Rollout::Replace(Victim { pod, uid, why: why.to_owned(), manner: Manner::Graceful })
}
