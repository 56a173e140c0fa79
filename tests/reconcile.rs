//! Passes of the operator over a fake API server with a simulated group.

mod support;

use support::world::{SPEC, World};

#[tokio::test(start_paused = true)]
async fn a_fresh_cluster_converges_within_few_passes() {
    let world = World::with(SPEC);
    let rounds = world.settle().await;
    assert!(rounds <= 12, "{rounds}");
    for type_ in ["Ready", "MasterElected", "StandbyReady", "ServiceConverged", "ConfigurationValid", "Progressing"] {
        println!("{type_} {}", world.condition(type_));
    }
    println!("{rounds} {:?} {:?} {:?}", world.events(), world.record(), world.state().writes);
}
