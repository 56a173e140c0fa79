//! What the operator publishes. Nothing here is read back to decide anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Protocol;

/// The observed state of a group.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerClusterStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods that exist, for the scale subresource.
    #[serde(default)]
    pub replicas: i32,
    /// Selects the group's pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The promoted broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterStatus>,
    /// The other pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<StandbyStatus>,
    /// How many standbys wait for the lock, of how many wanted, as `1/1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standbys_waiting: Option<String>,
    /// Where clients connect, one entry per listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointStatus>,
    /// The last time the mastership went from one pod to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<FailoverStatus>,
    /// How often the mastership went from one pod to another since the group was made.
    #[serde(default)]
    pub failovers: i64,
    /// What became of the last request for a switchover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_switchover: Option<SwitchoverStatus>,
    /// The lock that elects the master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockStatus>,
    /// The identity of the store that the group serves from. No broker is started on another store, or on an empty
    /// one, unless the annotation `tandem-operator.io/accept-store` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_identity: Option<String>,
    /// What is so, why, and what to do about it.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl BrokerClusterStatus {
    /// Without what a newer operator has said in words that have none here: they could not be written back.
    #[must_use]
    pub fn known(mut self) -> Self {
        self.standbys.retain(|standby| standby.state != StandbyState::Unknown);
        self.lock = self.lock.filter(|lock| lock.kind != LockKind::Unknown);
        let result = |it: &SwitchoverStatus| it.result != SwitchoverResult::Unknown;
        self.last_switchover = self.last_switchover.filter(result);
        self
    }
}

/// The promoted broker.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MasterStatus {
    /// Its pod.
    pub pod: String,
    /// The pod's node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The address that the Service leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Counts promotions; one epoch names one pod.
    pub epoch: i64,
    /// When it was promoted (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A pod that is not the master.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandbyStatus {
    /// The pod.
    pub pod: String,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What it does.
    pub state: StandbyState,
    /// What is wrong, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a standby does.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StandbyState {
    /// It waits for the lock: it will take over.
    Waiting,
    /// Its broker waits for the lock and does not try it: it would not take over. It is replaced after
    /// `failover.hangTimeout`.
    Stalled,
    /// Its broker is being started.
    Starting,
    /// It took the lock and is not serving yet.
    Promoting,
    /// Its broker ended or was killed, and will be started again.
    Restarting,
    /// Its broker is kept down, as asked for.
    Held,
    /// Its agent does not answer, or not in a way that this version knows.
    Silent,
    /// It has no running container.
    NotRunning,
    /// What a newer operator says; never said by this one.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Where clients connect for one listener.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The listener's name.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The Service's host name: always leads to the master.
    pub host: String,
    /// The port.
    pub port: i32,
    /// The list of all brokers as a client's connection URL, where the protocol's clients know one:
    /// needs no Service to follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover_url: Option<String>,
}

/// A change of master.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverStatus {
    /// The new master's epoch.
    pub epoch: i64,
    /// The master before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The new master.
    pub to: String,
    /// Why the old master ended, as its agent says; `Unknown` when it cannot be asked.
    pub reason: String,
    /// When the new master was promoted (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Milliseconds from the lock taken to the record written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takeover_millis: Option<i64>,
}

/// A request for a switchover: the annotation `tandem-operator.io/switchover` with a new value.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwitchoverStatus {
    /// The annotation's value.
    pub id: String,
    /// What became of it.
    pub result: SwitchoverResult,
    /// Why, in one word.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
    /// The master that was there.
    pub from: String,
    /// The master since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When the request was seen (RFC 3339).
    pub at: String,
    /// Milliseconds from the old master's stop until clients were led to the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage_millis: Option<i64>,
}

/// What becomes of a request for a switchover.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchoverResult {
    /// The master was asked to step down.
    InProgress,
    /// Another pod is master.
    Succeeded,
    /// Nothing was done.
    Refused,
    /// No standby took over in time, so the old master took the lock again.
    HandedBack,
    /// What a newer operator says; never said by this one.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The lock that elects the master.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockStatus {
    /// What kind of lock it is.
    pub kind: LockKind,
    /// Where it is, as the brokers see it: a file, or a table of a database.
    pub path: String,
    /// The pod that holds it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Whether pods have tried a volume's locks and found that they hold between nodes. Absent while
    /// that has not been tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// The volume's file system and what is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// Milliseconds until a killed process's lock was free for another pod, when tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_millis: Option<i64>,
    /// Milliseconds until a pod saw the answer to what it had written, when tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_millis: Option<i64>,
}

/// Kinds of locks.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockKind {
    /// A POSIX record lock on a file of the shared volume.
    File,
    /// A row with an expiry in a database.
    Lease,
    /// What a newer operator says; never said by this one.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
