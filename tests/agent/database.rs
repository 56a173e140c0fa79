//! Agents whose brokers get their lease from a real PostgreSQL.

use std::time::Instant;

use tandem::broker::report::{AgentState, Evidence, ExitReason, LockView, ProblemKind, Report};
use tandem::broker::settings::DatabaseKind;

use crate::SOON;
use crate::api::FakeApi;
use crate::pod::{Fault, Group, Pod};
use crate::postgres::{lease_on, query};
use crate::server::{PASSWORD, Server, free_port};

fn problem(report: &Report) -> Option<ProblemKind> {
    report.database.as_ref().and_then(|database| database.problem.as_ref()).map(|it| it.kind)
}

/// Waits for one of them to be the master.
fn wait_for_master(pods: [&Pod; 2]) -> &Pod {
    let end = Instant::now() + SOON;
    loop {
        let masters = pods.iter().find(|pod| pod.report().state == AgentState::Master);
        if let Some(master) = masters {
            return master;
        }
        assert!(Instant::now() < end, "no master: {:#?}", pods.map(Pod::report));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_broker_with_a_lease_becomes_the_master_of_the_record_behind_a_fence() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    let (first, second) = group.master_and_standby();
    let report = first.report();
    assert_eq!(report.lock.view, LockView::Mine(Evidence::Lease));
    assert_eq!(second.report().lock.view, LockView::Other);
    assert!(first.ready() && second.ready());
    let seen = report.database.unwrap();
    assert!(seen.server.unwrap().contains("PostgreSQL"));
    assert_eq!((seen.problem, seen.notes), (None, Vec::new()));
    assert!(
        lease_on(database.port).0.starts_with("lease-0.uid-of-l."),
        "{:?}",
        lease_on(database.port)
    );
    let fence = "SELECT COUNT(DISTINCT tgrelid) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(query(database.port, fence), ["3"], "on messages, acknowledgements and lock");
    let left = first.metric("tandem_agent_lease_left_milliseconds");
    assert!((0..3000).contains(&left), "{left}");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_killed_broker_s_lease_is_given_back_before_it_runs_out() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    let (first, _second) = group.master_and_standby();
    let (holder, _) = lease_on(database.port);
    let fault = Instant::now();
    first.inflict(Fault::Kill);
    loop {
        let (now, until) = lease_on(database.port);
        if now != holder {
            break;
        }
        // The server's clock is this machine's.
        assert!(tandem::clock::now().as_millisecond() < until, "the lease is left to run out");
    }
    println!("released within {:?}", fault.elapsed());
    api.wait_for("the other pod", SOON, |api| api.target() == "lease-1");
    println!("from the kill to the record: {:?}", fault.elapsed());
    let report = first.wait_for(AgentState::Standby);
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerCrashed);
    assert_eq!(api.epoch(), 2);
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_frozen_broker_is_killed_before_its_lease_ends() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    let (first, _second) = group.master_and_standby();
    let (holder, _) = lease_on(database.port);
    first.inflict(Fault::Freeze);
    // Nobody renews it any more, so its end is known until it is given back.
    let (_, until) = lease_on(database.port);
    api.wait_for("the other pod", SOON, |api| api.target() == "lease-1");
    let exit = first.wait_for(AgentState::Standby).last_exit.unwrap();
    assert_eq!(exit.reason, ExitReason::LeaseUnproven);
    // The server's clock is this machine's.
    let left = until - exit.at.as_millisecond();
    println!("dead {left} ms before the end of its lease");
    assert!(left > 0);
    assert_ne!(lease_on(database.port).0, holder);
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn without_the_database_brokers_are_dead_before_their_lease_ends_and_start_when_it_is_back() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    let (first, second) = group.master_and_standby();
    database.stop();
    let ended = |report: &Report| report.last_exit.is_some();
    let report = first.wait_until("the end of its broker", ended);
    let exit = report.last_exit.unwrap();
    assert_eq!(exit.reason, ExitReason::LeaseUnproven);
    let report = second.wait_until("the end of its broker", ended);
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::LeaseUnproven);
    for pod in [&first, &second] {
        let unreachable = |report: &Report| {
            problem(report) == Some(ProblemKind::DatabaseUnreachable) && report.child.is_none()
        };
        pod.wait_until("the problem", unreachable);
        assert!(pod.why_not_ready().contains("no broker is started: "), "{}", pod.why_not_ready());
    }
    // Where no agent looks, so that the row is as its last holder left it.
    let aside = free_port();
    database.start_on(aside);
    let (_, until) = lease_on(aside);
    let left = until - exit.at.as_millisecond();
    println!("dead {left} ms before the end of its lease");
    assert!(left > 0);
    database.stop();
    database.start_on(database.port);
    let master = wait_for_master([&first, &second]);
    api.wait_for("the record", SOON, |api| api.epoch() == 2);
    master.wait_until("no problem", |report| problem(report).is_none() && report.message.is_none());
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_wrong_password_starts_no_broker_until_it_is_right() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    group.set_password("wrong");
    let pod = group.pod(0);
    let refused = |report: &Report| problem(report) == Some(ProblemKind::AuthenticationRefused);
    let report = pod.wait_until("the problem", refused);
    assert_eq!((report.state, report.child.is_none()), (AgentState::Preflight, true));
    assert!(!report.message.unwrap().contains("wrong\""));
    assert!(pod.why_not_ready().contains("no broker is started: "));
    group.set_password(PASSWORD);
    let report = pod.wait_for(AgentState::Master);
    assert_eq!((report.child.unwrap().restarts, report.last_exit), (0, None));
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_stolen_lease_costs_the_master_its_life_at_once_and_a_deleted_row_comes_back() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    for (ordinal, fault) in
        ["UPDATE ACTIVEMQ_LOCK SET BROKER_NAME='thief'", "DELETE FROM ACTIVEMQ_LOCK"]
            .into_iter()
            .enumerate()
    {
        let pod = group.pod(u16::try_from(ordinal).unwrap());
        pod.wait_for(AgentState::Master);
        let after = Instant::now();
        query(database.port, fault);
        let report = pod.wait_until("the end of its broker", |report| report.last_exit.is_some());
        println!("{fault}: dead after {:?}", after.elapsed());
        assert_eq!(report.last_exit.unwrap().reason, ExitReason::LockLost, "{fault}");
        pod.wait_for(AgentState::Master);
    }
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_pod_that_ends_gives_its_lease_back_first() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    let group = Group::on_database("lease", &api, &database);
    let (first, second) = group.master_and_standby();
    let (holder, _) = lease_on(database.port);
    let ended = first.end();
    println!("the pod ended within {ended:?}");
    assert_ne!(lease_on(database.port).0, holder);
    second.wait_for(AgentState::Master);
    api.wait_for("the other pod", SOON, |api| api.target() == "lease-1");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_lock_that_only_the_broker_sees_is_known_from_its_log() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    query(
        database.port,
        "CREATE TABLE ACTIVEMQ_LOCK(ID BIGINT PRIMARY KEY, TIME BIGINT, BROKER_NAME VARCHAR(250)); \
         INSERT INTO ACTIVEMQ_LOCK(ID) VALUES (1); \
         CREATE TABLE ACTIVEMQ_MSGS(ID BIGINT); CREATE TABLE ACTIVEMQ_ACKS(ID BIGINT)",
    );
    let group = Group::on_foreign_database("unseen", &api, &database);
    let (first, second) = group.master_and_standby();
    assert_eq!(first.report().lock.view, LockView::Mine(Evidence::Log));
    assert_eq!(second.report().lock.view, LockView::Other);
    assert_eq!(first.report().database, None);
    first.inflict(Fault::Kill);
    api.wait_for("the other pod", SOON, |api| api.target() == "unseen-1");
    let report = first.wait_for(AgentState::Standby);
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerCrashed);
}
