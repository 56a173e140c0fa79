//! The children of a cluster. Pure and infallible: validation has seen to that.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::core::validate::ValidCluster;

pub mod config_map;
mod database;
pub mod endpoint_slice;
mod meta;
pub mod network_policy;
mod pdb;
pub mod pod;
mod rbac;
pub mod secret;
pub mod service;
pub mod stateful_set;
mod store;

pub use meta::{broker_selector, selector_text};

/// The kinds of children, in the order in which they are applied: what a pod needs comes before
/// the StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Identity of the agents.
    ServiceAccount,
    /// Rights of the agents.
    Role,
    /// Gives the agents their rights.
    RoleBinding,
    /// The generated administrator.
    Secret,
    /// The configuration, immutable.
    ConfigMap,
    /// The store.
    PersistentVolumeClaim,
    /// The client Service and the headless one.
    Service,
    /// The promotion record.
    EndpointSlice,
    /// Allows one pod at a time to be evicted.
    PodDisruptionBudget,
    /// Who may talk to the pods.
    NetworkPolicy,
    /// The pods.
    StatefulSet,
}

impl Kind {
    /// All kinds, in applying order.
    pub const ALL: [Self; 11] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Secret,
        Self::ConfigMap,
        Self::PersistentVolumeClaim,
        Self::Service,
        Self::EndpointSlice,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::StatefulSet,
    ];

    /// API group, version and plural name.
    pub fn resource(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "serviceaccounts"),
            Self::Role => ("rbac.authorization.k8s.io", "v1", "roles"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
            Self::Secret => ("", "v1", "secrets"),
            Self::ConfigMap => ("", "v1", "configmaps"),
            Self::PersistentVolumeClaim => ("", "v1", "persistentvolumeclaims"),
            Self::Service => ("", "v1", "services"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
            Self::PodDisruptionBudget => ("policy", "v1", "poddisruptionbudgets"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "networkpolicies"),
            Self::StatefulSet => ("apps", "v1", "statefulsets"),
        }
    }
}

/// A child as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The whole object, for server-side apply.
    pub object: Value,
}

impl Manifest {
    /// A manifest of a typed object. Only objects whose serialization cannot fail are built here.
    fn of(kind: Kind, name: String, object: &impl Serialize) -> Self {
        Self { kind, name, object: serde_json::to_value(object).unwrap_or_default() }
    }

    /// Adds an annotation.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        let metadata = self.object.get_mut("metadata").and_then(Value::as_object_mut);
        let annotations = metadata.map(|metadata| {
            metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()))
        });
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.insert(key.to_owned(), value.into());
        }
    }
}

/// What the operator adds to the spec when it builds pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image with the agent: the operator's own.
    pub agent_image: String,
    /// Where the operator runs; its pods may talk to the agents.
    pub operator_namespace: String,
    /// The labels of the operator's pods; if there are none, all pods of its namespace may.
    pub operator_labels: BTreeMap<String, String>,
    /// Whether broker pods may have what [`crate::core::privileges`] refuses otherwise.
    pub privileged_pods: bool,
}

/// All children that can be applied at any time. The StatefulSet and the record's ports are planned
/// apart, because they depend on what runs, and the admin's Secret because it is made only once.
pub fn build(cluster: &ValidCluster, settings: &Settings) -> Vec<Manifest> {
    let mut manifests = rbac::build(cluster);
    manifests.push(config_map::build(cluster));
    manifests.extend(store::build(cluster));
    manifests.extend(service::build(cluster));
    manifests.push(pdb::build(cluster));
    manifests.push(network_policy::build(cluster, settings));
    manifests
}
