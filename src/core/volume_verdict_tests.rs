use super::*;
use crate::{
    api::v1alpha1::BrokerCluster,
    broker::report::{StoreNote, StoreProblem},
    core::{lock_verdict::tests::pod, validate::validate},
};

fn cluster(storage: &str) -> ValidCluster {
    let spec = format!("storage: {{{storage}}}");
    validate(&BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap())).unwrap()
}

fn volume() -> ValidCluster {
    cluster("sharedVolume: {claimName: a}")
}

fn report(trial: Option<TrialReport>) -> VolumeReport {
    let file_system = Some("nfs4 from server:/x".to_owned());
    VolumeReport { file_system, trial, ..VolumeReport::default() }
}

#[allow(clippy::unnecessary_wraps, reason = "a trial is optional")]
fn trial(release_millis: u64, same_node: bool) -> Option<TrialReport> {
    Some(TrialReport {
        peer: "orders-1".to_owned(),
        peer_node: "n2".to_owned(),
        same_node,
        release_millis,
        visible_millis: 100,
        stale_millis: Some(0),
    })
}

fn refused(kind: StoreProblemKind) -> VolumeReport {
    let problem = StoreProblem { kind, message: "it does not do".to_owned() };
    VolumeReport { problem: Some(problem), ..report(None) }
}

fn observed(reports: Vec<VolumeReport>) -> Observed {
    let pods = reports.into_iter().enumerate().map(|(n, volume)| {
        let mut pod = pod(&format!("orders-{n}"), None);
        if let crate::core::observed::ReportView::Fresh(report) = &mut pod.report {
            report.volume = Some(volume);
        }
        pod
    });
    Observed { pods: pods.collect(), ..Observed::default() }
}

fn told_of(cluster: &ValidCluster, reports: Vec<VolumeReport>) -> (Truth, Reason, String) {
    let verdict = storage_lock(cluster, &observed(reports)).unwrap();
    (verdict.truth, verdict.reason, verdict.message)
}

#[test]
fn locks_tried_from_two_nodes_are_verified_with_the_worst_figures() {
    let both = || vec![report(trial(12, false)), report(trial(30, false))];
    let (truth, reason, message) = told_of(&volume(), both());
    assert_eq!((truth, reason), (Truth::True, Reason::LockVerified));
    assert!(message.contains("nfs4 from server:/x") && message.contains("30 ms"), "{message}");
    let status = verified(&observed(both()));
    assert_eq!((status.holds, status.release_millis), (Some(true), Some(30)));
}

#[test]
fn one_refusal_is_enough_and_warn_says_that_brokers_run_all_the_same() {
    let reports = || vec![report(trial(12, false)), refused(StoreProblemKind::LocksLocal)];
    let (truth, reason, message) = told_of(&volume(), reports());
    assert_eq!((truth, reason), (Truth::False, Reason::LocksLocal));
    assert!(message.ends_with("it does not do (orders-1)"), "{message}");
    let warned = cluster("sharedVolume: {claimName: a, preflight: Warn}");
    assert!(told_of(&warned, reports()).2.contains("preflight is Warn"));
    assert_eq!(verified(&observed(reports())).holds, Some(false));
}

#[test]
fn two_pods_on_one_node_verify_local_file_systems_only() {
    let (truth, reason, _) = told_of(&volume(), vec![report(trial(1, true))]);
    assert_eq!((truth, reason), (Truth::Unknown, Reason::SameNode));
    let local = VolumeReport { local: true, ..report(trial(1, true)) };
    let (truth, reason, _) = told_of(&volume(), vec![local]);
    assert_eq!((truth, reason), (Truth::True, Reason::LockVerified));
}

#[test]
fn what_was_not_tried_is_unknown_and_says_what_is_waited_for() {
    let waits = VolumeReport { waits_for: Some("for a friend".to_owned()), ..report(None) };
    let (truth, reason, message) = told_of(&volume(), vec![waits]);
    assert_eq!((truth, reason), (Truth::Unknown, Reason::NotVerified));
    assert!(message.contains("for a friend (orders-0)"), "{message}");
    assert_eq!(told_of(&volume(), vec![]).1, Reason::NotObserved);
    assert_eq!(told_of(&volume(), vec![report(None)]).1, Reason::NotVerified);
}

#[test]
fn notes_leave_it_true_and_the_worst_one_gives_the_reason() {
    let note = |kind| StoreNote { kind, message: format!("{kind:?} is so") };
    let notes = vec![note(StoreNoteKind::AttributesCached), note(StoreNoteKind::LateWrites)];
    let told = VolumeReport { notes, ..report(trial(5, false)) };
    let (truth, reason, message) = told_of(&volume(), vec![told]);
    assert_eq!((truth, reason), (Truth::True, Reason::LateWrites));
    assert!(message.contains("AttributesCached is so"), "{message}");
}

#[test]
fn a_volume_with_a_lease_elsewhere_is_told_of_only_when_it_cannot_be_used() {
    let leased = cluster(
        "sharedVolume: {claimName: a, lock: {database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: {name: a}}}}",
    );
    assert_eq!(storage_lock(&leased, &observed(vec![report(trial(1, false))])), None);
    let (truth, reason, _) = told_of(&leased, vec![refused(StoreProblemKind::NotWritable)]);
    assert_eq!((truth, reason), (Truth::False, Reason::NotWritable));
}

#[test]
fn every_problem_and_note_is_worth_an_event() {
    use {StoreNoteKind as N, StoreProblemKind as P};
    for kind in [
        P::LocksLocal,
        P::LocksNeverFreed,
        P::LocksNotFreed,
        P::LocksUnseen,
        P::LocksUnsupported,
        P::WritesNotSeen,
        P::DifferentStores,
        P::ReadOnly,
        P::NotWritable,
        P::Full,
        P::Hangs,
        P::FenceTooLate,
        P::Failed,
    ] {
        assert!(Reason::STORAGE_PROBLEMS.contains(&problem_reason(kind)), "{kind:?}");
    }
    for kind in [N::LateWrites, N::AnswersFromMemory, N::AttributesCached, N::Slow, N::Full] {
        let reason = note_reason(kind);
        let known = Reason::STORAGE_NOTES.contains(&reason);
        assert!(known || Reason::STORAGE_PROBLEMS.contains(&reason), "{kind:?}");
    }
}
