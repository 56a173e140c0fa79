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

mod client;
mod fence;
mod lease;
mod refusals;
mod server;
mod world;

/// Each test once for each dialect.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod postgresql {
            $(#[tokio::test]
            async fn $test() {
                super::$test(tandem::broker::settings::DatabaseKind::PostgreSQL).await;
            })*
        }
        mod mariadb {
            $(#[tokio::test]
            async fn $test() {
                super::$test(tandem::broker::settings::DatabaseKind::MariaDB).await;
            })*
        }
    };
}
use both;
