//! What a broker's log may tell its agent about the lock, and the words for it.
//!
//! The words go through a pipe of their own. The logging configuration writes them, each as a
//! constant, so nothing that a client sends can appear in the pipe (docs/decisions/0021).

/// A message of the broker about its lock or its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogSign {
    /// It waits for the lock. For a lease: it begins to try, and may be about to get it.
    Waits,
    /// It took the lock. Only brokers with leases say so.
    Takes,
    /// It found its lock lost and is about to stop politely.
    LockLost,
    /// A write to its volume failed: what it has in memory is no longer what the store has.
    StorageFailed,
}

impl LogSign {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waits, Self::Takes, Self::LockLost, Self::StorageFailed];

    /// The word for it, a line of the pipe.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Takes => "takes",
            Self::LockLost => "lock-lost",
            Self::StorageFailed => "storage-failed",
        }
    }

    /// What a line of the pipe says, without its line feed.
    pub fn parse(line: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|sign| sign.as_str().as_bytes() == line)
    }
}
