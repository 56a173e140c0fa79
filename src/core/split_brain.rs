//! Two brokers that hold the lock at the same time: when that is believed, and which of them goes on.
//!
//! Reports are read one after the other and tell of moments that have passed, so during a handover the
//! old master may still seem to claim the lock when the new one does. A dispute is believed only when a
//! broker process is seen to hold the lock before *and* after a moment at which another one held it. A
//! process takes the lock once, so it held it in between too.
//!
//! When a dispute is believed, every agent has looked at its lock again since, and none has found it lost:
//! the kernels, or two databases, have truly granted it twice. So the truth of the lock does not say which
//! of the brokers is right, and [`who_stays`] chooses.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    lock::Lock,
    observed::{Observed, PodView},
    record::RecordView,
};
use crate::{
    api::labels,
    broker::report::{Evidence, GreetingView, LockView, Report},
};

/// A broker process that holds the lock, as its agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which one.
    pub broker: Broker,
    /// How its agent knows.
    pub evidence: Evidence,
    /// When it took the lock, by its own node's clock.
    pub taken: Option<Timestamp>,
    /// Whether it greets clients.
    pub greets: bool,
}

/// A broker process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// Its pod.
    pub pod: String,
    /// Its pod's uid.
    pub uid: String,
    /// The random name of this start of it.
    pub instance: String,
}

/// A claim, and between which two moments of the reader's clock it was so for a while, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The claim.
    pub claim: Claim,
    /// The look at the lock behind it was begun no earlier.
    pub from: i64,
    /// The answer was there by then.
    pub to: i64,
}

/// What marks a disputed record: the annotation [`labels::DISPUTED`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// When the dispute was seen.
    pub at: Timestamp,
    /// The record's epoch then.
    pub epoch: u64,
    /// The uid of the pod whose broker goes on if it proves its lock afresh.
    pub stays: String,
    /// The broker processes that claimed the lock.
    pub brokers: Vec<Broker>,
}

impl Mark {
    /// The mark of a record, if it has one. One that cannot be read names nobody; it is still one.
    pub fn of(record: &Value) -> Option<Self> {
        let text = record.pointer("/metadata/annotations")?.get(labels::DISPUTED)?;
        let read = text.as_str().and_then(|text| serde_json::from_str(text).ok());
        Some(read.unwrap_or_default())
    }

    /// Of these claims on this record.
    pub fn new(claims: &[Claim], record: &RecordView, at: Timestamp) -> Self {
        Self {
            at,
            epoch: record.epoch,
            stays: who_stays(claims, record),
            brokers: claims.iter().map(|claim| claim.broker.clone()).collect(),
        }
    }
}

/// The claim that an agent's report makes, if it is the report of this pod. One by an evidence that this
/// version does not know is none: a broker is killed for what claims prove.
pub fn claim(report: &Report, uid: &str) -> Option<Claim> {
    let (child, evidence) = report.claim().filter(|_| report.holds())?;
    let instance = child.instance.clone();
    let broker = Broker { pod: report.pod.clone(), uid: uid.to_owned(), instance };
    let taken = report.promotion.as_ref().map(|promotion| promotion.lock_taken);
    let greets = report.greeting == GreetingView::Ok;
    (report.pod_uid == uid).then_some(Claim { broker, evidence, taken, greets })
}

/// The claims that were made at the same time, each once.
pub fn proven(readings: &[Reading]) -> Vec<Claim> {
    let mut found: Vec<Claim> = Vec::new();
    for inner in readings {
        let during = |outer: &&Reading| {
            let broker = &outer.claim.broker;
            let again = |later: &Reading| later.claim.broker == *broker && later.from >= inner.to;
            broker.uid != inner.claim.broker.uid
                && outer.to <= inner.from
                && readings.iter().any(again)
        };
        for outer in readings.iter().filter(during) {
            for claim in [&inner.claim, &outer.claim] {
                if !found.iter().any(|known| known.broker == claim.broker) {
                    found.push(claim.clone());
                }
            }
        }
    }
    found.sort_by(|a, b| a.broker.pod.cmp(&b.broker.pod));
    found
}

/// The uid of the pod whose broker goes on. All of them hold a lock in truth, so it is the one that the
/// record named last: clients were led there, and their messages are in its store. Of a lock that is known
/// by brokers' logs only, it is the one that took it last: the others may have lost theirs unnoticed.
fn who_stays(claims: &[Claim], record: &RecordView) -> String {
    let newest = || claims.iter().max_by_key(|claim| claim.taken);
    let named = claims.iter().find(|claim| Some(&claim.broker.uid) == record.master_uid.as_ref());
    let hints_only = claims.iter().all(|claim| claim.evidence == Evidence::Log);
    let stays = if hints_only { newest() } else { named.or_else(newest) };
    stays.map(|claim| claim.broker.uid.clone()).unwrap_or_default()
}

/// What is known of a dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitBrain {
    /// One broker holds the lock, or none.
    No,
    /// Brokers of these pods hold it at the same time, in words.
    Yes(String),
    /// The record is marked, and it is not proven that the dispute is over, for this reason.
    Lingers(String),
    /// The record is marked, and the dispute is seen to be over.
    Over,
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// Judges one pass.
pub fn judge(observed: &Observed, lock: &Lock) -> SplitBrain {
    let mark = observed.record.as_ref().and_then(|record| record.disputed.as_ref());
    match (lock, observed.dispute.as_slice(), mark) {
        (_, [_, ..], _) => SplitBrain::Yes(in_words(&observed.dispute)),
        (Lock::Disputed(pods), [], Some(_)) => SplitBrain::Yes(pods.join(" and ")),
        (Lock::Disputed(pods), [], None) => SplitBrain::Unknown(format!(
            "{} claim the lock, and were not seen to have it at the same time",
            pods.join(" and ")
        )),
        (Lock::Held { .. } | Lock::Free | Lock::Unknown(_), [], Some(mark)) => {
            over(&observed.pods, mark).map_or_else(SplitBrain::Lingers, |()| SplitBrain::Over)
        }
        (Lock::Held { .. } | Lock::Free | Lock::Unknown(_), [], None) => {
            let silent = |pod: &&PodView| pod.report().is_none() && !pod.holds_nothing();
            match observed.pods.iter().find(silent) {
                Some(pod) => SplitBrain::Unknown(is_silent(pod)),
                None => SplitBrain::No,
            }
        }
    }
}

/// Whether the dispute is over: every agent sees its lock, one at most has it, and the processes that had
/// to yield are gone. So none of their agents can have missed the mark.
///
/// # Errors
/// Why not.
pub fn over(pods: &[PodView], mark: &Mark) -> Result<(), String> {
    let mut claims = Vec::new();
    for pod in pods.iter().filter(|pod| !pod.holds_nothing()) {
        let Some(report) = pod.report() else { return Err(is_silent(pod)) };
        if report.lock.view == LockView::Unknown {
            return Err(format!("the agent of {} does not see the lock", pod.name));
        }
        if report.holds_in_other_words() {
            return Err(format!(
                "the agent of {} says in other words that it holds the lock",
                pod.name
            ));
        }
        let runs = |broker: &&Broker| {
            broker.uid == pod.uid
                && report.child.as_ref().is_some_and(|child| child.instance == broker.instance)
        };
        if mark.stays != pod.uid && mark.brokers.iter().any(|broker| runs(&broker)) {
            return Err(format!("the broker of {} still runs", pod.name));
        }
        claims.extend(claim(report, &pod.uid));
    }
    if claims.len() > 1 { Err(in_words(&claims)) } else { Ok(()) }
}

fn is_silent(pod: &PodView) -> String {
    format!("the agent of {} does not answer", pod.name)
}

fn in_words(claims: &[Claim]) -> String {
    let one = |claim: &Claim| {
        let serves = if claim.greets { " (it serves)" } else { "" };
        format!("{}{serves}", claim.broker.pod)
    };
    claims.iter().map(one).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
#[path = "split_brain_tests.rs"]
mod tests;
