//! Switchovers that people ask for: one per request, refused with a reason, never late.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use serde_json::json;
use support::{
    group::Says,
    world::{SPEC, World},
};
use tandem::api::v1alpha1::{SwitchoverResult, SwitchoverStatus};

fn last(world: &World) -> SwitchoverStatus {
    world.status().last_switchover.expect("an answer")
}

#[tokio::test(start_paused = true)]
async fn each_request_moves_the_mastership_once() {
    let world = World::settled(SPEC).await;
    for (request, from, to) in [("one", "orders-0", "orders-1"), ("two", "orders-1", "orders-0")] {
        world.ask(request);
        world.settle().await;
        let last = last(&world);
        assert_eq!((last.id.as_str(), last.result), (request, SwitchoverResult::Succeeded));
        assert_eq!((last.from.as_str(), last.to.as_deref()), (from, Some(to)));
        assert_eq!(world.condition("Ready"), "True Serving");
    }
    world.rounds(5).await;
    assert_eq!(world.state().group.promotions, ["orders-0", "orders-1", "orders-0"]);
    assert_eq!(world.deleted(), Vec::<String>::new(), "in place");
    assert!(world.events().iter().any(|event| event.contains("SwitchedOver")));
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_stays_refused_when_its_obstacle_is_gone() {
    let world = World::settled(SPEC).await;
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    world.ask("now");
    world.rounds(3).await;
    assert_eq!(last(&world).result, SwitchoverResult::Refused);
    assert!(last(&world).message.contains("orders-1"), "{}", last(&world).message);
    assert!(world.events().iter().any(|event| event.contains("SwitchoverRefused")));
    world.state().group.says.clear();
    world.settle().await;
    assert_eq!(world.state().group.promotions, ["orders-0"]);
    world.ask("again");
    world.settle().await;
    assert_eq!(world.state().group.promotions, ["orders-0", "orders-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_cluster_refuses_and_changes_nothing() {
    let world = World::settled(SPEC).await;
    world.edit("/paused", json!(true));
    world.ask("now");
    world.settle().await;
    assert_eq!(
        (last(&world).result, last(&world).reason.as_str()),
        (SwitchoverResult::Refused, "Paused")
    );
    world.edit("/paused", json!(false));
    world.settle().await;
    assert_eq!(world.state().group.promotions, ["orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_begins_only_after_a_switchover_that_is_under_way() {
    let world = World::settled(SPEC).await;
    world.state().group.deaf = true;
    world.ask("now");
    world.rounds(3).await;
    assert_eq!(last(&world).result, SwitchoverResult::InProgress);
    world.edit("/broker/java/heap", json!("60%"));
    world.rounds(5).await;
    assert_eq!(world.deleted(), Vec::<String>::new(), "two operations at once");
    world.state().group.deaf = false;
    world.settle().await;
    world.assert_safe();
    assert_eq!(last(&world).result, SwitchoverResult::Succeeded);
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.record().epoch, 3, "one for the switchover, one for the update");
}
