//! What an agent says of its broker: the wire type of `GET /v1/report`, shared by the agent
//! (producer) and the operator (consumer). Fields are only ever added within a version. Words may be added
//! too: an older reader takes one that it does not know for `Unknown`, which proves nothing and leads to
//! nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::store_id::StoreId;
pub use super::store_report::{
    DatabaseNote, DatabaseProblem, DatabaseReport, FoundStore, NoteKind, PeerReport, ProblemKind,
    StoreNote, StoreNoteKind, StoreProblem, StoreProblemKind, TrialReport, VolumeReport,
};

/// The path that serves a [`Report`].
pub const REPORT_PATH: &str = "/v1/report";

/// One agent's view at the moment of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The pod's name.
    pub pod: String,
    /// The pod's uid: a replacement of the same name is somebody else.
    pub pod_uid: String,
    /// Version of the agent binary.
    pub agent_version: String,
    /// Where the agent's state machine stands.
    pub state: AgentState,
    /// Who holds the store's lock, as this agent sees it.
    pub lock: LockReport,
    /// What the broker's greeting listener last did.
    pub greeting: GreetingView,
    /// The running broker process, if there is one.
    pub child: Option<ChildReport>,
    /// Whether a broker that waits for the lock is seen to try it. Absent if the agent is
    /// of a version that does not look.
    #[serde(default)]
    pub motion: Option<MotionView>,
    /// How the last broker process ended; kept until the agent itself restarts.
    pub last_exit: Option<ChildExit>,
    /// The last promotion by this agent.
    pub promotion: Option<PromotionReport>,
    /// The highest epoch the agent has seen; 0 before it has seen any.
    pub epoch: u64,
    /// What is wrong and what to do about it, for people.
    pub message: Option<String>,
    /// The database with the lock, if there is one that the agent can ask.
    #[serde(default)]
    pub database: Option<DatabaseReport>,
    /// The volume with the store, if there is one.
    #[serde(default)]
    pub volume: Option<VolumeReport>,
    /// Which store the pod has found; nothing before it was looked at.
    #[serde(default)]
    pub store: Option<FoundStore>,
}

impl Report {
    /// Whether its broker is proven to wait for a lock that another one holds. An agent that does not look
    /// whether the broker moves is believed: otherwise no pod of an earlier version could ever be replaced.
    pub fn waits(&self) -> bool {
        self.state == AgentState::Standby
            && self.lock.view == LockView::Other
            && self.child.is_some()
            && matches!(self.motion, None | Some(MotionView::Moves))
    }

    /// Whether its broker waits for the lock and does not move.
    pub fn stands_still(&self) -> bool {
        self.state == AgentState::Standby && self.motion == Some(MotionView::Still)
    }

    /// The broker process that holds the lock, as this agent sees it.
    pub fn claim(&self) -> Option<(&ChildReport, Evidence)> {
        match self.lock.view {
            LockView::Mine(evidence) => self.child.as_ref().map(|child| (child, evidence)),
            LockView::Other | LockView::Free | LockView::Unknown => None,
        }
    }

    /// Whether its broker is known to hold the lock, by an evidence that this version knows.
    pub fn holds(&self) -> bool {
        matches!(self.lock.view, LockView::Mine(evidence) if evidence != Evidence::Unknown)
    }

    /// Whether its broker is said to hold the lock by an evidence that this version does not know: no proof,
    /// and no reason to act as if nobody held it.
    pub fn holds_in_other_words(&self) -> bool {
        self.lock.view == LockView::Mine(Evidence::Unknown)
    }
}

/// The states of the agent's machine. One that this version does not know proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AgentState {
    /// Before the first start of the broker.
    Preflight,
    /// The broker is started; it neither waits for the lock nor holds it yet.
    Starting,
    /// The broker waits for the lock that another one holds.
    Standby,
    /// The broker holds the lock and does not greet yet: recovering a large store takes minutes.
    Promoting,
    /// The broker holds the lock and greets.
    Master,
    /// The broker was asked to stop politely.
    SteppingDown,
    /// The broker was killed because its lock was in doubt.
    Fenced,
    /// The broker ended; it will be started again.
    Backoff,
    /// The broker is kept down, as asked for.
    Held,
    /// The agent was told to end.
    Stopped,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}

/// The lock as one agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockReport {
    /// Who holds it.
    pub view: LockView,
    /// Age of that view in milliseconds: since the *start* of the probe that found it.
    pub age_millis: u64,
}

/// Who holds the store's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "holder", content = "evidence", from = "WireLockView")]
pub enum LockView {
    /// This pod's broker.
    Mine(Evidence),
    /// A broker, but not this pod's.
    Other,
    /// Nobody.
    Free,
    /// The probe gave no answer, or a newer agent has another word: never a reason to do anything but wait
    /// or, past a deadline, fence.
    Unknown,
}

/// A [`LockView`] as it is read: whatever a newer agent says, the rest of its report is understood.
#[derive(Deserialize)]
struct WireLockView {
    #[serde(default)]
    holder: Value,
    #[serde(default)]
    evidence: Value,
}

impl From<WireLockView> for LockView {
    fn from(said: WireLockView) -> Self {
        match said.holder.as_str() {
            Some("Mine") => {
                Self::Mine(serde_json::from_value(said.evidence).unwrap_or(Evidence::Unknown))
            }
            Some("Other") => Self::Other,
            Some("Free") => Self::Free,
            _ => Self::Unknown,
        }
    }
}

/// How it is known that the lock is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Evidence {
    /// The kernel's table of a local file system: proof.
    Kernel,
    /// The kernel's table of a network file system's client, which may be outdated: a hint.
    ClientTable,
    /// The lease's row, read from the database: proof until the lease ends.
    Lease,
    /// The broker's own log: a hint.
    Log,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}

/// What the greeting listener did when last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GreetingView {
    /// It spoke the protocol's first bytes.
    Ok,
    /// Nothing listens.
    Refused,
    /// The connection opened and stayed silent: a frozen JVM does that.
    Silent,
    /// It could not be asked, for a reason that is not the broker's; or what a newer agent says. Neither a
    /// greeting nor a missed one.
    #[serde(other)]
    Unknown,
}

/// Whether a broker that waits for the lock is seen to try it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MotionView {
    /// It was seen to try it a moment ago.
    Moves,
    /// It has not tried it for seconds: it is stopped, deadlocked or starved.
    Still,
    /// It cannot be seen, or not for long enough yet. Also what a newer agent says.
    #[serde(other)]
    Unknown,
}

/// The running broker process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildReport {
    /// A random name, new for each start.
    pub instance: String,
    /// Process number inside the container.
    pub pid: i32,
    /// When it was started.
    pub started: Timestamp,
    /// How many were started before it by this agent.
    pub restarts: u32,
}

/// The end of a broker process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildExit {
    /// Why it ended.
    pub reason: ExitReason,
    /// Exit status or signal, in words.
    pub status: String,
    /// When it was reaped.
    pub at: Timestamp,
    /// Whether it was the master.
    pub was_master: bool,
    /// When it was told to end politely, if it was.
    #[serde(default)]
    pub stopped: Option<Timestamp>,
}

/// Why a broker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExitReason {
    /// By itself, or by a signal that its agent did not send.
    BrokerCrashed,
    /// Killed by its agent after `hangTimeout` without a greeting.
    BrokerHung,
    /// Killed by its agent because its lock was in doubt.
    LockLost,
    /// Killed by its agent because nothing proved any longer that its lease had not run out.
    LeaseUnproven,
    /// Killed by its agent because its network storage did not answer for so long that the server may
    /// give its lock to another one.
    StorageUnproven,
    /// Killed by its agent because a write to its volume had failed: one that goes on loses messages.
    StorageFailed,
    /// Killed by its agent because another broker held the lock too, and this one was the one to yield
    /// or could not prove its lock.
    SplitBrain,
    /// Stopped politely because the pod was told to end.
    PodStopped,
    /// Stopped politely so that another one takes over, as was asked for.
    SwitchedOver,
    /// Stopped politely because it is to be kept down: it waited for the lock.
    KeptDown,
    /// Killed by the kernel because the container had reached its memory limit.
    MemoryExceeded,
    /// It had let go of its lock by itself, as a broker does that stops because of an error of its own; then
    /// killed by its agent. Its log says what the error was.
    StoppedItself,
    /// What a newer agent says; never said by this one.
    #[serde(other)]
    Unknown,
}

/// A promotion by this agent, with the times that make up a failover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionReport {
    /// When the lock was first seen as ours.
    pub lock_taken: Timestamp,
    /// When the broker first greeted.
    pub greeted: Timestamp,
    /// When the record was written; absent while the API server is away.
    pub recorded: Option<Timestamp>,
    /// The epoch written.
    pub epoch: Option<u64>,
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
