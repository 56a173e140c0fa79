//! What the tasks around the loop tell it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::machine::{LogSign, Peers};
use crate::broker::report::GreetingView;
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
    /// Something became of the broker process.
    Child {
        /// Which one.
        generation: u32,
        /// What.
        news: ChildNews,
    },
    /// The broker logged something that matters.
    Log {
        /// Which broker process.
        generation: u32,
        /// What.
        sign: LogSign,
    },
    /// The record as the API server shows it; `None` when it does not exist.
    Record(Option<Box<Value>>),
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
    /// The login files were looked after; the problem, if there is one.
    Credentials(Option<String>),
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
    /// Why nothing was found out.
    pub error: Option<String>,
}

/// What became of a broker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildNews {
    /// It ended and was reaped; its exit status in words.
    Exited(String),
    /// No descendant of it is left either.
    Gone,
    /// It was sent `SIGKILL` and still has not ended.
    Stuck,
}
