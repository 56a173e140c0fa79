use super::*;
use crate::{
    api::v1alpha1::BrokerCluster,
    broker::report::{
        AgentState, ChildExit, ChildReport, Evidence, GreetingView, LockView, Report,
    },
    core::{
        lock,
        lock_verdict::tests::pod,
        observed::PodView,
        observed::ReportView,
        record::Target,
        rollout::{Aim, Manner, Victim},
        validate::validate,
        windows::Window,
        wish::Reason,
    },
};

const NOW: i64 = 1000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn cluster(request: &str, extra: &str) -> ValidCluster {
    let spec = format!("storage: {{sharedVolume: {{claimName: a}}}}\n{extra}");
    let mut cluster = BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap());
    let annotation = (labels::SWITCHOVER.to_owned(), request.to_owned());
    cluster.metadata.annotations = Some([annotation].into());
    validate(&cluster).unwrap()
}

fn says(name: &str, change: impl FnOnce(&mut Report)) -> PodView {
    let mut pod = pod(name, None);
    if let ReportView::Fresh(report) = &mut pod.report {
        report.child = Some(ChildReport {
            instance: "i".into(),
            pid: 7,
            started: Timestamp::UNIX_EPOCH,
            restarts: 0,
        });
        change(report);
    }
    PodView { addresses: vec!["10.0.0.1".into()], ..pod }
}

fn master(name: &str) -> PodView {
    says(name, |report| {
        report.state = AgentState::Master;
        report.lock.view = LockView::Mine(Evidence::Kernel);
        report.greeting = GreetingView::Ok;
    })
}

fn record(master: &str, epoch: u64) -> RecordView {
    RecordView {
        epoch,
        master: Some(master.into()),
        master_uid: Some(master.into()),
        since: Some(at(NOW).to_string()),
        target: Some(Target {
            pod: Some(master.into()),
            uid: Some(master.into()),
            address: Some("10.0.0.1".into()),
        }),
        endpoints: 1,
        ..RecordView::default()
    }
}

/// orders-0 is master by epoch 3, and these others are there.
fn group_of(others: Vec<PodView>) -> Observed {
    let pods = [vec![master("orders-0")], others].concat();
    Observed { pods, record: Some(record("orders-0", 3)), ..Observed::default() }
}

fn waiting(name: &str) -> PodView {
    says(name, |_| {})
}

fn judged(cluster: &ValidCluster, observed: &Observed, rollout: &Rollout) -> Switchover {
    let group = lock::group(observed, &lock::judge(observed));
    let aim = Aim { revision: &cluster.revision, agent: None, window: Window::Always };
    let course = Course { aim, rollout: rollout.clone() };
    judge(cluster, observed, &group, &course, at(NOW))
}

/// The reason of the refusal; nothing if the master is asked.
fn refusal(cluster: &ValidCluster, observed: &Observed, rollout: &Rollout) -> Option<String> {
    match judged(cluster, observed, rollout) {
        Switchover::Write(request) => request.refused.map(|refusal| refusal.reason),
        other @ (Switchover::None
        | Switchover::UnderWay
        | Switchover::Unknown(_)
        | Switchover::Held(..)) => panic!("{other:?}"),
    }
}

fn asked(id: &str) -> StepDown {
    let (id, from) = (id.to_owned(), "orders-0".to_owned());
    StepDown {
        answered: Some(id.clone()),
        id,
        at: at(NOW),
        epoch: 3,
        from,
        to: None,
        refused: None,
    }
}

#[test]
fn the_recorded_master_is_asked_when_a_standby_waits() {
    let observed = group_of(vec![waiting("orders-1")]);
    let wanted = Switchover::Write(asked("now"));
    assert_eq!(judged(&cluster("now", ""), &observed, &Rollout::Done), wanted);
    assert_eq!(judged(&cluster("", ""), &observed, &Rollout::Done), Switchover::None);
}

#[test]
fn each_obstacle_has_a_reason() {
    let idle = || says("orders-1", |report| report.state = AgentState::Starting);
    let silent =
        || PodView { report: ReportView::Silent("no answer".into()), ..waiting("orders-1") };
    let rival = || says("orders-1", |report| report.lock.view = LockView::Mine(Evidence::Kernel));
    let replaced = || Victim {
        pod: "orders-1".into(),
        uid: "orders-1".into(),
        why: "old".into(),
        manner: Manner::Graceful,
    };
    let any = cluster("now", "");
    let paused = cluster("now", "paused: true");
    let both = vec![waiting("orders-1"), waiting("orders-2")];
    let one = || group_of(vec![waiting("orders-1")]);
    let elsewhere = Observed { record: Some(record("orders-1", 4)), ..one() };
    let to = |pod: &str| cluster(&format!("now to={pod}"), "");
    let moving = Rollout::Moving("it starts".into());
    for (wanted, cluster, observed, rollout) in vec![
        (None, &any, group_of(both.clone()), Rollout::Done),
        (None, &to("orders-1"), one(), Rollout::Done),
        (Some("Paused"), &paused, one(), Rollout::Done),
        (Some("NoMaster"), &any, group_of(vec![rival()]), Rollout::Done),
        (Some("NotConverged"), &any, elsewhere, Rollout::Done),
        (Some("OtherWork"), &any, one(), moving),
        (Some("OtherWork"), &any, one(), Rollout::Replace(replaced())),
        (Some("NoStandby"), &any, group_of(vec![idle()]), Rollout::Done),
        (Some("NoStandby"), &any, group_of(vec![silent()]), Rollout::Done),
        (Some("NoStandby"), &any, group_of(Vec::new()), Rollout::Done),
        (Some("NoStandby"), &to("orders-1"), group_of(vec![idle()]), Rollout::Done),
        (Some("NoSuchPod"), &to("orders-7"), one(), Rollout::Done),
        (Some("AlreadyMaster"), &to("orders-0"), one(), Rollout::Done),
        (None, &to("orders-1"), group_of(both), Rollout::Done),
        (None, &any, one(), Rollout::Scheduled("tonight".into())),
        (None, &any, one(), Rollout::Halted("it crashed".into())),
    ] {
        assert_eq!(refusal(cluster, &observed, &rollout).as_deref(), wanted);
    }
}

#[test]
fn a_request_is_answered_once() {
    let mut observed = group_of(vec![waiting("orders-1")]);
    let refused = Some(Refusal { reason: "NoStandby".into(), message: String::new() });
    for (step_down, epoch, wanted) in [
        (asked("now"), 3, Switchover::UnderWay),
        (asked("now"), 4, Switchover::None),
        (StepDown { refused, ..asked("now") }, 3, Switchover::None),
        (asked("earlier"), 3, Switchover::UnderWay),
        (StepDown { epoch: 2, ..asked("earlier") }, 3, Switchover::Write(asked("now"))),
    ] {
        let step_down = Some(step_down);
        observed.record = Some(RecordView { step_down, ..record("orders-0", epoch) });
        assert_eq!(judged(&cluster("now", ""), &observed, &Rollout::Done), wanted);
    }
}

#[test]
fn a_master_that_does_not_step_down_is_asked_no_longer() {
    let mut observed = group_of(vec![waiting("orders-1")]);
    let step_down = Some(StepDown { at: at(NOW - 16), ..asked("now") });
    observed.record = Some(RecordView { step_down, ..record("orders-0", 3) });
    let reason = refusal(&cluster("now", ""), &observed, &Rollout::Done);
    assert_eq!(reason.as_deref(), Some("NotSteppedDown"));
}

#[test]
fn without_a_record_nothing_is_done() {
    let observed = Observed { record: None, ..group_of(vec![waiting("orders-1")]) };
    let judged = judged(&cluster("now", ""), &observed, &Rollout::Done);
    assert!(matches!(judged, Switchover::Unknown(_)), "{judged:?}");
}

#[test]
fn the_status_tells_what_became_of_it() {
    let stopped = Some(at(NOW) - SignedDuration::from_millis(800));
    let old = says("orders-0", |report| {
        report.last_exit = Some(ChildExit {
            reason: ExitReason::SwitchedOver,
            status: "exit status 143".into(),
            at: at(NOW),
            was_master: true,
            stopped,
        });
    });
    let mut observed = Observed { pods: vec![old, master("orders-1")], ..Observed::default() };
    let mut of = |master: &str, epoch: u64, previous: Option<&SwitchoverStatus>| {
        observed.record =
            Some(RecordView { step_down: Some(asked("now")), ..record(master, epoch) });
        outcome(&observed, previous).unwrap()
    };
    assert_eq!(of("orders-0", 3, None).result, SwitchoverResult::InProgress);
    let done = of("orders-1", 4, None);
    assert_eq!((done.result, done.outage_millis), (SwitchoverResult::Succeeded, Some(800)));
    assert_eq!((done.from.as_str(), done.to.as_deref()), ("orders-0", Some("orders-1")));
    assert_eq!(of("orders-0", 4, None).result, SwitchoverResult::HandedBack);
    observed.pods.remove(0);
    observed.record = Some(RecordView { step_down: Some(asked("now")), ..record("orders-1", 4) });
    assert_eq!(outcome(&observed, Some(&done)), Some(done.clone()));
    assert_eq!(outcome(&observed, None).unwrap().outage_millis, None);
}

#[test]
fn a_request_that_cannot_be_read_asks_nothing() {
    let annotated =
        |text: &str| serde_json::json!({"metadata": {"annotations": {labels::STEP_DOWN: text}}});
    assert_eq!(StepDown::of(&annotated("{")), None);
    let text = serde_json::to_string(&asked("now")).unwrap();
    let read = StepDown::of(&annotated(&text)).unwrap();
    assert!(read.asks(3) && !read.asks(4));
}

fn with_pods(names: &[&str]) -> Observed {
    let pods =
        names.iter().map(|name| PodView { node: Some(format!("on-{name}")), ..waiting(name) });
    let mut observed = group_of(pods.collect());
    observed.pods[0].node = Some("on-orders-0".into());
    observed
}

/// Why the operator wants a switchover, and to whom, if to one only.
fn own(
    cluster: &ValidCluster,
    observed: &Observed,
    rollout: &Rollout,
) -> Option<(String, Option<String>)> {
    match judged(cluster, observed, rollout) {
        Switchover::Write(request) => {
            assert_eq!((request.answered, request.refused), (None, None));
            Some((request.id, request.to))
        }
        Switchover::None => None,
        other @ (Switchover::UnderWay | Switchover::Unknown(_) | Switchover::Held(..)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn the_operator_has_reasons_of_its_own() {
    let two = || with_pods(&["orders-1"]);
    let three = || with_pods(&["orders-1", "orders-2"]);
    let cordoned = |nodes: &[&str], observed: Observed| {
        let cordoned = nodes.iter().map(|node| format!("on-{node}")).collect();
        Observed { cordoned, ..observed }
    };
    let plain = cluster("", "replicas: 3");
    let wish = |id: &str, to: Option<&str>| Some((id.to_owned(), to.map(str::to_owned)));
    for (cluster, observed, wanted) in vec![
        (plain.clone(), two(), None),
        (plain.clone(), cordoned(&["orders-1"], two()), None),
        (plain.clone(), cordoned(&["orders-0"], two()), wish("cordon: on-orders-0", None)),
        (
            plain.clone(),
            cordoned(&["orders-0", "orders-1"], three()),
            wish("cordon: on-orders-0", Some("orders-2")),
        ),
        (cluster("", "update: {switchoverOnCordon: false}"), cordoned(&["orders-0"], two()), None),
        (cluster("", "fencedPods: [orders-0]"), two(), wish("fence: orders-0", None)),
        (
            cluster("", "replicas: 3\nfencedPods: [orders-0, orders-1]"),
            three(),
            wish("fence: orders-0", Some("orders-2")),
        ),
        (cluster("", "fencedPods: [orders-1]"), two(), None),
        (cluster("", "fencedPods: [orders-0]\nhibernated: true"), two(), None),
    ] {
        assert_eq!(own(&cluster, &observed, &Rollout::Done), wanted);
    }
    let updates = Rollout::SwitchOver("the last one".into());
    let mut observed = two();
    observed.pods[1].revision = plain.revision.clone();
    let (id, to) = own(&plain, &observed, &updates).unwrap();
    assert_eq!((id, to), (format!("update: {}", plain.revision), None));
}

#[test]
fn a_smaller_group_takes_its_master_along() {
    let mut observed = with_pods(&["orders-1", "orders-2"]);
    let smaller = cluster("", "replicas: 2");
    assert_eq!(own(&smaller, &observed, &Rollout::Done), None);
    observed.pods.swap(0, 2);
    for (pod, name) in observed.pods.iter_mut().zip(["orders-0", "orders-1", "orders-2"]) {
        *pod = if name == "orders-2" { master(name) } else { waiting(name) };
    }
    observed.record = Some(record("orders-2", 3));
    let wanted = ("scale: 2".to_owned(), None);
    assert_eq!(own(&smaller, &observed, &Rollout::Done), Some(wanted), "all others stay");
    let wanted = ("scale: 1".to_owned(), Some("orders-0".to_owned()));
    assert_eq!(own(&cluster("", "replicas: 1"), &observed, &Rollout::Done), Some(wanted));
}

#[test]
fn the_operator_s_own_wish_is_not_repeated_when_it_was_handed_back() {
    let fence = cluster("", "fencedPods: [orders-0]");
    let mut observed = with_pods(&["orders-1"]);
    let own = |at: Timestamp, epoch: u64| StepDown {
        at,
        epoch,
        answered: None,
        ..asked("fence: orders-0")
    };
    let refused = Some(Refusal { reason: "NotSteppedDown".into(), message: "why".into() });
    let mut judged_after = |step_down: StepDown, epoch: u64| {
        let step_down = Some(step_down);
        observed.record = Some(RecordView { step_down, ..record("orders-0", epoch) });
        judged(&fence, &observed, &Rollout::Done)
    };
    let held = |judged: &Switchover| matches!(judged, Switchover::Held(wish, _) if wish.reason == Reason::Fence);
    let writes = |judged: &Switchover| matches!(judged, Switchover::Write(_));
    assert!(held(&judged_after(own(at(NOW - 20), 3), 4)), "handed back");
    assert!(writes(&judged_after(own(at(NOW - 20), 3), 5)), "another failover came after it");
    let late = StepDown { refused: refused.clone(), ..own(at(NOW - 61), 3) };
    assert!(writes(&judged_after(late, 3)), "it may be asked again");
    let early = StepDown { refused, ..own(at(NOW - 59), 3) };
    assert!(held(&judged_after(early, 3)));
}

#[test]
fn people_s_request_is_not_new_again_after_one_of_the_operator_s() {
    let mut observed = with_pods(&["orders-1"]);
    let own = StepDown { id: "cordon: n1".into(), epoch: 2, ..asked("now") };
    observed.record = Some(RecordView { step_down: Some(own), ..record("orders-0", 3) });
    assert_eq!(judged(&cluster("now", ""), &observed, &Rollout::Done), Switchover::None);
    let fence = cluster("now", "fencedPods: [orders-0]");
    let Switchover::Write(request) = judged(&fence, &observed, &Rollout::Done) else { panic!() };
    assert_eq!(request.answered.as_deref(), Some("now"), "it is carried over");
}
