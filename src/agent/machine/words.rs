//! The machine's vocabulary: what it is told, and what it wants done.

use crate::broker::report::{ExitReason, GreetingView, LockView};
use crate::broker::signs::LogSign;
use crate::lock::FileView;

/// The highest number of the back-off: see [`Deadline::Backoff`].
pub const MAX_FAILURES: u8 = 6;

/// Kinds of locks, as far as they differ for the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// A lock on a file: the kernel lets go of it with its holder.
    #[default]
    File,
    /// A row with an expiry in a database that the agent can ask: it outlives its holder.
    Lease,
    /// A lock of which only the broker's log tells.
    Log,
}

/// The broker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// None; the one before, if any, is reaped and left no descendant.
    Absent,
    /// The start was asked for.
    Spawning,
    /// It runs.
    Running,
    /// It ended; descendants or uninterruptible I/O may be left.
    Ended,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A probe of the lock answered, or its deadline passed ([`LockView::Unknown`]).
    Lock(LockView),
    /// The lock is not the one that this child took. A lock file: deleted, replaced or touched. A
    /// lease: run out without having been given back.
    LockChanged,
    /// The lock file was looked at while no child runs.
    LockFile(FileView),
    /// The greeting listener was asked.
    Greeting(GreetingView),
    /// The broker process has shown no sign of life for so long that it will not do what it is there for: try
    /// the lock as a standby, or get to its first greeting.
    Hung,
    /// The broker logged something that matters.
    Log(LogSign),
    /// The broker process changed.
    Child(ChildEvent),
    /// The answer to [`Act::Prepare`].
    Prepared(PreparationView),
    /// [`Act::Release`] is over, whatever came of it.
    Released,
    /// The API server was asked for other pods of the group.
    Peers(Peers),
    /// The answer to [`Act::AskClaims`].
    Claims(Claims),
    /// The record says that this child and others hold the lock at the same time.
    Disputed(Side),
    /// The record was seen.
    Record(RecordView),
    /// Another pod has just said that it waits for the lock, and somebody asks for a switchover, or
    /// [`Act::AskStandbys`] was asked for.
    StepDown,
    /// Whether this pod's broker is to be kept down, as far as was last seen.
    Hold(bool),
    /// The promotion is written.
    Promoted,
    /// Emptying the record is over, whatever came of it.
    Emptied,
    /// A deadline passed that was armed and not disarmed.
    DeadlinePassed(Deadline),
    /// The pod is told to end.
    Terminate,
}

/// Changes of the broker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildEvent {
    /// It runs.
    Started,
    /// It could not be started.
    NotStarted,
    /// It ended and was reaped.
    Exited,
    /// It is reaped and no descendant is left.
    Gone,
}

/// Whether a broker may be started on its volume or database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PreparationView {
    /// Everything is as a broker needs it.
    Ready,
    /// Something is not: a broker would only fail.
    Refused,
}

/// Other pods of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// None: nobody else can take the lock.
    Alone,
    /// At least one.
    Others,
    /// The API server gave no answer.
    Unknown,
}

/// What the other pods' agents say of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claims {
    /// None of those that answer says that its broker holds it.
    None,
    /// One does. While the record is disputed, also one that does not answer.
    Some,
}

/// What is asked of one of several brokers that hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It goes on if it proves its lock afresh.
    Stays,
    /// It ends.
    Yields,
}

/// The promotion record, in relation to this agent's child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordView {
    /// It names this child, as this agent wrote it.
    Ours,
    /// It names another pod with a higher epoch than this agent wrote.
    Newer,
    /// Anything else: absent, empty, edited, older.
    Astray,
}

/// Deadlines: arming one again starts it afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// Two keep-alive periods of an unchanged, or absent, lock file.
    LockFile,
    /// `poll + keep-alive + 1 s`: a standby would have taken the lock by then.
    Handover,
    /// The pause before the next start: 1 s for 1, doubling with each, at most 30 s.
    Backoff(u8),
    /// A broker that found the lock held waits for it by now, even if its log does not say so.
    Settle,
    /// `hangTimeout + poll + keep-alive`: a standby that lives has taken a free lock by then.
    Take,
    /// `hangTimeout` since the last greeting.
    Hang,
    /// Ten minutes of health, after which the back-off starts anew.
    Health,
    /// The grace of a polite stop.
    StopGrace,
    /// 300 ms: the grace of a polite stop while somebody waits for the lock.
    MakeWay,
    /// 2 s after the child's end: a standby has written the record by then.
    Record,
    /// 1.2 s after a newer epoch was seen: nodes have followed the record by then. kube-proxy takes up
    /// to 1 s (`minSyncPeriod`) when something else has just changed.
    Linger,
    /// The child's lock may be another's, as far as answered looks prove: the loop knows when.
    Proof,
    /// 2 s after a refused preparation: it is tried again.
    Prepare,
    /// 2 s after other pods were found to claim the lock: they are asked again.
    Claims,
    /// 2 s after the record said that several brokers hold the lock: a fresh look has found it ours by
    /// then, or it is not proven.
    Doubt,
    /// 10 s after a child's end that was to hand the mastership over: nobody has taken it. 10 s after
    /// another one took a former master's lock: its promotion takes long.
    Yield,
    /// 1 s after another one's promotion was seen: clients have gone over to it.
    Reconnect,
    /// 2 s after the child's end: neither start nor exit waits any longer for the lease's release. It
    /// runs out by itself.
    Release,
    /// 3 s after the child's end: the container ends, whatever became of the record.
    Exit,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// See that a broker can be started on its volume or database, and write what it needs for that.
    Prepare,
    /// Start the broker.
    Start,
    /// Send it `SIGTERM`.
    Stop,
    /// Send it `SIGKILL`, for this reason.
    Kill(ExitReason),
    /// Read the record, prove afresh, write it; until done or no longer master.
    Promote,
    /// Remove the endpoint from the record if it still names this pod.
    EmptyRecord,
    /// The child is proven dead: end its sessions and give its lease back.
    Release,
    /// Ask the API server for other pods of the group.
    AskPeers,
    /// Ask the other pods' agents whether their brokers hold the lock.
    AskClaims,
    /// Ask the other pods' agents whether their brokers wait for the lock. [`Input::StepDown`] says that one
    /// does; there is no other answer.
    AskStandbys,
    /// Start a deadline, or start it again.
    Arm(Deadline),
    /// Forget a deadline.
    Disarm(Deadline),
    /// End the agent.
    Exit,
}
