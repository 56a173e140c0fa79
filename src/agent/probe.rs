//! The helper process: everything that touches the store, because a look at a dead mount can hang
//! in the kernel for ever and no deadline ends that.
//!
//! One JSON line per question on stdin, one per answer on stdout, strictly in turn.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::lock::file::FileLock;
use crate::lock::members::{BeatFailure, Beaten, Identity, Member};
use crate::lock::scratch::hold_for_ever;
use crate::lock::{Observation, Probe as _, floor};

/// Arguments of the helper process; written by the agent only.
#[derive(Args, Clone, Debug, Default)]
pub struct ProbeArgs {
    /// The lock file, if it is to be looked at.
    #[arg(long)]
    pub lock: Option<PathBuf>,
    /// The epoch floor, if there is one.
    #[arg(long)]
    pub floor: Option<PathBuf>,
    /// The directory in which pods beat; without it this process does not.
    #[arg(long, requires_all = ["store", "pod", "uid", "node"])]
    pub members: Option<PathBuf>,
    /// The store on the same volume.
    #[arg(long)]
    pub store: Option<PathBuf>,
    /// The pod's name.
    #[arg(long)]
    pub pod: Option<String>,
    /// The pod's uid.
    #[arg(long)]
    pub uid: Option<String>,
    /// The pod's node.
    #[arg(long)]
    pub node: Option<String>,
    /// What elects the pod's brokers, as JSON.
    #[arg(long)]
    pub elector: Option<String>,
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
    /// Beat once.
    Beat,
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// To [`Question::Look`].
    Looked(Observation),
    /// To [`Question::Beat`].
    Beaten(Result<Box<Beaten>, BeatFailure>),
    /// To the two about the floor: the floor as it is now.
    Floor(u64),
    /// Why there is no other answer.
    Failed(String),
}

/// Answers questions until stdin ends.
pub fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    // The agent's end must end its helper too, even one that waits for the storage.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut lock = args.lock.as_ref().map(FileLock::new);
    let mut member = member(args)?;
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Question::Look(child) => match &mut lock {
                Some(lock) => Answer::Looked(lock.look(child)),
                None => not_its_work(),
            },
            Question::Beat => match &mut member {
                Some(member) => Answer::Beaten(member.beat().map(Box::new)),
                None => not_its_work(),
            },
            Question::ReadFloor => match &args.floor {
                Some(path) => told(floor::read(path)),
                None => not_its_work(),
            },
            Question::RaiseFloor(epoch) => match &args.floor {
                Some(path) => told(floor::raise(path, epoch).and_then(|()| floor::read(path))),
                None => not_its_work(),
            },
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        output.write_all(&text)?;
        output.flush()?;
    }
    Ok(())
}

fn not_its_work() -> Answer {
    Answer::Failed("this helper process was started for something else".to_owned())
}

fn member(args: &ProbeArgs) -> anyhow::Result<Option<Member>> {
    let ProbeArgs {
        members: Some(directory),
        store: Some(store),
        pod: Some(pod),
        uid: Some(uid),
        node: Some(node),
        ..
    } = args
    else {
        return Ok(None);
    };
    let identity = Identity {
        directory: directory.clone(),
        store: store.clone(),
        pod: pod.clone(),
        uid: uid.clone(),
        node: node.clone(),
        elector: args.elector.as_deref().map(serde_json::from_str).transpose()?,
    };
    let program = std::env::current_exe().context("where this binary is")?;
    Ok(Some(Member::new(identity, program)))
}

/// Arguments of the process that holds a lock; written by the helper process only.
#[derive(Args, Clone, Debug)]
pub struct HoldArgs {
    /// The file to lock.
    pub path: PathBuf,
}

/// Locks a file until it is killed.
pub fn hold(args: &HoldArgs) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(hold_for_ever(&args.path)?)
}

fn told(floor: io::Result<u64>) -> Answer {
    floor.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Floor)
}
