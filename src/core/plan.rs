//! What to do in one pass: children to apply and prune, and at most one disruptive step.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    changes::{changed, pinned},
    children::{foreign, prune, record_manifests},
    claim::{self, Sizing},
    credentials::may_make_pods,
    lock::{self, Group, Lock},
    lost,
    observed::{Observed, PodView},
    rollout::{self, Aim, Rollout, Victim},
    size::{self, Size},
    split_brain::{self, Claim, SplitBrain},
    switchover::{self, StepDown, Switchover},
    template::{self, Template},
    validate::ValidCluster,
    windows::{self, Window},
    wish,
};
use crate::{
    api::labels,
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
    let window = windows::now(&cluster.spec.update.windows, now);
    let size = size::now(cluster, observed, &group, &lock);
    let template = template::choose(cluster, observed, &group, window, now);
    let mut wanted = resources::build(cluster, settings);
    wanted.extend(record_manifests(cluster, observed));
    let sizing = claim::judge(cluster, observed);
    let grow = claim::hold_size(&mut wanted, observed, sizing.as_ref());
    if may_make_pods(cluster, observed) {
        wanted.push(stateful_set(cluster, observed, settings, &template, size.replicas));
    }
    wanted.sort_by_key(|manifest| manifest.kind);

    let foreign = foreign(cluster, observed, &wanted);
    let aim = aim(cluster, observed, settings, &template, window);
    let rollout = rollout(cluster, observed, &group, &template, &aim, &size);
    let hands_off =
        cluster.spec.paused || !foreign.is_empty() || !observed.claim_holders.is_empty();
    let marked = observed.record.as_ref().is_some_and(|record| record.disputed.is_some());
    let disputed = marked || matches!(split_brain, SplitBrain::Yes(_));
    let switchover = switchover::judge(cluster, observed, &group, &rollout, &aim, now);
    let rollout = told(rollout, &switchover);
    let requested = match &switchover {
        // A refusal is written also when the operator is told to keep its hands off: it is the answer.
        Switchover::Write(request) if foreign.is_empty() && !disputed => {
            Some(RecordStep::Request(request.clone()))
        }
        Switchover::Write(_)
        | Switchover::None
        | Switchover::UnderWay
        | Switchover::Unknown(_)
        | Switchover::Held(..) => None,
    };
    let record = record_step(observed, &split_brain, &group, now)
        .or_else(|| hold(observed, &size).filter(|_| !disputed))
        .filter(|_| !hands_off)
        .or(requested);
    let switches = matches!(switchover, Switchover::Write(_) | Switchover::UnderWay);
    let look_again =
        if disputed || switches { SOON } else { look_again(cluster, observed, &rollout, &group) };
    let (losses, lost) = lost::all(cluster, observed, &group, now);
    let replaced = match &rollout {
        Rollout::Replace(victim) => Some(victim.clone()),
        Rollout::Done
        | Rollout::SwitchOver(_)
        | Rollout::Moving(_)
        | Rollout::Waiting(_)
        | Rollout::Scheduled(_)
        | Rollout::Stuck(_)
        | Rollout::Halted(_) => None,
    };
    let step = lost.or(replaced).filter(|_| !hands_off && !disputed && !switches);
    Plan {
        prune: if hands_off { Vec::new() } else { prune(cluster, observed, &wanted) },
        apply: if hands_off {
            Vec::new()
        } else {
            pinned(observed, changed(observed, wanted), template != Template::Fresh)
        },
        grow: changed(observed, grow.into_iter().filter(|_| !hands_off).collect()).pop(),
        create_admin: !hands_off
            && cluster.spec.auth.generates_admin()
            && observed.child(Kind::Secret, &cluster.name.admin()).is_none(),
        roles: if cluster.spec.paused || disputed { Vec::new() } else { roles(observed, &group) },
        record,
        step,
        findings: Findings {
            lock,
            split_brain,
            group,
            rollout,
            foreign,
            hands_off,
            size: sizing,
            losses,
        },
        look_again: look_again.min(until_a_window_opens(window, now)),
    }
}

/// What the pods are to become. A newer agent is brought only where people have said when brokers may be
/// restarted, and only once the StatefulSet has it.
fn aim<'a>(
    cluster: &'a ValidCluster,
    observed: &Observed,
    settings: &'a Settings,
    template: &'a Template,
    window: Window,
) -> Aim<'a> {
    let live = observed.child(Kind::StatefulSet, &cluster.name.main());
    let installs = |set: &Value| {
        set.pointer("/spec/template/spec/initContainers/0/image").and_then(Value::as_str)
            == Some(&settings.agent_image)
    };
    let comes =
        *template == Template::Fresh && window == Window::Open && live.is_some_and(installs);
    let revision = match template {
        Template::Fresh | Template::Kept(_) => cluster.revision.as_str(),
        Template::Last { template, .. } => template::revision(template),
    };
    Aim { revision, agent: comes.then_some(settings.agent_image.as_str()), window }
}

fn rollout(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    template: &Template,
    aim: &Aim<'_>,
    size: &Size,
) -> Rollout {
    if cluster.spec.hibernated {
        return size.waits.clone().unwrap_or(Rollout::Done);
    }
    let next = match template {
        Template::Kept(why) => return why.clone(),
        Template::Fresh | Template::Last { .. } => rollout::next(cluster, observed, group, aim),
    };
    match (next, template, &size.waits) {
        (Rollout::Done | Rollout::Scheduled(_), _, Some(waits)) => waits.clone(),
        (Rollout::Done, Template::Last { halt, .. }, None) => halt.told(),
        (next, _, _) => next,
    }
}

/// A switchover of the operator's own that may not begin holds up what it is for.
fn told(rollout: Rollout, switchover: &Switchover) -> Rollout {
    let Switchover::Held(wish, why) = switchover else { return rollout };
    let what = match wish.reason {
        // Nothing waits for it: the drain goes on in its own way.
        wish::Reason::People | wish::Reason::Cordon => return rollout,
        wish::Reason::Fence => "a pod of spec.fencedPods is the master, and stays so",
        wish::Reason::Scale => "the group is not made smaller, because its master would be removed",
        wish::Reason::Update => "the last pod that is to be replaced is the master, and stays so",
    };
    match rollout {
        Rollout::Replace(_) | Rollout::Stuck(_) => rollout,
        Rollout::Done
        | Rollout::SwitchOver(_)
        | Rollout::Moving(_)
        | Rollout::Waiting(_)
        | Rollout::Scheduled(_)
        | Rollout::Halted(_) => Rollout::Waiting(format!("{what}: {why}")),
    }
}

/// Brokers that are to be kept down, if the record says otherwise.
fn hold(observed: &Observed, size: &Size) -> Option<RecordStep> {
    let record = observed.record.as_ref()?;
    (record.held != size.held)
        .then(|| RecordStep::Hold { epoch: record.epoch, pods: size.held.clone() })
}

fn until_a_window_opens(window: Window, now: Timestamp) -> Duration {
    let Window::Closed { opens: Some(opens) } = window else { return LATER };
    Duration::try_from(opens.duration_since(now)).unwrap_or(SOON).max(SOON)
}

fn look_again(
    cluster: &ValidCluster,
    observed: &Observed,
    rollout: &Rollout,
    group: &Group,
) -> Duration {
    let converged = match group {
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

/// The StatefulSet to apply.
fn stateful_set(
    cluster: &ValidCluster,
    observed: &Observed,
    settings: &Settings,
    template: &Template,
    replicas: i32,
) -> Manifest {
    let live = observed.child(Kind::StatefulSet, &cluster.name.main());
    let (keep, halt) = match template {
        Template::Fresh => (None, None),
        Template::Kept(_) => (live.and_then(|live| live.pointer("/spec/template")), None),
        Template::Last { template, halt } => (Some(template), Some(halt)),
    };
    let mut manifest = resources::stateful_set::build(cluster, settings, keep, replicas);
    if let Some(halt) = halt {
        manifest.annotate(labels::HALTED, &serde_json::json!(halt).to_string());
    }
    manifest
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
