//! Reports of all agents to one judgement about the lock.

use super::observed::{Observed, PodView};
use crate::broker::report::{LockView, Report};

/// Who holds the lock on the store, as far as that is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// This pod's broker.
    Held {
        /// The pod.
        by: String,
    },
    /// Nobody: every agent says so.
    Free,
    /// More than one agent claims it.
    Disputed(Vec<String>),
    /// It cannot be told, for this reason. Leads to doing nothing.
    Unknown(String),
}

/// Judges the reports of one pass.
///
/// One claim is believed even when other agents are silent: the claim rests on the kernel's own
/// table, and a lock has one holder. Silence or "somebody else" without a claim prove nothing.
pub fn judge(observed: &Observed) -> Lock {
    let claims: Vec<(&PodView, &Report)> = observed
        .pods
        .iter()
        .filter_map(|pod| Some((pod, pod.report()?)))
        .filter(|(_, report)| matches!(report.lock.view, LockView::Mine(_)))
        .collect();
    match claims.as_slice() {
        [] => unclaimed(&observed.pods),
        [(pod, report)] if report.holds_in_other_words() => Lock::Unknown(format!(
            "the agent of {} is newer than this version, and says in words of its own that its broker \
             holds the lock",
            pod.name
        )),
        [(pod, _)] => Lock::Held { by: pod.name.clone() },
        _ => Lock::Disputed(claims.iter().map(|(pod, _)| pod.name.clone()).collect()),
    }
}

fn unclaimed(pods: &[PodView]) -> Lock {
    let mut heard = 0;
    for pod in pods {
        match pod.report().map(|report| report.lock.view) {
            Some(LockView::Free) => heard += 1,
            Some(LockView::Other) => {
                return Lock::Unknown(format!(
                    "{} sees the lock held, but no agent claims it",
                    pod.name
                ));
            }
            Some(LockView::Unknown) => {
                return Lock::Unknown(format!("{} gets no answer from the store", pod.name));
            }
            Some(LockView::Mine(_)) => {}
            None if pod.holds_nothing() => {}
            None => return Lock::Unknown(format!("the agent of {} does not answer", pod.name)),
        }
    }
    if heard > 0 { Lock::Free } else { Lock::Unknown("no agent runs".to_owned()) }
}

/// What the group does, as far as that is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// This pod serves: it holds the undisputed lock and greets.
    Serving(String),
    /// No broker runs anywhere and nobody holds the lock: nothing can be disturbed.
    Dead,
    /// Anything else, in words: a takeover, a start, silence. Leads to doing nothing.
    InTransit(String),
}

/// What the group does.
pub fn group(observed: &Observed, lock: &Lock) -> Group {
    match lock {
        Lock::Held { by } if observed.pod(by).is_some_and(PodView::serves) => {
            Group::Serving(by.clone())
        }
        Lock::Held { by } => {
            Group::InTransit(format!("{by} holds the lock and does not serve yet"))
        }
        Lock::Disputed(pods) => {
            Group::InTransit(format!("{} all claim the lock", pods.join(" and ")))
        }
        Lock::Free | Lock::Unknown(_) if dead(observed, lock) => Group::Dead,
        Lock::Free => Group::InTransit("nobody holds the lock at the moment".to_owned()),
        Lock::Unknown(why) => Group::InTransit(why.clone()),
    }
}

/// No broker process anywhere: every container is stopped, or its agent says that no child runs
/// (between two starts). An agent that sees the lock held contradicts that.
fn dead(observed: &Observed, lock: &Lock) -> bool {
    let nobody_runs = observed.pods.iter().all(PodView::holds_nothing);
    let nothing_reported = observed.pods.iter().all(|pod| pod.report().is_none());
    nobody_runs && (*lock == Lock::Free || nothing_reported)
}
