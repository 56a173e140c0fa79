//! Findings to conditions: what is so, and what to do about it.

use super::{
    lock::{Group, Lock},
    lock_verdict,
    observed::{ClaimView, Observed, PodView},
    plan::Findings,
    rollout::{Rollout, describe},
    split_brain::SplitBrain,
    validate::{Invalid, ValidCluster},
    volume_verdict,
};
use crate::{
    api::conditions::{Reason, Truth, Type, Verdict},
    broker::report::AgentState,
};

/// The conditions of a valid cluster. `refused` is what the API server refused to write, if
/// something; `updating` is whether an update was under way when this was last published.
pub fn of_cluster(
    cluster: &ValidCluster,
    observed: &Observed,
    findings: &Findings,
    refused: Option<&str>,
    updating: bool,
) -> Vec<Verdict> {
    let elected = master_elected(cluster, observed, findings);
    let converged = service_converged(observed, findings);
    let ready = ready(&elected, &converged);
    let mut verdicts = vec![
        ready,
        elected,
        standby_ready(cluster, observed, findings),
        converged,
        configuration(cluster, observed, findings, refused),
    ];
    let storage = volume_verdict::storage_lock(cluster, observed);
    verdicts.extend(storage.or_else(|| lock_verdict::storage_lock(cluster, observed)));
    verdicts.extend([
        split_brain(findings),
        progressing(cluster, findings, updating),
        paused(cluster.spec.paused),
    ]);
    verdicts
}

/// The conditions that a wrong spec changes; the others stay as they were, and so does the group.
pub fn of_invalid(problems: &[Invalid]) -> Verdict {
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Verdict::new(
        Type::ConfigurationValid,
        false,
        Reason::InvalidSpec,
        format!("{}. The running group is left as it is", text.join("; ")),
    )
}

/// What a paused group says.
const PAUSED: &str = "spec.paused is true: the operator changes nothing; failover goes on working";
/// What a group says that is told to have no broker.
const HIBERNATED: &str = "spec.hibernated is true: no broker runs, and the store is kept. Set it to false to wake the group";

const MADE_ANEW: &str = ". It is made anew then, empty, and no broker is started on an empty one: see docs/guides/operations.md, \"A store that is missing\"";

fn ready(elected: &Verdict, converged: &Verdict) -> Verdict {
    match (elected.truth, converged.truth) {
        (Truth::True, Truth::True) => Verdict::new(
            Type::Ready,
            true,
            Reason::Serving,
            format!("{}; clients reach it", elected.message),
        ),
        (Truth::True, _) => {
            Verdict::new(Type::Ready, false, Reason::NotConverged, converged.message.clone())
        }
        (truth, _) => Verdict::new(Type::Ready, truth, elected.reason, elected.message.clone()),
    }
}

fn master_elected(cluster: &ValidCluster, observed: &Observed, findings: &Findings) -> Verdict {
    let verdict = |truth: Truth, reason, message: String| {
        Verdict::new(Type::MasterElected, truth, reason, message)
    };
    match (&findings.group, &findings.lock) {
        (Group::Serving(master), _) => {
            verdict(Truth::True, Reason::LockHeld, format!("{master} holds the lock and serves"))
        }
        (_, Lock::Held { by }) => {
            let what = observed.pod(by).map(describe).unwrap_or_default();
            let recovering = observed
                .pod(by)
                .and_then(PodView::report)
                .is_some_and(|report| report.state == AgentState::Promoting);
            let reason = if recovering { Reason::Recovering } else { Reason::NoMaster };
            verdict(Truth::False, reason, format!("{by} holds the lock: {what}"))
        }
        (_, Lock::Disputed(pods)) => verdict(
            Truth::Unknown,
            Reason::LockDisputed,
            format!(
                "{} all claim the lock; no pod is replaced until one of them gives it up",
                pods.join(" and ")
            ),
        ),
        (Group::Dead, _) if cluster.spec.hibernated => {
            verdict(Truth::False, Reason::Hibernated, HIBERNATED.to_owned())
        }
        (Group::Dead, _) | (_, Lock::Free) => {
            verdict(Truth::False, Reason::NoMaster, no_master(observed))
        }
        (_, Lock::Unknown(_)) if cluster.spec.hibernated && observed.pods.is_empty() => {
            verdict(Truth::False, Reason::Hibernated, HIBERNATED.to_owned())
        }
        (_, Lock::Unknown(why)) => verdict(
            Truth::Unknown,
            Reason::LockUnknown,
            format!("it cannot be told who holds the lock: {why}{}", lost(findings)),
        ),
    }
}

fn split_brain(findings: &Findings) -> Verdict {
    let verdict = |truth: Truth, reason, message: String| {
        Verdict::new(Type::SplitBrain, truth, reason, message)
    };
    match (&findings.split_brain, &findings.lock) {
        (SplitBrain::No, _) => verdict(
            Truth::False,
            Reason::OneAtMost,
            "at most one broker holds the lock, as all agents say".to_owned(),
        ),
        (SplitBrain::Yes(pods), _) => verdict(
            Truth::True,
            Reason::SeveralHoldTheLock,
            format!(
                "{pods} hold the lock at the same time: their nodes do not share a store, or its locks do not hold between nodes. Clients are led to none; all brokers but one are killed, and no data is touched. See docs/guides/operations.md"
            ),
        ),
        (SplitBrain::Lingers(why), _) => verdict(
            Truth::Unknown,
            Reason::NotProvenOver,
            format!(
                "several brokers held the lock, and it is not proven that this is over: {why}. Clients are led nowhere until it is"
            ),
        ),
        (SplitBrain::Over, _) => verdict(
            Truth::Unknown,
            Reason::NotProvenOver,
            "several brokers held the lock; now one does at most, which is looked at once more"
                .to_owned(),
        ),
        (SplitBrain::Unknown(why), Lock::Disputed(_)) => {
            verdict(Truth::Unknown, Reason::LockDisputed, why.clone())
        }
        (SplitBrain::Unknown(why), _) => verdict(Truth::Unknown, Reason::AgentSilent, why.clone()),
    }
}

/// What becomes of pods of lost nodes, after another sentence.
fn lost(findings: &Findings) -> String {
    let told: Vec<String> =
        findings.losses.iter().map(|(pod, why)| format!("; {pod}: {why}")).collect();
    told.concat()
}

fn no_master(observed: &Observed) -> String {
    if observed.pods.is_empty() {
        return "no pod exists yet".to_owned();
    }
    let pods: Vec<String> =
        observed.pods.iter().map(|pod| format!("{}: {}", pod.name, describe(pod))).collect();
    format!("no broker holds the lock; {}", pods.join("; "))
}

fn standby_ready(cluster: &ValidCluster, observed: &Observed, findings: &Findings) -> Verdict {
    if cluster.spec.replicas == 1 {
        let message = "the group has one pod and no standby; set replicas: 2 for high availability";
        return Verdict::new(Type::StandbyReady, false, Reason::SinglePod, message);
    }
    if cluster.spec.hibernated && observed.pods.is_empty() {
        return Verdict::new(Type::StandbyReady, false, Reason::Hibernated, HIBERNATED);
    }
    let wanted = usize::try_from(cluster.spec.replicas.saturating_sub(1)).unwrap_or_default();
    let waiting = observed.pods.iter().filter(|pod| pod.waits()).count();
    if waiting >= wanted {
        return Verdict::new(
            Type::StandbyReady,
            true,
            Reason::AllWaiting,
            format!("{waiting} of {wanted} wait for the lock"),
        );
    }
    let holder = match &findings.lock {
        Lock::Held { by } => Some(by),
        Lock::Free | Lock::Disputed(_) | Lock::Unknown(_) => None,
    };
    let idle: Vec<String> = observed
        .pods
        .iter()
        .filter(|pod| !pod.waits() && Some(&pod.name) != holder)
        .map(|pod| {
            let loss = findings.losses.iter().find(|(name, _)| *name == pod.name);
            let loss = loss.map(|(_, why)| format!(" ({why})")).unwrap_or_default();
            format!("{}: {}{loss}", pod.name, describe(pod))
        })
        .collect();
    let message = format!("{waiting} of {wanted} wait for the lock; {}", idle.join("; "));
    let standbys = observed.pods.iter().filter(|pod| Some(&pod.name) != holder && !pod.waits());
    let fenced =
        standbys.clone().count() > 0 && standbys.clone().all(|pod| cluster.fences(&pod.name));
    let reason = if fenced { Reason::Fenced } else { Reason::StandbyMissing };
    Verdict::new(Type::StandbyReady, false, reason, message.trim_end_matches("; "))
}

fn service_converged(observed: &Observed, findings: &Findings) -> Verdict {
    let verdict = |truth: bool, reason, message: String| {
        Verdict::new(Type::ServiceConverged, truth, reason, message)
    };
    if !observed.other_slices.is_empty() {
        let names = observed.other_slices.join(", ");
        return verdict(
            false,
            Reason::ForeignSlice,
            format!(
                "EndpointSlice {names} also sends traffic of the Service somewhere; delete it or its label kubernetes.io/service-name"
            ),
        );
    }
    let Group::Serving(master) = &findings.group else {
        return verdict(false, Reason::NoMaster, "no master serves at the moment".to_owned());
    };
    if observed.record_leads_to(master) {
        verdict(true, Reason::RecordMatches, format!("the Service leads to {master}"))
    } else {
        let named = observed
            .record
            .as_ref()
            .and_then(|record| record.target.as_ref())
            .and_then(|t| t.pod.clone());
        let named = named.unwrap_or_else(|| "nobody".to_owned());
        verdict(
            false,
            Reason::RecordStale,
            format!("the Service leads to {named}, not to {master}; it is being repaired"),
        )
    }
}

fn configuration(
    cluster: &ValidCluster,
    observed: &Observed,
    findings: &Findings,
    refused: Option<&str>,
) -> Verdict {
    let verdict = |truth: Truth, reason, message: String| {
        Verdict::new(Type::ConfigurationValid, truth, reason, message)
    };
    if !findings.foreign.is_empty() {
        let names: Vec<String> =
            findings.foreign.iter().map(|(kind, name)| format!("{kind:?} {name}")).collect();
        return verdict(
            Truth::False,
            Reason::NameTaken,
            format!(
                "{} exists and is not Tandem's; it is left alone and nothing is changed. Delete or rename it, or give the BrokerCluster another name",
                names.join(", ")
            ),
        );
    }
    if !observed.claim_holders.is_empty() {
        let name = cluster.store.claim().unwrap_or_default();
        return verdict(
            Truth::False,
            Reason::ClaimTaken,
            format!(
                "PersistentVolumeClaim {name} is in use by {}: two groups on one store would be in each other's way, or destroy it; nothing is changed. Delete that group, or this one and name another claim",
                observed.claim_holders.join(" and ")
            ),
        );
    }
    if let Some(text) = refused {
        return verdict(
            Truth::False,
            Reason::ApplyRefused,
            format!("the API server refused a change: {text}"),
        );
    }
    if !observed.secret_problems.is_empty() {
        return verdict(Truth::False, Reason::SecretMissing, observed.secret_problems.join("; "));
    }
    claim(cluster, observed).unwrap_or_else(|| {
        verdict(Truth::True, Reason::Accepted, "the spec can be carried out".to_owned())
    })
}

fn claim(cluster: &ValidCluster, observed: &Observed) -> Option<Verdict> {
    let name = cluster.store.claim()?;
    let made = cluster.spec.storage.shared_volume.as_ref()?.claim_name.is_none();
    let verdict = |reason, message: String| {
        Some(Verdict::new(Type::ConfigurationValid, false, reason, message))
    };
    let field = "spec.storage.sharedVolume.claimName";
    match &observed.claim {
        ClaimView::Missing if !made => verdict(
            Reason::ClaimMissing,
            format!(
                "{field}: PersistentVolumeClaim {name} does not exist in namespace {}; create it",
                cluster.name.namespace
            ),
        ),
        ClaimView::Found { access_modes, .. }
            if cluster.spec.replicas > 1
                && !access_modes.iter().any(|mode| mode == "ReadWriteMany") =>
        {
            verdict(
                Reason::ClaimNotShared,
                format!(
                    "{field}: PersistentVolumeClaim {name} is {}, not ReadWriteMany: {} pods on different nodes cannot share it; use another claim or set replicas: 1",
                    access_modes.join(", "),
                    cluster.spec.replicas
                ),
            )
        }
        ClaimView::Found { phase, .. } if phase == "Terminating" => verdict(
            Reason::ClaimPending,
            format!(
                "PersistentVolumeClaim {name} is being deleted: it goes when no pod uses it any more, and the messages with it; until then no new pod can start{}",
                if made { MADE_ANEW } else { "" }
            ),
        ),
        ClaimView::Found { phase, .. } if phase == "Lost" => verdict(
            Reason::ClaimPending,
            format!(
                "PersistentVolumeClaim {name} has lost its volume; restore the PersistentVolume"
            ),
        ),
        ClaimView::Found { phase, .. }
            if phase != "Bound" && observed.pods.iter().all(PodView::holds_nothing) =>
        {
            verdict(
                Reason::ClaimPending,
                format!(
                    "PersistentVolumeClaim {name} is not bound to a volume yet; if that stays, see `kubectl describe pvc {name}` and the storage class"
                ),
            )
        }
        ClaimView::Missing | ClaimView::Found { .. } => None,
    }
}

/// A pod that is on its way because it was replaced belongs to the update, until all is done: nothing
/// but what was published tells it from one that starts for the first time.
fn progressing(cluster: &ValidCluster, findings: &Findings, updating: bool) -> Verdict {
    let verdict = |truth: bool, reason, message: String| {
        Verdict::new(Type::Progressing, truth, reason, message)
    };
    match &findings.rollout {
        Rollout::Done if cluster.spec.hibernated => {
            verdict(false, Reason::Hibernated, HIBERNATED.to_owned())
        }
        Rollout::Replace(_) | Rollout::SwitchOver(_) if cluster.spec.paused => {
            verdict(false, Reason::SpecPaused, PAUSED.to_owned())
        }
        Rollout::Moving(_) if cluster.spec.paused && cluster.spec.hibernated => {
            verdict(false, Reason::SpecPaused, PAUSED.to_owned())
        }
        Rollout::Moving(what) if cluster.spec.hibernated => {
            verdict(true, Reason::Hibernating, what.clone())
        }
        Rollout::Done => {
            verdict(false, Reason::UpToDate, "every pod is as the spec says".to_owned())
        }
        Rollout::Replace(victim) => verdict(
            true,
            Reason::RollingUpdate,
            format!("{} is replaced: {}", victim.pod, victim.why),
        ),
        Rollout::SwitchOver(what) => verdict(true, Reason::RollingUpdate, what.clone()),
        Rollout::Moving(what) if updating => verdict(true, Reason::RollingUpdate, what.clone()),
        Rollout::Moving(what) => verdict(true, Reason::Deploying, what.clone()),
        Rollout::Waiting(why) => verdict(false, Reason::RolloutWaiting, why.clone()),
        Rollout::Scheduled(why) => verdict(false, Reason::RolloutScheduled, why.clone()),
        Rollout::Stuck(why) => verdict(false, Reason::RolloutStuck, why.clone()),
        Rollout::Halted(why) => verdict(false, Reason::RolloutHalted, why.clone()),
    }
}

/// The condition of a paused cluster.
pub fn paused(paused: bool) -> Verdict {
    if paused {
        Verdict::new(Type::Paused, true, Reason::SpecPaused, PAUSED)
    } else {
        Verdict::new(
            Type::Paused,
            false,
            Reason::Active,
            "the operator keeps the group as the spec says",
        )
    }
}
