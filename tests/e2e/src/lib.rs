//! What end-to-end tests, the demo and the benchmark share: a bed with Tandem installed, groups of
//! brokers, clients that account for every message, and faults.

pub mod bench;
pub mod client;
pub mod group;
pub mod http;
pub mod journal;
pub mod lab;
pub mod objects;
pub mod pods;
pub mod proof;
pub mod proxy;
pub mod soak;
pub mod store;
pub mod volume;
pub mod wait;
pub mod witness;

pub use client::{Address, TestClient};
pub use group::Group;
pub use lab::Lab;
pub use store::{Product, Server, Store};
