//! CoreDNS beside the control plane, which pods reach as an ordinary service.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::layout::{DNS, DNS_SERVICE, DOMAIN, Layout};
use crate::{credentials, network};

/// Writes CoreDNS's configuration.
pub fn prepare(layout: &Layout) -> Result<()> {
    let path = layout.root().join("Corefile");
    fs::write(&path, corefile(layout)).with_context(|| format!("writing {}", path.display()))
}

pub(crate) fn command(layout: &Layout) -> Command {
    let mut command = network::command(&layout.network(), layout.bin().join("coredns"));
    command.arg("-conf").arg(layout.root().join("Corefile"));
    command
}

/// Names outside the cluster fail (SERVFAIL). Answers are not cached: they come from memory, and a
/// test wants to see a change as soon as the API server tells it.
fn corefile(layout: &Layout) -> String {
    let user = credentials::DNS;
    format!(
        ". {{\n    bind {DNS}\n    errors\n    ready {DNS}:8181\n    \
         kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {} {user}\n        pods insecure\n        endpoint_pod_names\n        \
         ttl 5\n    }}\n}}\n",
        layout.kubeconfig(user).display()
    )
}

/// What CoreDNS may read, and the service by which pods reach it. A service without a selector
/// keeps the endpoints it is given.
pub fn objects() -> Value {
    let labels = json!({"k8s-app": "kube-dns", "kubernetes.io/service-name": "kube-dns"});
    let ports = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]);
    let role =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"});
    let user =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"],
                 "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
                 "verbs": ["list", "watch"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"}, "roleRef": role, "subjects": [user],
        },
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "addressType": "IPv4", "ports": ports,
            "endpoints": [{"addresses": [DNS], "conditions": {"ready": true}}],
        },
    ]})
}
