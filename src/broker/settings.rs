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
    /// The `BrokerCluster`'s uid: one that was made anew is another cluster.
    #[serde(default)]
    pub cluster_uid: Option<String>,
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
    /// A file beside the store that keeps the highest epoch, for a deleted record. Without one, a
    /// database that the agent can ask keeps it.
    pub epoch_floor: Option<String>,
    /// The volume with the store, if it is on one.
    pub volume: Option<VolumeSettings>,
    /// A file of the pod's own, in a directory that outlives its containers, in which the agent keeps the identity
    /// of the store that its brokers were started on.
    #[serde(default)]
    pub store_note: Option<String>,
    /// Where credentials come from and go to.
    pub credentials: CredentialSettings,
}

/// A volume that all brokers mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSettings {
    /// A directory on it in which the agents beat and try its locks.
    pub members: String,
    /// The directory on it with the messages.
    pub store: String,
    /// What a refusal means.
    pub preflight: Preflight,
    /// Whether a lock on a file of it elects the master.
    pub locks: bool,
    /// A change of a file must be seen within this.
    pub keep_alive_millis: u64,
}

/// What is done about a volume that should not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preflight {
    /// No broker is started.
    Required,
    /// Brokers are started, and it is told.
    Warn,
}

/// How the broker is started: no launcher script between, the reaped process must be the JVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildSettings {
    /// `java` is looked up in `$JAVA_HOME/bin`, then in `$PATH`; a path is taken as it is.
    pub program: String,
    /// The arguments, in order.
    pub arguments: Vec<String>,
    /// Where the agent makes a pipe before each start. The broker's log writes words of
    /// [`LogSign`](super::signs::LogSign) to it. `None` for a broker whose log says nothing.
    #[serde(default)]
    pub signs: Option<String>,
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
        /// How long a broker may go on after the storage last answered, if its locks are granted by
        /// a server.
        fence_after_millis: u64,
    },
    /// A row with an expiry in a database that the agent can ask.
    Lease(LeaseSettings),
    /// A lock that only the broker sees; its log tells who holds it. Nothing can be proven of it from
    /// outside, so a crashed broker's lock is waited for.
    #[serde(rename_all = "camelCase")]
    Unseen {
        /// How long a holder that says nothing keeps the lock.
        lease_millis: u64,
        /// Where the broker's credentials come from and go to.
        access: DatabaseAccess,
    },
}

/// A lease: row 1 of a table `<prefix>ACTIVEMQ_LOCK` with the holder's name and the time until which
/// the lease runs, by the database's own clock alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseSettings {
    /// The server.
    pub server: DatabaseServer,
    /// How the broker gets at it.
    pub access: DatabaseAccess,
    /// PostgreSQL: the schema with the tables; without it the user's own search path decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Before the names of all tables.
    pub table_prefix: String,
    /// Whose tables they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<GroupIdentity>>,
    /// Whether the messages are in the same database: then their tables are fenced by it.
    pub holds_messages: bool,
    /// How often a standby tries to get the lease.
    pub poll_millis: u64,
    /// How often a master renews it.
    pub renew_millis: u64,
    /// How long it runs after a renewal.
    pub lease_millis: u64,
}

/// A `BrokerCluster`. One that was deleted and made again has another uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl GroupIdentity {
    /// `<namespace>/<name>/<uid>`.
    pub fn in_words(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.name, self.uid)
    }
}

/// A database server that the agent can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseServer {
    /// Its kind.
    pub kind: DatabaseKind,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database.
    pub name: String,
    /// Whether connections are encrypted, and how the server is verified.
    pub tls: DatabaseTls,
}

/// Kinds of databases whose SQL the agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DatabaseKind {
    /// PostgreSQL.
    PostgreSQL,
    /// MySQL.
    MySQL,
    /// MariaDB.
    MariaDB,
}

/// Encryption of connections to a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum DatabaseTls {
    /// None.
    Off,
    /// Encrypted; whoever answers is believed.
    Encrypted,
    /// Encrypted; the server's certificate must be signed by this authority and bear the host's name.
    #[serde(rename_all = "camelCase")]
    Verified {
        /// A file with certificates in PEM.
        ca: String,
    },
}

/// What a broker process needs to get at its database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseAccess {
    /// A file with the user's name.
    pub username: String,
    /// A file with the password.
    pub password: String,
    /// A `java.util.Properties` file that the agent writes before each start of a broker: `username`,
    /// `password`, `holder` (the lease's holder id, new for each start), `createTables`
    /// and `obtainIf` (what must hold in the database for this broker to obtain the lease, in SQL).
    pub properties: String,
    /// The JDBC driver's class, looked for before a start.
    pub driver_class: String,
    /// Directories with jars, searched for the driver.
    pub driver_directories: Vec<String>,
    /// A keystore (PKCS #12, password `changeit`) that the agent makes of the authority's
    /// certificates, for drivers that read no PEM.
    pub keystore: Option<String>,
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
