//! What NFS tells of locks, on real clients and a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by a panic, and its helpers are tests too"
)]

mod agent;
#[path = "../../../agent/api.rs"]
#[expect(dead_code, reason = "the agent's own tests use more of it")]
mod api;
mod calls;
mod identity;
mod late;
mod loss;
mod options;
mod pod;
mod preflight;
mod restart;
mod version3;
mod view;
mod watchdog;
mod world;
