//! Tandem: a Kubernetes operator for HA groups of ActiveMQ brokers.
//!
//! ```text
//! BrokerCluster --validate--> ValidCluster --+
//! children, record, reports --observe--> Observed --+-- plan --> Plan {resources, at most one step}
//! clock ------------------------------------> now --+              |  carry out: apply, prune, the step
//!                                                                  v
//! status <-- status(cluster, observed, outcome, previous conditions, now) <-- Outcome
//! ```
//!
//! In each broker pod, `tandem agent` is PID 1 in front of an unmodified broker. The broker's own
//! lock on the shared store elects the master; agents and operator only observe it.
//!
//! Import rule, kept by a test: [`api`] is imported by all; [`core`], [`resources`] and [`broker`]
//! import neither kube's client nor tokio; [`operator`], [`agent`] and [`plugin`] are imported by nobody,
//! and [`database`] by the agent alone. [`plugin`] is `kubectl tandem`: its `render` is pure.

pub mod agent;
pub mod api;
pub mod broker;
pub mod clock;
pub mod core;
pub mod database;
pub mod host_names;
pub mod kube_ext;
pub mod lock;
pub mod operator;
pub mod plugin;
pub mod reports;
pub mod resources;
pub mod secret;
pub mod telemetry;
