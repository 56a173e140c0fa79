//! What to do in one pass: children to apply and prune, and at most one disruptive step.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    changes::{changed, pinned},
    claim::{self, Sizing},
    credentials::may_make_pods,
    lock::{self, Group, Lock},
    lost,
    observed::{Observed, PodView},
    rollout::{self, Rollout, Victim},
    split_brain::{self, Claim, SplitBrain},
    switchover::{self, StepDown, Switchover},
    validate::ValidCluster,
};
use crate::{
    api::labels,
    broker::settings::RecordPort,
    resources::{
        self, Kind, Manifest, Settings,
        endpoint_slice::{self, Family},
    },
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
    let mut wanted = resources::build(cluster, settings);
    wanted.extend(record_manifests(cluster, observed));
    let size = claim::judge(cluster, observed);
    let grow = claim::hold_size(&mut wanted, observed, size.as_ref());
    let (stateful_set, held_back) = stateful_set(cluster, observed, settings, &group);
    let keeps_template = held_back.is_some();
    if may_make_pods(cluster, observed) {
        wanted.push(stateful_set);
    }
    wanted.sort_by_key(|manifest| manifest.kind);

    let foreign = foreign(cluster, observed, &wanted);
    let rollout = match held_back {
        Some(why) => Rollout::Waiting(why),
        None => rollout::next(cluster, observed, &group),
    };
    let hands_off =
        cluster.spec.paused || !foreign.is_empty() || !observed.claim_holders.is_empty();
    let marked = observed.record.as_ref().is_some_and(|record| record.disputed.is_some());
    let disputed = marked || matches!(split_brain, SplitBrain::Yes(_));
    let switchover = switchover::judge(cluster, observed, &group, &rollout, now);
    let requested = match &switchover {
        // A refusal is written also when the operator is told to keep its hands off: it is the answer.
        Switchover::Write(request) if foreign.is_empty() && !disputed => {
            Some(RecordStep::Request(request.clone()))
        }
        Switchover::Write(_) | Switchover::None | Switchover::UnderWay | Switchover::Unknown(_) => {
            None
        }
    };
    let record = record_step(observed, &split_brain, &group, now).filter(|_| !hands_off);
    let record = record.or(requested);
    let switches = matches!(switchover, Switchover::Write(_) | Switchover::UnderWay);
    let look_again =
        if disputed || switches { SOON } else { look_again(cluster, observed, &rollout, &group) };
    let (losses, lost) = lost::all(cluster, observed, &group, now);
    let replaced = match &rollout {
        Rollout::Replace(victim) => Some(victim.clone()),
        Rollout::Done | Rollout::Moving(_) | Rollout::Waiting(_) | Rollout::Stuck(_) => None,
    };
    let step = lost.or(replaced).filter(|_| !hands_off && !disputed && !switches);
    Plan {
        prune: if hands_off { Vec::new() } else { prune(cluster, observed, &wanted) },
        apply: if hands_off {
            Vec::new()
        } else {
            pinned(observed, changed(observed, wanted), keeps_template)
        },
        grow: changed(observed, grow.into_iter().filter(|_| !hands_off).collect()).pop(),
        create_admin: !hands_off
            && cluster.spec.auth.generates_admin()
            && observed.child(Kind::Secret, &cluster.name.admin()).is_none(),
        roles: if cluster.spec.paused || disputed { Vec::new() } else { roles(observed, &group) },
        record,
        step,
        findings: Findings { lock, split_brain, group, rollout, foreign, hands_off, size, losses },
        look_again,
    }
}

fn look_again(
    cluster: &ValidCluster,
    observed: &Observed,
    rollout: &Rollout,
    group: &Group,
) -> Duration {
    let converged = match group {
        Group::Serving(master) => observed.record_leads_to(master),
        Group::Dead | Group::InTransit(_) => false,
    };
    match rollout {
        // No watch tells of the end of another group.
        _ if !observed.claim_holders.is_empty() => NOW_AND_THEN,
        _ if converged && (*rollout == Rollout::Done || cluster.spec.paused) => LATER,
        // What ends these is mostly announced by a watch; looking is for what is not.
        Rollout::Stuck(_) | Rollout::Waiting(_) => NOW_AND_THEN,
        _ if cluster.spec.paused => NOW_AND_THEN,
        Rollout::Done | Rollout::Replace(_) | Rollout::Moving(_) => SOON,
    }
}

/// The StatefulSet to apply; if the spec's template has to wait, the present one is kept and the
/// reason comes with it.
fn stateful_set(
    cluster: &ValidCluster,
    observed: &Observed,
    settings: &Settings,
    group: &Group,
) -> (Manifest, Option<String>) {
    let fresh = || resources::stateful_set::build(cluster, settings, None);
    let Some(live) = observed.child(Kind::StatefulSet, &cluster.name.main()) else {
        return (fresh(), None);
    };
    let current = template_revision(live);
    if current == cluster.revision {
        return (fresh(), None);
    }
    match rollout::may_change_template(observed, group, &current) {
        Ok(()) => (fresh(), None),
        Err(why) => {
            let kept = live.pointer("/spec/template");
            let manifest = resources::stateful_set::build(cluster, settings, kept);
            (manifest, Some(format!("the changed spec is not rolled out while {why}")))
        }
    }
}

fn template_revision(stateful_set: &Value) -> String {
    stateful_set
        .pointer("/spec/template/metadata/annotations")
        .and_then(|annotations| annotations.get(labels::TEMPLATE_HASH))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The record, and its follower where pods have addresses of both families. Their ports follow the
/// promoted pod's configuration, which during a rollout may be older than the spec.
fn record_manifests(cluster: &ValidCluster, observed: &Observed) -> Vec<Manifest> {
    let promoted = observed.record.as_ref().and_then(|record| record.master.as_deref());
    let annotated = promoted
        .and_then(|name| observed.pod(name))
        .and_then(|pod| pod.ports_annotation.as_deref())
        .and_then(|text| serde_json::from_str::<Vec<RecordPort>>(text).ok());
    let ports = annotated.unwrap_or_else(|| resources::config_map::ports(cluster));
    let family = family(cluster, observed);
    let mut manifests = vec![endpoint_slice::build(cluster, family, &ports)];
    let second =
        |pod: &PodView| pod.addresses.iter().any(|address| Family::of(address) == family.other());
    let follower = endpoint_slice::follower(cluster, family, &ports);
    if observed.pods.iter().any(second)
        || observed.child(Kind::EndpointSlice, &follower.name).is_some()
    {
        manifests.push(follower);
    }
    manifests
}

/// The record has the family of the pods' first address; an existing record's never changes.
fn family(cluster: &ValidCluster, observed: &Observed) -> Family {
    let live = observed.child(Kind::EndpointSlice, &cluster.name.main());
    let recorded = live.and_then(|slice| slice.get("addressType")).and_then(Value::as_str);
    match recorded {
        Some(recorded) if recorded == Family::V6.as_str() => Family::V6,
        Some(_) => Family::V4,
        None => observed
            .pods
            .iter()
            .find_map(|pod| pod.addresses.first())
            .map_or(Family::V4, |a| Family::of(a)),
    }
}

fn controller_uid(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?
        .get("uid")?
        .as_str()
}

/// Wanted names that objects of somebody else bear. The claim has no owner: ours is known by its
/// labels, also one that an earlier cluster of the same name left.
fn foreign(
    cluster: &ValidCluster,
    observed: &Observed,
    wanted: &[Manifest],
) -> Vec<(Kind, String)> {
    let mut names: Vec<(Kind, String)> = wanted.iter().map(|m| (m.kind, m.name.clone())).collect();
    if cluster.spec.auth.generates_admin() {
        names.push((Kind::Secret, cluster.name.admin()));
    }
    let is_foreign = |(kind, name): &(Kind, String)| {
        let Some(live) = observed.child(*kind, name) else { return false };
        let label = |key: &str| {
            live.pointer("/metadata/labels").and_then(|map| map.get(key)).and_then(Value::as_str)
        };
        if *kind == Kind::PersistentVolumeClaim {
            label(labels::INSTANCE) != Some(&cluster.name.name)
                || label(labels::MANAGED_BY) != Some(labels::MANAGER)
        } else {
            controller_uid(live) != Some(&cluster.uid) && !recreated_record(cluster, *kind, live)
        }
    };
    names.into_iter().filter(is_foreign).collect()
}

/// An agent that re-created a deleted record could not name the owner.
fn recreated_record(cluster: &ValidCluster, kind: Kind, live: &Value) -> bool {
    let label = |key: &str| {
        live.pointer("/metadata/labels").and_then(|map| map.get(key)).and_then(Value::as_str)
    };
    kind == Kind::EndpointSlice
        && controller_uid(live).is_none()
        && label(labels::SLICE_MANAGED_BY) == Some(labels::GROUP)
        && label(labels::INSTANCE) == Some(&cluster.name.name)
}

/// Children of ours that are not wanted any more, but for configurations that a pod or the
/// StatefulSet still mounts.
fn prune(
    cluster: &ValidCluster,
    observed: &Observed,
    wanted: &[Manifest],
) -> Vec<(Kind, String, String)> {
    let template = observed
        .child(Kind::StatefulSet, &cluster.name.main())
        .map(Value::to_string)
        .unwrap_or_default();
    let unwanted = |kind: Kind, name: &str| {
        !wanted.iter().any(|manifest| manifest.kind == kind && manifest.name == name)
            && kind != Kind::PersistentVolumeClaim
            && !(kind == Kind::Secret && cluster.spec.auth.generates_admin())
    };
    let mounted = |kind: Kind, name: &str| {
        kind == Kind::ConfigMap
            && (template.contains(&format!("\"{name}\""))
                || observed.pods.iter().any(|pod| pod.config_map.as_deref() == Some(name)))
    };
    observed
        .children
        .iter()
        .filter(|((kind, name), live)| {
            controller_uid(live) == Some(&cluster.uid)
                && unwanted(*kind, name)
                && !mounted(*kind, name)
        })
        .filter_map(|((kind, name), live)| {
            let uid = live.pointer("/metadata/uid")?.as_str()?;
            Some((*kind, name.clone(), uid.to_owned()))
        })
        .collect()
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
