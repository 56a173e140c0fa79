//! Which pod is replaced next, if one may be.
//!
//! What must be true before a pod is deleted (S4):
//! * it is not as it should be, it is not kept down for people to look into, and the operator is not
//!   paused;
//! * it holds nothing (its container does not run, or its agent says that no broker runs) and no
//!   promotion can be under way; or
//! * another pod is proven to serve, and it is not needed as a standby: it does not wait for the
//!   lock itself, or all other standbys do and a window is open; or
//! * the group has one pod only, and no other way.
//!
//! A serving master is never deleted while it has standbys: it is switched over, and is a standby then.
//! What must be true for that is in [`super::switchover`].
//!
//! Silence, a disputed lock, or a takeover under way lead to waiting.

use super::{
    lock::Group,
    observed::{ContainerView, Observed, PodView},
    validate::ValidCluster,
    windows::Window,
};
use crate::{api::v1alpha1::UpdateStrategy, broker::report::AgentState};

/// What the pods are to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim<'a> {
    /// The revision of their template.
    pub revision: &'a str,
    /// The agent's image, if pods are replaced for another one: an upgrade of the operator alone restarts
    /// no broker.
    pub agent: Option<&'a str>,
    /// Whether brokers that do their part may be replaced now.
    pub window: Window,
}

impl Aim<'_> {
    /// Whether this pod is as it should be.
    pub fn is_met(&self, pod: &PodView) -> bool {
        let agent = self.agent.is_none_or(|image| pod.agent_image.as_deref() == Some(image));
        pod.revision == self.revision && agent
    }
}

/// Where a change of the pods stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// Every pod is as it should be and does its part.
    Done,
    /// This pod is to be deleted now.
    Replace(Victim),
    /// The master is the last one that is not as it should be.
    SwitchOver(String),
    /// Pods are on their way; why it takes a moment.
    Moving(String),
    /// It cannot be done safely now; why, and what to do.
    Waiting(String),
    /// It waits for a window or for people, and nothing is wrong; for which.
    Scheduled(String),
    /// A pod that is as it should be does not get along; why, and what to do.
    Stuck(String),
    /// A pod of the changed spec did not get along, and all are as the master is; why, and what to do.
    Halted(String),
}

impl Rollout {
    /// The pod that is to be deleted now, if one is.
    pub fn victim(&self) -> Option<Victim> {
        match self {
            Self::Replace(victim) => Some(victim.clone()),
            Self::Done
            | Self::SwitchOver(_)
            | Self::Moving(_)
            | Self::Waiting(_)
            | Self::Scheduled(_)
            | Self::Stuck(_)
            | Self::Halted(_) => None,
        }
    }
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

/// A standby that will not come up by itself: correcting the spec is the only way on.
pub(super) fn spoilt(pod: &PodView) -> bool {
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

/// The next step, once the StatefulSet has the template that is aimed at.
pub fn next(cluster: &ValidCluster, observed: &Observed, group: &Group, aim: &Aim<'_>) -> Rollout {
    let outdated: Vec<&PodView> = observed
        .pods
        .iter()
        .filter(|pod| !aim.is_met(pod) && !pod.terminating && !cluster.fences(&pod.name))
        .collect();
    if outdated.is_empty() {
        return settled(cluster, observed, group);
    }
    if let Some(pod) = observed.pods.iter().find(|pod| pod.terminating) {
        return Rollout::Moving(format!("{} is ending", pod.name));
    }
    if cluster.spec.update.strategy == UpdateStrategy::OnDelete {
        return Rollout::Scheduled(format!(
            "{} of an older spec: update.strategy is OnDelete, so delete them when it suits, the master last",
            are(&outdated)
        ));
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
        Group::Serving(master) => beside(cluster, observed, &outdated, master, aim.window),
    }
}

fn are(pods: &[&PodView]) -> String {
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    format!("{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

/// One master serves: standbys first, it last.
fn beside(
    cluster: &ValidCluster,
    observed: &Observed,
    outdated: &[&PodView],
    master: &str,
    window: Window,
) -> Rollout {
    let standbys =
        || observed.pods.iter().filter(|pod| pod.name != master && !cluster.fences(&pod.name));
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
    if let Window::Closed { opens } = window {
        return Rollout::Scheduled(format!(
            "{} to be replaced when a window of update.windows is open{}",
            are(outdated),
            opens.map(|opens| format!(": from {opens}")).unwrap_or_default()
        ));
    }
    if let Some(pod) = outdated.iter().find(|pod| pod.name != master) {
        return replace(pod, "standbys go first");
    }
    match outdated.first() {
        Some(pod) if standbys().next().is_some() => Rollout::SwitchOver(format!(
            "{} is the last one to be replaced; the mastership is handed over first",
            pod.name
        )),
        Some(pod) if cluster.spec.replicas == 1 => replace(pod, "the group has no other pod"),
        Some(pod) => Rollout::Waiting(format!("{} is the master and has no standby", pod.name)),
        None => Rollout::Done,
    }
}

/// All pods are as they should be: do they do their part?
fn settled(cluster: &ValidCluster, observed: &Observed, group: &Group) -> Rollout {
    let wanted = usize::try_from(cluster.spec.replicas).unwrap_or_default();
    if let Some(pod) = observed.pods.iter().find(|pod| pod.terminating) {
        return Rollout::Moving(format!("{} is ending", pod.name));
    }
    let master = match group {
        Group::Serving(master) => Some(master.as_str()),
        Group::Dead | Group::InTransit(_) => None,
    };
    let idle = observed.pods.iter().find(|pod| {
        Some(pod.name.as_str()) != master && !pod.waits() && !cluster.fences(&pod.name)
    });
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
                AgentState::Standby if report.stands_still() => "its broker stands still",
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
