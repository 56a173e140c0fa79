//! The operator: all of its reading and writing. What it decides is in [`crate::core`].

pub mod carry_out;
mod claims;
pub mod election;
pub mod listen;
mod named;
pub mod observe;
pub mod publish;
pub mod reconcile;
mod record;
mod removal;
mod run;
mod split_brain;

pub use run::{Clusters, OperatorArgs, controller, main};
