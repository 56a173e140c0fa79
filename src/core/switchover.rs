//! Switchovers: whether one may begin, and what became of it. Who may wish for one is in [`super::wish`].
//!
//! What must be true before a master is asked to step down (S4, S5):
//! * it is proven to serve, and the record leads to it and to no other;
//! * nobody else claims the lock, and no dispute is marked;
//! * a standby that may take over is proven to wait for the lock; if others may not, the request names it,
//!   and their brokers are stopped first;
//! * no other switchover is under way, no pod is being replaced, and the operator is not paused;
//! * one of the operator's own was not handed back before.
//!
//! The request is written on the record, for the epoch of that master: what a record asks is void as soon
//! as anybody is promoted. Its agent asks the others once more whether one waits, before it stops its
//! broker. All that is known of the last request is on the record too, so an operator that starts in the
//! middle goes on.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    course::Course,
    lock::Group,
    observed::Observed,
    record::RecordView,
    rollout::{Rollout, describe},
    validate::ValidCluster,
    wish::{self, Wish},
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

/// A wish of the operator's own that the master's agent did not follow is asked again after so long.
const ASKED_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);

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
    /// People's request cannot be answered now, for this reason.
    Unknown(String),
    /// The operator wants one itself, and it may not begin, for this reason.
    Held(Wish, String),
}

/// What is to be done about the first wish for a switchover.
pub fn judge(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    course: &Course<'_>,
    now: Timestamp,
) -> Switchover {
    let wish = wish::first(cluster, observed, group, course);
    let Some(record) = &observed.record else {
        return match wish {
            Some(_) => Switchover::Unknown("there is no promotion record".to_owned()),
            None => Switchover::None,
        };
    };
    let last = record.step_down.as_ref();
    if let Some(last) = last.filter(|last| last.asks(record.epoch)) {
        return follow(last, now);
    }
    let Some(wish) = wish else { return Switchover::None };
    let to = may_begin(cluster, observed, group, &course.rollout, &wish);
    let people = wish.is_of_people();
    let spent = last.filter(|_| !people).and_then(|last| spent(last, record, &wish, now));
    let (to, refused) = match (to, spent) {
        (_, Some(why)) => return Switchover::Held(wish, why),
        (Err(refusal), None) if !people => return Switchover::Held(wish, refusal.message),
        (Err(refusal), None) => (None, Some(refusal)),
        (Ok(to), None) => (to, None),
    };
    Switchover::Write(StepDown {
        at: now,
        epoch: record.epoch,
        from: record.master.clone().unwrap_or_default(),
        to,
        answered: if people {
            Some(wish.id.clone())
        } else {
            last.and_then(|last| last.answered.clone())
        },
        id: wish.id,
        refused,
    })
}

/// Of a request that the master has not followed yet.
fn follow(last: &StepDown, now: Timestamp) -> Switchover {
    if now.duration_since(last.at) < STEPS_DOWN_WITHIN {
        return Switchover::UnderWay;
    }
    let message = format!(
        "{} did not step down within {} s: its agent did not hear of {} that it waits for the lock, and of \
         others that they leave it alone, or it cannot reach the API server. It is still the master",
        last.from,
        STEPS_DOWN_WITHIN.as_secs(),
        last.to.as_deref().unwrap_or("any other pod"),
    );
    let refused = Some(Refusal { reason: "NotSteppedDown".to_owned(), message });
    Switchover::Write(StepDown { refused, ..last.clone() })
}

/// Why a wish of the operator's own is not asked again, if it was asked before.
fn spent(last: &StepDown, record: &RecordView, wish: &Wish, now: Timestamp) -> Option<String> {
    if last.id != wish.id {
        return None;
    }
    if let Some(refusal) = &last.refused {
        let recently = now.duration_since(last.at) < ASKED_AGAIN_AFTER;
        return recently.then(|| refusal.message.clone());
    }
    let handed_back =
        record.epoch == last.epoch + 1 && record.master.as_deref() == Some(last.from.as_str());
    handed_back.then(|| {
        format!(
            "no standby took over when {} made way, so it is master again, and not asked once more; see why \
             the others did not, then ask for a switchover",
            last.from
        )
    })
}

/// Whether the master may be asked to step down, and for whom, if only for one.
fn may_begin(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    rollout: &Rollout,
    wish: &Wish,
) -> Result<Option<String>, Refusal> {
    if cluster.spec.paused {
        return refuse("Paused", "the cluster is paused: set spec.paused to false".to_owned());
    }
    if cluster.spec.hibernated {
        return refuse(
            "Hibernated",
            "the cluster hibernates: set spec.hibernated to false".to_owned(),
        );
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
        Rollout::Done
        | Rollout::SwitchOver(_)
        | Rollout::Scheduled(_)
        | Rollout::Stuck(_)
        | Rollout::Halted(_) => {}
        Rollout::Replace(victim) => {
            return refuse("OtherWork", format!("{} is being replaced", victim.pod));
        }
        // The operator's own wishes have reasons that do not wait for a pod that is away.
        Rollout::Moving(_) | Rollout::Waiting(_) if !wish.is_of_people() => {}
        Rollout::Moving(why) | Rollout::Waiting(why) => {
            return refuse("OtherWork", format!("the group is not settled: {why}"));
        }
    }
    taker(observed, master, wish)
}

fn refuse<T>(reason: &str, message: String) -> Result<T, Refusal> {
    Err(Refusal { reason: reason.to_owned(), message })
}

/// Who takes over: nobody in particular if any other pod may.
fn taker(observed: &Observed, master: &str, wish: &Wish) -> Result<Option<String>, Refusal> {
    let others = || observed.pods.iter().filter(|pod| pod.name != master && !pod.terminating);
    if let Some(to) = &wish.to {
        match observed.pod(to) {
            None => return refuse("NoSuchPod", format!("{to} is no pod of the group")),
            Some(pod) if pod.name == master => {
                return refuse("AlreadyMaster", format!("{to} is the master already"));
            }
            Some(_) => {}
        }
    }
    let Some(taker) = others().find(|pod| pod.waits() && wish.accepts(pod)) else {
        return refuse("NoStandby", idle(observed, master, wish));
    };
    Ok(others().any(|pod| !wish.accepts(pod)).then(|| taker.name.clone()))
}

fn idle(observed: &Observed, master: &str, wish: &Wish) -> String {
    let others = observed.pods.iter().filter(|pod| pod.name != master && wish.accepts(pod));
    let others: Vec<String> =
        others.map(|pod| format!("{}: {}", pod.name, describe(pod))).collect();
    let told = if others.is_empty() { "there is none".to_owned() } else { others.join("; ") };
    format!("no pod that could take over waits for the lock; {told}")
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
        status.id == last.id
            && !matches!(status.result, SwitchoverResult::InProgress | SwitchoverResult::Unknown)
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
