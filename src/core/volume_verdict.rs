//! What is known of a volume and its locks, as a condition and in the status. Pure: made of what agents
//! report.

use super::{
    acceptance::remark,
    lock_verdict::{in_words, told},
    observed::{Observed, PodView},
    validate::ValidCluster,
};
use crate::{
    api::conditions::{Reason, Truth, Type, Verdict},
    broker::{
        report::{StoreNoteKind, StoreProblemKind, TrialReport, VolumeReport},
        settings::Preflight,
        store::{Store, VolumeLock},
    },
};

/// What all agents together say of the locks of the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Whether they hold between nodes; nothing if that was not tried.
    pub holds: Option<bool>,
    /// The file system.
    pub file_system: Option<String>,
    /// The longest time until a killed process's lock was free, in milliseconds.
    pub release_millis: Option<u64>,
    /// The longest time until an answer to a write was seen, in milliseconds.
    pub visible_millis: Option<u64>,
}

/// The condition, for clusters whose messages are on a volume. One whose lock is in a database has it
/// only when the volume cannot be used.
pub(super) fn storage_lock(cluster: &ValidCluster, observed: &Observed) -> Option<Verdict> {
    let Store::Volume { lock, preflight, .. } = &cluster.store else { return None };
    let reports = reports(observed);
    let place = place(&reports);
    let verdict = |truth: Truth, reason, message: String| {
        Some(Verdict::new(Type::StorageLockVerified, truth, reason, format!("{place}: {message}")))
    };
    let problems = told(&reports, |report| {
        let of = report.problem.iter();
        of.map(|problem| (problem_reason(problem.kind), &*problem.message)).collect()
    });
    if let Some((reason, _)) = problems.first() {
        // Which store it is, is no matter of how the volume behaves.
        if matches!(reason, Reason::StoreMissing | Reason::StoreReplaced | Reason::ElectedOtherwise)
        {
            let ignored = remark(cluster, observed).map(|why| format!("; {why}"));
            let message = format!("{}{}", in_words(&problems), ignored.unwrap_or_default());
            return verdict(Truth::False, *reason, message);
        }
        let all_the_same = match preflight {
            Preflight::Required => "",
            Preflight::Warn => {
                "; where a broker can run it is started all the same, because \
                 storage.sharedVolume.preflight is Warn"
            }
        };
        return verdict(Truth::False, *reason, format!("{}{all_the_same}", in_words(&problems)));
    }
    if matches!(lock, VolumeLock::Lease(_)) {
        return None;
    }
    let mut notes = told(&reports, |report| {
        report.notes.iter().map(|note| (note_reason(note.kind), &*note.message)).collect()
    });
    notes.sort_by_key(|(reason, _)| rank(*reason));
    let remarks = if notes.is_empty() { String::new() } else { format!("; {}", in_words(&notes)) };
    let Some(worst) = worst(&reports) else {
        let (reason, message) = untried(cluster, &reports);
        return verdict(Truth::Unknown, reason, format!("{message}{remarks}"));
    };
    let local = reports.iter().all(|(_, report)| report.local);
    if worst.same_node && !local {
        let message = "the pods are on one node, which shows nothing of locks between nodes";
        return verdict(Truth::Unknown, Reason::SameNode, format!("{message}{remarks}"));
    }
    let reason = notes.first().map_or(Reason::LockVerified, |(reason, _)| *reason);
    let message = format!(
        "locks hold between pods; a killed process's lock was free after {} ms, and an answer to a \
         write was seen after {} ms{remarks}",
        worst.release_millis, worst.visible_millis
    );
    verdict(Truth::True, reason, message)
}

/// The same for the status.
pub(super) fn verified(observed: &Observed) -> Verified {
    let reports = reports(observed);
    let worst = worst(&reports);
    let local = reports.iter().all(|(_, report)| report.local);
    let refused = reports.iter().any(|(_, report)| report.problem.is_some());
    let passed = worst.as_ref().is_some_and(|trial| !trial.same_node || local);
    Verified {
        holds: (refused || passed).then_some(!refused),
        file_system: reports.iter().find_map(|(_, report)| report.file_system.clone()),
        release_millis: worst.as_ref().map(|trial| trial.release_millis),
        visible_millis: worst.as_ref().map(|trial| trial.visible_millis),
    }
}

fn reports(observed: &Observed) -> Vec<(&PodView, &VolumeReport)> {
    let pods = observed.pods.iter();
    pods.filter_map(|pod| Some((pod, pod.report()?.volume.as_ref()?))).collect()
}

fn place(reports: &[(&PodView, &VolumeReport)]) -> String {
    let known = reports.iter().find_map(|(_, report)| report.file_system.as_deref());
    known.map_or_else(|| "the volume".to_owned(), |known| format!("the volume ({known})"))
}

/// The worst figures of all trials; of pods on different nodes, if there is one.
fn worst(reports: &[(&PodView, &VolumeReport)]) -> Option<TrialReport> {
    let trials = || reports.iter().filter_map(|(_, report)| report.trial.as_ref());
    let apart = trials().any(|trial| !trial.same_node);
    let counted = trials().filter(|trial| !apart || !trial.same_node);
    counted.cloned().reduce(|one, other| TrialReport {
        release_millis: one.release_millis.max(other.release_millis),
        visible_millis: one.visible_millis.max(other.visible_millis),
        ..one
    })
}

fn untried(cluster: &ValidCluster, reports: &[(&PodView, &VolumeReport)]) -> (Reason, String) {
    let waits = reports.iter().find_map(|(pod, report)| {
        report.waits_for.as_ref().map(|what| format!("{what} ({})", pod.name))
    });
    if let Some(waits) = waits {
        return (Reason::NotVerified, waits);
    }
    if cluster.spec.replicas == 1 {
        let message = "the group has one pod, and nobody to try the volume's locks with";
        return (Reason::SinglePod, message.to_owned());
    }
    if reports.is_empty() {
        return (Reason::NotObserved, "no agent has looked at it yet".to_owned());
    }
    let message = "two pods have not tried its locks together yet: a broker was started because \
                   no other pod was there";
    (Reason::NotVerified, message.to_owned())
}

fn problem_reason(kind: StoreProblemKind) -> Reason {
    match kind {
        StoreProblemKind::LocksLocal => Reason::LocksLocal,
        StoreProblemKind::LocksNeverFreed => Reason::LocksNeverFreed,
        StoreProblemKind::LocksNotFreed => Reason::LocksNotFreed,
        StoreProblemKind::LocksUnseen => Reason::LocksUnseen,
        StoreProblemKind::LocksUnsupported => Reason::LocksUnsupported,
        StoreProblemKind::WritesNotSeen => Reason::WritesNotSeen,
        StoreProblemKind::DifferentStores => Reason::DifferentStores,
        StoreProblemKind::StoreMissing => Reason::StoreMissing,
        StoreProblemKind::StoreReplaced => Reason::StoreReplaced,
        StoreProblemKind::ElectedOtherwise => Reason::ElectedOtherwise,
        StoreProblemKind::ReadOnly => Reason::ReadOnly,
        StoreProblemKind::NotWritable => Reason::NotWritable,
        StoreProblemKind::Full => Reason::StorageFull,
        StoreProblemKind::Hangs => Reason::StorageHangs,
        StoreProblemKind::FenceTooLate => Reason::FenceTooLate,
        StoreProblemKind::Failed => Reason::StorageFailed,
        StoreProblemKind::Unknown => Reason::ReportedByNewerAgent,
    }
}

fn note_reason(kind: StoreNoteKind) -> Reason {
    match kind {
        StoreNoteKind::LateWrites => Reason::LateWrites,
        StoreNoteKind::AnswersFromMemory => Reason::AnswersFromMemory,
        StoreNoteKind::AttributesCached => Reason::AttributesCached,
        StoreNoteKind::Slow => Reason::StorageSlow,
        StoreNoteKind::Full => Reason::StorageFull,
        StoreNoteKind::Unknown => Reason::ReportedByNewerAgent,
    }
}

/// Which note names the condition's reason, if there are several.
fn rank(reason: Reason) -> u8 {
    [Reason::StorageFull, Reason::LateWrites, Reason::AnswersFromMemory]
        .iter()
        .position(|worse| *worse == reason)
        .and_then(|rank| u8::try_from(rank).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
#[path = "volume_verdict_tests.rs"]
mod tests;
