//! The decisions, as pure and synchronous functions of (spec, observation, now).

mod changes;
pub mod credentials;
pub mod database;
pub mod events;
pub mod lock;
mod lock_verdict;
pub mod lost;
pub mod observed;
pub mod plan;
pub mod promotion;
pub mod record;
pub mod rollout;
pub mod split_brain;
pub mod status;
pub mod switchover;
pub mod validate;
pub mod verdicts;
pub mod versions;
mod volume_verdict;
