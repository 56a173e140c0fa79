//! What is said to a machine and by it: one JSON line each over its serial port.

use serde::{Deserialize, Serialize};

/// The serial port's name in the machine.
pub const PORT: &str = "nfslab";

/// To the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Start a program; its number is chosen by whoever asks.
    Start {
        /// Names the program from then on.
        program: u32,
        /// Program and arguments.
        argv: Vec<String>,
        /// Its environment, besides `PATH`.
        environment: Vec<(String, String)>,
    },
    /// A line for its standard input.
    Input {
        /// The program's number.
        program: u32,
        /// Without its end.
        line: String,
    },
    /// A signal for it.
    Signal {
        /// The program's number.
        program: u32,
        /// The signal's number.
        signal: i32,
    },
}

/// From the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum News {
    /// It can start programs.
    Ready,
    /// Something of a program.
    Of {
        /// The program's number.
        program: u32,
        /// What happened.
        event: Event,
    },
}

/// What happens to a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// It runs, with this process id.
    Started(i32),
    /// It could not be started.
    Failed(String),
    /// It printed a line, to either of its outputs.
    Line(String),
    /// It ended and was reaped, with this exit code or by this signal.
    Ended {
        /// Exit code, if it ended by itself.
        code: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
    },
}

/// One system call, or a few that belong together, for an actor: the program in a machine that does
/// what it is told, in turn, and says how long each took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Call {
    /// Opens the file for reading and writing, made if need be. The first one opened is file 0.
    Open(String),
    /// Opens an existing file for reading only, counted with the others.
    OpenToRead(String),
    /// Closes all files.
    CloseAll,
    /// `F_SETLK` of the first eight bytes, as Java's `tryLock` on an old lock file.
    TryLock(usize),
    /// As that, every 100 ms until it is granted.
    WaitForLock(usize),
    /// `F_GETLK` of the whole file.
    AskLock(usize),
    /// Whether `/proc/self/fdinfo` shows a lock on the file.
    ShowsLock(usize),
    /// Writes at the file's start.
    Write(usize, String),
    /// `fsync`.
    Sync(usize),
    /// Opens, reads and closes.
    Read(String),
    /// Makes a file with this content, and the directories above it.
    Put(String, String),
    /// HTTP `GET` from this port of the machine's loopback, of this path.
    Get(u16, String),
    /// A signal for any process of the machine.
    Kill(i32, i32),
    /// Sets both times to now, as `touch` does.
    Touch(String),
    /// `stat` of the path.
    Stat(String),
    /// `statx` of the path with `AT_STATX_FORCE_SYNC`.
    StatForced(String),
    /// `statx` of the path with `AT_STATX_FORCE_SYNC`, asking for nothing but the type of file.
    TypeForced(String),
    /// Opens for reading, `fstat`, closes.
    OpenStat(String),
    /// `fstat` of an open file.
    FileStat(usize),
    /// `statfs` of the path.
    FsStat(String),
    /// Writes one line after the other, numbered from 0, for ever; answers each line.
    Tick {
        /// The open file.
        file: usize,
        /// From one line to the next.
        every_millis: u64,
    },
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// How long it took, by the machine's clock.
    pub took_millis: u64,
    /// What it gave, or its error number.
    pub result: Result<Value, i32>,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    /// It succeeded.
    Done,
    /// Nobody else holds a lock.
    Free,
    /// Somebody else holds a lock, according to the kernel this process, or 0.
    HeldBy(i32),
    /// Yes or no.
    Is(bool),
    /// What a file holds.
    Text(String),
    /// An answer to HTTP's `GET`.
    Answer {
        /// Its status.
        status: u16,
        /// Its body.
        body: String,
    },
    /// The line of this number was written.
    Line(u32),
    /// What `stat` tells.
    Stat {
        /// Inode number.
        inode: u64,
        /// Bytes.
        size: u64,
        /// Modification time in nanoseconds since 1970.
        modified_nanos: i64,
    },
}

/// The line of this number that [`Call::Tick`] writes; all are equally long.
pub fn tick_line(number: u32) -> String {
    format!("{number:07}\n")
}
