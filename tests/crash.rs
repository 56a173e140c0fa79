//! The operator fails or is killed at every single write, before and after the API server stored it.
//! Whatever it was doing, the group ends up as it does without the fault: nothing is missing, nothing
//! is left over, no pod was deleted that should not have been, no failover came in addition.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{
    fake_api::{Fault, How, When},
    world::{SPEC, World},
};

/// Ways of failing, taken in turn. Killed, the operator loses its memory and does not even publish
/// a status.
const FAULTS: [[(When, How); 2]; 2] = [
    [(When::Before, How::Error), (When::After, How::Kill)],
    [(When::Before, How::Kill), (When::After, How::Dropped)],
];

/// Settles the world without a fault, and then again with each fault at each of its writes.
async fn always_ends_alike(world: World) {
    let course = world.course().await;
    let (expected, failovers) = (world.picture(), failovers(&world));
    assert!(course.iter().any(|(_, writes)| *writes > 1));
    for (before, writes) in &course {
        for write in 1..=*writes {
            for (when, how) in FAULTS[write % 2] {
                let world = before.fork();
                let fault = Fault { write, when, how };
                world.state().fault = Some(fault);
                world.settle().await;
                assert!(world.state().fault.is_none(), "{fault:?} did not come");
                same(&world.picture(), &expected, &fault);
                assert_eq!(self::failovers(&world), failovers, "{fault:?}");
            }
        }
    }
}

/// Of the record, if there is one.
fn failovers(world: &World) -> Option<i64> {
    world.get("endpointslices", "orders").map(|_| world.record().failovers)
}

fn same(found: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>, fault: &Fault) {
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{fault:?}");
    for (path, object) in found {
        assert_eq!(object, &expected[path], "{path} after {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_first_creation() {
    always_ends_alike(World::with(SPEC)).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_rollout() {
    let world = World::settled(SPEC).await;
    world.edit("/broker/java/heap", json!("60%"));
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_switchover() {
    let world = World::settled(SPEC).await;
    world.ask("now");
    always_ends_alike(world).await;
}

/// Every write of the way back, from the moment on in which the update is given up.
#[tokio::test(start_paused = true)]
async fn in_an_update_that_is_halted() {
    let world = World::settled(SPEC).await;
    world.edit("/broker/image", json!("registry.example/no-such-image:1"));
    world.settle().await;
    world.later(std::time::Duration::from_secs(31));
    drop(world.pass().await);
    assert!(world.get("statefulsets", "orders").unwrap().to_string().contains("halted"));
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_drain() {
    let world = World::settled(SPEC).await;
    world.cordon("node-0", true);
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_hibernation_and_a_waking() {
    let world = World::settled(&format!("{SPEC}\nreplicas: 3")).await;
    world.edit("/hibernated", json!(true));
    always_ends_alike(world.fork()).await;
    world.settle().await;
    world.edit("/hibernated", json!(false));
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn in_the_fencing_of_a_master() {
    let world = World::settled(SPEC).await;
    world.edit("/fencedPods", json!(["orders-0"]));
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_shrinking_that_takes_the_master_along() {
    let world = World::settled(&format!("{SPEC}\nreplicas: 3")).await;
    world.ask("to=orders-2");
    world.settle().await;
    world.edit("/replicas", json!(1));
    always_ends_alike(world).await;
}

/// Also the generated Secret goes.
#[tokio::test(start_paused = true)]
async fn in_a_rollout_that_also_scales_up_and_removes() {
    let world = World::settled(SPEC).await;
    let data = json!({"username": "Ym9zcw==", "password": "cGFzcw=="});
    world.put("secrets", json!({"metadata": {"name": "boss"}, "data": data}));
    world.edit("/auth/adminSecret", json!({"name": "boss"}));
    world.edit("/broker/java/heap", json!("60%"));
    world.edit("/replicas", json!(3));
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_deletion_with_a_new_creation() {
    let world = World::settled(SPEC).await;
    world.delete();
    world.create(SPEC);
    always_ends_alike(world).await;
}

const DELETE: &str =
    "storage: {sharedVolume: {claim: {resources: {requests: {storage: 1Gi}}}, retention: Delete}}";

#[tokio::test(start_paused = true)]
async fn in_a_first_creation_with_retention_delete() {
    always_ends_alike(World::with(DELETE)).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_deletion_with_retention_delete() {
    let world = World::settled(DELETE).await;
    let gone = World::settled(DELETE).await;
    gone.delete();
    gone.settle().await;
    assert_eq!(gone.names("persistentvolumeclaims"), Vec::<String>::new());
    world.delete();
    always_ends_alike(world).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_claim_grows() {
    let world = World::settled(SPEC).await;
    world.edit("/storage/sharedVolume/claim/resources/requests/storage", json!("2Gi"));
    world.edit("/broker/java/heap", json!("60%"));
    always_ends_alike(world).await;
}
