//! The agent's settings: written by the operator into the immutable ConfigMap, read by the agent.
//!
//! They hold nothing that may change without a restart (no replica count, no Secret), because the
//! ConfigMap's hash is part of the pod template.

use serde::{Deserialize, Serialize};

/// The only version of [`AgentSettings`] so far.
pub const SETTINGS_SCHEMA: u32 = 1;
/// File name of the settings inside the configuration directory.
pub const SETTINGS_FILE: &str = "agent.json";
/// The port on which every agent serves `/livez`, `/readyz`, `/v1/report` and `/metrics`.
pub const AGENT_PORT: u16 = 9616;

/// Everything an agent must know of its group. All durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentSettings {
    /// [`SETTINGS_SCHEMA`]; an agent refuses to run with another.
    pub schema: u32,
    /// The `BrokerCluster`'s name; also the name of the promotion record.
    pub cluster: String,
    /// The broker process.
    pub child: ChildSettings,
    /// Where the store's lock is.
    pub lock: LockSettings,
    /// How to see that the broker serves.
    pub greeting: GreetingSettings,
    /// The ports of the promotion record, one for each listener.
    pub ports: Vec<RecordPort>,
    /// No greeting for so long, after the first one: the broker is killed.
    pub hang_timeout_millis: u64,
    /// How long a politely stopped broker may take before it is killed.
    pub stop_grace_millis: u64,
    /// A file beside the store that keeps the highest epoch, for a deleted record.
    pub epoch_floor: String,
    /// Where credentials come from and go to.
    pub credentials: CredentialSettings,
}

/// How the broker is started: no launcher script between, the reaped process must be the JVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildSettings {
    /// `java` is looked up in `$JAVA_HOME/bin`, then in `$PATH`; a path is taken as it is.
    pub program: String,
    /// The arguments, in order.
    pub arguments: Vec<String>,
}

/// The lock that elects the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum LockSettings {
    /// A POSIX record lock on a file of the shared volume.
    #[serde(rename_all = "camelCase")]
    File {
        /// The lock file.
        path: String,
        /// How often a standby tries the lock.
        poll_millis: u64,
        /// How often a master checks its lock; also how long a new master holds off.
        keep_alive_millis: u64,
    },
}

/// A loopback listener of the broker's own protocol that opens after all the users' listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum GreetingSettings {
    /// The server speaks first: a `WireFormatInfo` with the magic `ActiveMQ`.
    #[serde(rename_all = "camelCase")]
    OpenWire {
        /// Port on 127.0.0.1.
        port: u16,
    },
}

/// A port of the promotion record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordPort {
    /// The listener's name.
    pub name: String,
    /// The port of the pod.
    pub port: u16,
}

/// Directories between which the agent turns Secrets into the broker's login files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialSettings {
    /// The admin Secret as mounted: files `username` and `password`.
    pub admin: String,
    /// The users' Secret as mounted, a file per user whose content is the password; if one is named.
    pub users: Option<String>,
    /// Where `users.properties` and `groups.properties` go. Users are in the group `users`, the
    /// admin is in the groups `users` and `admins`.
    pub output: String,
}
