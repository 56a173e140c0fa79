//! A group that has served finds another store in the place of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use serde_json::json;
use support::world::{SPEC, World};
use tandem::{
    api::labels,
    broker::report::{FoundStore, StoreId},
};

fn id(n: u8) -> StoreId {
    StoreId::of_random(n.into())
}

fn finds(world: &World, store: u8, used: bool) {
    world.state().group.store = Some(FoundStore { identity: Some(id(store)), used });
}

/// A settled group on store 1 that was hibernated.
async fn asleep() -> World {
    let world = World::with(SPEC);
    finds(&world, 1, false);
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.status().store_identity, Some(id(1).to_string()));
    world.edit("/hibernated", json!(true));
    world.settle().await;
    world
}

async fn wakes(world: &World) {
    world.edit("/hibernated", json!(false));
    world.rounds(15).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_made_anew_does_not_serve_until_its_store_is_accepted_by_name() {
    let world = asleep().await;
    world.state().store.remove(&World::at("persistentvolumeclaims", "orders-store"));
    world.settle().await;
    assert!(world.get("persistentvolumeclaims", "orders-store").is_some(), "it is made anew");
    finds(&world, 2, false);
    let promotions = world.state().group.promotions.len();
    wakes(&world).await;

    assert_eq!(world.condition("StorageLockVerified"), "False StoreMissing");
    assert_eq!(world.condition("Ready"), "False NoMaster");
    for type_ in ["StorageLockVerified", "Ready"] {
        let message = world.message(type_);
        for store in [id(1), id(2)] {
            assert!(message.contains(store.as_str()) || type_ == "Ready", "{type_}: {message}");
        }
    }
    assert!(world.events().contains(&"StoreMissing".to_owned()), "{:?}", world.events());

    world.annotate(labels::ACCEPT_STORE, id(3).as_str());
    world.rounds(5).await;
    assert_eq!(world.record().accepted_store, None);
    let message = world.message("StorageLockVerified");
    assert!(message.contains("is ignored: it names") && message.contains(id(3).as_str()));
    assert_eq!(world.state().group.promotions.len(), promotions, "nobody was promoted");

    world.annotate(labels::ACCEPT_STORE, id(2).as_str());
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.status().store_identity, Some(id(2).to_string()));
    assert_eq!(world.record().accepted_store, None, "it is done");
    assert!(world.events().contains(&"StorageRecovered".to_owned()), "{:?}", world.events());
}

#[tokio::test(start_paused = true)]
async fn the_store_that_is_brought_back_serves_by_itself() {
    let world = asleep().await;
    finds(&world, 2, true);
    wakes(&world).await;
    assert_eq!(world.condition("StorageLockVerified"), "False StoreReplaced");
    finds(&world, 1, true);
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.record().store, Some(id(1)));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_an_earlier_version_promoted_adopts_the_store_with_its_messages_only() {
    for (used, condition) in [(true, "True Serving"), (false, "False NoMaster")] {
        let world = World::settled(SPEC).await;
        assert_eq!((world.record().store, world.record().epoch), (None, 1));
        world.edit("/hibernated", json!(true));
        world.settle().await;
        finds(&world, 1, used);
        wakes(&world).await;
        assert_eq!(world.condition("Ready"), condition);
        assert_eq!(world.record().store, used.then(|| id(1)));
    }
}
