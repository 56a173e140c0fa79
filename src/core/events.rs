//! Which Events a change of the status is worth.

use super::rollout::{Manner, Victim};
use crate::api::{
    conditions::{Reason, Truth, Type},
    v1alpha1::{BrokerClusterStatus, SwitchoverResult},
};

/// The reasons of `Progressing` while pods are replaced, until all are as the spec says. A first start,
/// and a standby that was away for a moment, have another one.
const UPDATING: [&str; 4] = ["RollingUpdate", "RolloutWaiting", "RolloutStuck", "RolloutHalted"];

/// Reasons of Events: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// The first master, or the same one again.
    MasterElected,
    /// The mastership went to another pod.
    FailedOver,
    /// The mastership was handed to another pod, as was asked for.
    SwitchedOver,
    /// A request for a switchover was refused, or the mastership was handed back.
    SwitchoverRefused,
    /// Fewer standbys wait than should.
    StandbyLost,
    /// All standbys wait again.
    StandbyReady,
    /// Several brokers hold the lock at the same time.
    SplitBrainDetected,
    /// One broker holds it again, or none.
    SplitBrainOver,
    /// The spec cannot be carried out.
    InvalidSpec,
    /// Pods are being replaced.
    UpdateStarted,
    /// All pods are as the spec says again, after pods were replaced.
    UpdateFinished,
    /// A replaced pod does not come up.
    UpdateStuck,
    /// A replaced pod did not come up, and all are as the master is.
    UpdateHalted,
    /// No broker runs, as was asked for.
    Hibernated,
    /// A pod of a lost node was deleted by force, to be made anew elsewhere.
    LostPodDeleted,
    /// What is wrong with the storage or its lock: the reason of the condition.
    Lock(Reason),
    /// The storage works again.
    StorageRecovered,
    /// The volume is being grown.
    VolumeGrowing,
    /// It has the size that was asked for.
    VolumeGrown,
    /// The API server does not let the claim grow.
    VolumeGrowthRefused,
    /// The claim was deleted with its cluster.
    ClaimDeleted,
    /// The claim of a deleted cluster was kept, although the spec asked for its deletion.
    ClaimKept,
}

impl EventReason {
    /// As published.
    pub fn as_str(self) -> String {
        match self {
            Self::Lock(reason) => reason.as_str(),
            Self::MasterElected
            | Self::FailedOver
            | Self::SwitchedOver
            | Self::SwitchoverRefused
            | Self::StandbyLost
            | Self::StandbyReady
            | Self::SplitBrainDetected
            | Self::SplitBrainOver
            | Self::InvalidSpec
            | Self::UpdateStarted
            | Self::UpdateFinished
            | Self::UpdateStuck
            | Self::UpdateHalted
            | Self::Hibernated
            | Self::LostPodDeleted
            | Self::StorageRecovered
            | Self::VolumeGrowing
            | Self::VolumeGrown
            | Self::VolumeGrowthRefused
            | Self::ClaimDeleted
            | Self::ClaimKept => format!("{self:?}"),
        }
    }
}

/// An Event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Why.
    pub reason: EventReason,
    /// Whether it is a warning.
    pub warning: bool,
    /// For people.
    pub note: String,
}

/// What a step is worth that no status tells of.
pub fn of_step(step: &Victim) -> Option<Occurrence> {
    match step.manner {
        Manner::Graceful => None,
        Manner::Force => Some(Occurrence {
            reason: EventReason::LostPodDeleted,
            warning: true,
            note: format!("{} was deleted by force: {}", step.pod, step.why),
        }),
    }
}

/// What happened between two statuses.
pub fn between(old: Option<&BrokerClusterStatus>, new: &BrokerClusterStatus) -> Vec<Occurrence> {
    let mut occurrences = Vec::new();
    let mut add =
        |reason, warning, note: String| occurrences.push(Occurrence { reason, warning, note });
    let epoch = |status: &BrokerClusterStatus| status.master.as_ref().map(|master| master.epoch);
    let old_epoch = old.and_then(epoch);

    if let Some(master) = new.master.as_ref().filter(|master| Some(master.epoch) != old_epoch) {
        let failed_over =
            new.last_failover.as_ref().filter(|failover| failover.epoch == master.epoch);
        let known =
            old.and_then(|status| status.last_failover.as_ref()).map(|failover| failover.epoch);
        match failed_over.filter(|failover| Some(failover.epoch) != known) {
            Some(failover) => add(
                EventReason::FailedOver,
                false,
                format!(
                    "{} is master after {} ({}), epoch {}",
                    failover.to,
                    failover.from.as_deref().unwrap_or("nobody"),
                    failover.reason,
                    failover.epoch
                ),
            ),
            None if old.is_none_or(|old| old.master.is_none()) && known != Some(master.epoch) => {
                add(
                    EventReason::MasterElected,
                    false,
                    format!("{} is master, epoch {}", master.pod, master.epoch),
                );
            }
            None => {}
        }
    }
    for (type_, truth, reason, warning) in [
        (Type::StandbyReady, Truth::False, EventReason::StandbyLost, true),
        (Type::StandbyReady, Truth::True, EventReason::StandbyReady, false),
        (Type::ConfigurationValid, Truth::False, EventReason::InvalidSpec, true),
    ] {
        if let Some(message) = became(old, new, type_, truth) {
            add(reason, warning, message);
        }
    }
    switchover(old, new, &mut add);
    split_brain(old, new, &mut add);
    update(old, new, &mut add);
    storage(old, new, &mut add);
    growth(old, new, &mut add);
    occurrences
}

/// What became of a request, once.
fn switchover(
    old: Option<&BrokerClusterStatus>,
    new: &BrokerClusterStatus,
    add: &mut impl FnMut(EventReason, bool, String),
) {
    let Some(now) = &new.last_switchover else { return };
    let before = old.and_then(|old| old.last_switchover.as_ref());
    if before.is_some_and(|before| (&before.id, before.result) == (&now.id, now.result)) {
        return;
    }
    let (reason, warning) = match now.result {
        SwitchoverResult::InProgress | SwitchoverResult::Unknown => return,
        SwitchoverResult::Succeeded => (EventReason::SwitchedOver, false),
        SwitchoverResult::Refused | SwitchoverResult::HandedBack => {
            (EventReason::SwitchoverRefused, true)
        }
    };
    add(reason, warning, now.message.clone());
}

/// Its end is told when it is proven, however long that takes.
fn split_brain(
    old: Option<&BrokerClusterStatus>,
    new: &BrokerClusterStatus,
    add: &mut impl FnMut(EventReason, bool, String),
) {
    let name = format!("{:?}", Type::SplitBrain);
    let of = |status: &BrokerClusterStatus| {
        status.conditions.iter().find(|condition| condition.type_ == name).cloned()
    };
    let lasts = |reason: &str| {
        [Reason::SeveralHoldTheLock, Reason::NotProvenOver].iter().any(|one| one.as_str() == reason)
    };
    let Some(now) = of(new) else { return };
    let before = old.and_then(of).is_some_and(|before| lasts(&before.reason));
    match (before, lasts(&now.reason)) {
        (false, true) => add(EventReason::SplitBrainDetected, true, now.message),
        (true, false) => {
            let note =
                "at most one broker holds the lock again: clients are led to it once it serves";
            add(EventReason::SplitBrainOver, false, note.to_owned());
        }
        (false, false) | (true, true) => {}
    }
}

/// The reason of `Progressing` tells where an update stands.
fn update(
    old: Option<&BrokerClusterStatus>,
    new: &BrokerClusterStatus,
    add: &mut impl FnMut(EventReason, bool, String),
) {
    let of = |status: &BrokerClusterStatus| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == "Progressing");
        condition.map(|condition| (condition.reason.clone(), condition.message.clone()))
    };
    let before = old.and_then(of).map(|(reason, _)| reason);
    let Some((reason, message)) = of(new).filter(|(reason, _)| Some(reason) != before.as_ref())
    else {
        return;
    };
    match reason.as_str() {
        "RollingUpdate" => add(EventReason::UpdateStarted, false, message),
        "RolloutStuck" => add(EventReason::UpdateStuck, true, message),
        "RolloutHalted" => add(EventReason::UpdateHalted, true, message),
        "Hibernated" => add(EventReason::Hibernated, false, message),
        "UpToDate" if before.as_deref().is_some_and(|reason| UPDATING.contains(&reason)) => {
            add(EventReason::UpdateFinished, false, message);
        }
        _ => {}
    }
}

/// The reason of `VolumeSized` tells when a growth begins, ends or is refused.
fn growth(
    old: Option<&BrokerClusterStatus>,
    new: &BrokerClusterStatus,
    add: &mut impl FnMut(EventReason, bool, String),
) {
    let name = format!("{:?}", Type::VolumeSized);
    let of = |status: &BrokerClusterStatus| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == name)?;
        Some((condition.reason.clone(), condition.message.clone()))
    };
    let before = old.and_then(of).map(|(reason, _)| reason).unwrap_or_default();
    let Some((reason, message)) = of(new).filter(|(reason, _)| *reason != before) else { return };
    let is = |text: &str, one: Reason| text == one.as_str();
    if is(&reason, Reason::Resizing) {
        add(EventReason::VolumeGrowing, false, message);
    } else if is(&reason, Reason::ExpansionRefused) {
        add(EventReason::VolumeGrowthRefused, true, message);
    } else if is(&before, Reason::Resizing) && is(&reason, Reason::SizeReached) {
        add(EventReason::VolumeGrown, false, message);
    }
}

/// What has become wrong with the storage or its lock, or right again. Also the first problem of a new
/// cluster is told: without its storage it has nothing else to tell.
fn storage(
    old: Option<&BrokerClusterStatus>,
    new: &BrokerClusterStatus,
    add: &mut impl FnMut(EventReason, bool, String),
) {
    let name = format!("{:?}", Type::StorageLockVerified);
    let of = |status: &BrokerClusterStatus| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == name)?;
        Some((condition.reason.clone(), condition.message.clone()))
    };
    let before = old.and_then(of).map(|(reason, _)| reason).unwrap_or_default();
    let Some((reason, message)) = of(new).filter(|(reason, _)| *reason != before) else { return };
    let is_one = |of: &[Reason], text: &str| of.iter().copied().find(|one| one.as_str() == *text);
    let failed_before = is_one(&Reason::STORAGE_PROBLEMS, &before).is_some();
    if let Some(problem) = is_one(&Reason::STORAGE_PROBLEMS, &reason) {
        return add(EventReason::Lock(problem), true, message);
    }
    let told = [Reason::NotObserved, Reason::NotVerified].map(Reason::as_str);
    if failed_before && !told.contains(&reason) {
        add(EventReason::StorageRecovered, false, message.clone());
    }
    if let Some(note) = is_one(&Reason::STORAGE_NOTES, &reason) {
        add(EventReason::Lock(note), true, message);
    }
}

/// The message of a condition that has taken this value since.
fn became(
    old: Option<&BrokerClusterStatus>,
    new: &BrokerClusterStatus,
    type_: Type,
    truth: Truth,
) -> Option<String> {
    let name = format!("{type_:?}");
    let of =
        |status: &BrokerClusterStatus| status.conditions.iter().find(|c| c.type_ == name).cloned();
    let before = old.and_then(of)?; // the first status of a cluster is no change
    let after = of(new)?;
    (after.status == truth.as_str() && before.status != after.status).then_some(after.message)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::conditions::{Verdict, merge};

    fn status(type_: Type, truth: impl Into<Truth>, reason: Reason) -> BrokerClusterStatus {
        let verdict = Verdict::new(type_, truth, reason, "what happens");
        let conditions = merge(&[], &[verdict], Some(1), Timestamp::UNIX_EPOCH);
        BrokerClusterStatus { conditions, ..BrokerClusterStatus::default() }
    }

    /// The reasons of all Events while `Progressing` has these reasons, one after the other.
    fn while_progressing(reasons: &[Reason]) -> Vec<EventReason> {
        let mut before = None;
        let mut told = Vec::new();
        for reason in reasons {
            let now = status(Type::Progressing, false, *reason);
            told.extend(between(before.as_ref(), &now).into_iter().map(|event| event.reason));
            before = Some(now);
        }
        told
    }

    #[test]
    fn only_an_update_finishes() {
        use Reason::{Deploying, RollingUpdate, RolloutStuck, RolloutWaiting, UpToDate};
        for quiet in [&[UpToDate][..], &[Deploying, UpToDate], &[UpToDate, Deploying, UpToDate]] {
            assert_eq!(while_progressing(quiet), [], "{quiet:?}");
        }
        assert_eq!(
            while_progressing(&[UpToDate, RollingUpdate, RollingUpdate, UpToDate]),
            [EventReason::UpdateStarted, EventReason::UpdateFinished]
        );
        assert_eq!(
            while_progressing(&[UpToDate, RollingUpdate, RolloutWaiting, UpToDate]),
            [EventReason::UpdateStarted, EventReason::UpdateFinished]
        );
        assert_eq!(
            while_progressing(&[UpToDate, RollingUpdate, RolloutStuck, UpToDate]),
            [EventReason::UpdateStarted, EventReason::UpdateStuck, EventReason::UpdateFinished]
        );
    }

    fn told(old: Option<&BrokerClusterStatus>, new: &BrokerClusterStatus) -> Vec<(String, bool)> {
        let all = between(old, new).into_iter();
        all.map(|occurrence| (occurrence.reason.as_str(), occurrence.warning)).collect()
    }

    #[test]
    fn a_database_s_troubles_and_their_end_are_told_once() {
        let status = |truth, reason| status(Type::StorageLockVerified, truth, reason);
        let fine = status(Truth::True, Reason::LeaseVerified);
        let away = status(Truth::False, Reason::DatabaseUnreachable);
        let refused = status(Truth::False, Reason::AuthenticationRefused);
        let note = status(Truth::True, Reason::WritesNotFenced);
        let unseen = status(Truth::Unknown, Reason::NotObserved);
        let one = |reason: &str, warning| vec![(reason.to_owned(), warning)];
        assert_eq!(told(None, &away), one("DatabaseUnreachable", true));
        assert_eq!(told(None, &fine), []);
        assert_eq!(told(Some(&fine), &away), one("DatabaseUnreachable", true));
        assert_eq!(told(Some(&away), &away), []);
        assert_eq!(told(Some(&away), &refused), one("AuthenticationRefused", true));
        assert_eq!(told(Some(&away), &unseen), []);
        assert_eq!(told(Some(&away), &fine), one("StorageRecovered", false));
        assert_eq!(told(Some(&fine), &note), one("WritesNotFenced", true));
        assert_eq!(told(Some(&away), &note).len(), 2);
    }
}
