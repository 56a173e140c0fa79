//! The promotion record without what the agents own in it.

use serde_json::json;

use super::{Kind, Manifest, meta};
use crate::{api::labels, broker::settings::RecordPort, core::validate::ValidCluster};

/// Address family of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// As EndpointSlices spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The family of an address, written as text.
    pub fn of(address: &str) -> Self {
        if address.contains(':') { Self::V6 } else { Self::V4 }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// The slice of the second family, which follows the record on dual-stack Kubernetes clusters.
pub fn follower(cluster: &ValidCluster, record: Family, ports: &[RecordPort]) -> Manifest {
    let suffix = match record.other() {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    named(cluster, format!("{}-{suffix}", cluster.name.main()), record.other(), ports)
}

/// The record's labels, owner and ports, as untyped JSON: the typed struct always has `endpoints`,
/// and a forced apply of that would cut off all clients.
pub fn build(cluster: &ValidCluster, family: Family, ports: &[RecordPort]) -> Manifest {
    named(cluster, cluster.name.main(), family, ports)
}

fn named(cluster: &ValidCluster, name: String, family: Family, ports: &[RecordPort]) -> Manifest {
    let mut labels = meta::labels(&cluster.name, "broker");
    labels.insert(labels::SERVICE_NAME.to_owned(), cluster.name.main());
    labels.insert(labels::SLICE_MANAGED_BY.to_owned(), labels::GROUP.to_owned());
    let ports: Vec<_> = ports
        .iter()
        .map(|port| json!({"name": port.name, "port": port.port, "protocol": "TCP", "appProtocol": "tcp"}))
        .collect();
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": cluster.name.namespace,
            "labels": labels,
            "ownerReferences": [cluster.owner()],
        },
        "addressType": family.as_str(),
        "ports": ports,
    });
    Manifest { kind: Kind::EndpointSlice, name, object }
}
