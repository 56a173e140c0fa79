//! What an agent says of the store: a part of [`super::report::Report`], and so of the wire type.

use serde::{Deserialize, Serialize};

use super::store_id::StoreId;

/// The store as one agent finds it, on a volume or in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundStore {
    /// Its identity; nothing while that is being written or cannot be read.
    pub identity: Option<StoreId>,
    /// Whether a broker has written there: it holds a journal or an index, or tables with rows.
    pub used: bool,
}

/// A volume as one agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeReport {
    /// The file system's type and what is mounted.
    pub file_system: Option<String>,
    /// Whether only this node's kernel grants its locks.
    pub local: bool,
    /// What this agent and another one found out together.
    pub trial: Option<TrialReport>,
    /// Why no broker is started, or should not have been.
    pub problem: Option<StoreProblem>,
    /// What is not as it should be, though brokers run.
    pub notes: Vec<StoreNote>,
    /// What the start of a broker waits for, if it does.
    pub waits_for: Option<String>,
    /// How long ago the last beat was begun that the storage confirmed.
    pub beat_millis: Option<u64>,
    /// Pods that have ever beaten on the volume, and are not forgotten.
    pub peers: Vec<PeerReport>,
}

/// What two pods found out when they tried a volume's locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReport {
    /// The other pod.
    pub peer: String,
    /// Its node.
    pub peer_node: String,
    /// Whether both are on one node: then little is shown of a network file system.
    pub same_node: bool,
    /// From the end of a lock's holder until another node got the lock.
    pub release_millis: u64,
    /// From a write on one node until its answer was seen there again: both ways.
    pub visible_millis: u64,
    /// For how long after that a changed file time was not seen; nothing if for over 2 s.
    pub stale_millis: Option<u64>,
}

/// Why a volume cannot hold a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreProblem {
    /// What kind of problem it is.
    pub kind: StoreProblemKind,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Kinds of problems with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StoreProblemKind {
    /// Each node grants locks by itself.
    LocksLocal,
    /// The lock of a lost node is never freed.
    LocksNeverFreed,
    /// A killed process's lock was not freed in time.
    LocksNotFreed,
    /// Who holds a lock cannot be seen.
    LocksUnseen,
    /// The file system grants no locks.
    LocksUnsupported,
    /// What one pod writes, another does not see.
    WritesNotSeen,
    /// Pods have different directories or volumes under the same path.
    DifferentStores,
    /// The group's store is not there: an empty one is, or its messages are gone.
    StoreMissing,
    /// Another store, with a broker's files, is in the place of the group's.
    StoreReplaced,
    /// Brokers of another cluster, or elected by other means, may run on it.
    ElectedOtherwise,
    /// It cannot be written to.
    ReadOnly,
    /// The broker's user may not write.
    NotWritable,
    /// No room is left.
    Full,
    /// It does not answer.
    Hangs,
    /// The server gives a lock away before its broker would be killed.
    FenceTooLate,
    /// It fails in another way.
    Failed,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}

/// Something of a volume that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreNote {
    /// What kind of note it is.
    pub kind: StoreNoteKind,
    /// What is so and what to do about it.
    pub message: String,
}

/// Kinds of notes about a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StoreNoteKind {
    /// What a lost node has not written yet arrives after a failover.
    LateWrites,
    /// The client answers though the server is away.
    AnswersFromMemory,
    /// Changes of files are seen late.
    AttributesCached,
    /// It took long until a lock was freed or a write was seen.
    Slow,
    /// It is full, or nearly.
    Full,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}

/// Another pod, as its beats on the volume tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// How long ago it last beat; nothing if it has not since this agent began to look.
    pub quiet_millis: Option<u64>,
    /// How long this agent has been looking.
    pub known_millis: u64,
    /// Whether the storage still counts it as holding its locks; nothing if that was not answered.
    pub locked: Option<bool>,
}

/// A database as one agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseReport {
    /// Product and version, once it has answered.
    pub server: Option<String>,
    /// What keeps brokers from being started, or the lock from being seen.
    pub problem: Option<DatabaseProblem>,
    /// What is not as it should be, though brokers run.
    pub notes: Vec<DatabaseNote>,
    /// This node's clock minus the database's, in milliseconds.
    pub clock_offset_millis: Option<i64>,
}

/// Why a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseProblem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Kinds of problems with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProblemKind {
    /// It does not answer, or not in time.
    DatabaseUnreachable,
    /// It refuses the user or the password.
    AuthenticationRefused,
    /// Its certificate is not believed, or it does not speak TLS.
    TlsRefused,
    /// The user lacks a right.
    RightsMissing,
    /// There is no such database.
    DatabaseMissing,
    /// The JDBC driver is in none of the directories.
    DriverMissing,
    /// The tables are those of another version.
    TablesMismatch,
    /// The lock's row is gone; a lease that nobody holds takes its place.
    LockRowMissing,
    /// The server takes no writes: a replica.
    ReadOnly,
    /// A pooler shares the server's sessions between clients.
    PoolerBetween,
    /// The tables are those of another group.
    DatabaseInUse,
    /// The server was promoted, restored or replaced; the lock is nobody's for one lease.
    ServerChanged,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}

/// Something of a database that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseNote {
    /// What kind of note it is.
    pub kind: NoteKind,
    /// What is so and what to do about it.
    pub message: String,
}

/// Kinds of notes about a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NoteKind {
    /// The database does not refuse writes of a broker that has lost its lease.
    WritesNotFenced,
    /// A failure of the database may lose commits.
    CommitsMayBeLost,
    /// This node's clock and the database's differ.
    ClockSkew,
    /// Somebody answers in the server's place, and it is not known whether he shares its sessions.
    SessionsNotProven,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}
