//! Logs, metrics and the HTTP endpoints that both operator and agent serve.

pub mod metrics;
pub mod operator_metrics;
pub mod output;
pub mod serve;
pub mod tracing;
