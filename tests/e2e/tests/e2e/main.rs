//! The failure table with real brokers, real clients and an account of every message.
//!
//! Runs on the test bed, as root: `make test`. Scenarios run side by side, each in a namespace of
//! its own; those that stop a part of the control plane run alone. `TANDEM_ONLY=one,another` runs
//! these only, `TANDEM_ROUNDS=10` each of them so many times.

mod backlog;
mod claims;
mod database_faults;
mod database_input;
mod databases;
mod day_two;
mod faults;
mod hostile;
mod identity;
mod input;
mod lifecycle;
mod nodes;
mod policy;
mod preflight;
mod record;
mod rollout;
mod split_brain;
mod storage;
mod switchover;
mod table;
mod torn;
mod versions;
mod warm;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use e2e::Lab;
use libtest_mimic::{Arguments, Failed, Trial};
use table::{Company, Scenario};
use tokio::runtime::Runtime;

/// How many scenarios run side by side: each has a pair of brokers and up to two clients.
const SIDE_BY_SIDE: usize = 3;

/// Characters of a failure that are said again at the end; all of them stand where it happened.
const SAID_AGAIN: usize = 700;

/// What a scenario returns: figures, in words.
type Outcome = anyhow::Result<String>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(SIDE_BY_SIDE));
    let shared: Arc<OnceLock<(Lab, Runtime)>> = Arc::new(OnceLock::new());
    if !arguments.list {
        match prepare() {
            Ok(prepared) => drop(shared.set(prepared)),
            Err(error) => {
                eprintln!("{error:?}");
                return ExitCode::FAILURE;
            }
        }
    }
    let control_plane = Arc::new(RwLock::new(()));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let trials = table::scenarios()
        .into_iter()
        .map(|scenario| {
            let (shared, control_plane) = (Arc::clone(&shared), Arc::clone(&control_plane));
            let failures = Arc::clone(&failures);
            Trial::test(scenario.name.clone(), move || {
                let outcome = in_company(&scenario, &shared, &control_plane);
                if let Err(error) = &outcome {
                    let text = error.message().unwrap_or_default();
                    let text: String = text.chars().take(SAID_AGAIN).collect();
                    let mut all = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(format!("{}: {text}", scenario.name));
                }
                outcome
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    println!("{} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    for failure in failures.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{failure}");
    }
    conclusion.exit_code()
}

/// Beside others, or when they have ended.
fn in_company(
    scenario: &Scenario,
    shared: &OnceLock<(Lab, Runtime)>,
    control_plane: &RwLock<()>,
) -> Result<(), Failed> {
    match scenario.company {
        Company::Beside => {
            let _others = control_plane.read().unwrap_or_else(PoisonError::into_inner);
            carry_out(scenario, shared)
        }
        Company::Alone => {
            let _alone = control_plane.write().unwrap_or_else(PoisonError::into_inner);
            carry_out(scenario, shared)
        }
    }
}

/// A bed with Tandem installed; this process moves into its network before it starts any thread.
fn prepare() -> anyhow::Result<(Lab, Runtime)> {
    let name = std::env::var("TANDEM_BED");
    let bed = Lab::enter(name.as_deref().unwrap_or(testbed::DEFAULT_NAME))?;
    let runtime = Runtime::new()?;
    let lab = runtime.block_on(Lab::open(bed))?.with_short_lived_brokers();
    testbed::progress::step("installing the chart", || lab.install(&[]))?;
    Ok((lab, runtime))
}

fn carry_out(scenario: &Scenario, shared: &OnceLock<(Lab, Runtime)>) -> Result<(), Failed> {
    let name = &scenario.name;
    let (lab, runtime) = shared.get().ok_or("there is no bed")?;
    let rounds = std::env::var("TANDEM_ROUNDS").ok();
    for _ in 0..rounds.map_or(Ok(1), |rounds| rounds.parse::<u32>())? {
        let begun = tokio::time::Instant::now();
        let outcome = runtime.block_on((scenario.run)(lab));
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(figures) => eprintln!("  {name}: {seconds:.1} s: {figures}"),
            Err(error) => {
                eprintln!("  {name}: {seconds:.1} s: FAILED: {error:#}");
                return Err(format!("{error:#}").into());
            }
        }
    }
    Ok(())
}
