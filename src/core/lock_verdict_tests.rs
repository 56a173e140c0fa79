use super::*;
use crate::{
    api::v1alpha1::BrokerCluster,
    broker::report::{
        AgentState, DatabaseNote, DatabaseProblem, GreetingView, LockReport, LockView, Report,
    },
    core::{
        observed::{ContainerView, NodeView, ReportView},
        validate::validate,
    },
};

fn cluster(storage: &str) -> ValidCluster {
    let spec = format!("storage: {{{storage}}}");
    validate(&BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap())).unwrap()
}

fn store() -> ValidCluster {
    cluster("database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: {name: a}}")
}

pub(in crate::core) fn pod(name: &str, database: Option<DatabaseReport>) -> PodView {
    let report = Report {
        pod: name.into(),
        pod_uid: name.into(),
        agent_version: String::new(),
        state: AgentState::Standby,
        lock: LockReport { view: LockView::Other, age_millis: 0 },
        greeting: GreetingView::Refused,
        child: None,
        motion: None,
        last_exit: None,
        promotion: None,
        epoch: 0,
        message: None,
        database,
        volume: None,
        store: None,
    };
    PodView {
        name: name.into(),
        uid: name.into(),
        revision: String::new(),
        node: None,
        addresses: Vec::new(),
        terminating: false,
        role_label: None,
        ports_annotation: None,
        controller_revision: None,
        agent_image: None,
        config_map: None,
        container: ContainerView::Running,
        report: ReportView::Fresh(Box::new(report)),
        node_state: NodeView::Unknown,
    }
}

fn fine() -> DatabaseReport {
    DatabaseReport { server: Some("PostgreSQL 15.1".into()), ..DatabaseReport::default() }
}

fn problem(kind: ProblemKind, message: &str) -> DatabaseReport {
    let problem = Some(DatabaseProblem { kind, message: message.into() });
    DatabaseReport { problem, ..fine() }
}

fn notes(kinds: &[NoteKind]) -> DatabaseReport {
    let note = |kind: &NoteKind| DatabaseNote { kind: *kind, message: format!("{kind:?} is so") };
    DatabaseReport { notes: kinds.iter().map(note).collect(), ..fine() }
}

fn told_of(
    cluster: &ValidCluster,
    reports: Vec<Option<DatabaseReport>>,
) -> (Truth, Reason, String) {
    let pods =
        reports.into_iter().enumerate().map(|(n, report)| pod(&format!("orders-{n}"), report));
    let observed = Observed { pods: pods.collect(), ..Observed::default() };
    let verdict = storage_lock(cluster, &observed).unwrap();
    (verdict.truth, verdict.reason, verdict.message)
}

#[test]
fn a_lock_on_a_file_has_no_such_condition() {
    let cluster = cluster("sharedVolume: {claimName: a}");
    assert_eq!(storage_lock(&cluster, &Observed::default()), None);
}

#[test]
fn what_was_not_asked_is_unknown() {
    let (truth, reason, _) = told_of(&store(), vec![None, Some(DatabaseReport::default())]);
    assert_eq!((truth, reason), (Truth::Unknown, Reason::NotObserved));
}

#[test]
fn a_lease_is_verified_and_said_to_be_fenced_only_where_the_messages_are() {
    let (truth, reason, message) = told_of(&store(), vec![Some(fine()), None]);
    assert_eq!((truth, reason), (Truth::True, Reason::LeaseVerified));
    assert!(message.contains("PostgreSQL 15.1") && message.contains("refuses writes"));
    let lock = cluster(
        "sharedVolume: {claimName: a, lock: {database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: {name: a}}}}",
    );
    assert!(!told_of(&lock, vec![Some(fine())]).2.contains("refuses writes"));
}

#[test]
fn one_problem_is_enough_and_the_same_sentence_stands_once() {
    let away = || Some(problem(ProblemKind::DatabaseUnreachable, "db:5432 does not answer"));
    let (truth, reason, message) = told_of(&store(), vec![away(), away(), Some(fine())]);
    assert_eq!((truth, reason), (Truth::False, Reason::DatabaseUnreachable));
    assert!(message.ends_with("db:5432 does not answer (orders-0, orders-1)"), "{message}");
}

#[test]
fn notes_leave_it_true_and_the_worst_one_gives_the_reason() {
    let all = [NoteKind::ClockSkew, NoteKind::CommitsMayBeLost, NoteKind::WritesNotFenced];
    let (truth, reason, message) = told_of(&store(), vec![Some(notes(&all))]);
    assert_eq!((truth, reason), (Truth::True, Reason::WritesNotFenced));
    assert!(message.contains("ClockSkew is so") && message.contains("CommitsMayBeLost is so"));
}

#[test]
fn other_databases_cannot_be_asked_but_a_missing_driver_is_told() {
    let other = cluster(
        "database: {type: Other, url: 'jdbc:x:y', driver: {class: X}, credentialsSecret: {name: a}}",
    );
    let (truth, reason, _) = told_of(&other, vec![None]);
    assert_eq!((truth, reason), (Truth::Unknown, Reason::LockNotObservable));
    let missing = problem(ProblemKind::DriverMissing, "no X in lib");
    assert_eq!(told_of(&other, vec![Some(missing)]).1, Reason::DriverMissing);
}

#[test]
fn every_problem_and_note_has_a_reason_of_its_name() {
    for kind in [
        ProblemKind::DatabaseUnreachable,
        ProblemKind::AuthenticationRefused,
        ProblemKind::TlsRefused,
        ProblemKind::RightsMissing,
        ProblemKind::DatabaseMissing,
        ProblemKind::DriverMissing,
        ProblemKind::TablesMismatch,
        ProblemKind::LockRowMissing,
        ProblemKind::ReadOnly,
    ] {
        assert_eq!(problem_reason(kind).as_str(), format!("{kind:?}"));
        assert!(Reason::STORAGE_PROBLEMS.contains(&problem_reason(kind)));
    }
    for kind in [NoteKind::WritesNotFenced, NoteKind::CommitsMayBeLost, NoteKind::ClockSkew] {
        assert_eq!(note_reason(kind).as_str(), format!("{kind:?}"));
        assert!(Reason::STORAGE_NOTES.contains(&note_reason(kind)));
    }
}
