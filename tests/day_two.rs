//! What people do to a group that runs: updates that do not get along, windows, drains, fenced pods,
//! hibernation, another size. The operator over a fake API server and a simulated group.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    fake_api::State,
    group::Phase,
    world::{SPEC, World},
};
use tandem::api::labels;

const THREE: &str =
    "storage: {sharedVolume: {claim: {resources: {requests: {storage: 1Gi}}}}}\nreplicas: 3";

/// A window that is open at midnight only; it is noon.
fn closed() -> Value {
    json!([{"start": "00:00", "duration": "1m"}])
}

fn open() -> Value {
    json!([{"start": "00:00", "duration": "168h"}])
}

/// Somebody deletes a pod.
fn end(world: &World, pod: &str) {
    let mut state = world.state();
    let State { store, group, .. } = &mut *state;
    group.end(store, &World::at("pods", pod));
}

fn masters(world: &World) -> Vec<String> {
    world.state().group.promotions.clone()
}

/// A standby of a changed spec that does not come up, for long enough to be given up.
async fn given_up(field: &str, bad: Value) -> World {
    let world = World::settled(SPEC).await;
    world.edit(field, bad);
    world.settle().await;
    assert_eq!(world.condition("Progressing"), "False RolloutStuck");
    world.later(Duration::from_secs(31));
    world.settle().await;
    world
}

#[tokio::test(start_paused = true)]
async fn an_update_that_does_not_get_along_is_halted_and_all_pods_are_as_the_master_is() {
    for (field, bad, good) in [
        (
            "/broker/image",
            json!("registry.example/no-such-image:1"),
            json!("registry.example/mq:2"),
        ),
        (
            "/pod/env",
            json!([{"name": "CRASHES", "value": "1"}]),
            json!([{"name": "RUNS", "value": "1"}]),
        ),
    ] {
        let world = given_up(field, bad).await;
        assert_eq!(world.condition("Progressing"), "False RolloutHalted");
        let message = world.message("Progressing");
        assert!(message.contains("orders-1") && message.contains("Correct the spec"), "{message}");
        assert_eq!(world.condition("StandbyReady"), "True AllWaiting", "redundancy is back");
        assert_eq!(world.deleted(), ["orders-1", "orders-1"]);
        assert_eq!(masters(&world), ["orders-0"], "the master is left alone");
        assert!(world.events().contains(&"UpdateHalted".to_owned()));

        // Also by an operator that knows nothing yet, and for pods that are lost meanwhile.
        world.restart();
        end(&world, "orders-1");
        world.settle().await;
        assert_eq!(world.condition("Progressing"), "False RolloutHalted");
        assert_eq!(world.phase("orders-1"), Some(Phase::Waiting));

        world.edit(field, good);
        world.settle().await;
        assert_eq!(world.condition("Progressing"), "False UpToDate");
        assert_eq!(masters(&world), ["orders-0", "orders-1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_was_given_up_goes_back_or_is_tried_again_when_somebody_asks() {
    let image = json!("registry.example/no-such-image:1");
    let world = given_up("/broker/image", image).await;
    world.edit("/broker/image", Value::Null);
    world.settle().await;
    assert_eq!(world.condition("Progressing"), "False UpToDate");
    assert_eq!(world.deleted(), ["orders-1", "orders-1"], "the pods are as the spec says already");

    let world = given_up("/broker/image", json!("registry.example/no-such-image:1")).await;
    world.annotate(labels::RESTART, "now that the image is there");
    world.settle().await;
    assert_eq!(world.condition("Progressing"), "False RolloutStuck");
    assert_eq!(masters(&world), ["orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_an_update_that_changes_nothing_else() {
    let world = World::settled(SPEC).await;
    world.annotate(labels::RESTART, "monday");
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-0"]);
    assert_eq!(masters(&world), ["orders-0", "orders-1"]);
    world.forget();
    world.annotate(labels::RESTART, "monday");
    world.settle().await;
    assert_eq!(world.deleted(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn outside_of_its_windows_a_group_is_left_alone() {
    let world = World::settled(SPEC).await;
    world.edit("/update/windows", closed());
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(world.condition("Progressing"), "False RolloutScheduled");
    assert!(world.message("Progressing").contains("window"), "{}", world.message("Progressing"));
    // A pod that is lost meanwhile comes back as it was.
    end(&world, "orders-1");
    world.settle().await;
    assert_eq!(world.condition("Progressing"), "False RolloutScheduled");

    world.edit("/update/windows", open());
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-0"]);
    assert_eq!(world.condition("Progressing"), "False UpToDate");
    assert_eq!(masters(&world), ["orders-0", "orders-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_operator_restarts_brokers_only_in_a_window() {
    for (windows, replaced) in
        [(json!([]), Vec::new()), (closed(), Vec::new()), (open(), vec!["orders-1", "orders-0"])]
    {
        let world = World::settled(SPEC).await;
        world.edit("/update/windows", windows);
        world.settle().await;
        world.upgrade("tandem:2");
        world.settle().await;
        assert_eq!(world.deleted(), replaced);
        let template = world.get("statefulsets", "orders").unwrap().to_string();
        assert!(template.contains("tandem:2"), "a lost pod gets the newer agent");
        assert_eq!(world.condition("Progressing"), "False UpToDate");
    }
}

#[tokio::test(start_paused = true)]
async fn with_on_delete_people_replace_the_pods() {
    let world = World::settled(SPEC).await;
    world.edit("/update/strategy", json!("OnDelete"));
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(world.condition("Progressing"), "False RolloutScheduled");
    let message = world.message("Progressing");
    assert!(message.contains("orders-0 and orders-1 are"), "{message}");
    for pod in ["orders-1", "orders-0"] {
        end(&world, pod);
        world.settle().await;
    }
    assert_eq!(world.condition("Progressing"), "False UpToDate");
    assert_eq!(masters(&world), ["orders-0", "orders-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_loses_its_master_once() {
    let world = World::settled(SPEC).await;
    world.cordon("node-1", true);
    world.settle().await;
    assert_eq!(masters(&world), ["orders-0"], "only a standby is there");
    world.cordon("node-1", false);
    world.cordon("node-0", true);
    world.settle().await;
    assert_eq!(masters(&world), ["orders-0", "orders-1"]);
    let last = world.status().last_switchover.unwrap();
    assert_eq!((last.id.as_str(), last.to.as_deref()), ("cordon: node-0", Some("orders-1")));
    assert!(world.events().contains(&"SwitchedOver".to_owned()));
    // There is nowhere to go.
    world.cordon("node-1", true);
    world.settle().await;
    assert_eq!(masters(&world).len(), 2);
    assert_eq!(world.deleted(), Vec::<String>::new());

    let off = World::settled(SPEC).await;
    off.edit("/update/switchoverOnCordon", json!(false));
    off.cordon("node-0", true);
    off.settle().await;
    assert_eq!(masters(&off), ["orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn people_s_request_is_not_repeated_after_a_drain() {
    let world = World::settled(SPEC).await;
    world.ask("one");
    world.settle().await;
    world.cordon("node-1", true);
    world.settle().await;
    world.rounds(3).await;
    assert_eq!(masters(&world), ["orders-0", "orders-1", "orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_switchover_goes_to_the_pod_that_people_name() {
    let world = World::settled(THREE).await;
    for (request, wanted) in [("1 to=orders-2", "orders-2"), ("2 to=orders-1", "orders-1")] {
        world.ask(request);
        world.settle().await;
        assert_eq!(masters(&world).last().unwrap(), wanted);
        assert_eq!(world.condition("StandbyReady"), "True AllWaiting");
    }
    assert_eq!(masters(&world).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_pod_is_down_while_another_one_serves_and_comes_back() {
    let world = World::settled(SPEC).await;
    world.edit("/fencedPods", json!(["orders-0"]));
    world.settle().await;
    assert_eq!(masters(&world), ["orders-0", "orders-1"], "the master makes way first");
    assert_eq!(world.phase("orders-0"), Some(Phase::Held));
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.condition("StandbyReady"), "False Fenced");
    // A changed spec leaves it as it is, for those who look into it.
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.deleted(), Vec::<String>::new());
    world.edit("/fencedPods", json!([]));
    world.settle().await;
    assert_eq!(world.condition("StandbyReady"), "True AllWaiting");
    assert_eq!(world.condition("Progressing"), "False UpToDate");
    assert_eq!(world.deleted(), ["orders-0", "orders-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_broker_is_not_fenced() {
    let world = World::settled(SPEC).await;
    world.edit("/fencedPods", json!(["orders-0", "orders-1"]));
    world.settle().await;
    assert_eq!(world.phase("orders-0"), Some(Phase::Master));
    assert_eq!(world.phase("orders-1"), Some(Phase::Held));
    assert_eq!(world.condition("Progressing"), "False RolloutWaiting");
    let message = world.message("Progressing");
    assert!(message.contains("fencedPods is the master"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_group_hibernates_without_a_failover_and_wakes() {
    for start in ["", "to=orders-2"] {
        let world = World::settled(THREE).await;
        if !start.is_empty() {
            world.ask(start);
            world.settle().await;
        }
        let before = masters(&world);
        world.edit("/hibernated", json!(true));
        world.settle().await;
        assert_eq!(world.names("pods"), Vec::<String>::new());
        assert_eq!(masters(&world), before, "nobody took over while it ended");
        assert_eq!(world.condition("Ready"), "False Hibernated");
        assert_eq!(world.condition("Progressing"), "False Hibernated");
        assert_eq!(world.record().endpoints, 0, "clients are led nowhere");
        assert_eq!(world.names("persistentvolumeclaims"), ["orders-store"]);
        world.ask("while it sleeps");
        world.rounds(2).await;
        assert_eq!(world.status().last_switchover.unwrap().reason, "Hibernated");
        world.edit("/hibernated", json!(false));
        world.settle().await;
        assert_eq!(world.condition("Ready"), "True Serving");
        assert_eq!(world.condition("StandbyReady"), "True AllWaiting");
        assert_eq!(masters(&world).len(), before.len() + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_grows_to_five_and_shrinks_to_one_with_one_switchover() {
    let world = World::settled(SPEC).await;
    world.edit("/replicas", json!(5));
    world.settle().await;
    assert_eq!(world.names("pods").len(), 5);
    world.ask("to=orders-4");
    world.settle().await;
    world.edit("/replicas", json!(1));
    world.settle().await;
    assert_eq!(world.names("pods"), ["orders-0"]);
    assert_eq!(masters(&world), ["orders-0", "orders-4", "orders-0"]);
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.condition("Progressing"), "False UpToDate");
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_is_left_as_it_is() {
    let world = World::settled(SPEC).await;
    world.edit("/paused", json!(true));
    world.settle().await;
    world.forget();
    for (field, value) in [
        ("/hibernated", json!(true)),
        ("/fencedPods", json!(["orders-0"])),
        ("/replicas", json!(1)),
    ] {
        world.edit(field, value);
    }
    world.cordon("node-0", true);
    world.settle().await;
    // What is so may be told.
    let told = |write: &String| ["brokerclusters", "events"].iter().any(|it| write.contains(it));
    let writes: Vec<String> = world.writes().into_iter().filter(|write| !told(write)).collect();
    assert_eq!(writes, Vec::<String>::new());
    assert_eq!(masters(&world), ["orders-0"]);
}
