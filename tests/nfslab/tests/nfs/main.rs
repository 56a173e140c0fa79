//! What NFS tells of locks, on real clients and a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by a panic, and its helpers are tests too"
)]

mod calls;
mod identity;
mod late;
mod loss;
mod options;
mod restart;
mod version3;
mod view;
mod world;
