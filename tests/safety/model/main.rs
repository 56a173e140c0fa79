//! All that can happen to a small group, as far as its lock, its brokers, its agents and its record go:
//! the agents' real machine, judgement of looks and rules of the record, in a world in which everything
//! happens in every order. A state count is printed for each run.
//!
//! There is no time in it. What rests on time is said where it is used: `World::may_pass`,
//! `others_have_looked` and `given_up`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::struct_excessive_bools,
    clippy::type_complexity,
    clippy::wildcard_enum_match_arm,
    clippy::match_same_arms,
    clippy::disallowed_methods,
    reason = "a test that cannot go on ends; it models many yes and no, and measures its own time"
)]

mod agent;
mod broker;
mod check;
mod faults;
mod fresh;
mod promote;
mod record;
mod rules;
mod world;

use std::io::Write as _;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};
use tandem::agent::machine::LockKind;

use crate::check::{Group, L1, S1, WRONG};
use crate::rules::{Fault, Mutation, Rules};

fn file(faults: u8, of: &[Fault]) -> Rules {
    Rules {
        kind: LockKind::File,
        pods: 2,
        local: false,
        fence: false,
        ends: false,
        thaws: true,
        faults,
        of: of.to_vec(),
        mutation: None,
    }
}

fn lease(faults: u8, of: &[Fault]) -> Rules {
    Rules { kind: LockKind::Lease, fence: true, ..file(faults, of) }
}

/// Visits everything that is reachable, nearest first, up to so many states if a limit is given; tells what
/// it found wrong first, if anything.
fn explore(name: &str, rules: Rules, limit: Option<usize>) -> Option<&'static str> {
    let begun = Instant::now();
    let rules: &'static Rules = Box::leak(Box::new(rules));
    let mut checker = Group(rules).checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        checker = checker.target_state_count(limit);
    }
    let checker = checker.spawn_bfs().join();
    let (states, seconds) = (checker.unique_state_count(), begun.elapsed().as_secs_f64());
    let wrong = [S1, WRONG, L1].into_iter().find(|it| checker.discovery(it).is_some());
    say(&format!("{name}: {states} states in {seconds:.1} s: {}", wrong.unwrap_or("all is well")));
    wrong
}

/// Prints a line past the test runner, which keeps to itself what a passed test prints.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("a place to print to");
}

/// As [`explore`], and shows how what is wrong came about.
fn assert_safe(name: &str, rules: Rules, limit: Option<usize>) {
    let shown: &'static Rules = Box::leak(Box::new(rules.clone()));
    if let Some(wrong) = explore(name, rules, limit) {
        let checker = Group(shown).checker().finish_when(HasDiscoveries::AnyFailures);
        let path = checker.spawn_bfs().join().discovery(wrong).expect("found once");
        let last = format!("{:#?}", path.last_state());
        let steps: Vec<String> =
            path.into_actions().iter().map(|step| format!("  {step:?}\n")).collect();
        panic!("{name}: {wrong}\n{}{last}", steps.concat());
    }
}

/// Counted each time that a state is reached: about 700,000 different ones, and a minute for all runs.
const LIMIT: usize = 3_000_000;

fn full() -> bool {
    std::env::var_os("TANDEM_FULL").is_some()
}

/// All that can befall a group with a file, two at a time, but the lock file's deletion and what needs
/// an agent that cannot act.
const OF_FILES: [Fault; 11] = [
    Fault::Crash,
    Fault::StepDown,
    Fault::Hold,
    Fault::FreezeBroker,
    Fault::RestartAgent,
    Fault::CutStorage,
    Fault::CutApi,
    Fault::ReplacePod,
    Fault::StaleRead,
    Fault::LostAnswer,
    Fault::TouchLock,
];

/// With the lock file's deletion. It leaves its holder with a lock that nobody else sees, until its agent
/// or it itself looks; so not with a holder that cannot, see below.
const WITH_DELETION: [Fault; 8] = [
    Fault::Crash,
    Fault::RestartAgent,
    Fault::CutApi,
    Fault::ReplacePod,
    Fault::StaleRead,
    Fault::LostAnswer,
    Fault::TouchLock,
    Fault::DeleteLock,
];

const OF_LEASES: [Fault; 11] = [
    Fault::StepDown,
    Fault::Hold,
    Fault::Crash,
    Fault::FreezeBroker,
    Fault::RestartAgent,
    Fault::CutStorage,
    Fault::CutApi,
    Fault::ReplacePod,
    Fault::StaleRead,
    Fault::LostAnswer,
    Fault::LateCommit,
];

/// One at a time; more than two of them would take too long.
const ONE: [Fault; 17] = [
    Fault::StepDown,
    Fault::Hold,
    Fault::Crash,
    Fault::FreezeBroker,
    Fault::RestartAgent,
    Fault::FreezeAgent,
    Fault::PowerLoss,
    Fault::CutStorage,
    Fault::CutApi,
    Fault::ReplacePod,
    Fault::Terminate,
    Fault::StaleRead,
    Fault::LostAnswer,
    Fault::DeleteRecord,
    Fault::TouchLock,
    Fault::DeleteLock,
    Fault::LateCommit,
];

#[test]
fn one_fault_of_any_kind() {
    let ends = |rules| Rules { ends: true, ..rules };
    assert_safe("file, no fault", file(0, &[]), None);
    assert_safe("file, 1 fault", ends(file(1, &ONE)), None);
    assert_safe("file on one kernel, 1 fault", Rules { local: true, ..file(1, &ONE) }, None);
    assert_safe("lease, no fault", lease(0, &[]), None);
    assert_safe("lease, 1 fault", ends(lease(1, &ONE)), None);
}

#[test]
fn two_faults_with_a_file() {
    assert_safe("file, 2 faults", file(2, &OF_FILES), None);
    assert_safe("file, 2 faults with its deletion", file(2, &WITH_DELETION), None);
}

#[test]
fn two_faults_with_a_lease() {
    assert_safe("lease, 2 faults", lease(2, &OF_LEASES), None);
}

/// Longer, and as far as it goes.
#[test]
fn more_faults_and_more_pods() {
    if !full() {
        return;
    }
    let ends = |rules| Rules { ends: true, ..rules };
    let three = |rules| Rules { pods: 3, ..rules };
    let often = [Fault::Crash, Fault::FreezeBroker, Fault::CutStorage];
    let runs = [
        ("file, 3 pods", three(file(1, &ONE))),
        ("lease, 3 pods", three(lease(1, &ONE))),
        ("file, 2 faults, ends heard of", ends(file(2, &OF_FILES))),
        ("lease, 2 faults, ends heard of", ends(lease(2, &OF_LEASES))),
        ("file, 3 faults", file(3, &often)),
        ("lease, 3 faults", lease(3, &often)),
    ];
    for (name, rules) in runs {
        assert_safe(name, rules, Some(LIMIT));
    }
}

/// No software on a node prevents what happens while the node stands still as a whole, and right after.
#[test]
fn a_node_that_freezes_and_thaws_is_the_expected_violation_and_a_fenced_database_withstands_it() {
    let frozen = [Fault::FreezeNode];
    assert_eq!(explore("file, node freezes", file(1, &frozen), None), Some(S1));
    let unfenced = Rules { fence: false, ..lease(1, &frozen) };
    assert_eq!(explore("lease without fence, node freezes", unfenced, None), Some(S1));
    assert_safe("lease with fence, node freezes", lease(1, &frozen), None);
    let local = Rules { local: true, ..file(1, &frozen) };
    assert_safe("file on one kernel, node freezes", local, None);
}

/// Nobody sees for a holder that cannot look that its lock file was deleted: cut off from the storage, or
/// frozen before its agent saw its lock. Who comes back writes until the next look.
#[test]
fn a_lock_file_deleted_under_a_holder_that_cannot_look_is_an_expected_violation() {
    for with in [Fault::CutStorage, Fault::FreezeBroker] {
        let rules = file(2, &[with, Fault::DeleteLock]);
        assert_eq!(explore(&format!("file, deleted and {with:?}"), rules, None), Some(S1));
    }
}

#[test]
fn without_any_safeguard_something_goes_wrong() {
    let deletes = file(1, &[Fault::DeleteLock]);
    let cut = [Fault::CutStorage];
    let frozen = [Fault::FreezeAgent, Fault::Crash];
    let late = lease(2, &[Fault::LateCommit, Fault::Crash]);
    let unfenced = |rules| Rules { fence: false, ..rules };
    let stopped = |rules| Rules { thaws: false, ..rules };
    let cases = [
        // A frozen broker loses its lease all the same, and is killed without that.
        (Mutation::NoProofOfLife, stopped(file(1, &[Fault::FreezeBroker])), L1),
        (Mutation::NoHoldOff, deletes.clone(), S1),
        (Mutation::UnstableLockFile, deletes, S1),
        (Mutation::NoFencing, file(1, &cut), S1),
        (Mutation::NoFencing, unfenced(lease(1, &cut)), S1),
        (Mutation::UnconditionalWrite, file(2, &frozen), WRONG),
        (Mutation::ProofBeforeRead, file(2, &frozen), WRONG),
        (Mutation::SameHolderIds, unfenced(lease(1, &[Fault::ReplacePod])), S1),
        (Mutation::SessionsLeft, unfenced(late), WRONG),
    ];
    for (mutation, rules, wanted) in cases {
        let name = format!("{:?} without {mutation:?}", rules.kind);
        assert_eq!(explore(&name, rules.clone(), None), None, "{name}: with it");
        let without = Rules { mutation: Some(mutation), ..rules };
        assert_eq!(explore(&format!("{name}: taken out"), without, None), Some(wanted), "{name}");
    }
}
