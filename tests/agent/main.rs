//! The real binary, with a program in the broker's place: two agents on one store, a fake API
//! server, and faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::exit,
    reason = "a test fails by a panic, and its helpers are tests too"
)]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod api;
mod broker;
mod crowd;
mod database;
mod kept_down;
mod lease_broker;
#[path = "../support/locker.rs"]
mod locker;
mod network;
mod pod;
mod postgres;
mod preflight;
#[path = "../support/server.rs"]
mod server;
mod split_brain;
mod store;
mod switchover;

use std::process::Command;
use std::time::{Duration, Instant};

use tandem::broker::report::{AgentState, ExitReason, LockView};

use crate::api::FakeApi;
use crate::pod::{Fault, Group};

/// Not a test: the program in the broker's place, started by the agents of the tests below.
#[test]
#[ignore = "started by the agents of the other tests"]
fn fake_broker() {
    broker::main();
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_standby_of_a_killed_broker_is_promoted_and_the_dead_one_restarted_in_place() {
    let api = FakeApi::start();
    let group = Group::new("killed", &api);
    let (first, second) = group.master_and_standby();
    assert_eq!(api.epoch(), 1);
    assert_eq!(api.target(), "killed-0");
    assert!(second.ready() && first.ready());

    let fault = Instant::now();
    first.inflict(Fault::Kill);
    api.wait_for("the other pod", SOON, |api| api.target() == "killed-1");
    println!("from the kill to the record: {:?}", fault.elapsed());
    assert_eq!(api.epoch(), 2);
    assert_eq!(api.annotation("previous-master"), "killed-0");
    assert_eq!(api.annotation("failovers"), "1");

    let report = first.wait_for(AgentState::Standby);
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerCrashed);
    assert_eq!(report.child.unwrap().restarts, 1);
    assert_eq!(report.lock.view, LockView::Other);
}

#[test]
fn a_broker_that_serves_without_its_lock_is_killed_and_never_promoted() {
    let api = FakeApi::start();
    let group = Group::new("lockless", &api);
    let pod = group.lockless_pod(0).join(&api);
    let report = pod.wait_until("its end", |report| report.last_exit.is_some());
    let exit = report.last_exit.unwrap();
    assert_eq!((exit.reason, exit.was_master), (ExitReason::LockLost, false));
    assert_eq!(exit.status, "signal SIGKILL");
    assert_eq!(api.epoch(), 0);
}

#[test]
fn variables_that_undo_the_configuration_do_not_reach_the_broker() {
    let api = FakeApi::start();
    let group = Group::new("variables", &api);
    let pod = group.pod_with_options(0).join(&api);
    pod.wait_for(AgentState::Master);
    let variables = pod.variables();
    assert!(variables.iter().any(|name| name == "TZ"), "{variables:?}");
    for name in ["JAVA_TOOL_OPTIONS", "LOG4J_CONFIGURATION_FILE"] {
        assert!(!variables.iter().any(|variable| variable == name), "{variables:?}");
    }
}

#[test]
fn a_frozen_broker_is_killed_after_the_hang_timeout() {
    let api = FakeApi::start();
    let group = Group::new("frozen", &api);
    let (first, _second) = group.master_and_standby();
    first.inflict(Fault::Freeze);
    api.wait_for("the other pod", SOON, |api| api.target() == "frozen-1");
    let report = first.wait_for(AgentState::Standby);
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerHung);
}

#[test]
fn a_touched_replaced_or_deleted_lock_file_costs_the_master_its_life_at_once() {
    for fault in [Fault::TouchLock, Fault::ReplaceLock, Fault::DeleteLock] {
        let api = FakeApi::start();
        let group = Group::new("touched", &api);
        let (first, second) = group.master_and_standby();
        first.inflict(fault);
        let after = Instant::now();
        let report = first.wait_until("the end of its broker", |report| report.last_exit.is_some());
        println!("{fault:?}: dead after {:?}", after.elapsed());
        assert_eq!(report.last_exit.unwrap().reason, ExitReason::LockLost, "{fault:?}");
        let master = |report: &tandem::broker::report::Report| report.state == AgentState::Master;
        let end = Instant::now() + SOON;
        while !master(&first.report()) && !master(&second.report()) {
            assert!(Instant::now() < end, "nobody took over after {fault:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        api.wait_for("a new epoch", SOON, |api| api.epoch() == 2);
    }
}

#[test]
fn a_storage_that_does_not_answer_changes_nothing_until_it_does() {
    let api = FakeApi::start();
    let group = Group::new("stalled", &api);
    let (first, second) = group.master_and_standby();
    for pod in [&first, &second] {
        let before = pod.report();
        pod.inflict(Fault::FreezeProbe);
        let blind = pod.wait_until("blindness", |report| report.lock.view == LockView::Unknown);
        assert_eq!((blind.state, blind.child), (before.state, before.child));
        assert!(blind.message.unwrap().contains("the storage does not answer"));
        assert_eq!(pod.ready(), before.state == AgentState::Master);
        pod.inflict(Fault::ThawProbe);
        let after = pod.wait_until("sight", |report| report.lock.view == before.lock.view);
        assert_eq!(after.state, before.state);
    }
    assert_eq!(api.epoch(), 1);
}

#[test]
fn a_broker_whose_output_nobody_reads_goes_on() {
    let api = FakeApi::start();
    let group = Group::new("noisy", &api);
    let pod = group.noisy_pod(0);
    pod.wait_for(AgentState::Master);
    let end = Instant::now() + SOON;
    while pod.metric("tandem_agent_dropped_lines") < 10_000 {
        assert!(Instant::now() < end, "the broker waits for its reader");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(pod.report().state, AgentState::Master);
}

#[test]
fn a_frozen_standby_is_killed_once_it_leaves_a_free_lock_alone() {
    let api = FakeApi::start();
    let group = Group::new("frozen-standby", &api);
    let (first, second) = group.master_and_standby();
    second.inflict(Fault::Freeze);
    first.inflict(Fault::KillAgent);
    api.wait_for("the other pod", SOON, |api| api.target() == "frozen-standby-1");
    assert_eq!(second.report().last_exit.unwrap().reason, ExitReason::BrokerHung);
}

#[test]
fn a_broker_that_does_nothing_before_its_greeting_gives_its_lock_away() {
    let api = FakeApi::start();
    let group = Group::tried("idle", &api, "Required", |root| vec![root.join("store"); 2]);
    let first = group.deadlocked_pod(0).join(&api);
    first.wait_for(AgentState::Promoting);
    let second = group.pod(1).join(&api);
    second.wait_until("its wait", tandem::broker::report::Report::waits);
    let report = first.wait_until("its end", |report| report.last_exit.is_some());
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerHung);
    second.wait_for(AgentState::Master);
}

#[test]
fn it_runs_as_process_one_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_tandem")).arg("agent").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("must be process 1 of its container"), "{said}");
}

#[test]
fn the_installed_copy_runs() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut install = Command::new(env!("CARGO_BIN_EXE_tandem"));
        assert!(
            install.arg("install").arg("--to").arg(directory.path()).status().unwrap().success()
        );
    }
    let copy = directory.path().join("tandem");
    assert!(Command::new(copy).arg("--version").status().unwrap().success());
}

#[test]
fn a_pod_that_ends_hands_over_with_one_write() {
    let api = FakeApi::start();
    let group = Group::new("ended", &api);
    let (first, second) = group.master_and_standby();
    let writes = api.writes();
    let ended = first.end();
    println!("the pod ended within {ended:?}");
    second.wait_for(AgentState::Master);
    api.wait_for("the other pod", SOON, |api| api.target() == "ended-1");
    assert_eq!(api.writes(), writes + 1);
}

#[test]
fn a_pod_that_ends_does_not_wait_for_a_slow_broker_while_another_one_waits_for_its_lock() {
    let api = FakeApi::start();
    let group = Group::new("slow", &api);
    let (first, second) = group.master_and_standby();
    let (first, second) = (first.join(&api), second.join(&api));
    // It cannot end politely.
    first.inflict(Fault::Freeze);
    let ended = first.end();
    println!("the pod ended within {ended:?}");
    assert!(ended < Duration::from_secs(5), "the whole grace of a polite stop: {ended:?}");
    second.wait_for(AgentState::Master);
    api.wait_for("the other pod", SOON, |api| api.target() == "slow-1");
}

#[test]
fn the_last_pod_that_ends_empties_the_record() {
    let api = FakeApi::start();
    let group = Group::new("last", &api);
    let only = group.pod(0);
    only.wait_for(AgentState::Master);
    api.wait_for("the pod", SOON, |api| api.target() == "last-0");
    let ended = only.end();
    assert!(ended < Duration::from_millis(4500), "{ended:?}");
    assert_eq!(api.target(), "");
    assert_eq!(api.epoch(), 1);
}

#[test]
fn an_edited_or_deleted_record_is_repaired_with_a_higher_epoch() {
    let api = FakeApi::start();
    let group = Group::new("edited", &api);
    let (_first, _second) = group.master_and_standby();
    api.edit(|record| record["endpoints"] = serde_json::json!([]));
    api.wait_for("a repair", SOON, |api| api.target() == "edited-0" && api.epoch() == 2);
    api.delete();
    api.wait_for("a new record", SOON, |api| api.target() == "edited-0");
    assert_eq!(api.epoch(), 3, "the epoch goes on where the deleted record ended");
}

#[test]
fn without_an_api_server_brokers_fail_over_and_the_record_catches_up() {
    let api = FakeApi::start();
    let group = Group::new("headless", &api);
    let (first, second) = group.master_and_standby();
    api.freeze(true);
    first.inflict(Fault::Kill);
    second.wait_for(AgentState::Master);
    first.wait_for(AgentState::Standby);
    assert_eq!(api.target(), "headless-0");
    api.freeze(false);
    let thawed = Instant::now();
    api.wait_for("the new master", SOON, |api| api.target() == "headless-1");
    println!("the record caught up within {:?}", thawed.elapsed());
}

#[test]
fn a_deleted_record_and_restarted_agents_do_not_start_at_one_again() {
    let api = FakeApi::start();
    let group = Group::new("floor", &api);
    let pod = group.pod(0);
    pod.wait_for(AgentState::Master);
    api.wait_for("the pod", SOON, |api| api.target() == "floor-0");
    api.edit(|record| record["metadata"]["annotations"]["tandem-operator.io/epoch"] = "41".into());
    // The floor follows the record.
    api.wait_for("a repair", SOON, |api| api.epoch() == 42 && group.floor() == 42);
    pod.inflict(Fault::KillAgent);
    api.delete();
    let pod = group.pod(1);
    pod.wait_for(AgentState::Master);
    api.wait_for("the new pod", SOON, |api| api.target() == "floor-1");
    assert_eq!(api.epoch(), 43);
}
