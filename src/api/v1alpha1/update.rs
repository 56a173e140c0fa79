//! How changes of the spec reach running brokers. The comments of the fields are the user's
//! documentation.

use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;

/// How changes of the spec reach running brokers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// In which order pods are replaced after a change of the spec.
    #[serde(default)]
    pub strategy: UpdateStrategy,
    /// Whether the mastership is handed over when the master's node is cordoned, before a drain ends the
    /// broker there.
    #[serde(default = "defaults::yes")]
    pub switchover_on_cordon: bool,
    /// When brokers that do their part may be replaced. Without windows: at any time. A broken standby
    /// is replaced at any time. An upgrade of the operator restarts no broker; in a window it brings
    /// brokers its agent too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<UpdateWindow>,
    /// How long a replaced pod may take until it waits for the lock, from `30s` to `24h`. After that the
    /// update halts: the pods go back to what the master runs, and the master is left alone. A pod that
    /// cannot come up, because its image or its configuration is broken, is given up sooner.
    #[serde(default = "defaults::halt_after")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('30s') && duration(self) <= duration('24h')").message("update.haltAfter must be from 30s to 24h"))]
    pub halt_after: Duration,
}

/// In which order pods are replaced after a change of the spec.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStrategy {
    /// Standbys one at a time, each proven to wait for the lock before the next; then a switchover; the
    /// old master last.
    #[default]
    StandbyFirst,
    /// None is replaced: a pod that somebody deletes comes back as the spec says.
    OnDelete,
}

/// A time at which brokers may be replaced.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateWindow {
    /// On which days it opens; without any, on every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Weekday>,
    /// When it opens, as `22:30`.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// How long it stays open, from `1m` to `168h`. It may reach into the next day.
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('168h')").message("update.windows.duration must be from 1m to 168h"))]
    pub duration: Duration,
    /// The time zone of days and start, as `Europe/Berlin`.
    #[serde(default = "defaults::time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

/// A day of the week.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "days need no explanation")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}
