//! A master that is asked to make way: in place, politely, and only for somebody who waits.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem::broker::report::{AgentState, ExitReason, LockView, Report};
use tandem::broker::settings::DatabaseKind;

use crate::SOON;
use crate::api::FakeApi;
use crate::pod::{Fault, Group};
use crate::server::Server;

/// What the operator writes.
fn ask(record: &mut Value, from: &str, epoch: u64) {
    let request = json!({"id": "now", "at": "2026-01-01T00:00:00Z", "epoch": epoch, "from": from});
    record["metadata"]["annotations"]["tandem-operator.io/step-down"] = request.to_string().into();
}

/// Of a group called `handed`.
fn is_handed_over_once(api: &FakeApi, group: &Group) {
    let (first, second) = group.master_and_standby();
    let (first, second) = (first.join(api), second.join(api));
    api.edit(|record| ask(record, "handed-0", 1));
    api.wait_for("the other pod", SOON, |api| api.target() == "handed-1" && api.epoch() == 2);
    let report = first.wait_for(AgentState::Standby);
    let exit = report.last_exit.unwrap();
    assert_eq!((exit.reason, exit.was_master), (ExitReason::SwitchedOver, true));
    assert!(exit.stopped.unwrap() <= exit.at);
    assert_eq!(report.child.unwrap().restarts, 1);

    // The request is still there, and asks nothing of the mastership after it.
    second.inflict(Fault::Kill);
    api.wait_for("the first pod", SOON, |api| api.target() == "handed-0" && api.epoch() == 3);
    second.wait_for(AgentState::Standby);
    assert_eq!(first.report().state, AgentState::Master);
}

#[test]
fn the_mastership_is_handed_over_in_place_and_once_for_each_request() {
    let api = FakeApi::start();
    is_handed_over_once(&api, &Group::new("handed", &api));
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_lease_is_handed_over_as_a_lock_on_a_file_is() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    is_handed_over_once(&api, &Group::on_database("handed", &api, &database));
}

#[test]
fn a_master_stays_until_somebody_waits() {
    let api = FakeApi::start();
    let group = Group::new("stays", &api);
    let (first, second) = group.master_and_standby();
    let (first, second) = (first.join(&api), second.join(&api));
    second.inflict(Fault::KillAgent);
    api.edit(|record| ask(record, "stays-0", 1));
    // Longer than the other agent is waited for.
    sleep(Duration::from_secs(2));
    assert_eq!((first.report().state, first.report().last_exit), (AgentState::Master, None));
    assert_eq!((api.target(), api.epoch()), ("stays-0".into(), 1));

    // It asks on while the request stands.
    api.remove_pod("stays-1");
    let second = group.pod(1).join(&api);
    api.wait_for("the other pod", SOON, |api| api.target() == "stays-1" && api.epoch() == 2);
    drop(second);
}

#[test]
fn a_standby_that_does_not_take_over_costs_ten_seconds_and_the_old_master_serves_again() {
    let api = FakeApi::start();
    let group = Group::new("back", &api);
    let first = group.pod(0).join(&api);
    first.wait_for(AgentState::Master);
    // It waits, as far as its agent can see; then it is gone with its agent.
    let second = group.shy_pod(1).join(&api);
    second.wait_until("its wait", Report::waits);
    api.wait_for("the pod", SOON, |api| api.target() == "back-0");
    api.edit(|record| ask(record, "back-0", 1));
    first.wait_until("its end", |report| report.last_exit.is_some());
    second.inflict(Fault::KillAgent);
    first.wait_until("its way back", |report| {
        report.state == AgentState::Master && report.last_exit.is_some()
    });
    api.wait_for("a promotion", SOON, |api| api.target() == "back-0" && api.epoch() == 2);
}

#[test]
fn nobody_makes_way_for_a_standby_that_stands_still_and_it_is_replaced() {
    let api = FakeApi::start();
    let group = Group::new("still", &api);
    let (first, second) = group.master_and_standby();
    let (first, second) = (first.join(&api), second.join(&api));
    let started = second.report().child.unwrap().started;
    second.inflict(Fault::Freeze);
    let frozen = Instant::now();
    let report = second.wait_until("its standstill", |report| !report.waits());
    println!("told after {:?}", frozen.elapsed());
    assert!(report.stands_still() && report.lock.view == LockView::Other, "{report:#?}");
    assert!(report.message.unwrap().contains("does not try the lock"));
    assert!(second.why_not_ready().contains("stands still"));
    api.edit(|record| ask(record, "still-0", 1));
    let report = second.wait_until("its end", |report| report.last_exit.is_some());
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerHung);
    assert_eq!((first.report().state, first.report().last_exit), (AgentState::Master, None));
    assert_eq!((api.target(), api.epoch()), ("still-0".into(), 1));

    // The request still stands: it is followed once there is somebody who moves.
    api.wait_for("the other pod", SOON, |api| api.target() == "still-1" && api.epoch() == 2);
    assert!(second.report().child.unwrap().started > started);
}
