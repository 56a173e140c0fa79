//! What the world is like: its lock, its faults, and which of Tandem's safeguards were taken out.

use std::hash::{Hash, Hasher};

use tandem::agent::machine::LockKind;

/// A safeguard that is missing. With any of them the model must find something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// A new master does not hold off: keep-alive 0.
    NoHoldOff,
    /// Brokers live on without a proof: no fencing, or `fenceAfter` above the server's timeout.
    NoFencing,
    /// A broker is started without waiting for a stable lock file.
    UnstableLockFile,
    /// The record is written whatever its version.
    UnconditionalWrite,
    /// It is proven first, and then read.
    ProofBeforeRead,
    /// Holder ids of one pod's name are all the same.
    SameHolderIds,
    /// A dead broker's lease is given back without ending its sessions.
    SessionsLeft,
    /// A broker that shows no sign of life before it serves is left alone.
    NoProofOfLife,
}

/// Kinds of faults that may be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// `SIGKILL` of a broker.
    Crash,
    /// `SIGSTOP` of a broker, for ever; or its thaw.
    FreezeBroker,
    /// `SIGKILL` of an agent: the container starts anew.
    RestartAgent,
    /// An agent stands still for a while, its broker goes on.
    FreezeAgent,
    /// A node stands still as a whole, and goes on later.
    FreezeNode,
    /// A node loses its power, and gets it back.
    PowerLoss,
    /// A node is cut off from the storage or the database.
    CutStorage,
    /// A node is cut off from the API server.
    CutApi,
    /// A pod is deleted and replaced while the old one goes on: its node is cut off from the API server.
    ReplacePod,
    /// A pod is told to end.
    Terminate,
    /// A master is asked to make way.
    StepDown,
    /// A pod's broker is to be kept down, whatever it is; until that is mended.
    Hold,
    /// A read shows the record as it was.
    StaleRead,
    /// A write is done and its answer lost.
    LostAnswer,
    /// The record is deleted.
    DeleteRecord,
    /// The lock file is touched.
    TouchLock,
    /// The lock file is deleted.
    DeleteLock,
    /// A transaction that outlives its broker.
    LateCommit,
}

/// What the world is like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    pub kind: LockKind,
    pub pods: u8,
    /// The lock file is on a file system of one kernel: a process's end frees its lock, nothing else.
    pub local: bool,
    /// The database refuses writes of brokers without the lease.
    pub fence: bool,
    /// The node of a pod that was replaced hears of it one day.
    pub ends: bool,
    /// A frozen broker goes on one day.
    pub thaws: bool,
    /// How many faults.
    pub faults: u8,
    pub of: Vec<Fault>,
    pub mutation: Option<Mutation>,
}

impl Rules {
    pub fn lacks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn may(&self, fault: Fault) -> bool {
        self.of.contains(&fault)
    }
}

/// The rules as part of a world. They never differ, so nothing is compared.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub &'static Rules);

impl PartialEq for Known {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
