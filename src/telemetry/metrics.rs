//! Every metric there is. Label values come from enums only, so their number is bounded.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::broker::report::{AgentState, ExitReason, ProblemKind};

/// From a look at a local lock to one at a dying mount.
const PROBE_SECONDS: [f64; 8] = [0.000_5, 0.001, 0.005, 0.02, 0.1, 0.25, 1.0, 5.0];
/// From the lock taken to the record written: a small store to a long recovery.
const PROMOTION_SECONDS: [f64; 10] = [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 15.0, 60.0, 600.0];

/// The metrics of one agent. Those of the operator belong below it in this file.
#[derive(Debug)]
pub struct AgentMetrics {
    registry: Registry,
    /// 1 while the broker is the master.
    pub master: Gauge,
    /// 1 for the state that the agent is in.
    pub state: Family<StateLabels, Gauge>,
    /// The highest epoch seen.
    pub epoch: Gauge,
    /// Broker processes started.
    pub starts: Counter,
    /// Broker processes that ended.
    pub exits: Family<ExitLabels, Counter>,
    /// How long looks at the lock took.
    pub probe_seconds: Histogram,
    /// Looks at the lock that found nothing out.
    pub probe_unknown: Counter,
    /// From the lock taken to the record written.
    pub promotion_seconds: Histogram,
    /// Writes of the record that were refused or unanswered.
    pub record_failures: Counter,
    /// Milliseconds since the broker last greeted; -1 while it need not.
    pub greeting_age: Gauge,
    /// Milliseconds for which the running broker's lease is still proven to be no other's; -1 without
    /// a lease.
    pub lease_left: Gauge,
    /// Milliseconds by which this node's clock is ahead of the database's.
    pub clock_offset: Gauge,
    /// 1 for the problem that there is with the database.
    pub database_problem: Family<ProblemLabels, Gauge>,
    /// Output lines dropped because they were read too slowly.
    pub dropped_lines: Gauge,
}

/// What is wrong with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProblemLabels {
    /// The kind of problem.
    pub kind: ProblemLabel,
}

/// The agent's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    /// Its name.
    pub state: StateLabel,
}

/// Why a broker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExitLabels {
    /// The reason.
    pub reason: ReasonLabel,
}

/// [`AgentState`] as a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateLabel(pub AgentState);

/// [`ExitReason`] as a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReasonLabel(pub ExitReason);

/// [`ProblemKind`] as a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProblemLabel(pub ProblemKind);

impl EncodeLabelValue for ProblemLabel {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> std::fmt::Result {
        format!("{:?}", self.0).encode(encoder)
    }
}

impl EncodeLabelValue for StateLabel {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> std::fmt::Result {
        format!("{:?}", self.0).encode(encoder)
    }
}

impl EncodeLabelValue for ReasonLabel {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> std::fmt::Result {
        format!("{:?}", self.0).encode(encoder)
    }
}

impl Default for AgentMetrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tandem_agent"),
            master: Gauge::default(),
            state: Family::default(),
            epoch: Gauge::default(),
            starts: Counter::default(),
            exits: Family::default(),
            probe_seconds: Histogram::new(PROBE_SECONDS),
            probe_unknown: Counter::default(),
            promotion_seconds: Histogram::new(PROMOTION_SECONDS),
            record_failures: Counter::default(),
            greeting_age: Gauge::default(),
            lease_left: Gauge::default(),
            clock_offset: Gauge::default(),
            database_problem: Family::default(),
            dropped_lines: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl AgentMetrics {
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("master", "1 while the broker is the master", self.master.clone());
        all.register("state", "1 for the agent's state", self.state.clone());
        all.register("epoch", "Highest epoch seen", self.epoch.clone());
        all.register("broker_starts", "Broker processes started", self.starts.clone());
        all.register("broker_exits", "Broker processes ended", self.exits.clone());
        all.register_with_unit(
            "lock_probe",
            "Duration of looks at the lock",
            Unit::Seconds,
            self.probe_seconds.clone(),
        );
        let help = "Looks at the lock without an answer";
        all.register("lock_probe_unknown", help, self.probe_unknown.clone());
        all.register_with_unit(
            "promotion",
            "From the lock taken to the record written",
            Unit::Seconds,
            self.promotion_seconds.clone(),
        );
        let help = "Failed attempts to write the promotion record";
        all.register("record_failures", help, self.record_failures.clone());
        let help = "Milliseconds since the last greeting; -1 while none is expected";
        all.register("greeting_age_milliseconds", help, self.greeting_age.clone());
        let help = "Milliseconds for which the lease is proven; -1 without one";
        all.register("lease_left_milliseconds", help, self.lease_left.clone());
        let help = "Milliseconds by which this clock is ahead of the database's";
        all.register("database_clock_offset_milliseconds", help, self.clock_offset.clone());
        let help = "1 for the problem with the database";
        all.register("database_problem", help, self.database_problem.clone());
        let help = "Output lines dropped because the output is read too slowly";
        all.register("dropped_lines", help, self.dropped_lines.clone());
    }

    /// The text that is scraped.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
