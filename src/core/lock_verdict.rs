//! What is known of a lock in a database, as a condition. Pure: made of what agents report.

use std::collections::BTreeMap;

use super::{
    observed::{Observed, PodView},
    validate::ValidCluster,
};
use crate::{
    api::conditions::{Reason, Truth, Type, Verdict},
    broker::report::{DatabaseReport, NoteKind, ProblemKind},
};

/// The condition, for clusters whose lock is in a database.
pub(super) fn storage_lock(cluster: &ValidCluster, observed: &Observed) -> Option<Verdict> {
    let database = cluster.store.database()?;
    let reports: Vec<(&PodView, &DatabaseReport)> = observed
        .pods
        .iter()
        .filter_map(|pod| Some((pod, pod.report()?.database.as_ref()?)))
        .collect();
    let verdict = |truth: Truth, reason, message: String| {
        Some(Verdict::new(Type::StorageLockVerified, truth, reason, message))
    };
    let place = database.lock_place();

    let problems = told(&reports, |report| {
        report
            .problem
            .iter()
            .map(|problem| (problem_reason(problem.kind), &*problem.message))
            .collect()
    });
    if let Some((reason, _)) = problems.first() {
        return verdict(Truth::False, *reason, format!("{place}: {}", in_words(&problems)));
    }
    if database.known().is_none() {
        let message = format!(
            "{place}: agents cannot ask this kind of database, so the lock is known by the brokers' logs only: a crashed broker's lease is waited for, and late writes are not refused"
        );
        return verdict(Truth::Unknown, Reason::LockNotObservable, message);
    }
    let mut notes = told(&reports, |report| {
        report.notes.iter().map(|note| (note_reason(note.kind), &*note.message)).collect()
    });
    notes.sort_by_key(|(reason, _)| rank(*reason));
    if let Some((reason, _)) = notes.first() {
        return verdict(Truth::True, *reason, format!("{place}: {}", in_words(&notes)));
    }
    match reports.iter().find_map(|(_, report)| report.server.as_ref()) {
        Some(server) => {
            // Only a database that holds the messages can refuse them.
            let fence = match cluster.store.claim() {
                None => ", and refuses writes of any other broker",
                Some(_) => "",
            };
            let message = format!("{place}: {server} elects the master{fence}");
            verdict(Truth::True, Reason::LeaseVerified, message)
        }
        None => verdict(
            Truth::Unknown,
            Reason::NotObserved,
            format!("{place}: no agent has asked the database yet"),
        ),
    }
}

/// What agents say, each sentence once with the pods that say it, in the order of the pods.
pub(super) fn told<'a, T>(
    reports: &[(&'a PodView, &'a T)],
    of: impl Fn(&'a T) -> Vec<(Reason, &'a str)>,
) -> Vec<(Reason, String)> {
    let mut order: Vec<(Reason, &str)> = Vec::new();
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (pod, report) in reports {
        for (reason, message) in of(report) {
            if !by.contains_key(message) {
                order.push((reason, message));
            }
            by.entry(message).or_default().push(&pod.name);
        }
    }
    let sentence = |(reason, message): (Reason, &str)| {
        let pods = by.get(message).map(|pods| pods.join(", ")).unwrap_or_default();
        (reason, format!("{message} ({pods})"))
    };
    order.into_iter().map(sentence).collect()
}

pub(super) fn in_words(told: &[(Reason, String)]) -> String {
    told.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ")
}

fn problem_reason(kind: ProblemKind) -> Reason {
    match kind {
        ProblemKind::DatabaseUnreachable => Reason::DatabaseUnreachable,
        ProblemKind::AuthenticationRefused => Reason::AuthenticationRefused,
        ProblemKind::TlsRefused => Reason::TlsRefused,
        ProblemKind::RightsMissing => Reason::RightsMissing,
        ProblemKind::DatabaseMissing => Reason::DatabaseMissing,
        ProblemKind::DriverMissing => Reason::DriverMissing,
        ProblemKind::TablesMismatch => Reason::TablesMismatch,
        ProblemKind::LockRowMissing => Reason::LockRowMissing,
        ProblemKind::ReadOnly => Reason::ReadOnly,
        ProblemKind::PoolerBetween => Reason::PoolerBetween,
        ProblemKind::DatabaseInUse => Reason::DatabaseInUse,
        ProblemKind::ServerChanged => Reason::ServerChanged,
        ProblemKind::Unknown => Reason::ReportedByNewerAgent,
    }
}

fn note_reason(kind: NoteKind) -> Reason {
    match kind {
        NoteKind::WritesNotFenced => Reason::WritesNotFenced,
        NoteKind::CommitsMayBeLost => Reason::CommitsMayBeLost,
        NoteKind::ClockSkew => Reason::ClockSkew,
        NoteKind::SessionsNotProven => Reason::SessionsNotProven,
        NoteKind::Unknown => Reason::ReportedByNewerAgent,
    }
}

/// Which note names the condition's reason, if there are several.
fn rank(reason: Reason) -> u8 {
    [Reason::SessionsNotProven, Reason::WritesNotFenced, Reason::CommitsMayBeLost]
        .iter()
        .position(|worse| *worse == reason)
        .and_then(|rank| u8::try_from(rank).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
#[path = "lock_verdict_tests.rs"]
pub(super) mod tests;
