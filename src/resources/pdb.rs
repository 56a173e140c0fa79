//! The disruption budget.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Kind, Manifest, meta};
use crate::core::validate::ValidCluster;

/// One pod at a time. A pod that is not Ready may always be evicted: it serves nobody, and a drain
/// that waits for it would wait for ever.
pub(super) fn build(cluster: &ValidCluster) -> Manifest {
    let object = PodDisruptionBudget {
        metadata: meta::owned(cluster, cluster.name.main(), "broker"),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(meta::selector(&cluster.name)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    };
    Manifest::of(Kind::PodDisruptionBudget, cluster.name.main(), &object)
}
