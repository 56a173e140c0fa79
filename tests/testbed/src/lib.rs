//! A real Kubernetes on one Linux machine.

pub mod cache;
pub mod images;
pub mod progress;
pub mod shell;
