use proptest::prelude::*;

use super::*;
use crate::{
    api::v1alpha1::BrokerCluster,
    broker::report::{AgentState, ChildReport, Evidence, GreetingView, LockView, VolumeReport},
    core::{lock, lock_verdict::tests::pod, observed::ContainerView, validate::validate},
};

const LOST_AT: i64 = 1000;

fn cluster(storage: &str) -> ValidCluster {
    let spec = format!("storage: {{{storage}}}");
    validate(&BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap())).unwrap()
}

fn on_volume() -> ValidCluster {
    cluster("sharedVolume: {claimName: a}")
}

fn on_database() -> ValidCluster {
    cluster("database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: {name: a}}")
}

/// The pod that serves, and what it sees of the other one's beats.
fn master(beats: Option<PeerReport>) -> PodView {
    let mut master = pod("orders-0", None);
    if let ReportView::Fresh(report) = &mut master.report {
        report.state = AgentState::Master;
        report.lock.view = LockView::Mine(Evidence::Kernel);
        report.greeting = GreetingView::Ok;
        report.child = Some(ChildReport {
            instance: "i".to_owned(),
            pid: 7,
            started: Timestamp::UNIX_EPOCH,
            restarts: 0,
        });
        let peers = beats.into_iter().collect();
        report.volume = Some(VolumeReport { peers, ..VolumeReport::default() });
    }
    master
}

fn beats(quiet_millis: Option<u64>, locked: Option<bool>) -> PeerReport {
    PeerReport {
        pod: "orders-1".to_owned(),
        uid: "orders-1".to_owned(),
        node: "n2".to_owned(),
        quiet_millis,
        known_millis: 60_000,
        locked,
    }
}

fn silent(node_state: NodeView) -> PodView {
    let report = ReportView::Silent("no answer".to_owned());
    PodView { report, node_state, node: Some("n2".to_owned()), ..pod("orders-1", None) }
}

fn not_ready() -> NodeView {
    NodeView::NotReady { since: Timestamp::from_second(LOST_AT).unwrap() }
}

/// What becomes of the silent pod, so many seconds after its node was lost.
fn after(cluster: &ValidCluster, master: PodView, lost: PodView, seconds: i64) -> Loss {
    let observed = Observed { pods: vec![master, lost], ..Observed::default() };
    let group = lock::group(&observed, &lock::judge(&observed));
    let now = Timestamp::from_second(LOST_AT + seconds).unwrap();
    judge(cluster, &observed, &group, &observed.pods[1], now)
}

fn dead() -> PeerReport {
    beats(Some(30_000), Some(false))
}

fn is_deleted(loss: &Loss) -> bool {
    matches!(loss, Loss::Delete(_))
}

fn waits_for(loss: Loss) -> String {
    match loss {
        Loss::Waits(why) => why,
        Loss::None | Loss::Delete(_) => panic!("{loss:?}"),
    }
}

#[test]
fn a_pod_that_is_proven_idle_is_deleted_after_the_time() {
    let at = |seconds| after(&on_volume(), master(Some(dead())), silent(not_ready()), seconds);
    assert!(waits_for(at(59)).contains("deleted by force after 60 s"));
    assert!(is_deleted(&at(60)));
}

#[test]
fn a_node_that_is_gone_or_out_of_service_is_not_waited_for() {
    for state in [NodeView::Gone, NodeView::OutOfService] {
        assert!(is_deleted(&after(&on_volume(), master(Some(dead())), silent(state), 0)));
    }
}

#[test]
fn a_node_that_is_ready_or_not_known_loses_nothing() {
    for state in [NodeView::Ready, NodeView::Unknown] {
        let loss = after(&on_volume(), master(Some(dead())), silent(state), 9999);
        assert_eq!(loss, Loss::None);
    }
}

#[test]
fn signs_of_life_on_the_store_keep_it() {
    let with = |beats| waits_for(after(&on_volume(), master(beats), silent(not_ready()), 9999));
    assert!(with(Some(beats(Some(3000), Some(false)))).contains("wrote to the volume 3 s ago"));
    assert!(with(Some(beats(Some(30_000), Some(true)))).contains("counts it as alive"));
    assert!(with(Some(beats(Some(30_000), None))).contains("does not say"));
    assert!(with(None).contains("never seen it beat"));
    // Of a namesake that came before.
    let before = PeerReport { uid: "another".to_owned(), ..dead() };
    assert!(with(Some(before)).contains("never seen it beat"));
}

#[test]
fn a_pod_that_never_ran_has_no_signs_of_life() {
    let container = ContainerView::NotRunning { why: "waits".to_owned(), stuck: false };
    let lost = PodView { container, ..silent(not_ready()) };
    assert!(is_deleted(&after(&on_volume(), master(None), lost, 60)));
}

#[test]
fn without_a_proven_master_nothing_is_deleted() {
    let mut other = master(Some(dead()));
    if let ReportView::Fresh(report) = &mut other.report {
        report.greeting = GreetingView::Silent;
    }
    let why = waits_for(after(&on_volume(), other, silent(NodeView::OutOfService), 9999));
    assert!(why.contains("no other pod is proven to hold the lock"), "{why}");
}

#[test]
fn in_a_database_the_lease_is_proof_enough() {
    let mut master = master(None);
    if let ReportView::Fresh(report) = &mut master.report {
        report.lock.view = LockView::Mine(Evidence::Lease);
        report.volume = None;
    }
    assert!(is_deleted(&after(&on_database(), master, silent(not_ready()), 60)));
}

proptest! {
    /// A pod is deleted by force only when all that must be true is.
    #[test]
    fn whatever_is_not_proven_keeps_the_pod(
        quiet in proptest::option::of(0..40_000_u64), locked in proptest::option::of(any::<bool>()),
        known: bool, serves: bool, answers: bool, seconds in 0..120_i64, state in 0..5_u8,
    ) {
        let state = match state {
            0 => NodeView::Unknown,
            1 => NodeView::Ready,
            2 => not_ready(),
            3 => NodeView::OutOfService,
            _ => NodeView::Gone,
        };
        let seen = known.then(|| beats(quiet, locked));
        let mut other = master(seen);
        if let (false, ReportView::Fresh(report)) = (serves, &mut other.report) {
            report.lock.view = LockView::Unknown;
        }
        let mut lost = silent(state.clone());
        if answers {
            lost.report = pod("orders-1", None).report;
        }
        let deleted = is_deleted(&after(&on_volume(), other, lost, seconds));
        let stopped = quiet.is_none_or(|quiet| quiet >= 10_000) && locked == Some(false);
        let overdue = match state {
            NodeView::Unknown | NodeView::Ready => false,
            NodeView::NotReady { .. } => seconds >= 60,
            NodeView::OutOfService | NodeView::Gone => true,
        };
        prop_assert_eq!(deleted, known && stopped && serves && !answers && overdue);
    }
}
