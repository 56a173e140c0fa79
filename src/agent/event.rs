//! What the tasks around the loop tell it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::ending::Ended;
use crate::agent::machine::{LogSign, Peers};
use crate::agent::motion::Motion;
use crate::agent::peers::Claims;
use crate::broker::report::{DatabaseNote, DatabaseProblem, GreetingView};
use crate::database::Prepared;
use crate::lock::lease::Nobody;
use crate::lock::track::Verdict;

/// Where tasks send what they find out.
pub type Events = mpsc::Sender<Event>;

/// What a task found out. A generation names the broker process that it was found out for; the
/// loop drops what belongs to another.
#[derive(Clone, Debug)]
pub enum Event {
    /// The lock was looked at.
    Lock(LockNews),
    /// The greeting listener was asked.
    Greeting {
        /// For which broker process.
        generation: u32,
        /// What it did.
        view: GreetingView,
    },
    /// The broker process was looked at.
    Motion {
        /// Which one.
        generation: u32,
        /// Whether it moves.
        motion: Motion,
    },
    /// Something became of the broker process.
    Child {
        /// Which one.
        generation: u32,
        /// What.
        news: ChildNews,
    },
    /// The agent beat on its volume, or tried to.
    Beat(BeatNews),
    /// The volume may be used for a start, or may not.
    Volume {
        /// After the end of which broker process.
        generation: u32,
        /// Whether it may.
        opened: bool,
    },
    /// The broker logged something that matters.
    Log {
        /// Which broker process.
        generation: u32,
        /// What.
        sign: LogSign,
    },
    /// The record as the watch shows it, in its order; `None` when it does not exist.
    Record(Option<Box<Value>>),
    /// The record as read once. The watch may have shown a newer one by now.
    Looked(Box<Value>),
    /// Another pod waits for the lock that this broker is asked to give up.
    StepDown {
        /// Which broker process.
        generation: u32,
    },
    /// The record names this broker.
    Promoted {
        /// Which broker process.
        generation: u32,
        /// By which epoch.
        epoch: u64,
    },
    /// The last attempt at the record failed.
    RecordFailed(String),
    /// Emptying the record is over.
    Emptied,
    /// The API server was asked for other pods.
    Peers {
        /// After the end of which broker process.
        generation: u32,
        /// What it said.
        peers: Peers,
    },
    /// The other pods' agents were asked for the lock.
    Claims {
        /// After the end of which broker process.
        generation: u32,
        /// What they said.
        claims: Claims,
    },
    /// A start was prepared, or cannot be made now.
    Prepared {
        /// After the end of which broker process.
        generation: u32,
        /// What was found out.
        outcome: Result<Prepared, DatabaseProblem>,
    },
    /// The fence is on the tables that this broker made; what is not as it should be.
    Fenced {
        /// Which broker process.
        generation: u32,
        /// What people should know.
        notes: Vec<DatabaseNote>,
    },
    /// The release of a dead broker's lease is over.
    Released {
        /// After the end of which broker process.
        generation: u32,
    },
    /// The login files were looked after; the problem, if there is one.
    Credentials(Option<String>),
}

/// What came of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatNews {
    /// The storage confirmed one that was begun at this time: it knew this client and its locks then.
    Confirmed(Instant),
    /// It did not answer, or not as it should.
    Missed,
    /// It has forgotten this client and its locks.
    Lost,
}

/// A look at the lock.
#[derive(Clone, Debug)]
pub struct LockNews {
    /// For which broker process.
    pub generation: u32,
    /// What it means.
    pub verdict: Verdict,
    /// When the look was started.
    pub started: Instant,
    /// How long it took, or has taken so far.
    pub took: Duration,
    /// Why nothing was found out, unless the database says so.
    pub error: Option<String>,
    /// What a database answered, if the lock is a lease.
    pub lease: Option<Result<LeaseSeen, DatabaseProblem>>,
}

/// What a look at a lease found out beside its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Until then no other broker can be the master while ours may think that it is.
    pub proven_until: Option<Instant>,
    /// This node's clock minus the database's.
    pub clock_offset_millis: i64,
    /// Why nobody may obtain the lease for now, if so.
    pub nobody: Option<Nobody>,
}

/// What became of a broker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildNews {
    /// It ended and was reaped.
    Exited(Ended),
    /// No descendant of it is left either.
    Gone,
    /// It was sent `SIGKILL` and still has not ended.
    Stuck,
}
