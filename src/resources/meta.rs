//! Labels and owners of children.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::{
    api::{labels, names::ClusterName},
    core::validate::ValidCluster,
};

/// Labels of every child.
pub(super) fn labels(name: &ClusterName, component: &str) -> BTreeMap<String, String> {
    [
        (labels::APP_NAME, "activemq"),
        (labels::INSTANCE, &name.name),
        (labels::COMPONENT, component),
        (labels::MANAGED_BY, labels::MANAGER),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Metadata of a child that goes when the cluster goes.
pub(super) fn owned(cluster: &ValidCluster, name: String, component: &str) -> ObjectMeta {
    ObjectMeta { owner_references: Some(vec![cluster.owner()]), ..kept(cluster, name, component) }
}

/// Metadata of a child that stays when the cluster goes.
pub(super) fn kept(cluster: &ValidCluster, name: String, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.name.namespace.clone()),
        labels: Some(labels(&cluster.name, component)),
        ..ObjectMeta::default()
    }
}

/// The labels that select a group's pods; never changed, a StatefulSet's selector is immutable.
pub fn broker_selector(name: &ClusterName) -> BTreeMap<String, String> {
    [
        (labels::INSTANCE, name.name.as_str()),
        (labels::COMPONENT, "broker"),
        (labels::MANAGED_BY, labels::MANAGER),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// [`broker_selector`] as an object.
pub(super) fn selector(name: &ClusterName) -> LabelSelector {
    LabelSelector { match_labels: Some(broker_selector(name)), match_expressions: None }
}

/// [`broker_selector`] as text, for list requests and the scale subresource.
pub fn selector_text(name: &ClusterName) -> String {
    broker_selector(name)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}
