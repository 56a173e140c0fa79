//! The helper process: everything that touches the store, because a look at a dead mount can hang
//! in the kernel for ever and no deadline ends that.
//!
//! One JSON line per question on stdin, one per answer on stdout, strictly in turn.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::lock::file::FileLock;
use crate::lock::{Observation, Probe as _, floor};

/// Arguments of the helper process; written by the agent only.
#[derive(Args, Clone, Debug)]
pub struct ProbeArgs {
    /// The lock file.
    #[arg(long)]
    pub lock: PathBuf,
    /// The epoch floor.
    #[arg(long)]
    pub floor: PathBuf,
}

/// What the agent asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// Who holds the lock, if this process is our broker?
    Look(Option<i32>),
    /// The epoch floor.
    ReadFloor,
    /// Raise the epoch floor.
    RaiseFloor(u64),
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// To [`Question::Look`].
    Looked(Observation),
    /// To the two others: the floor as it is now.
    Floor(u64),
    /// To the two others: why it could not be read or raised.
    Failed(String),
}

/// Answers questions until stdin ends.
pub fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    // The agent's end must end its helper too, even one that waits for the storage.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut lock = FileLock::new(&args.lock);
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Question::Look(child) => Answer::Looked(lock.look(child)),
            Question::ReadFloor => told(floor::read(&args.floor)),
            Question::RaiseFloor(epoch) => {
                told(floor::raise(&args.floor, epoch).and_then(|()| floor::read(&args.floor)))
            }
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        output.write_all(&text)?;
        output.flush()?;
    }
    Ok(())
}

fn told(floor: io::Result<u64>) -> Answer {
    floor.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Floor)
}
