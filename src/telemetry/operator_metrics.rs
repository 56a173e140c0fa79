//! The operator's metrics. Label values come from closed sets, but for the cluster's name.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::core::{lock::Group, plan::Findings, split_brain::SplitBrain};

const PASS_SECONDS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    namespace: String,
    cluster: String,
}

/// The operator's metrics.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    passes: Family<Outcome, Counter>,
    seconds: Histogram,
    serving: Family<ClusterLabels, Gauge>,
    split_brain: Family<ClusterLabels, Gauge>,
    split_brains: Family<ClusterLabels, Counter>,
    leader: Gauge,
}

impl OperatorMetrics {
    /// Makes and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            passes: Family::default(),
            seconds: Histogram::new(PASS_SECONDS),
            serving: Family::default(),
            split_brain: Family::default(),
            split_brains: Family::default(),
            leader: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("tandem_operator");
        registry.register("passes", "Passes over clusters, by outcome", metrics.passes.clone());
        registry.register_with_unit(
            "pass",
            "How long a pass took",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "cluster_serving",
            "1 while a master is proven to serve",
            metrics.serving.clone(),
        );
        registry.register(
            "cluster_split_brain",
            "1 while several brokers hold the lock, or it is not proven that this is over",
            metrics.split_brain.clone(),
        );
        registry.register(
            "cluster_split_brains",
            "How often several brokers were found to hold the lock",
            metrics.split_brains.clone(),
        );
        registry.register("leader", "1 while this process leads", metrics.leader.clone());
        metrics
    }

    /// Counts a pass.
    pub fn reconciled(&self, failure: Option<&'static str>, took: Duration) {
        self.passes.get_or_create(&Outcome { outcome: failure.unwrap_or("ok") }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Notes whether a cluster has a master, or two.
    pub fn cluster(&self, namespace: &str, cluster: &str, findings: &Findings) {
        let labels = ClusterLabels { namespace: namespace.to_owned(), cluster: cluster.to_owned() };
        let serving = i64::from(matches!(findings.group, Group::Serving(_)));
        self.serving.get_or_create(&labels).set(serving);
        let on = match findings.split_brain {
            SplitBrain::Yes(_) | SplitBrain::Lingers(_) | SplitBrain::Over => 1,
            SplitBrain::No | SplitBrain::Unknown(_) => 0,
        };
        if self.split_brain.get_or_create(&labels).set(on) == 0 && on == 1 {
            self.split_brains.get_or_create(&labels).inc();
        }
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        let labels = ClusterLabels { namespace: namespace.to_owned(), cluster: cluster.to_owned() };
        self.serving.remove(&labels);
        self.split_brain.remove(&labels);
        self.split_brains.remove(&labels);
    }

    /// Notes whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}
