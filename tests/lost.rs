//! Pods of lost nodes: deleted by force once they are proven idle, and left alone before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use support::world::{SPEC, World};

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
