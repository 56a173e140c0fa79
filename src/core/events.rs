//! Which Events a change of the status is worth.

use crate::api::{
    conditions::{Truth, Type},
    v1alpha1::BrokerClusterStatus,
};

/// The reasons of `Progressing` while pods are replaced, until all are as the spec says. A first start,
/// and a standby that was away for a moment, have another one.
const UPDATING: [&str; 3] = ["RollingUpdate", "RolloutWaiting", "RolloutStuck"];

/// Reasons of Events: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// The first master, or the same one again.
    MasterElected,
    /// The mastership went to another pod.
    FailedOver,
    /// Fewer standbys wait than should.
    StandbyLost,
    /// All standbys wait again.
    StandbyReady,
    /// The spec cannot be carried out.
    InvalidSpec,
    /// Pods are being replaced.
    UpdateStarted,
    /// All pods are as the spec says again, after pods were replaced.
    UpdateFinished,
    /// A replaced pod does not come up.
    UpdateStuck,
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
    update(old, new, &mut add);
    occurrences
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
        "UpToDate" if before.as_deref().is_some_and(|reason| UPDATING.contains(&reason)) => {
            add(EventReason::UpdateFinished, false, message);
        }
        _ => {}
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
    use super::*;
    use crate::api::conditions::{Reason, Verdict, merge};

    fn status(reason: Reason) -> BrokerClusterStatus {
        let verdict = Verdict::new(Type::Progressing, false, reason, "what happens");
        BrokerClusterStatus {
            conditions: merge(&[], &[verdict], Some(1), jiff::Timestamp::UNIX_EPOCH),
            ..BrokerClusterStatus::default()
        }
    }

    fn events(reasons: &[Reason]) -> Vec<EventReason> {
        let mut before = None;
        let mut reasons_seen = Vec::new();
        for reason in reasons {
            let now = status(*reason);
            reasons_seen
                .extend(between(before.as_ref(), &now).into_iter().map(|event| event.reason));
            before = Some(now);
        }
        reasons_seen
    }

    #[test]
    fn only_an_update_finishes() {
        use Reason::{Deploying, RollingUpdate, RolloutStuck, RolloutWaiting, UpToDate};
        for quiet in [&[UpToDate][..], &[Deploying, UpToDate], &[UpToDate, Deploying, UpToDate]] {
            assert_eq!(events(quiet), [], "{quiet:?}");
        }
        assert_eq!(
            events(&[UpToDate, RollingUpdate, RollingUpdate, UpToDate]),
            [EventReason::UpdateStarted, EventReason::UpdateFinished]
        );
        assert_eq!(
            events(&[UpToDate, RollingUpdate, RolloutWaiting, UpToDate]),
            [EventReason::UpdateStarted, EventReason::UpdateFinished]
        );
        assert_eq!(
            events(&[UpToDate, RollingUpdate, RolloutStuck, UpToDate]),
            [EventReason::UpdateStarted, EventReason::UpdateStuck, EventReason::UpdateFinished]
        );
    }
}
