//! Who may talk to the pods: everybody to the listeners; the operator's pods and the group's own to the agents.
//! The kubelet's probes come from the node and need no rule. So does what the API server passes on for
//! `kubectl tandem`, where the network counts the control plane's nodes as such.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Kind, Manifest, Settings, meta};
use crate::{broker::settings::AGENT_PORT, core::validate::ValidCluster};

pub(super) fn build(cluster: &ValidCluster, settings: &Settings) -> Manifest {
    let clients = NetworkPolicyIngressRule {
        from: None,
        ports: Some(cluster.spec.listeners.iter().map(|listener| port(listener.port)).collect()),
    };
    let namespace =
        [("kubernetes.io/metadata.name".to_owned(), settings.operator_namespace.clone())].into();
    let agents = NetworkPolicyIngressRule {
        from: Some(vec![
            NetworkPolicyPeer {
                pod_selector: Some(meta::selector(&cluster.name)),
                ..NetworkPolicyPeer::default()
            },
            NetworkPolicyPeer {
                namespace_selector: Some(LabelSelector {
                    match_labels: Some(namespace),
                    match_expressions: None,
                }),
                pod_selector: Some(LabelSelector {
                    match_labels: Some(settings.operator_labels.clone()),
                    match_expressions: None,
                })
                .filter(|_| !settings.operator_labels.is_empty()),
                ..NetworkPolicyPeer::default()
            },
        ]),
        ports: Some(vec![port(i32::from(AGENT_PORT))]),
    };
    let object = NetworkPolicy {
        metadata: meta::owned(cluster, cluster.name.main(), "broker"),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::selector(&cluster.name)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![clients, agents]),
            egress: None,
        }),
    };
    Manifest::of(Kind::NetworkPolicy, cluster.name.main(), &object)
}

fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}
