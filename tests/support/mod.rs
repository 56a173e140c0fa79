//! A fake Kubernetes with a simulated group of brokers, shared by the integration tests.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "every test binary uses another part")]
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

pub mod agents;
pub mod call;
pub mod fake_api;
pub mod fields;
pub mod group;
pub mod kinds;
pub mod store;
pub mod world;
