//! What to do in one pass: children to apply and prune, and at most one disruptive step.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    acceptance::acceptance,
    changes::{changed, pinned},
    children::{foreign, prune, record_manifests},
    claim::{self, Sizing},
    course::{Course, Shape, held_up},
    credentials::may_make_pods,
    lock::{self, Group, Lock},
    lost,
    observed::{Observed, PodView},
    rollout::{Rollout, Victim},
    seal::Seal,
    size::Size,
    split_brain::{self, Claim, SplitBrain},
    switchover::{self, StepDown, Switchover},
    validate::ValidCluster,
    windows::Window,
};
use crate::{
    broker::report::StoreId,
    resources::{self, Kind, Manifest, Settings},
};

/// How long the record may disagree with the proven master before the operator repairs it: its
/// agent, which is nearer, goes first.
pub const REPAIR_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// When to look again while something moves: most changes are announced by watches, reports are not.
pub const SOON: Duration = Duration::from_secs(2);
/// When to look again while nothing moves and something should.
pub const NOW_AND_THEN: Duration = Duration::from_secs(10);
/// When to look again when all is well.
pub const LATER: Duration = Duration::from_mins(10);

/// What to do in one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Children to apply, in order.
    pub apply: Vec<Manifest>,
    /// The claim that asks for a larger volume; the API server may refuse it.
    pub grow: Option<Manifest>,
    /// Children that are no longer wanted: kind, name, uid.
    pub prune: Vec<(Kind, String, String)>,
    /// Whether the administrator's Secret is to be created.
    pub create_admin: bool,
    /// The seal whose Secret is to be created, before anything that bears a mark of it.
    pub create_seal: Option<Seal>,
    /// Role labels to be set: pod, uid, role.
    pub roles: Vec<(String, String, &'static str)>,
    /// A correction of the promotion record.
    pub record: Option<RecordStep>,
    /// The one disruptive step.
    pub step: Option<Victim>,
    /// The conclusions, for the status.
    pub findings: Findings,
    /// When to look again if nothing happens.
    pub look_again: Duration,
}

/// What was concluded on the way; the status is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The lock.
    pub lock: Lock,
    /// Whether several brokers hold it.
    pub split_brain: SplitBrain,
    /// The group.
    pub group: Group,
    /// Where a change of the pods stands.
    pub rollout: Rollout,
    /// Objects of somebody else that bear a child's name.
    pub foreign: Vec<(Kind, String)>,
    /// Whether nothing is changed: by the user's wish, or because a name or the claim is another's.
    pub hands_off: bool,
    /// Where the size of the claim stands, if Tandem makes it.
    pub size: Option<Sizing>,
    /// Pods of lost nodes, and what becomes of them.
    pub losses: Vec<(String, String)>,
}

/// A correction of the promotion record by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordStep {
    /// Take the endpoint out: this pod uid is gone. Carried out only after a live look.
    Withdraw {
        /// The uid that must be gone.
        uid: String,
    },
    /// Lead clients nowhere and mark it: several brokers hold the lock, as is proven once more.
    Dispute,
    /// Take the mark off: the dispute is over, as is seen once more.
    Settle,
    /// Write a request for a switchover, or its refusal, if the same master is still recorded.
    Request(StepDown),
    /// Say which pods' brokers are kept down, if nobody was promoted since this epoch.
    Hold {
        /// The epoch.
        epoch: u64,
        /// The pods.
        pods: Vec<String>,
    },
    /// Say which store a person accepted, or that none is, if nobody was promoted since this epoch.
    Accept {
        /// The epoch.
        epoch: u64,
        /// The store.
        store: Option<StoreId>,
    },
    /// Point it at this proven master; carried out on the order read, prove, write.
    Repoint {
        /// The pod.
        pod: String,
        /// Its uid.
        uid: String,
    },
}

/// The plan for one pass.
pub fn plan(
    cluster: &ValidCluster,
    observed: &Observed,
    settings: &Settings,
    now: Timestamp,
) -> Plan {
    let lock = lock::judge(observed);
    let group = lock::group(observed, &lock);
    let split_brain = split_brain::judge(observed, &lock);
    let shape = Shape::of(cluster, observed, &group, &lock, now);
    let mut wanted = resources::build(cluster, settings);
    wanted.extend(record_manifests(cluster, observed));
    let size = claim::judge(cluster, observed);
    let grow = claim::hold_size(&mut wanted, observed, size.as_ref());
    if may_make_pods(cluster, observed) {
        wanted.push(shape.stateful_set(cluster, observed, settings));
    }
    wanted.sort_by_key(|manifest| manifest.kind);

    let foreign = foreign(cluster, observed, &wanted);
    let course = Course::set(cluster, observed, settings, &group, &shape);
    let switchover = switchover::judge(cluster, observed, &group, &course, now);
    let rollout = held_up(course.rollout, &switchover);
    let hands_off =
        cluster.spec.paused || !foreign.is_empty() || !observed.claim_holders.is_empty();
    let (losses, lost) = lost::all(cluster, observed, &group, now);
    let findings = Findings { lock, split_brain, group, rollout, foreign, hands_off, size, losses };
    let disputed = is_disputed(observed, &findings);
    let switches = matches!(switchover, Switchover::Write(_) | Switchover::UnderWay);
    let look_again =
        if disputed || switches { SOON } else { look_again(cluster, observed, &findings) };
    let wanted = if hands_off { None } else { Some(wanted) };
    Plan {
        prune: wanted.as_ref().map(|wanted| prune(cluster, observed, wanted)).unwrap_or_default(),
        apply: wanted
            .map(|wanted| pinned(observed, changed(observed, wanted), shape.keeps_template()))
            .unwrap_or_default(),
        grow: changed(observed, grow.into_iter().filter(|_| !hands_off).collect()).pop(),
        create_admin: !hands_off
            && cluster.spec.auth.generates_admin()
            && observed.child(Kind::Secret, &cluster.name.admin()).is_none(),
        create_seal: observed
            .credentials
            .as_ref()
            .filter(|seen| !hands_off && seen.is_new)
            .map(|seen| seen.seal.clone()),
        roles: if cluster.spec.paused || disputed {
            Vec::new()
        } else {
            roles(observed, &findings.group)
        },
        record: correction(observed, &findings, &shape, now)
            .or_else(|| accepted(cluster, observed).filter(|_| !disputed && !findings.hands_off))
            .or_else(|| requested(switchover, &findings).filter(|_| !disputed)),
        step: lost
            .or_else(|| findings.rollout.victim())
            .filter(|_| !hands_off && !disputed && !switches),
        findings,
        look_again: look_again.min(until_a_window_opens(shape.window, now)),
    }
}

/// Whether it may be that several brokers hold the lock.
fn is_disputed(observed: &Observed, findings: &Findings) -> bool {
    let marked = observed.record.as_ref().is_some_and(|record| record.disputed.is_some());
    marked || matches!(findings.split_brain, SplitBrain::Yes(_))
}

/// What the record should say otherwise.
fn correction(
    observed: &Observed,
    findings: &Findings,
    shape: &Shape,
    now: Timestamp,
) -> Option<RecordStep> {
    record_step(observed, &findings.split_brain, &findings.group, now)
        .or_else(|| hold(observed, &shape.size).filter(|_| !is_disputed(observed, findings)))
        .filter(|_| !findings.hands_off)
}

/// A request for a switchover, or its refusal. A refusal is written also when the operator is told to keep its
/// hands off: it is the answer.
fn requested(switchover: Switchover, findings: &Findings) -> Option<RecordStep> {
    let Switchover::Write(request) = switchover else { return None };
    let may = !findings.hands_off || request.refused.is_some();
    (findings.foreign.is_empty() && may).then_some(RecordStep::Request(request))
}

/// Brokers that are to be kept down, if the record says otherwise.
fn hold(observed: &Observed, size: &Size) -> Option<RecordStep> {
    let record = observed.record.as_ref()?;
    (record.held != size.held)
        .then(|| RecordStep::Hold { epoch: record.epoch, pods: size.held.clone() })
}

/// The store that a person accepts, if the record says otherwise.
fn accepted(cluster: &ValidCluster, observed: &Observed) -> Option<RecordStep> {
    let record = observed.record.as_ref()?;
    let store = acceptance(cluster, observed).on_record();
    (record.accepted_store != store).then_some(RecordStep::Accept { epoch: record.epoch, store })
}

fn until_a_window_opens(window: Window, now: Timestamp) -> Duration {
    let Window::Closed { opens: Some(opens) } = window else { return LATER };
    Duration::try_from(opens.duration_since(now)).unwrap_or(SOON).max(SOON)
}

fn look_again(cluster: &ValidCluster, observed: &Observed, findings: &Findings) -> Duration {
    let rollout = &findings.rollout;
    let converged = match &findings.group {
        Group::Serving(master) => observed.record_leads_to(master),
        Group::Dead | Group::InTransit(_) => cluster.spec.hibernated,
    };
    let settled = matches!(rollout, Rollout::Done | Rollout::Scheduled(_) | Rollout::Halted(_));
    match rollout {
        // No watch tells of the end of another group.
        _ if !observed.claim_holders.is_empty() => NOW_AND_THEN,
        _ if converged && (settled || cluster.spec.paused) => LATER,
        // What ends these is mostly announced by a watch; looking is for what is not.
        Rollout::Stuck(_) | Rollout::Waiting(_) | Rollout::Scheduled(_) | Rollout::Halted(_) => {
            NOW_AND_THEN
        }
        _ if cluster.spec.paused => NOW_AND_THEN,
        Rollout::Done | Rollout::Replace(_) | Rollout::SwitchOver(_) | Rollout::Moving(_) => SOON,
    }
}

/// Role labels that are not as they should be. They are for people; traffic never depends on them.
fn roles(observed: &Observed, group: &Group) -> Vec<(String, String, &'static str)> {
    let Group::Serving(master) = group else { return Vec::new() };
    observed
        .pods
        .iter()
        .filter(|pod| !pod.terminating)
        .map(|pod| (pod, if pod.name == *master { "master" } else { "standby" }))
        .filter(|(pod, role)| pod.role_label.as_deref() != Some(role))
        .map(|(pod, role)| (pod.name.clone(), pod.uid.clone(), role))
        .collect()
}

fn record_step(
    observed: &Observed,
    split_brain: &SplitBrain,
    group: &Group,
    now: Timestamp,
) -> Option<RecordStep> {
    let record = observed.record.as_ref()?;
    let named = |claim: &Claim| {
        record.disputed.as_ref().is_some_and(|mark| mark.brokers.contains(&claim.broker))
    };
    if !observed.dispute.is_empty() {
        // Also when other processes are named by the mark, and when it leads somewhere nonetheless.
        let known = record.endpoints == 0 && observed.dispute.iter().all(named);
        return (!known).then_some(RecordStep::Dispute);
    }
    if record.disputed.is_some() {
        return (*split_brain == SplitBrain::Over).then_some(RecordStep::Settle);
    }
    if let Group::Serving(master) = group {
        let pod = observed.pod(master)?;
        let overdue = observed
            .disagreement_since
            .is_some_and(|since| now.duration_since(since) >= REPAIR_AFTER);
        return (!record.leads_to(pod) && overdue)
            .then(|| RecordStep::Repoint { pod: pod.name.clone(), uid: pod.uid.clone() });
    }
    let uid = record.target.as_ref()?.uid.clone()?;
    let gone = !observed.pods.iter().any(|pod: &PodView| pod.uid == uid);
    gone.then_some(RecordStep::Withdraw { uid })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
