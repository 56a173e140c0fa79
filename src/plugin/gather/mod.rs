//! Everything that is read from the API server, and the few writes.

pub mod ask;
pub mod bundle;
pub mod connect;
pub mod find;
pub mod group;
pub mod watch;

pub use ask::{Ask, Refused};
pub use connect::Session;
