//! Switchovers that people ask for: whether one may begin, and what became of it.
//!
//! What must be true before a master is asked to step down (S4, S5):
//! * it is proven to serve, and the record leads to it and to no other;
//! * nobody else claims the lock, and no dispute is marked;
//! * a standby, the wanted one if one is named, is proven to wait for the lock, and no other one could get
//!   it first;
//! * no other work is under way, and the operator is not paused.
//!
//! The request is written on the record, for the epoch of that master: what a record asks is void as soon
//! as anybody is promoted. Its agent asks the others once more whether one waits, before it stops its
//! broker. All that is known of the last request is on the record too, so an operator that starts in the
//! middle goes on.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    lock::Group,
    observed::{Observed, PodView},
    record::RecordView,
    rollout::{Rollout, describe},
    validate::ValidCluster,
};
use crate::{
    api::{
        labels,
        v1alpha1::{SwitchoverResult, SwitchoverStatus},
    },
    broker::report::ExitReason,
};

/// A master that is still there so long after it was asked does not step down. Asking the others takes its
/// agent a second at most.
const STEPS_DOWN_WITHIN: SignedDuration = SignedDuration::from_secs(15);

/// A request as it stands on the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDown {
    /// The annotation's value, which tells requests apart.
    pub id: String,
    /// When it was seen, by the operator's clock.
    pub at: Timestamp,
    /// The epoch of the master that is to step down.
    pub epoch: u64,
    /// That master.
    pub from: String,
    /// The pod that is to take over, if it must be that one: other standbys stop their brokers until the
    /// request is over, and the master waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The last value of people's annotation that was dealt with: requests of the operator's own come
    /// after it and do not make it new again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// Why nothing is asked, if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// Why a switchover does not take place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One word.
    pub reason: String,
    /// For people: why, and what to do.
    pub message: String,
}

impl StepDown {
    /// The last request on a record. One that cannot be read asks nothing.
    pub fn of(record: &Value) -> Option<Self> {
        let text = record.pointer("/metadata/annotations")?.get(labels::STEP_DOWN)?;
        serde_json::from_str(text.as_str()?).ok()
    }

    /// Whether it asks the master of this epoch to step down.
    pub fn asks(&self, epoch: u64) -> bool {
        self.refused.is_none() && self.epoch == epoch
    }
}

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switchover {
    /// Nothing: there is none, or it was answered.
    None,
    /// To be written on the record: a question, or a refusal.
    Write(StepDown),
    /// The master was asked and is still there, or nobody took over yet.
    UnderWay,
    /// It cannot be answered now, for this reason.
    Unknown(String),
}

/// What is to be done about the request of this cluster.
pub fn judge(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    rollout: &Rollout,
    now: Timestamp,
) -> Switchover {
    let Some(id) = cluster.switchover.as_deref() else { return Switchover::None };
    let Some(record) = &observed.record else {
        return Switchover::Unknown("there is no promotion record".to_owned());
    };
    if let Some(last) = record.step_down.as_ref().filter(|last| last.id == id) {
        return follow(last, record, now);
    }
    let refused = may_begin(cluster, observed, group, rollout, wanted(id)).err();
    let from = record.master.clone().unwrap_or_default();
    Switchover::Write(StepDown {
        id: id.to_owned(),
        at: now,
        epoch: record.epoch,
        from,
        to: None,
        answered: Some(id.to_owned()),
        refused,
    })
}

/// Of a request that is on the record already.
fn follow(last: &StepDown, record: &RecordView, now: Timestamp) -> Switchover {
    if !last.asks(record.epoch) {
        return Switchover::None;
    }
    if now.duration_since(last.at) < STEPS_DOWN_WITHIN {
        return Switchover::UnderWay;
    }
    let message = format!(
        "{} did not step down within {} s: its agent found no other pod that waits for the lock, or cannot \
         reach the API server. It is still the master",
        last.from,
        STEPS_DOWN_WITHIN.as_secs()
    );
    let refused = Some(Refusal { reason: "NotSteppedDown".to_owned(), message });
    Switchover::Write(StepDown { refused, ..last.clone() })
}

/// The pod that a request names.
fn wanted(id: &str) -> Option<&str> {
    id.split([' ', ',', ';']).find_map(|word| word.strip_prefix("to="))
}

/// Whether the master may be asked to step down.
fn may_begin(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    rollout: &Rollout,
    to: Option<&str>,
) -> Result<(), Refusal> {
    if cluster.spec.paused {
        return refuse("Paused", "the cluster is paused: set spec.paused to false".to_owned());
    }
    if observed.record.as_ref().is_some_and(|record| record.disputed.is_some())
        || !observed.dispute.is_empty()
    {
        return refuse("LockDisputed", "several brokers claim the lock".to_owned());
    }
    let master = match group {
        Group::Serving(master) => master,
        Group::Dead => return refuse("NoMaster", "no broker runs".to_owned()),
        Group::InTransit(why) => return refuse("NoMaster", format!("no master serves: {why}")),
    };
    if !observed.record_leads_to(master) {
        return refuse("NotConverged", format!("clients are not led to {master} yet"));
    }
    match rollout {
        Rollout::Done | Rollout::Stuck(_) => {}
        Rollout::Replace(victim) => {
            return refuse("OtherWork", format!("{} is being replaced", victim.pod));
        }
        Rollout::Moving(why) | Rollout::Waiting(why) => {
            return refuse("OtherWork", format!("the group is not settled: {why}"));
        }
    }
    standby(observed, master, to)
}

fn refuse(reason: &str, message: String) -> Result<(), Refusal> {
    Err(Refusal { reason: reason.to_owned(), message })
}

/// Whether the right standby waits.
fn standby(observed: &Observed, master: &str, to: Option<&str>) -> Result<(), Refusal> {
    let waiting: Vec<&PodView> =
        observed.pods.iter().filter(|pod| pod.name != master && pod.waits()).collect();
    let Some(to) = to else {
        return match waiting.first() {
            Some(_) => Ok(()),
            None => refuse("NoStandby", idle(observed, master)),
        };
    };
    match observed.pod(to) {
        None => refuse("NoSuchPod", format!("{to} is no pod of the group")),
        Some(pod) if pod.name == master => {
            refuse("AlreadyMaster", format!("{to} is the master already"))
        }
        Some(pod) if !pod.waits() => {
            refuse("NoStandby", format!("{to} does not wait for the lock: {}", describe(pod)))
        }
        Some(_) if waiting.len() > 1 => refuse(
            "SeveralStandbys",
            format!(
                "{} wait for the lock, and whichever gets it is master: leave `to` out",
                names(&waiting)
            ),
        ),
        Some(_) => Ok(()),
    }
}

fn names(pods: &[&PodView]) -> String {
    pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(" and ")
}

fn idle(observed: &Observed, master: &str) -> String {
    let others = observed.pods.iter().filter(|pod| pod.name != master);
    let others: Vec<String> =
        others.map(|pod| format!("{}: {}", pod.name, describe(pod))).collect();
    format!("no pod waits for the lock; {}", others.join("; "))
}

/// What became of the last request, for the status. `previous` is what was published, and stays when it was
/// the end of it: a later failover is another story.
pub fn outcome(
    observed: &Observed,
    previous: Option<&SwitchoverStatus>,
) -> Option<SwitchoverStatus> {
    let record = observed.record.as_ref()?;
    let last = record.step_down.as_ref()?;
    let ended = |status: &&SwitchoverStatus| {
        status.id == last.id && status.result != SwitchoverResult::InProgress
    };
    if let (Some(ended), None) = (previous.filter(ended), &last.refused) {
        return Some(ended.clone());
    }
    let moved = record.epoch > last.epoch;
    let master = record.master.clone().unwrap_or_default();
    let (result, reason, message) = match &last.refused {
        Some(refusal) => {
            (SwitchoverResult::Refused, refusal.reason.clone(), refusal.message.clone())
        }
        None if !moved => (
            SwitchoverResult::InProgress,
            "SteppingDown".to_owned(),
            format!("{} was asked to step down", last.from),
        ),
        None if master == last.from => (
            SwitchoverResult::HandedBack,
            "NobodyTookOver".to_owned(),
            format!("no standby took over in time, so {master} is master again"),
        ),
        None => (
            SwitchoverResult::Succeeded,
            "SwitchedOver".to_owned(),
            format!("{master} is master after {}", last.from),
        ),
    };
    Some(SwitchoverStatus {
        id: last.id.clone(),
        result,
        reason,
        message,
        from: last.from.clone(),
        to: moved.then_some(master),
        at: last.at.to_string(),
        outage_millis: moved.then(|| outage(observed, last, record)).flatten(),
    })
}

/// Milliseconds from the moment the old master was told to stop until the record led to the new one, by the
/// two nodes' own clocks.
fn outage(observed: &Observed, last: &StepDown, record: &RecordView) -> Option<i64> {
    let exit = observed.pod(&last.from)?.report()?.last_exit.as_ref()?;
    let stopped = exit.stopped.filter(|_| exit.reason == ExitReason::SwitchedOver)?;
    let since: Timestamp = record.since.as_ref()?.parse().ok()?;
    i64::try_from(since.duration_since(stopped).as_millis()).ok()
}

#[cfg(test)]
#[path = "switchover_tests.rs"]
mod tests;
