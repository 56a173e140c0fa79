//! The agent's SQL on real servers of both dialects: every test runs on PostgreSQL and on MariaDB.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by a panic, and its helpers are tests too"
)]
#![allow(clippy::disallowed_methods, reason = "real servers take real time")]

use tandem::broker::settings::DatabaseKind;

mod client;
mod fence;
mod identity;
mod lease;
#[path = "../support/locker.rs"]
mod locker;
mod pooler;
mod refusals;
mod schema;
#[path = "../support/server.rs"]
mod server;
mod shared;
mod world;

/// Each test once for each dialect. A dialect's tests stand together, so that its server starts once.
macro_rules! both {
    ($($module:ident: $($test:ident),*;)*) => {
        mod mariadb {
            $($(#[tokio::test]
            async fn $test() {
                super::$module::$test(super::DatabaseKind::MariaDB).await;
            })*)*
        }
        mod postgresql {
            $($(#[tokio::test]
            async fn $test() {
                super::$module::$test(super::DatabaseKind::PostgreSQL).await;
            })*)*
        }
    };
}

both! {
    lease:
        a_look_tells_free_held_and_run_out,
        a_missing_row_is_put_back_as_a_lease_of_nobody,
        two_agents_prepare_at_the_same_time,
        the_floor_never_falls,
        a_session_that_breaks_is_replaced_and_a_new_password_is_read,
        the_first_row_is_free_and_a_later_one_is_not;
    fence:
        only_the_holder_writes,
        without_the_fence_anybody_writes,
        renewals_do_not_wait_for_message_transactions,
        a_takeover_waits_for_a_message_transaction_in_flight,
        a_look_ends_the_sessions_of_a_holder_whose_lease_has_run_out,
        a_release_ends_sessions_also_one_that_is_blocked,
        a_release_of_a_standby_leaves_the_master_alone;
    identity:
        another_group_on_the_same_tables_is_refused,
        a_group_made_again_waits_for_the_former_one_s_brokers,
        another_server_is_not_believed_for_one_lease;
    refusals:
        a_wrong_password_is_refused,
        nothing_of_a_secret_is_told_that_is_no_login,
        a_missing_database_is_named,
        a_user_without_rights_is_told_what_to_grant,
        tables_of_an_administrator_do_without_further_rights,
        nobody_listens,
        a_server_that_never_answers_is_given_up,
        certificates_are_verified,
        tables_of_another_version_are_refused,
        tables_of_a_broker_killed_in_between_are_completed,
        commits_that_may_be_lost_are_noted,
        a_server_that_takes_no_writes_is_refused;
}
