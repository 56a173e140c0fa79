//! The operator reads an outdated state, for one pass or for many. It never does two disruptive
//! things at once, never deletes the only proven master while no standby waits, and converges once
//! it sees the present again. What is safe is judged by the simulation's truth, at every deletion.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on ends")]

mod support;

use serde_json::json;
use support::{
    fake_api::{Lag, behind},
    world::{SPEC, World},
};

/// Reads of one pass, roughly.
const PASS: usize = 18;

/// Runs with shaky reads, per scenario.
const SEEDS: u64 = 8;
/// So many changes behind, for so many passes.
const WINDOWS: [(usize, usize); 5] = [(1, 1), (2, 4), (5, 2), (9, 4), (25, 6)];

/// A generator of numbers that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Every second read, on average, is up to so many changes behind, independently of all others.
fn shaky(seed: u64, limit: u64) -> Lag {
    let mut dice = Dice(seed);
    Box::new(
        move || if dice.below(2) == 0 { 0 } else { usize::try_from(dice.below(limit)).unwrap() },
    )
}

/// Several outdated views at several moments, and some seeds of shaky ones.
async fn converges_whatever_it_reads(start: &World, failovers: i64, windows: &[(usize, usize)]) {
    let calm = start.fork();
    calm.settle().await;
    for (changes, passes) in windows.iter().copied() {
        for after in [0, 3, 7] {
            let world = start.fork();
            world.disturbed(after).await;
            world.state().lag = Some(behind(changes, passes * PASS));
            world.disturbed(passes + 1).await;
            ends_like(
                &world,
                &calm,
                failovers,
                &format!("{changes} changes behind for {passes} passes after {after}"),
            )
            .await;
        }
    }
    for seed in 0..SEEDS {
        let world = start.fork();
        world.state().group.fresh_addresses = seed % 2 == 0;
        world.state().lag = Some(shaky(seed, 4 << (seed % 4)));
        world.disturbed(14).await;
        ends_like(&world, &calm, failovers, &format!("seed {seed}")).await;
    }
}

async fn ends_like(world: &World, calm: &World, failovers: i64, what: &str) {
    world.state().lag = None;
    world.settle().await;
    assert_eq!(world.record().failovers, failovers, "{what}");
    let templates = world.state().templates.clone();
    let back =
        (2..templates.len()).find(|index| templates[..index - 1].contains(&templates[*index]));
    assert_eq!(back, None, "an old template came back: {templates:?}, {what}");
    for resource in ["pods", "configmaps", "secrets", "statefulsets", "services"] {
        assert_eq!(world.names(resource), calm.names(resource), "{what}");
    }
    for type_ in ["Ready", "StandbyReady", "ServiceConverged", "ConfigurationValid", "Progressing"]
    {
        assert_eq!(world.condition(type_), calm.condition(type_), "{type_}: {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_first_creation() {
    converges_whatever_it_reads(&World::with(SPEC), 0, &WINDOWS[..2]).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_rollout() {
    let world = World::settled(SPEC).await;
    world.edit("/broker/java/heap", json!("60%"));
    converges_whatever_it_reads(&world, 1, &WINDOWS).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_rollout_of_three() {
    let world = World::settled(&format!("{SPEC}\nreplicas: 3")).await;
    world.edit("/broker/java/heap", json!("60%"));
    converges_whatever_it_reads(&world, 1, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_deletion_with_a_new_creation() {
    let world = World::settled(SPEC).await;
    world.delete();
    world.create(SPEC);
    converges_whatever_it_reads(&world, 0, &WINDOWS[2..4]).await;
}
