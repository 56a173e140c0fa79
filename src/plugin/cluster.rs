//! A `BrokerCluster` as the API server has it, read as plain JSON: a newer operator may publish values that
//! this program's types do not know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use crate::api::names::ClusterName;

/// A `BrokerCluster`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster(pub Value);

impl Cluster {
    /// Its name and namespace.
    pub fn name(&self) -> ClusterName {
        ClusterName {
            namespace: self.text("/metadata/namespace").unwrap_or_default().to_owned(),
            name: self.text("/metadata/name").unwrap_or_default().to_owned(),
        }
    }

    /// A text of it; nothing if it is not there, or empty.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        text(&self.0, pointer)
    }

    /// A number of it.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    /// Whether a field is true.
    pub fn is(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A list of it, empty if it is not there.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many pods are wanted.
    pub fn replicas(&self) -> i64 {
        self.number("/spec/replicas").unwrap_or(2)
    }

    /// The names of its pods.
    pub fn pods(&self) -> Vec<String> {
        let name = self.name();
        let count = i32::try_from(self.replicas()).unwrap_or_default();
        (0..count).map(|ordinal| name.pod(ordinal)).collect()
    }

    /// The pods that shall be kept down.
    pub fn fenced(&self) -> Vec<String> {
        let pods = self.list("/spec/fencedPods").iter();
        pods.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What a standby does, in the status's word.
    pub fn standby_state(&self, pod: &str) -> Option<&str> {
        let mut standbys = self.list("/status/standbys").iter();
        let standby = standbys.find(|standby| text(standby, "/pod") == Some(pod))?;
        text(standby, "/state")
    }

    /// All conditions, in the order in which they are published. One that cannot be read is left out.
    pub fn conditions(&self) -> Vec<Condition> {
        let all = self.list("/status/conditions").iter();
        all.filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
    }

    /// One condition.
    pub fn condition(&self, type_: &str) -> Option<Condition> {
        self.conditions().into_iter().find(|condition| condition.type_ == type_)
    }

    /// Whether a condition is `True`.
    pub fn holds(&self, type_: &str) -> bool {
        self.condition(type_).is_some_and(|condition| condition.status == "True")
    }

    /// Whether the status speaks of this generation of the spec, or a later one.
    pub fn has_seen(&self, generation: i64) -> bool {
        self.number("/status/observedGeneration").is_some_and(|seen| seen >= generation)
    }

    /// The generation of the spec.
    pub fn generation(&self) -> i64 {
        self.number("/metadata/generation").unwrap_or_default()
    }
}

/// A text of an object; nothing if it is not there, or empty.
pub fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}
