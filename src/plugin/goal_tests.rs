#![allow(clippy::needless_pass_by_value, reason = "what is made for a call may go with it")]

use serde_json::{Value, json};

use super::*;

/// A settled group of two, with changes.
fn cluster(changes: Value) -> Cluster {
    let mut object = json!({
        "metadata": {"name": "orders", "namespace": "shop", "generation": 3},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": 3,
            "replicas": 2,
            "master": {"pod": "orders-0"},
            "standbys": [{"pod": "orders-1", "state": "Waiting"}],
            "conditions": [
                condition("Ready", "True", "Serving"),
                condition("StandbyReady", "True", "AllWaiting"),
                condition("ConfigurationValid", "True", "Accepted"),
                condition("Progressing", "False", "UpToDate"),
                condition("Paused", "False", "Active"),
            ],
        },
    });
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    Cluster(object)
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": format!("because {reason}"),
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn progress(goal: &Goal, changes: Value) -> Progress {
    with_pods(goal, changes, &["a", "b"])
}

fn with_pods(goal: &Goal, changes: Value, pods: &[&str]) -> Progress {
    let pods: BTreeSet<String> = pods.iter().map(|pod| (*pod).to_owned()).collect();
    let cluster = cluster(changes);
    goal.progress(&Seen { cluster: &cluster, pods: Some(&pods), generation: 3 })
}

fn is_done(progress: &Progress) -> bool {
    matches!(progress, Progress::Done(_))
}

fn failure(progress: Progress) -> String {
    let Progress::Failed(text) = progress else { panic!("no failure: {progress:?}") };
    text
}

fn going(progress: Progress) -> String {
    let Progress::Going(text) = progress else { panic!("it is over: {progress:?}") };
    text
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn every_goal_of_the_spec() -> [Goal; 6] {
    [
        Goal::Paused(true),
        Goal::Hibernated,
        Goal::Awake,
        Goal::Fenced(names(&["orders-1"])),
        Goal::Unfenced(names(&["orders-1"])),
        Goal::Restarted(BTreeSet::new()),
    ]
}

#[test]
fn a_status_of_an_older_spec_proves_nothing() {
    for goal in every_goal_of_the_spec() {
        let seen = json!({"/status/observedGeneration": 2, "/status/replicas": 0});
        assert!(going(with_pods(&goal, seen, &[])).contains("not looked at it yet"), "{goal:?}");
    }
}

#[test]
fn a_new_object_without_a_status_is_waited_for() {
    for goal in every_goal_of_the_spec() {
        going(with_pods(&goal, json!({"/status": null}), &[]));
    }
    going(progress(&Goal::Switchover { id: "now".into() }, json!({"/status": null})));
}

#[test]
fn what_a_paused_or_wrong_cluster_will_not_do_is_not_waited_for() {
    for goal in every_goal_of_the_spec().iter().skip(1) {
        let text = failure(progress(goal, json!({"/spec/paused": true})));
        assert!(text.contains("kubectl tandem resume orders"), "{text}");
    }
    let wrong =
        json!({"/status/conditions": [condition("ConfigurationValid", "False", "InvalidSpec")]});
    for goal in every_goal_of_the_spec() {
        assert!(failure(progress(&goal, wrong.clone())).contains("because InvalidSpec"));
    }
}

#[test]
fn a_switchover_is_over_when_its_own_request_is_answered() {
    let goal = Goal::Switchover { id: "now".into() };
    let answer = |id: &str, result: &str, reason: &str| {
        json!({"/status/lastSwitchover": {
            "id": id, "result": result, "reason": reason, "message": "a message", "outageMillis": 842,
        }})
    };
    going(progress(&goal, answer("before", "Succeeded", "SwitchedOver")));
    assert_eq!(going(progress(&goal, answer("now", "InProgress", "SteppingDown"))), "a message");
    let done = progress(&goal, answer("now", "Succeeded", "SwitchedOver"));
    assert_eq!(done, Progress::Done("a message; there was none for 0.84 s".into()));
    assert!(
        failure(progress(&goal, answer("now", "HandedBack", "NobodyTookOver")))
            .contains("logs orders")
    );
    going(progress(&goal, answer("now", "SomethingNew", "Unheard")));
}

#[test]
fn every_refusal_says_what_to_do() {
    let goal = Goal::Switchover { id: "now".into() };
    for reason in [
        "NoStandby",
        "NoMaster",
        "NotConverged",
        "LockDisputed",
        "OtherWork",
        "Paused",
        "NoSuchPod",
        "AlreadyMaster",
        "Hibernated",
        "NotSteppedDown",
        "ReasonOfANewerOperator",
    ] {
        let text = failure(progress(
            &goal,
            json!({"/status/lastSwitchover": {
                "id": "now", "result": "Refused", "reason": reason, "message": "why",
            }}),
        ));
        let advice = text.strip_prefix(&format!("refused, {reason}: why. ")).unwrap();
        assert!(!advice.is_empty(), "{reason}");
    }
}

#[test]
fn hibernation_is_over_when_no_pod_is_left() {
    assert_eq!(going(progress(&Goal::Hibernated, json!({}))), "2 pods are left");
    assert_eq!(going(with_pods(&Goal::Hibernated, json!({}), &["a"])), "1 pod is left");
    assert!(is_done(&with_pods(&Goal::Hibernated, json!({"/status/replicas": 0}), &[])));
    assert!(is_done(&progress(&Goal::Awake, json!({}))));
    let asleep = json!({"/status/conditions": [condition("Ready", "False", "Hibernated")]});
    assert_eq!(going(progress(&Goal::Awake, asleep)), "Hibernated: because Hibernated");
}

#[test]
fn a_fenced_broker_is_one_that_is_held() {
    let goal = Goal::Fenced(names(&["orders-1"]));
    for (state, done) in [
        ("Waiting", false),
        ("Silent", false),
        ("Restarting", false),
        ("Held", true),
        ("NotRunning", true),
    ] {
        let standbys = json!({"/status/standbys": [{"pod": "orders-1", "state": state}]});
        assert_eq!(is_done(&progress(&goal, standbys)), done, "{state}");
    }
    let master = going(progress(&Goal::Fenced(names(&["orders-0"])), json!({})));
    assert_eq!(master, "orders-0: master; UpToDate: because UpToDate");
    let held = json!({"/status/standbys": [{"pod": "orders-1", "state": "Held"}]});
    assert_eq!(going(progress(&Goal::Unfenced(names(&["orders-1"])), held)), "orders-1: Held");
    assert!(is_done(&progress(&Goal::Unfenced(names(&["orders-0", "orders-1"])), json!({}))));
}

#[test]
fn a_restart_is_over_when_no_old_pod_is_left_and_the_group_is_whole() {
    let goal = Goal::Restarted(["a".to_owned(), "b".to_owned()].into());
    assert!(going(progress(&goal, json!({}))).starts_with("2 pods are to be restarted"));
    assert!(going(with_pods(&goal, json!({}), &["b", "c"])).starts_with("1 pod is to be"));
    let degraded = json!({"/status/conditions": [
        condition("Ready", "True", "Serving"), condition("StandbyReady", "False", "StandbyMissing"),
    ]});
    going(with_pods(&goal, degraded, &["c", "d"]));
    assert!(is_done(&with_pods(&goal, json!({}), &["c", "d"])));
    let later =
        json!({"/status/conditions": [condition("Progressing", "False", "RolloutScheduled")]});
    assert!(is_done(&with_pods(&goal, later, &["a", "b"])));
}

#[test]
fn pausing_is_over_when_the_operator_says_so() {
    going(progress(&Goal::Paused(true), json!({})));
    assert!(is_done(&progress(&Goal::Paused(false), json!({}))));
    let paused = json!({
        "/spec/paused": true,
        "/status/conditions": [condition("Paused", "True", "SpecPaused")],
    });
    assert!(is_done(&progress(&Goal::Paused(true), paused)));
}
