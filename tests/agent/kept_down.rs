//! Brokers that are kept down as the record asks: by name, or to make room for a certain standby.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem::broker::report::{AgentState, ExitReason, Report};
use tandem::broker::settings::DatabaseKind;

use crate::SOON;
use crate::api::FakeApi;
use crate::pod::{Fault, Group, Pod};
use crate::server::Server;

/// What the operator writes.
fn fence(record: &mut Value, names: &[&str]) {
    let names = json!(names).to_string();
    record["metadata"]["annotations"]["tandem-operator.io/fenced"] = names.into();
}

fn ask(record: &mut Value, id: &str, from: &str, to: &str, epoch: u64) {
    let request =
        json!({"id": id, "at": "2026-01-01T00:00:00Z", "epoch": epoch, "from": from, "to": to});
    record["metadata"]["annotations"]["tandem-operator.io/step-down"] = request.to_string().into();
}

fn is_down(report: &Report) -> bool {
    report.state == AgentState::Held && report.child.is_none()
}

/// Of a group called `down`.
fn a_named_standby_stays_down_until_its_name_is_gone(api: &FakeApi, group: &Group) {
    let (first, second) = group.master_and_standby();
    let (first, second) = (first.join(api), second.join(api));
    api.edit(|record| fence(record, &["down-1"]));
    let down = second.wait_until("its end", is_down);
    assert_eq!(down.last_exit.unwrap().reason, ExitReason::KeptDown);
    assert!(!second.ready());
    assert!(second.why_not_ready().contains("the broker is kept down, as asked for"));
    assert!(second.lives());

    // Neither its master's end brings it up, nor an API server that is away, nor a promotion.
    first.inflict(Fault::Kill);
    api.wait_for("the same pod again", SOON, |api| api.epoch() == 2);
    api.freeze(true);
    first.inflict(Fault::Kill);
    first.wait_until("its restart", |report| {
        report.state == AgentState::Master
            && report.child.as_ref().is_some_and(|it| it.restarts == 2)
    });
    api.freeze(false);
    api.wait_for("the same pod once more", SOON, |api| api.epoch() == 3);
    assert_eq!(api.target(), "down-0");
    assert!(is_down(&second.report()));

    // A list that cannot be read says nothing.
    api.edit(|record| record["metadata"]["annotations"]["tandem-operator.io/fenced"] = "x".into());
    sleep(Duration::from_millis(500));
    assert!(is_down(&second.report()));
    api.edit(|record| fence(record, &["down-7"]));
    let report = second.wait_for(AgentState::Standby);
    assert_eq!(report.child.unwrap().restarts, 1);
    assert_eq!(first.report().state, AgentState::Master);
}

#[test]
fn a_standby_that_the_record_names_is_stopped_and_comes_back() {
    let api = FakeApi::start();
    a_named_standby_stays_down_until_its_name_is_gone(&api, &Group::new("down", &api));
}

#[test]
#[ignore = "needs a PostgreSQL server: make test runs it"]
fn a_standby_with_a_lease_is_kept_down_as_one_with_a_file_is() {
    let (api, database) = (FakeApi::start(), Server::start(DatabaseKind::PostgreSQL));
    a_named_standby_stays_down_until_its_name_is_gone(
        &api,
        &Group::on_database("down", &api, &database),
    );
}

#[test]
fn a_master_that_the_record_names_serves_until_it_has_made_way() {
    let api = FakeApi::start();
    let group = Group::new("serves", &api);
    let (first, second) = group.master_and_standby();
    let (first, second) = (first.join(&api), second.join(&api));
    api.edit(|record| fence(record, &["serves-0"]));
    // Seen by now: the record that follows is.
    api.edit(|record| ask(record, "1", "serves-0", "serves-1", 1));
    api.wait_for("the other pod", SOON, |api| api.target() == "serves-1");
    let down = first.wait_until("its end", is_down);
    assert_eq!(down.last_exit.unwrap().reason, ExitReason::SwitchedOver);
    api.edit(|record| fence(record, &[]));
    first.wait_for(AgentState::Standby);
    assert_eq!(second.report().state, AgentState::Master);
}

#[test]
fn a_pod_that_the_record_names_before_its_first_start_starts_none() {
    let api = FakeApi::start();
    let group = Group::new("named", &api);
    let (first, second) = group.master_and_standby();
    api.edit(|record| fence(record, &["named-2"]));
    let third = group.pod(2);
    let down = third.wait_until("its word", is_down);
    assert_eq!(down.last_exit, None);
    // Longer than its start would take.
    sleep(Duration::from_secs(2));
    assert!(is_down(&third.report()));
    assert!(third.end() < Duration::from_secs(3));
    assert_eq!(first.report().state, AgentState::Master);
    assert_eq!(second.report().state, AgentState::Standby);
}

/// A master and two standbys.
fn three(name: &str, api: &FakeApi) -> (Group, [Pod; 3]) {
    let group = Group::new(name, api);
    let (first, second) = group.master_and_standby();
    let third = group.pod(2);
    third.wait_for(AgentState::Standby);
    let pods = [first, second, third].map(|pod| pod.join(api));
    (group, pods)
}

#[test]
fn of_several_standbys_the_wanted_one_takes_over() {
    let api = FakeApi::start();
    let (_group, [first, second, third]) = three("wanted", &api);
    let pods = [("wanted-0", &first), ("wanted-1", &second), ("wanted-2", &third)];
    let order = [2, 1, 0, 2];
    let mut from = 0;
    for (turn, to) in order.into_iter().enumerate() {
        let epoch = u64::try_from(turn).unwrap() + 1;
        let begun = Instant::now();
        api.edit(|record| ask(record, &turn.to_string(), pods[from].0, pods[to].0, epoch));
        api.wait_for("the wanted pod", SOON, |api| api.epoch() == epoch + 1);
        assert_eq!(api.target(), pods[to].0);
        println!("from the request to the record: {:?}", begun.elapsed());
        for (at, (_, pod)) in pods.iter().enumerate().filter(|(at, _)| *at != to) {
            let exit = pod.wait_for(AgentState::Standby).last_exit.unwrap();
            let reason = if at == from { ExitReason::SwitchedOver } else { ExitReason::KeptDown };
            assert_eq!(exit.reason, reason, "turn {turn}, pod {at}");
        }
        from = to;
    }
}

#[test]
fn while_a_third_agent_is_silent_the_master_stays_and_the_standby_comes_back() {
    let api = FakeApi::start();
    let (_group, [first, second, third]) = three("silent", &api);
    third.inflict(Fault::FreezeAgent);
    api.edit(|record| ask(record, "1", "silent-0", "silent-1", 1));
    // Longer than any agent is waited for.
    sleep(Duration::from_secs(2));
    assert_eq!((first.report().state, first.report().last_exit), (AgentState::Master, None));
    assert_eq!(second.report().state, AgentState::Standby);
    assert_eq!(api.epoch(), 1);

    // When it is heard again it makes room, and the master is still asking.
    third.inflict(Fault::ThawAgent);
    api.wait_for("the wanted pod", SOON, |api| api.target() == "silent-1" && api.epoch() == 2);
    third.wait_for(AgentState::Standby);
    first.wait_for(AgentState::Standby);
}

#[test]
fn a_standby_that_made_room_comes_back_by_itself_when_the_request_is_refused() {
    let api = FakeApi::start();
    let (_group, [first, second, third]) = three("refused", &api);
    second.inflict(Fault::FreezeAgent);
    api.edit(|record| ask(record, "1", "refused-0", "refused-1", 1));
    third.wait_until("its end", is_down);
    api.edit(|record| {
        let annotation = &mut record["metadata"]["annotations"]["tandem-operator.io/step-down"];
        let mut request: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
        request["refused"] = json!({"reason": "NotSteppedDown", "message": "it did not"});
        *annotation = request.to_string().into();
    });
    third.wait_for(AgentState::Standby);
    second.inflict(Fault::ThawAgent);
    second.wait_for(AgentState::Standby);
    assert_eq!((first.report().state, api.epoch()), (AgentState::Master, 1));
}
