//! A real Kubernetes on one Linux machine: etcd, API server, controllers, scheduler, DNS, and
//! nodes with kubelet, containerd and kube-proxy, each in namespaces of its own.

mod bed;
pub mod cache;
mod cgroup;
mod cleanup;
mod components;
mod control_plane;
mod credentials;
mod daemon;
mod database;
mod dns;
mod fault;
pub mod images;
pub mod layout;
mod machine;
pub mod network;
mod node;
mod node_configuration;
mod node_init;
pub mod packages;
mod pod_process;
mod process;
pub mod progress;
mod record;
mod server;
pub mod shell;
mod storage;
pub mod wait;

pub use bed::{Bed, DEFAULT_NAME, Options};
pub use control_plane::{COMPONENTS, Component, ComponentControl};
pub use daemon::{START_IN_COMMAND, start_in};
pub use database::{Database, DatabaseKind};
pub use fault::From;
pub use node::{INIT_COMMAND, Node};
pub use node_init::run as run_node;
pub use pod_process::PodProcess;
pub use process::{Process, State};
pub use storage::{
    Act, PORT as STORAGE_PORT, Seen, Storage, StorageOptions, WITNESS_COMMAND, run_witness,
};
