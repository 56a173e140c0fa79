//! The failure table with real brokers, real clients and an account of every message.
//!
//! Runs on the test bed, as root: `make test`. Scenarios run side by side, each in a namespace of
//! its own; those that stop a part of the control plane run alone.

mod database_faults;
mod database_input;
mod databases;
mod faults;
mod input;
mod lifecycle;
mod nodes;
mod policy;
mod preflight;
mod record;
mod rollout;
mod split_brain;
mod storage;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use e2e::{Lab, Product, Store};
use futures::{FutureExt, future::LocalBoxFuture};
use libtest_mimic::{Arguments, Failed, Trial};
use storage::Heal;
use tokio::runtime::Runtime;

/// How many scenarios run side by side: each has a pair of brokers and up to two clients.
const SIDE_BY_SIDE: usize = 3;

/// Characters of a failure that are said again at the end; all of them stand where it happened.
const SAID_AGAIN: usize = 700;

/// What a scenario returns: figures, in words.
type Outcome = anyhow::Result<String>;
type Run = fn(&Lab) -> LocalBoxFuture<'_, Outcome>;
type RunOn = fn(&Lab, Store) -> LocalBoxFuture<'_, Outcome>;

/// Whether a scenario can share the bed with others.
#[derive(Clone, Copy)]
enum Company {
    Beside,
    Alone,
}

/// Every scenario, in the order of the list.
const SCENARIOS: [(&str, Company, Run); 22] = [
    ("a_cluster_comes_up_and_says_so", Company::Beside, |lab| {
        lifecycle::comes_up(lab).boxed_local()
    }),
    ("every_protocol_works_and_nobody_is_anonymous", Company::Beside, |lab| {
        lifecycle::protocols(lab).boxed_local()
    }),
    ("master_killed", Company::Beside, |lab| faults::killed(lab, Store::File).boxed_local()),
    ("master_frozen", Company::Beside, |lab| faults::frozen(lab).boxed_local()),
    ("agent_killed", Company::Beside, |lab| faults::agent_killed(lab).boxed_local()),
    ("pod_deleted_gracefully_and_at_once", Company::Beside, |lab| {
        faults::pod_deleted(lab, Store::File).boxed_local()
    }),
    ("spec_edit_rolls_standby_first", Company::Beside, |lab| {
        rollout::edit(lab, Store::File).boxed_local()
    }),
    ("bad_edit_stops_at_the_standby", Company::Beside, |lab| rollout::bad_edit(lab).boxed_local()),
    ("record_edited_or_deleted_is_repaired", Company::Beside, |lab| {
        record::repaired(lab).boxed_local()
    }),
    ("agents_may_write_nothing_else", Company::Beside, |lab| policy::cases(lab).boxed_local()),
    ("foreign_slice_is_named", Company::Beside, |lab| record::foreign_slice(lab).boxed_local()),
    ("foreign_objects_are_left_alone", Company::Beside, |lab| input::foreign(lab).boxed_local()),
    ("bad_input_is_refused_or_named", Company::Beside, |lab| input::bad(lab).boxed_local()),
    ("bad_volumes_are_refused", Company::Beside, |lab| preflight::refused(lab).boxed_local()),
    ("examples_are_accepted", Company::Beside, |lab| input::examples(lab).boxed_local()),
    ("messages_survive_their_cluster", Company::Beside, |lab| {
        lifecycle::recreated(lab).boxed_local()
    }),
    ("two_stores_under_one_name_end_in_one_master", Company::Beside, |lab| {
        split_brain::two_stores(lab).boxed_local()
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
    ("node_lost", Company::Alone, |lab| nodes::lost(lab, Store::File).boxed_local()),
    ("node_cut_from_api_server", Company::Alone, |lab| {
        nodes::cut_from_api(lab, Store::File).boxed_local()
    }),
];

/// Where the lock of a scenario with a database is, and the messages.
#[derive(Clone, Copy)]
enum Place {
    Database,
    Volume,
}

/// With which databases a scenario runs; in a full run with all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// PostgreSQL and MariaDB, and in a full run also MySQL's driver.
    Every,
    PostgreSql,
    /// One that agents cannot ask.
    Other,
    /// None: it shows nothing new of databases, but might.
    FullOnly,
}

/// Every scenario with a database.
const ON_DATABASES: [(&str, Company, Place, With, RunOn); 21] = [
    (
        "unseen_database_master_killed",
        Company::Beside,
        Place::Database,
        With::Other,
        |lab, store| databases::unseen_killed(lab, store).boxed_local(),
    ),
    ("database_master_killed", Company::Beside, Place::Database, With::Every, |lab, store| {
        faults::killed(lab, store).boxed_local()
    }),
    ("database_master_frozen", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        databases::frozen(lab, store).boxed_local()
    }),
    ("database_pod_frozen", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        databases::pod_frozen(lab, store).boxed_local()
    }),
    ("database_pod_deleted", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        faults::pod_deleted(lab, store).boxed_local()
    }),
    ("database_restarted", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        database_faults::restarted(lab, store).boxed_local()
    }),
    (
        "database_cut_from_master",
        Company::Beside,
        Place::Database,
        With::PostgreSql,
        |lab, store| database_faults::cut_from_master(lab, store).boxed_local(),
    ),
    ("database_cut_from_all", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        database_faults::cut_from_all(lab, store).boxed_local()
    }),
    ("database_slow", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        database_faults::slow(lab, store).boxed_local()
    }),
    ("lock_row_deleted", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        databases::lock_row_deleted(lab, store).boxed_local()
    }),
    ("broker_clock_ahead", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        databases::clock_ahead(lab, store).boxed_local()
    }),
    (
        "database_credentials_rotated",
        Company::Beside,
        Place::Database,
        With::PostgreSql,
        |lab, store| databases::credentials_rotated(lab, store).boxed_local(),
    ),
    (
        "bad_database_input_is_named",
        Company::Beside,
        Place::Database,
        With::PostgreSql,
        |lab, store| database_input::bad(lab, store).boxed_local(),
    ),
    ("database_spec_edit", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
        rollout::edit(lab, store).boxed_local()
    }),
    (
        "leased_volume_master_killed",
        Company::Beside,
        Place::Volume,
        With::PostgreSql,
        |lab, store| faults::killed(lab, store).boxed_local(),
    ),
    (
        "leased_volume_cut_from_master",
        Company::Beside,
        Place::Volume,
        With::PostgreSql,
        |lab, store| database_faults::cut_from_master(lab, store).boxed_local(),
    ),
    (
        "leased_volume_master_frozen",
        Company::Beside,
        Place::Volume,
        With::FullOnly,
        |lab, store| databases::frozen(lab, store).boxed_local(),
    ),
    ("leased_volume_pod_frozen", Company::Beside, Place::Volume, With::FullOnly, |lab, store| {
        databases::pod_frozen(lab, store).boxed_local()
    }),
    ("leased_volume_pod_deleted", Company::Beside, Place::Volume, With::FullOnly, |lab, store| {
        faults::pod_deleted(lab, store).boxed_local()
    }),
    ("database_node_lost", Company::Alone, Place::Database, With::PostgreSql, |lab, store| {
        nodes::lost(lab, store).boxed_local()
    }),
    ("database_namesake", Company::Alone, Place::Database, With::PostgreSql, |lab, store| {
        databases::namesake(lab, store).boxed_local()
    }),
];

/// Whether a scenario runs each time, or only in a full run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Full,
}

/// Every scenario on network storage.
const ON_NETWORK_STORAGE: [(&str, Company, When, Run); 20] = [
    ("gluster_master_killed", Company::Beside, When::Always, |lab| {
        faults::killed(lab, Store::NetworkFile).boxed_local()
    }),
    ("gluster_cut_from_master", Company::Beside, When::Always, |lab| {
        storage::cut(lab, Heal::Takeover).boxed_local()
    }),
    ("gluster_cut_from_master_for_1_s", Company::Beside, When::Full, |lab| {
        storage::cut(lab, Heal::After(1000)).boxed_local()
    }),
    ("gluster_cut_from_master_for_3_s", Company::Beside, When::Full, |lab| {
        storage::cut(lab, Heal::After(3000)).boxed_local()
    }),
    ("gluster_cut_twice", Company::Beside, When::Always, |lab| {
        storage::cut_twice(lab).boxed_local()
    }),
    ("gluster_frozen", Company::Beside, When::Always, |lab| {
        storage::server_frozen(lab).boxed_local()
    }),
    ("gluster_restarted", Company::Beside, When::Always, |lab| {
        storage::server_restarted(lab).boxed_local()
    }),
    ("gluster_full", Company::Beside, When::Always, |lab| storage::full(lab).boxed_local()),
    ("gluster_lock_file_tampered_with", Company::Beside, When::Always, |lab| {
        storage::lock_file(lab, Store::NetworkFile).boxed_local()
    }),
    ("lock_file_tampered_with", Company::Beside, When::Full, |lab| {
        storage::lock_file(lab, Store::File).boxed_local()
    }),
    ("gluster_master_frozen_and_thawed", Company::Beside, When::Always, |lab| {
        storage::thawed(lab, Store::NetworkFile).boxed_local()
    }),
    ("gluster_agent_frozen_and_thawed", Company::Beside, When::Always, |lab| {
        storage::agent_thawed(lab, Store::NetworkFile).boxed_local()
    }),
    ("gluster_pods_frozen_and_thawed", Company::Beside, When::Always, |lab| {
        storage::pods_thawed(lab, Store::NetworkFile).boxed_local()
    }),
    ("gluster_pod_deleted", Company::Beside, When::Full, |lab| {
        faults::pod_deleted(lab, Store::NetworkFile).boxed_local()
    }),
    ("gluster_node_lost", Company::Alone, When::Always, |lab| {
        storage::power_off(lab).boxed_local()
    }),
    ("gluster_node_cut_from_api_server", Company::Alone, When::Full, |lab| {
        nodes::cut_from_api(lab, Store::NetworkFile).boxed_local()
    }),
    ("gluster_node_cut_from_all", Company::Alone, When::Always, |lab| {
        storage::cut_from_all(lab, Heal::Takeover).boxed_local()
    }),
    ("gluster_node_cut_from_all_for_1_s", Company::Alone, When::Full, |lab| {
        storage::cut_from_all(lab, Heal::After(1000)).boxed_local()
    }),
    ("gluster_node_cut_from_all_for_3_s", Company::Alone, When::Full, |lab| {
        storage::cut_from_all(lab, Heal::After(3000)).boxed_local()
    }),
    ("gluster_api_server_frozen", Company::Alone, When::Always, |lab| {
        storage::api_server_frozen(lab).boxed_local()
    }),
];

/// Everything that this run does.
fn scenarios() -> Vec<Scenario> {
    let full = std::env::var_os("TANDEM_FULL").is_some();
    let mut all: Vec<Scenario> = Vec::new();
    for (name, company, run) in SCENARIOS {
        all.push(Scenario { name: name.to_owned(), company, run: Arc::new(run) });
    }
    for (name, company, when, run) in ON_NETWORK_STORAGE {
        if full || when == When::Always {
            all.push(Scenario { name: name.to_owned(), company, run: Arc::new(run) });
        }
    }
    for (name, company, place, with, run) in ON_DATABASES {
        for product in products(with, full) {
            let store = match place {
                Place::Database => Store::Database(product),
                Place::Volume => Store::VolumeWithLease(product),
            };
            let name = format!("{name}_{}", product.name());
            all.push(Scenario { name, company, run: Arc::new(move |lab| run(lab, store)) });
        }
    }
    all
}

fn products(with: With, full: bool) -> Vec<Product> {
    let all = [Product::PostgreSql, Product::MariaDb, Product::MySql];
    if with == With::Other {
        return vec![Product::Other];
    }
    let wanted = |product: &Product| match (product, with) {
        (Product::PostgreSql, With::Every | With::PostgreSql) => true,
        (Product::MariaDb, With::Every) => true,
        (Product::MySql, With::Every) | (Product::PostgreSql | Product::MariaDb, _) => full,
        (Product::MySql | Product::Other, _) => false,
    };
    all.into_iter().filter(wanted).collect()
}

/// A scenario's work, with its store in it.
type Work = dyn for<'a> Fn(&'a Lab) -> LocalBoxFuture<'a, Outcome> + Send + Sync;

/// A scenario to be run.
struct Scenario {
    name: String,
    company: Company,
    run: Arc<Work>,
}

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
    let trials = scenarios()
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
    let lab = runtime.block_on(Lab::open(bed))?;
    testbed::progress::step("installing the chart", || lab.install(&[]))?;
    Ok((lab, runtime))
}

fn carry_out(scenario: &Scenario, shared: &OnceLock<(Lab, Runtime)>) -> Result<(), Failed> {
    let name = &scenario.name;
    let (lab, runtime) = shared.get().ok_or("there is no bed")?;
    let begun = tokio::time::Instant::now();
    let outcome = runtime.block_on((scenario.run)(lab));
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
