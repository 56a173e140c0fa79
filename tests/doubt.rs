//! What the operator does, and mostly leaves, when the record, the lock or a pod is not as it should
//! be: it acts on fresh proof only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{
    fake_api::behind,
    group::Says,
    world::{SPEC, World},
};
use tandem::broker::report::{Evidence, LockView};

#[tokio::test(start_paused = true)]
async fn failover_goes_on_while_paused() {
    let world = World::settled(&format!("{SPEC}\npaused: false")).await;
    world.edit("/paused", json!(true));
    world.settle().await;
    let support::fake_api::State { store, group, .. } = &mut *world.state();
    group.end(store, &World::at("pods", "orders-0"));
    for _ in 0..6 {
        group.tick(store);
    }
    assert_eq!(group.promotions, ["orders-0", "orders-1"]);
}

/// The agents cannot reach the API server, and somebody pointed the record at the standby.
async fn misled() -> World {
    let world = World::settled(SPEC).await;
    let standby = world.uid("pods", "orders-1");
    let mut state = world.state();
    state.group.agents_cut_off = true;
    state.store.change(&World::at("endpointslices", "orders"), |slice| {
        slice["endpoints"][0]["targetRef"] =
            json!({"kind": "Pod", "name": "orders-1", "uid": standby});
        slice["endpoints"][0]["addresses"] = json!(["10.0.0.2"]);
    });
    drop(state);
    world.forget();
    world
}

#[tokio::test(start_paused = true)]
async fn a_wrong_record_is_repaired_after_two_seconds_with_a_higher_epoch() {
    let world = misled().await;
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.condition("ServiceConverged"), "False RecordStale");
    world.age_disagreement(Duration::from_millis(1900));
    world.pass().await.unwrap().unwrap();
    assert_eq!(
        (world.record().epoch, world.record().target.unwrap().pod.as_deref()),
        (1, Some("orders-1")),
        "its agent goes first"
    );
    world.age_disagreement(Duration::from_millis(200));
    world.settle().await;
    assert_eq!(world.record().epoch, 2);
    assert_eq!(world.record().target.unwrap().uid, Some(world.uid("pods", "orders-0")));
    assert_eq!(world.condition("ServiceConverged"), "True RecordMatches");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_record_is_not_repaired_without_fresh_proof() {
    let world = misled().await;
    world.pass().await.unwrap().unwrap();
    world.age_disagreement(Duration::from_mins(1));
    world.forget();
    // Both pods answer when the pass looks, and none when the proof is asked for.
    world.state().group.answers_left = Some(2);
    world.pass().await.unwrap().unwrap();
    assert!(
        world.state().calls.iter().any(|call| call.verb == "get" && call.resource == "pods"),
        "it was about to"
    );
    world.state().group.answers_left = None;
    for said in [Says::Silence, Says::View(LockView::Unknown), Says::View(LockView::Other)] {
        world.state().group.says.insert("orders-0".into(), said);
        world.age_disagreement(Duration::from_mins(1));
        world.pass().await.unwrap().unwrap();
    }
    assert_eq!(world.record().epoch, 1);
    assert!(!world.writes().iter().any(|write| write.contains("endpointslices")));
}

#[tokio::test(start_paused = true)]
async fn a_repair_never_overwrites_a_promotion_that_came_in_between() {
    let world = misled().await;
    world.pass().await.unwrap().unwrap();
    world.age_disagreement(Duration::from_mins(1));
    world.state().group.agents_cut_off = false;
    // The write of the operator happens to come after the agent's.
    let fresh = world.get("endpointslices", "orders").unwrap();
    world.tick();
    let after = world.record();
    assert_eq!(after.epoch, 2);
    let changes = world.state().store.version()
        - fresh["metadata"]["resourceVersion"].as_str().unwrap().parse::<usize>().unwrap();
    world.state().lag = Some(behind(changes, 40));
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.record(), after);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_pod_that_is_gone_is_emptied_while_nobody_serves() {
    let world = misled().await;
    world.state().store.change(&World::at("endpointslices", "orders"), |slice| {
        slice["endpoints"][0]["targetRef"]["uid"] = json!("uid-gone");
    });
    for pod in ["orders-0", "orders-1"] {
        world.state().group.says.insert(pod.into(), Says::Silence);
    }
    world.pass().await.unwrap().unwrap();
    assert_eq!((world.record().target, world.record().epoch), (None, 1));
    assert_eq!(world.condition("ServiceConverged"), "False NoMaster");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_pod_that_lives_is_left_while_nobody_is_heard() {
    let world = World::settled(SPEC).await;
    let before = world.record();
    for pod in ["orders-0", "orders-1"] {
        world.state().group.says.insert(pod.into(), Says::Silence);
    }
    world.rounds(3).await;
    assert_eq!(world.record(), before);
}

#[tokio::test(start_paused = true)]
async fn with_a_disputed_or_unknown_lock_no_pod_is_deleted_and_no_template_changed() {
    let mine = Says::View(LockView::Mine(Evidence::Kernel));
    let unknown = Says::View(LockView::Unknown);
    for (said, condition) in [
        ([None, Some(mine)], "Unknown LockDisputed"),
        ([Some(unknown), Some(unknown)], "Unknown LockUnknown"),
        ([Some(Says::Silence), Some(Says::Silence)], "Unknown LockUnknown"),
        ([Some(Says::Silence), None], "Unknown LockUnknown"),
    ] {
        let world = World::settled(SPEC).await;
        let template = world.get("statefulsets", "orders").unwrap()["spec"]["template"].clone();
        for (pod, said) in ["orders-0", "orders-1"].iter().zip(said) {
            said.map(|said| world.state().group.says.insert((*pod).into(), said));
        }
        world.edit("/broker/java/heap", json!("60%"));
        world.rounds(5).await;
        assert_eq!(world.deleted(), Vec::<String>::new(), "{condition}");
        assert_eq!(world.get("statefulsets", "orders").unwrap()["spec"]["template"], template);
        assert_eq!(world.condition("MasterElected"), condition);
        assert_eq!(world.condition("Progressing"), "False RolloutWaiting");
        world.state().group.says.clear();
        world.settle().await;
        assert_eq!(
            (world.deleted().len(), world.record().failovers),
            (2, 1),
            "it goes on by itself"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_standby_is_not_replaced_and_neither_is_its_master() {
    let world = World::settled(SPEC).await;
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    world.edit("/broker/java/heap", json!("60%"));
    world.rounds(5).await;
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(world.condition("Ready"), "True Serving");
}

/// The kubelet reports late, and not at all from a node that lost the API server.
#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_runs_whatever_the_pods_status_says() {
    for state in [
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        json!({"terminated": {"exitCode": 137}}),
    ] {
        let world = World::settled(SPEC).await;
        world.state().store.change(&World::at("pods", "orders-0"), |pod| {
            pod["status"]["containerStatuses"][0]["state"] = state;
        });
        world.edit("/broker/java/heap", json!("60%"));
        world.settle().await;
        assert_eq!(world.deleted(), ["orders-1", "orders-0"], "the master goes last");
        assert_eq!(world.record().failovers, 1);
    }
}

/// The standby of a settled group is lost with its node, and seen so by the master.
async fn without_standby(quiet_millis: u64, locked: Option<bool>) -> World {
    let world = World::settled(SPEC).await;
    world.lose("orders-1", "node-1");
    world.state().group.quiet.insert("orders-1".into(), (quiet_millis, locked));
    world.rounds(3).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_lost_nodes_pod_is_deleted_by_force_once_it_is_proven_idle() {
    let world = World::settled(SPEC).await;
    let before = world.uid("pods", "orders-1");
    world.lose("orders-1", "node-1");
    world.state().group.quiet.insert("orders-1".into(), (60_000, Some(false)));
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.state().forced, [World::at("pods", "orders-1")]);
    assert!(world.events().iter().any(|event| event.contains("LostPodDeleted")));
    world.state().group.says.clear();
    world.state().group.quiet.clear();
    world.settle().await;
    assert_ne!(world.uid("pods", "orders-1"), before, "it is made anew");
    assert_eq!(world.state().group.promotions, ["orders-0"], "and nobody failed over");
}

#[tokio::test(start_paused = true)]
async fn a_lost_nodes_pod_that_may_live_is_left_alone() {
    for (quiet, locked) in [(2000, Some(false)), (60_000, Some(true)), (60_000, None)] {
        let world = without_standby(quiet, locked).await;
        assert_eq!(world.state().forced, [""; 0], "{quiet} {locked:?}");
        let told = world.message("StandbyReady");
        assert!(told.contains("it is not deleted by force, because"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_master_whose_node_is_lost_is_left_alone_while_nobody_else_serves() {
    let world = World::settled(SPEC).await;
    world.lose("orders-0", "node-0");
    world.state().group.quiet.insert("orders-0".into(), (60_000, Some(false)));
    world.rounds(3).await;
    assert_eq!(world.state().forced, [""; 0]);
    let told = world.message("MasterElected");
    assert!(told.contains("no other pod is proven to hold the lock"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_node_marked_as_out_of_service_is_not_waited_for() {
    let world = World::settled(SPEC).await;
    world.lose("orders-1", "node-1");
    // Ready until a moment ago, for all that its condition says.
    world.node("node-1", "True", &["node.kubernetes.io/out-of-service"]);
    world.state().group.quiet.insert("orders-1".into(), (60_000, Some(false)));
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.state().forced, [World::at("pods", "orders-1")]);
}
