//! Processes recorded by id and start time, so that only what a bed started is ever ended.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::wait;

/// For what the kernel does to a process that waits for a disk, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that is told apart from a later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid: i32,
    /// In clock ticks since the machine started.
    started: u64,
    /// The machine's start: after another one, ids and start times may repeat.
    boot: String,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs or waits.
    Running,
    /// It was stopped by a signal and can go on.
    Frozen,
    /// It has ended.
    Gone,
}

/// What `/proc/PID/stat` tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub state: char,
    pub parent: i32,
    pub started: u64,
}

impl Process {
    /// The process that has this id now; none if there is no such process.
    pub fn find(pid: i32) -> Result<Option<Process>> {
        let Some(stat) = stat(pid)? else { return Ok(None) };
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot id")?;
        Ok(Some(Process { pid, started: stat.started, boot: boot.trim().to_owned() }))
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What the process is doing.
    pub fn state(&self) -> Result<State> {
        // A child of this process that ended stays as a zombie until someone asks for its status.
        let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
        if Process::find(self.pid)?.as_ref() != Some(self) {
            return Ok(State::Gone);
        }
        Ok(match stat(self.pid)?.map(|stat| stat.state) {
            None | Some('Z' | 'X') => State::Gone,
            Some('T' | 't') => State::Frozen,
            Some(_) => State::Running,
        })
    }

    /// Whether the process has not ended.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(self.state()? != State::Gone)
    }

    /// Sends the signal if the process is still there. When this returns from `SIGSTOP` the process
    /// stands still, and from `SIGCONT` it goes on: the kernel only notes the signal, and the
    /// process acts on it when it is next scheduled.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive()? {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("sending {signal} to {}", self.pid));
            }
        }
        let not_yet = match signal {
            Signal::SIGSTOP => State::Running,
            Signal::SIGCONT => State::Frozen,
            _ => return Ok(()),
        };
        wait::until(&format!("process {} to act on {signal}", self.pid), PATIENCE, || {
            Ok((self.state()? != not_yet).then_some(()))
        })
    }

    /// Ends the process at once and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.await_end(PATIENCE)
    }

    /// Asks the process to end, waits, and ends it if it did not.
    pub fn terminate(&self, patience: Duration) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?;
        if self.await_end(patience).is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Waits until the process is gone.
    pub fn await_end(&self, limit: Duration) -> Result<()> {
        wait::until(&format!("process {} to end", self.pid), limit, || {
            Ok((!self.is_alive()?).then_some(()))
        })
    }

    /// Keeps the process in a file, to be found by a later run.
    pub fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
            .with_context(|| format!("recording a process in {}", path.display()))
    }

    /// The process kept in the file, if there is one and it has not ended.
    pub fn load(path: &Path) -> Result<Option<Process>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        // A run killed while writing leaves half a record; its process is found by control group.
        let Ok(process) = serde_json::from_slice::<Process>(&bytes) else { return Ok(None) };
        Ok(process.is_alive()?.then_some(process))
    }
}

/// What the kernel tells about the process; none if there is none.
pub(crate) fn stat(pid: i32) -> Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => parse_stat(&text).map(Some),
        // ESRCH: it ended between opening and reading.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::ESRCH as i32) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("reading the state of process {pid}")),
    }
}

/// The name in the second field may hold blanks and brackets; the fields after it do not.
fn parse_stat(text: &str) -> Result<Stat> {
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let field = |at: usize| {
        fields.get(at).copied().with_context(|| format!("unexpected /proc/PID/stat: {text}"))
    };
    Ok(Stat {
        state: field(0)?.chars().next().unwrap_or('?'),
        parent: field(1)?.parse().context("parent in /proc/PID/stat")?,
        started: field(19)?.parse().context("start time in /proc/PID/stat")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let text = "12 (a) b) S 7 12 12 0 -1 4 1 0 0 0 1 1 0 0 20 0 1 0 4711 1 1";
        let expected = Stat { state: 'S', parent: 7, started: 4711 };
        assert_eq!(parse_stat(text).unwrap(), expected);
    }

    #[test]
    fn a_killed_child_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::find(child.id().try_into().unwrap()).unwrap().unwrap();
        assert_eq!(process.state().unwrap(), State::Running);
        process.signal(Signal::SIGSTOP).unwrap();
        assert_eq!(process.state().unwrap(), State::Frozen);
        process.signal(Signal::SIGCONT).unwrap();
        assert_eq!(process.state().unwrap(), State::Running);
        process.signal(Signal::SIGSTOP).unwrap();
        process.kill().unwrap();
        assert_eq!(process.state().unwrap(), State::Gone);
        assert!(child.wait().is_err(), "its status was asked for already");
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let mut this = Process::find(std::process::id().try_into().unwrap()).unwrap().unwrap();
        this.started += 1;
        assert_eq!(this.state().unwrap(), State::Gone);
    }
}
