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
}

/// The record's labels, owner and ports, as untyped JSON: the typed struct always has `endpoints`,
/// and a forced apply of that would cut off all clients.
pub fn build(cluster: &ValidCluster, family: Family, ports: &[RecordPort]) -> Manifest {
    let name = cluster.name.main();
    let mut labels = meta::labels(&cluster.name, "broker");
    labels.insert(labels::SERVICE_NAME.to_owned(), name.clone());
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
