use proptest::prelude::*;

use super::*;
use crate::{
    broker::report::{AgentState, ChildReport, LockReport},
    core::observed::{ContainerView, ReportView},
};

fn claim(pod: u8, instance: usize) -> Claim {
    let broker = Broker {
        pod: format!("orders-{pod}"),
        uid: format!("uid-{pod}"),
        instance: instance.to_string(),
    };
    Claim { broker, evidence: Evidence::Kernel, taken: None, greets: true }
}

fn reading(pod: u8, instance: usize, from: i64, to: i64) -> Reading {
    Reading { claim: claim(pod, instance), from, to }
}

fn pods(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.broker.pod.as_str()).collect()
}

#[test]
fn seen_as_a_b_and_a_again_it_is_believed() {
    let readings = [reading(0, 1, 0, 10), reading(1, 1, 10, 20), reading(0, 1, 20, 30)];
    assert_eq!(pods(&proven(&readings)), ["orders-0", "orders-1"]);
    assert_eq!(proven(&readings[..2]), []);
}

#[test]
fn another_process_of_the_same_pod_is_somebody_else() {
    let readings = [reading(0, 1, 0, 10), reading(1, 1, 10, 20), reading(0, 2, 20, 30)];
    assert_eq!(proven(&readings), []);
}

#[test]
fn a_look_that_may_be_older_than_the_first_claim_proves_nothing() {
    let old = [reading(0, 1, 0, 10), reading(1, 1, 9, 20), reading(0, 1, 20, 30)];
    let late = [reading(0, 1, 0, 10), reading(1, 1, 10, 21), reading(0, 1, 20, 30)];
    assert_eq!((proven(&old), proven(&late)), (Vec::new(), Vec::new()));
}

#[test]
fn the_broker_that_the_record_named_last_stays_or_by_hints_the_newest() {
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let claims = [Claim { taken: at(5), ..claim(0, 1) }, Claim { taken: at(9), ..claim(1, 1) }];
    let named = |uid: &str| RecordView { master_uid: Some(uid.into()), ..RecordView::default() };
    assert_eq!(who_stays(&claims, &named("uid-0")), "uid-0");
    assert_eq!(who_stays(&claims, &named("uid-1")), "uid-1");
    assert_eq!(who_stays(&claims, &named("uid-9")), "uid-1");
    let hints = claims.map(|claim| Claim { evidence: Evidence::Log, ..claim });
    assert_eq!(who_stays(&hints, &named("uid-0")), "uid-1");
}

#[test]
fn a_mark_is_read_as_written_and_one_that_cannot_be_read_names_nobody() {
    let mark = Mark::new(&[claim(0, 1), claim(1, 7)], &RecordView::default(), Timestamp::MIN);
    let with = |text: &str| {
        let annotations = serde_json::json!({labels::DISPUTED: text});
        Mark::of(&serde_json::json!({"metadata": {"annotations": annotations}}))
    };
    assert_eq!(with(&serde_json::to_string(&mark).unwrap()), Some(mark));
    assert_eq!(with("yes"), Some(Mark::default()));
    assert_eq!(Mark::of(&serde_json::json!({"metadata": {}})), None);
}

/// Masters, one after the other: pod, and for how long.
fn reigns() -> impl Strategy<Value = Vec<(u8, i64)>> {
    prop::collection::vec((0..3u8, 0..400i64), 1..8)
}

/// Questions, one after the other: pod, the pause before, how old the look behind the answer is, and how
/// long the answer takes.
fn questions() -> impl Strategy<Value = Vec<(u8, i64, i64, i64)>> {
    prop::collection::vec((0..3u8, 0..100i64, 0..900i64, 0..50i64), 0..40)
}

/// What is read of a lock with these holders: each look finds the truth of a moment, and its answer is
/// read later. `instance` is the number of the reign.
fn read(reigns: &[(u8, i64)], questions: &[(u8, i64, i64, i64)]) -> Vec<Reading> {
    let mut spans = Vec::new();
    let mut begin = 0;
    for (instance, (pod, length)) in reigns.iter().enumerate() {
        spans.push((*pod, instance, begin, begin + length));
        begin += length;
    }
    let mut now = 0;
    let mut readings = Vec::new();
    for (pod, pause, age, took) in questions {
        let asked = now + pause;
        now = asked + took;
        let looked = asked - age;
        let held = |&&(of, _, from, to): &&(u8, usize, i64, i64)| {
            of == *pod && from <= looked && looked < to
        };
        if let Some((_, instance, _, _)) = spans.iter().find(held) {
            readings.push(reading(*pod, *instance, looked, now));
        }
    }
    readings
}

proptest! {
    #[test]
    fn no_handover_of_a_lock_that_works_is_ever_a_dispute(reigns in reigns(), questions in questions()) {
        prop_assert_eq!(proven(&read(&reigns, &questions)), []);
    }

    #[test]
    fn two_that_hold_it_all_the_time_are_found_in_three_fresh_looks(
        start in 0..1000i64, gaps in [1..300i64, 1..300, 1..300, 1..300],
    ) {
        let [first, pause, second, last] = gaps;
        let at = [start, start + first, start + first + pause, start + first + pause + second];
        let readings = [
            reading(0, 1, at[0], at[1]),
            reading(1, 1, at[1], at[2]),
            reading(0, 1, at[2], at[3] + last),
        ];
        let found = proven(&readings);
        prop_assert_eq!(pods(&found), ["orders-0", "orders-1"]);
    }

    #[test]
    fn a_proven_dispute_is_of_at_least_two_pods_and_each_process_is_named_once(
        spans in prop::collection::vec((0..3u8, 0..2usize, 0..500i64, 0..50i64), 0..30),
    ) {
        let readings: Vec<_> = spans.iter().map(|&(p, i, from, long)| reading(p, i, from, from + long)).collect();
        let found = proven(&readings);
        let names: std::collections::BTreeSet<_> = found.iter().map(|c| (c.broker.uid.clone(), c.broker.instance.clone())).collect();
        let uids: std::collections::BTreeSet<_> = found.iter().map(|c| c.broker.uid.clone()).collect();
        prop_assert_eq!(names.len(), found.len());
        prop_assert!(found.is_empty() || uids.len() > 1);
    }
}

/// A pod whose agent says this of the lock; it runs the broker of this name, or none.
fn pod(number: u8, view: LockView, instance: Option<&str>) -> PodView {
    let child = instance.map(|instance| ChildReport {
        instance: instance.to_owned(),
        pid: 7,
        started: Timestamp::UNIX_EPOCH,
        restarts: 0,
    });
    let report = Report {
        pod: format!("orders-{number}"),
        pod_uid: format!("uid-{number}"),
        agent_version: String::new(),
        state: AgentState::Master,
        lock: LockReport { view, age_millis: 1 },
        greeting: GreetingView::Ok,
        child,
        motion: None,
        last_exit: None,
        promotion: None,
        epoch: 1,
        message: None,
        database: None,
        volume: None,
        store: None,
    };
    PodView {
        name: report.pod.clone(),
        uid: report.pod_uid.clone(),
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
        node_state: crate::core::observed::NodeView::Unknown,
    }
}

#[test]
fn a_dispute_is_over_when_the_yielding_processes_are_gone_and_all_see_one_claim_at_most() {
    const MINE: LockView = LockView::Mine(Evidence::Kernel);
    let brokers = [claim(0, 1), claim(1, 7)].map(|claim| claim.broker).into();
    let mark = Mark { stays: "uid-0".into(), brokers, ..Mark::default() };
    let silent =
        PodView { report: ReportView::Silent("frozen".into()), ..pod(1, LockView::Free, None) };
    let never = PodView {
        container: ContainerView::NotRunning { why: "image".into(), stuck: true },
        ..silent.clone()
    };
    let over = |first: PodView, second: PodView| over(&[first, second], &mark).err();
    let stays = || pod(0, MINE, Some("1"));
    assert_eq!(over(stays(), pod(1, LockView::Free, None)), None);
    assert_eq!(over(stays(), pod(1, LockView::Other, Some("8"))), None, "started again");
    assert_eq!(over(stays(), never), None);
    assert_eq!(over(pod(0, LockView::Free, None), pod(1, MINE, Some("8"))), None);
    for (first, second, why) in [
        (stays(), silent, "orders-1 does not answer"),
        (stays(), pod(1, LockView::Other, Some("7")), "orders-1 still runs"),
        (stays(), pod(1, LockView::Unknown, Some("8")), "orders-1 does not see"),
        (
            pod(0, LockView::Unknown, Some("1")),
            pod(1, LockView::Free, None),
            "orders-0 does not see",
        ),
        (stays(), pod(1, MINE, Some("8")), "orders-0 (it serves) and orders-1 (it serves)"),
    ] {
        let said = over(first, second).unwrap_or_default();
        assert!(said.contains(why), "{said:?} is not {why:?}");
    }
}

/// A newer agent may know its lock in a way that has no word here: nobody is killed for that, nobody is
/// replaced, and no dispute ends.
#[test]
fn a_claim_in_words_that_are_not_known_proves_neither_a_dispute_nor_its_end() {
    use crate::core::{for_tests, lock};
    let newer = || {
        let view = LockView::Mine(Evidence::Unknown);
        let said = for_tests::report("orders-1", AgentState::Master, view, GreetingView::Ok, true);
        for_tests::pod("orders-1", "r", ContainerView::Running, for_tests::fresh(said))
    };
    let uid = newer().uid;
    assert_eq!(super::claim(newer().report().unwrap(), &uid), None);
    assert!(!newer().serves() && !newer().waits());
    let observed = for_tests::group_of("r", vec![for_tests::standby("orders-0", "r"), newer()]);
    assert!(matches!(lock::judge(&observed), Lock::Unknown(why) if why.contains("orders-1")));
    let mark = Mark::default();
    assert!(over(&observed.pods, &mark).unwrap_err().contains("orders-1"));
}
