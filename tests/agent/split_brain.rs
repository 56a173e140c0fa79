//! Two brokers that truly hold a lock each: what their agents do, alone and with the operator's mark.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use tandem::broker::report::{AgentState, ExitReason, LockView, Report};

use crate::SOON;
use crate::api::FakeApi;
use crate::pod::{Fault, Group, Pod};

/// Longer than a start takes that nothing holds back, and than the pause between two questions.
const LONG: Duration = Duration::from_secs(6);

fn claims(report: &Report) -> bool {
    matches!(report.lock.view, LockView::Mine(_))
}

fn instance(pod: &Pod) -> String {
    pod.report().child.unwrap().instance
}

/// What the operator writes.
fn dispute(record: &mut Value, stays: &str, brokers: &[(&str, String)]) {
    let brokers: Vec<_> = brokers
        .iter()
        .map(|(pod, instance)| {
            json!({"pod": pod, "uid": format!("uid-of-{pod}"), "instance": instance})
        })
        .collect();
    let mark = json!({
        "at": "2026-01-01T00:00:00Z", "epoch": 1, "stays": format!("uid-of-{stays}"),
        "brokers": brokers,
    });
    record["endpoints"] = json!([]);
    record["metadata"]["annotations"]["tandem-operator.io/disputed"] = mark.to_string().into();
}

fn stays_down(pod: &Pod) {
    let down = pod.wait_until("what it waits for", |report| {
        report
            .message
            .as_ref()
            .is_some_and(|text| text.contains("holds the lock, which is not seen"))
    });
    assert_eq!((down.state, down.child), (AgentState::Fenced, None));
    sleep(LONG);
    assert_eq!(pod.report().child, None, "it was started nonetheless");
}

#[test]
fn of_two_masters_on_two_stores_one_is_killed_and_kept_down_until_the_other_is_gone() {
    let api = FakeApi::start();
    let group = Group::on_two_stores("split", &api);
    let first = group.pod(0).join(&api);
    first.wait_for(AgentState::Master);
    api.wait_for("the first master", SOON, |api| api.target() == "split-0");
    let second = group.pod(1).join(&api);
    let refused = second.wait_until("a promotion that is refused", |report| {
        report.message.as_ref().is_some_and(|text| text.contains("split-0 holds the lock too"))
    });
    assert!(claims(&refused) && claims(&first.report()), "both hold a lock");
    assert_eq!((api.target(), api.epoch()), ("split-0".into(), 1), "clients are not led away");

    let brokers = [("split-0", instance(&first)), ("split-1", instance(&second))];
    api.edit(|record| dispute(record, "split-0", &brokers));
    let ended = second.wait_until("its end", |report| report.last_exit.is_some());
    assert_eq!(ended.last_exit.unwrap().reason, ExitReason::SplitBrain);
    api.wait_for("the one that stays", SOON, |api| api.target() == "split-0");
    assert_eq!((api.epoch(), api.annotation("disputed")), (2, String::new()));
    assert_eq!(instance(&first), brokers[0].1, "it went on");
    stays_down(&second);

    // Nobody answers there any more, which says nothing of its broker for a while.
    first.inflict(Fault::KillAgent);
    sleep(LONG / 2);
    assert_eq!(second.report().child, None, "it was started in a silence");
    api.remove_pod("split-0");
    second.wait_for(AgentState::Master);
    api.wait_for("the other pod", SOON, |api| api.target() == "split-1" && api.epoch() == 3);
}

#[test]
fn a_disputed_record_is_written_only_when_all_others_are_heard() {
    let api = FakeApi::start();
    let group = Group::on_two_stores("heard", &api);
    let first = group.pod(0).join(&api);
    first.wait_for(AgentState::Master);
    api.wait_for("the first master", SOON, |api| api.target() == "heard-0");
    api.add_pod("heard-1", 9); // nobody listens there
    let brokers = [("heard-0", instance(&first)), ("heard-1", "one".to_owned())];
    api.edit(|record| dispute(record, "heard-0", &brokers));
    first.wait_until("a promotion that is refused", |report| {
        report.message.as_ref().is_some_and(|text| text.contains("not proven to be over"))
    });
    assert_eq!(api.target(), "");
    api.remove_pod("heard-1");
    api.wait_for("a promotion", SOON, |api| api.target() == "heard-0" && api.epoch() == 2);
    assert_eq!(api.annotation("disputed"), "");
}

#[test]
fn a_broker_that_is_to_stay_and_cannot_prove_its_lock_is_killed() {
    let api = FakeApi::start();
    let group = Group::on_two_stores("blind", &api);
    let only = group.pod(0).join(&api);
    only.wait_for(AgentState::Master);
    api.wait_for("the master", SOON, |api| api.target() == "blind-0");
    only.inflict(Fault::FreezeProbe);
    only.wait_until("blindness", |report| report.lock.view == LockView::Unknown);
    api.edit(|record| dispute(record, "blind-0", &[("blind-0", instance(&only))]));
    let ended = only.wait_until("its end", |report| report.last_exit.is_some());
    assert_eq!(ended.last_exit.unwrap().reason, ExitReason::SplitBrain);
    only.inflict(Fault::ThawProbe);
    only.wait_for(AgentState::Master);
    api.wait_for("a promotion", SOON, |api| api.target() == "blind-0" && api.epoch() == 2);
}

/// Each takes the lock in its own kernel. Classic writes the lock file when it takes the lock, so the
/// earlier one has lost it, without anybody's mark. It does not take it back.
#[test]
#[ignore = "needs FUSE: make test runs it"]
fn on_local_locks_the_earlier_broker_is_killed_and_the_two_do_not_take_turns() {
    let api = FakeApi::start();
    let group = Group::on_local_locks("turns", &api);
    let first = group.pod(0).join(&api);
    first.wait_for(AgentState::Master);
    api.wait_for("the first master", SOON, |api| api.target() == "turns-0");
    let second = group.pod(1).join(&api);
    let ended = first.wait_until("its end", |report| report.last_exit.is_some());
    assert_eq!(ended.last_exit.unwrap().reason, ExitReason::LockLost);
    api.wait_for("the second master", SOON, |api| api.target() == "turns-1");
    stays_down(&first);
    assert_eq!((second.report().state, api.epoch()), (AgentState::Master, 2));
}
