//! The failure table with real brokers, real clients and an account of every message.
//!
//! Runs on the test bed, as root: `make test`. Scenarios run side by side, each in a namespace of
//! its own; those that stop a part of the control plane run alone.

mod faults;
mod input;
mod lifecycle;
mod nodes;
mod record;
mod rollout;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use e2e::Lab;
use futures::{FutureExt, future::LocalBoxFuture};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// How many scenarios run side by side: each has a pair of brokers and up to two clients.
const SIDE_BY_SIDE: usize = 3;

/// What a scenario returns: figures, in words.
type Outcome = anyhow::Result<String>;
type Run = fn(&Lab) -> LocalBoxFuture<'_, Outcome>;

/// Whether a scenario can share the bed with others.
#[derive(Clone, Copy)]
enum Company {
    Beside,
    Alone,
}

/// Every scenario, in the order of the list.
const SCENARIOS: [(&str, Company, Run); 21] = [
    ("a_cluster_comes_up_and_says_so", Company::Beside, |lab| {
        lifecycle::comes_up(lab).boxed_local()
    }),
    ("every_protocol_works_and_nobody_is_anonymous", Company::Beside, |lab| {
        lifecycle::protocols(lab).boxed_local()
    }),
    ("master_killed", Company::Beside, |lab| faults::killed(lab).boxed_local()),
    ("master_frozen", Company::Beside, |lab| faults::frozen(lab).boxed_local()),
    ("agent_killed", Company::Beside, |lab| faults::agent_killed(lab).boxed_local()),
    ("pod_deleted_gracefully_and_at_once", Company::Beside, |lab| {
        faults::pod_deleted(lab).boxed_local()
    }),
    ("spec_edit_rolls_standby_first", Company::Beside, |lab| rollout::edit(lab).boxed_local()),
    ("bad_edit_stops_at_the_standby", Company::Beside, |lab| rollout::bad_edit(lab).boxed_local()),
    ("record_edited_or_deleted_is_repaired", Company::Beside, |lab| {
        record::repaired(lab).boxed_local()
    }),
    ("agents_may_write_nothing_else", Company::Beside, |lab| record::policy(lab).boxed_local()),
    ("foreign_slice_is_named", Company::Beside, |lab| record::foreign_slice(lab).boxed_local()),
    ("foreign_objects_are_left_alone", Company::Beside, |lab| input::foreign(lab).boxed_local()),
    ("bad_input_is_refused_or_named", Company::Beside, |lab| input::bad(lab).boxed_local()),
    ("examples_are_accepted", Company::Beside, |lab| input::examples(lab).boxed_local()),
    ("messages_survive_their_cluster", Company::Beside, |lab| {
        lifecycle::recreated(lab).boxed_local()
    }),
    ("operator_killed_while_clusters_come_and_go", Company::Alone, |lab| {
        lifecycle::operator_killed(lab).boxed_local()
    }),
    ("failover_without_operator_and_controllers", Company::Alone, |lab| {
        faults::without_operator(lab).boxed_local()
    }),
    ("failover_without_api_server", Company::Alone, |lab| {
        faults::without_api_server(lab).boxed_local()
    }),
    ("chart_upgrade_restarts_no_broker", Company::Alone, |lab| {
        lifecycle::chart_upgrade(lab).boxed_local()
    }),
    ("node_lost", Company::Alone, |lab| nodes::lost(lab).boxed_local()),
    ("node_cut_from_api_server", Company::Alone, |lab| nodes::cut_from_api(lab).boxed_local()),
];

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
    let trials = SCENARIOS
        .iter()
        .map(|(name, company, run)| {
            let (shared, control_plane) = (Arc::clone(&shared), Arc::clone(&control_plane));
            Trial::test(*name, move || match company {
                Company::Beside => {
                    let _others = control_plane.read().unwrap_or_else(PoisonError::into_inner);
                    carry_out(name, *run, &shared)
                }
                Company::Alone => {
                    let _alone = control_plane.write().unwrap_or_else(PoisonError::into_inner);
                    carry_out(name, *run, &shared)
                }
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    println!("{} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    conclusion.exit_code()
}

/// A bed with Tandem installed; this process moves into its network before it starts any thread.
fn prepare() -> anyhow::Result<(Lab, Runtime)> {
    let bed = Lab::enter(testbed::DEFAULT_NAME)?;
    let runtime = Runtime::new()?;
    let lab = runtime.block_on(Lab::open(bed))?;
    testbed::progress::step("installing the chart", || lab.install(&[]))?;
    Ok((lab, runtime))
}

fn carry_out(name: &str, run: Run, shared: &OnceLock<(Lab, Runtime)>) -> Result<(), Failed> {
    let (lab, runtime) = shared.get().ok_or("there is no bed")?;
    let begun = tokio::time::Instant::now();
    let outcome = runtime.block_on(run(lab));
    let seconds = begun.elapsed().as_secs_f64();
    match outcome {
        Ok(figures) => {
            eprintln!("  {name}: {seconds:.1} s: {figures}");
            Ok(())
        }
        Err(error) => {
            eprintln!("  {name}: {seconds:.1} s: FAILED: {error:#}");
            Err(format!("{error:#}").into())
        }
    }
}
