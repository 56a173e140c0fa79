//! The decisions, as pure and synchronous functions of (spec, observation, now).

pub mod acceptance;
mod changes;
mod children;
pub mod claim;
pub mod claim_users;
pub mod course;
pub mod credentials;
pub mod database;
pub mod events;
#[cfg(test)]
mod for_tests;
pub mod lock;
mod lock_verdict;
pub mod lost;
pub mod observed;
mod places;
pub mod plan;
pub mod pods;
pub mod privileges;
pub mod promotion;
pub mod record;
mod revision;
pub mod rollout;
pub mod seal;
pub mod size;
pub mod sizing;
pub mod split_brain;
pub mod status;
pub mod store_identity;
pub mod switchover;
pub mod template;
pub mod validate;
pub mod verdicts;
mod volume_verdict;
pub mod windows;
pub mod wish;
