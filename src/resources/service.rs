//! The client Service, which follows the master, and the headless one, which names the pods.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Kind, Manifest, meta};
use crate::core::validate::ValidCluster;

/// Meshes must not wait for the client's first bytes: with brokers the server speaks first.
const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";

/// Both address families where the Kubernetes cluster has them, else the one it has.
const BOTH_FAMILIES: &str = "PreferDualStack";

pub(super) fn build(cluster: &ValidCluster) -> Vec<Manifest> {
    vec![client(cluster), headless(cluster)]
}

fn ports(cluster: &ValidCluster) -> Vec<ServicePort> {
    let port = |listener: &crate::api::v1alpha1::Listener| ServicePort {
        name: Some(listener.name.clone()),
        port: listener.port,
        target_port: Some(IntOrString::Int(listener.port)),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some("tcp".to_owned()),
        node_port: None,
    };
    cluster.spec.listeners.iter().map(port).collect()
}

fn annotated(cluster: &ValidCluster, name: String, spec: ServiceSpec) -> Manifest {
    let mut metadata = meta::owned(cluster, name.clone(), "broker");
    let ports: Vec<_> =
        cluster.spec.listeners.iter().map(|listener| listener.port.to_string()).collect();
    metadata.annotations = Some([(OPAQUE_PORTS.to_owned(), ports.join(","))].into());
    let object = Service { metadata, spec: Some(spec), status: None };
    Manifest::of(Kind::Service, name, &object)
}

/// Without a selector no controller writes its EndpointSlice: the agents do.
fn client(cluster: &ValidCluster) -> Manifest {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        ip_family_policy: Some(BOTH_FAMILIES.to_owned()),
        ports: Some(ports(cluster)),
        ..ServiceSpec::default()
    };
    annotated(cluster, cluster.name.main(), spec)
}

/// Names resolve before a pod is Ready: the agents and the broker lists need them at once.
fn headless(cluster: &ValidCluster) -> Manifest {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        ip_family_policy: Some(BOTH_FAMILIES.to_owned()),
        selector: Some(super::broker_selector(&cluster.name)),
        publish_not_ready_addresses: Some(true),
        ports: Some(ports(cluster)),
        ..ServiceSpec::default()
    };
    annotated(cluster, cluster.name.headless(), spec)
}
