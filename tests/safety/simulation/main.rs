//! Thousands of bad days in virtual time: the agents' real machine, timing, judgement of looks and rules
//! of the record, with brokers, a store and an API server that behave as real ones were seen to. A seed is
//! a schedule of faults, for ever.
//!
//! `make simulate SEEDS=<count> FIRST_SEED=<n>` runs more; one that fails prints what happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::match_same_arms,
    clippy::disallowed_methods,
    clippy::struct_excessive_bools,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "a test that cannot go on ends; it measures its own time"
)]

mod agent;
mod asked;
mod broker;
mod faults;
mod look;
mod promote;
mod rules;
mod world;

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tandem::api::labels;

use crate::faults::Fault;
use crate::rules::{Kind, Mutation, Rules};
use crate::world::{Event, World};

fn rules(seed: u64) -> Rules {
    let kind = match seed % 3 {
        0 => Kind::Network,
        1 => Kind::Lease,
        _ => Kind::Local,
    };
    let pods = if seed % 5 == 4 { 3 } else { 2 };
    Rules { kind, pods, fence: kind == Kind::Lease, mutation: None }
}

fn day(seed: u64, rules: Rules, tells: bool) -> World {
    let mut world = World::new(seed, rules, tells);
    world.plan_faults();
    world.runs();
    world
}

/// What went wrong, with the whole story.
fn story(seed: u64) -> Option<String> {
    let world = day(seed, rules(seed), true);
    let wrong = world.wrong?;
    let story = world.story.unwrap_or_default().join("\n");
    Some(format!(
        "seed {seed}, {:?}: {wrong}\n{story}\nagain: make simulate SEEDS=1 FIRST_SEED={seed}",
        rules(seed)
    ))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Prints a line past the test runner, which keeps to itself what a passed test prints.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("a place to print to");
}

#[test]
fn no_seed_breaks_the_group() {
    let (first, count) = (number("FIRST_SEED", 1), number("SEEDS", 10_000));
    let begun = Instant::now();
    let (next, events) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let world = day(seed, rules(seed), false);
                    events.fetch_add(world.events, Ordering::Relaxed);
                    if world.wrong.is_some() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    let (seconds, events) = (begun.elapsed().as_secs_f64(), events.into_inner());
    say(&format!("{count} schedules, {events} events in {seconds:.1} s; failed: {failed:?}"));
    if let Some(story) = failed.first().and_then(|seed| story(*seed)) {
        panic!("{story}");
    }
}

#[test]
fn a_seed_is_the_same_story_every_time() {
    for seed in 1..=6 {
        let stories = [0, 1].map(|_| day(seed, rules(seed), true).story.unwrap());
        assert_eq!(stories[0], stories[1]);
        assert!(stories[0].len() > 10);
    }
}

/// Whichever of the standbys it is: the others are out of its way, also those that hear of it late.
#[test]
fn a_switchover_to_a_certain_standby_leads_there() {
    for seed in 1..=300 {
        let mut world = World::new(seed, Rules { pods: 3, ..rules(seed) }, true);
        let (p, late) = (world.dice.index(3), world.dice.index(3));
        at(&mut world, 8_900, Fault::CutApi(late, 3_000));
        at(&mut world, 9_000, Fault::SwitchTo(p));
        world.runs();
        let note = |key: &str| {
            let record = world.api.record.as_ref()?;
            record["metadata"]["annotations"][key].as_str().map(str::to_owned)
        };
        let led = (note(labels::MASTER), note(labels::EPOCH), world.wrong.clone());
        let story = world.story.clone().unwrap().join("\n");
        assert!(world.wanted.is_some(), "{story}");
        assert_eq!(led, (world.wanted.clone(), Some("2".to_owned()), None), "seed {seed}\n{story}");
    }
}

/// With a safeguard taken out, a few schedules of the faults that it is against show it.
#[test]
fn without_any_safeguard_some_seed_shows_it() {
    let file = Rules { kind: Kind::Network, pods: 2, fence: false, mutation: None };
    let lease = Rules { kind: Kind::Lease, ..file };
    let cases: [(Mutation, Rules, &str, fn(&mut World)); 8] = [
        (Mutation::NoProofOfLife, file, "S13", |world| {
            at(world, 9_000, Fault::FreezeStandby(12_000));
            at(world, 15_500, Fault::SwitchTo(0));
        }),
        (Mutation::KeepAliveZero, file, "S1", |world| {
            at(world, 9_000, Fault::DeleteLock);
        }),
        (Mutation::NoFencing, file, "S1", |world| {
            at(world, 9_000, Fault::CutStorage(0, 11_000));
            at(world, 22_000, Fault::CutStorage(1, 11_000));
        }),
        (Mutation::UnstableLockFile, file, "S1", |world| {
            world.reckless = true;
            let p = world.dice.index(2);
            at(world, 9_000, Fault::RestartContainer(p));
            // The master is held up for a moment, far shorter than what it is fenced for.
            at(world, 9_100, Fault::CutStorage(1 - p, 1_500));
            at(world, 9_200, Fault::DeleteLock);
        }),
        (Mutation::UnconditionalWrite, file, "S", |world| {
            let crash = world.dice.roll(9_500, 13_000);
            at(world, 8_000, Fault::SlowApi(crash - 8_000));
            at(world, 8_500, Fault::DeleteRecord);
            at(world, crash, Fault::Crash(0));
        }),
        (Mutation::ProofBeforeRead, file, "S3", |world| {
            let late = world.dice.roll(1, 60);
            at(world, 8_500, Fault::DeleteRecord);
            at(world, 8_500 + late, Fault::CrashUnseen(0, 5_000));
        }),
        (Mutation::SameHolderIds, lease, "S1", |world| {
            at(world, 9_000, Fault::ReplacePod(0, 9_000));
            at(world, 9_000, Fault::ReplacePod(1, 9_000));
        }),
        (Mutation::SessionsLeft, lease, "S1", |world| {
            at(world, 9_000, Fault::LateCommit(4_900));
            at(world, 9_100, Fault::Crash(0));
            at(world, 9_100, Fault::Crash(1));
        }),
    ];
    for (mutation, rules, wanted, plan) in cases {
        let run = |seed, rules| {
            let mut world = World::new(seed, rules, false);
            plan(&mut world);
            world.runs();
            world.wrong
        };
        for seed in 1..=100 {
            assert_eq!(run(seed, rules), None, "{mutation:?}, with it, seed {seed}");
        }
        let without = Rules { mutation: Some(mutation), ..rules };
        let found = (1..=400).find_map(|seed| run(seed, without).map(|wrong| (seed, wrong)));
        say(&format!("without {mutation:?}: {found:?}"));
        assert!(found.is_some_and(|(_, wrong)| wrong.starts_with(wanted)), "{mutation:?}");
    }
}

fn at(world: &mut World, millis: u64, fault: Fault) {
    world.after(millis, Event::Fault(fault));
}
