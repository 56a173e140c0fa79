//! Every scenario by its name: on which stores it runs, beside which others, and how often.

use std::sync::Arc;

use e2e::{Lab, Product, Store};
use futures::{FutureExt, future::LocalBoxFuture};

use crate::{
    Outcome, backlog, claims, database_faults, database_input, databases, day_two, faults, hostile,
    identity, input, lifecycle, nodes, policy, preflight, record, rollout, split_brain,
    storage::{self, Heal},
    switchover, torn, versions, warm,
};

type Run = fn(&Lab) -> LocalBoxFuture<'_, Outcome>;
type RunOn = fn(&Lab, Store) -> LocalBoxFuture<'_, Outcome>;

/// Whether a scenario can share the bed with others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Company {
    Beside,
    Alone,
}

/// Every scenario, in the order of the list.
const SCENARIOS: [(&str, Company, Run); 40] = [
    ("a_cluster_comes_up_and_says_so", Company::Beside, |lab| {
        lifecycle::comes_up(lab).boxed_local()
    }),
    ("every_protocol_works_and_nobody_is_anonymous", Company::Beside, |lab| {
        lifecycle::protocols(lab).boxed_local()
    }),
    ("hostile_clients", Company::Beside, |lab| {
        hostile::clients(lab, Store::File, "6.3.1").boxed_local()
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
    ("bad_edit_is_halted", Company::Beside, |lab| rollout::bad_edit(lab).boxed_local()),
    ("updated", Company::Beside, |lab| day_two::updated(lab).boxed_local()),
    ("fenced", Company::Beside, |lab| day_two::fenced(lab, Store::File).boxed_local()),
    ("hibernated", Company::Beside, |lab| day_two::hibernated(lab, Store::File).boxed_local()),
    ("scaled", Company::Beside, |lab| day_two::scaled(lab).boxed_local()),
    ("switchover", Company::Beside, |lab| switchover::asked_for(lab, Store::File).boxed_local()),
    ("standby_frozen", Company::Beside, |lab| switchover::frozen_standby(lab).boxed_local()),
    ("claim_made_anew_serves_nothing_else", Company::Beside, |lab| {
        identity::claim_made_anew(lab).boxed_local()
    }),
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
    ("claim_grows", Company::Beside, |lab| claims::grows(lab).boxed_local()),
    // Alone, because the operator is away for a while.
    ("claim_deleted_with_its_cluster", Company::Alone, |lab| {
        claims::deleted_with_its_cluster(lab).boxed_local()
    }),
    ("version_upgrade", Company::Beside, |lab| versions::upgrade(lab, Store::File).boxed_local()),
    ("versions_side_by_side", Company::Beside, |lab| {
        versions::side_by_side(lab, Store::File).boxed_local()
    }),
    ("standby_is_warm", Company::Beside, |lab| warm::standby(lab, Store::File).boxed_local()),
    ("backlog_is_spooled", Company::Beside, |lab| backlog::spooled(lab).boxed_local()),
    ("torn_last_record", Company::Beside, |lab| torn::last_record(lab).boxed_local()),
    ("two_stores_under_one_name_end_in_one_master", Company::Beside, |lab| {
        split_brain::two_stores(lab).boxed_local()
    }),
    ("operator_killed_while_clusters_come_and_go", Company::Alone, |lab| {
        lifecycle::operator_killed(lab).boxed_local()
    }),
    ("operator_killed_in_the_midst_of_it", Company::Alone, |lab| {
        day_two::operator_killed(lab).boxed_local()
    }),
    ("drained", Company::Alone, |lab| day_two::drained(lab).boxed_local()),
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
const ON_DATABASES: [(&str, Company, Place, With, RunOn); 28] = [
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
    ("database_pod_frozen", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
        databases::pod_frozen(lab, store).boxed_local()
    }),
    ("database_pod_deleted", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        faults::pod_deleted(lab, store).boxed_local()
    }),
    ("database_switchover", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        switchover::asked_for(lab, store).boxed_local()
    }),
    ("database_fenced", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
        day_two::fenced(lab, store).boxed_local()
    }),
    ("database_hibernated", Company::Beside, Place::Database, With::PostgreSql, |lab, store| {
        day_two::hibernated(lab, store).boxed_local()
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
    ("database_hostile_clients", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
        hostile::clients(lab, store, "6.3.1").boxed_local()
    }),
    ("database_slow", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
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
    (
        "database_versions_side_by_side",
        Company::Beside,
        Place::Database,
        With::PostgreSql,
        |lab, store| versions::side_by_side(lab, store).boxed_local(),
    ),
    ("database_spec_edit", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
        rollout::edit(lab, store).boxed_local()
    }),
    ("database_standby_is_warm", Company::Beside, Place::Database, With::FullOnly, |lab, store| {
        warm::standby(lab, store).boxed_local()
    }),
    (
        "leased_volume_standby_is_warm",
        Company::Beside,
        Place::Volume,
        With::FullOnly,
        |lab, store| warm::standby(lab, store).boxed_local(),
    ),
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
const ON_NETWORK_STORAGE: [(&str, Company, When, Run); 22] = [
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
    ("gluster_cut_twice", Company::Beside, When::Full, |lab| storage::cut_twice(lab).boxed_local()),
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
    ("hostile_clients_of_6_1_8", Company::Beside, When::Full, |lab| {
        hostile::clients(lab, Store::File, "6.1.8").boxed_local()
    }),
    ("hostile_clients_of_5_18_4", Company::Beside, When::Full, |lab| {
        hostile::clients(lab, Store::File, "5.18.4").boxed_local()
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
    ("gluster_pods_frozen_and_thawed", Company::Beside, When::Full, |lab| {
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
pub fn scenarios() -> Vec<Scenario> {
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
    // One that runs alone waits until all others have ended: between them it would cost a lot of waiting.
    all.sort_by_key(|scenario| scenario.company);
    if let Ok(only) = std::env::var("TANDEM_ONLY") {
        all.retain(|one| only.split(',').any(|name| name == one.name));
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
pub type Work = dyn for<'a> Fn(&'a Lab) -> LocalBoxFuture<'a, Outcome> + Send + Sync;

/// A scenario to be run.
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Whether others may run beside it.
    pub company: Company,
    /// What it does.
    pub run: Arc<Work>,
}
