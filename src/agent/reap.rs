//! Orphans: as PID 1 the agent inherits every process of the container whose parent has ended.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// How often a process that was sent `SIGKILL` is looked for. There is nothing to wait on that
/// covers the grandchildren of a grandchild.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The processes that are waited for by whoever started them, so nobody else may reap them.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pids: Arc<Mutex<HashSet<u32>>>,
}

impl Kept {
    /// This process is waited for by its starter.
    pub fn keep(&self, pid: Option<u32>) {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).extend(pid);
    }

    /// This process was reaped.
    pub fn forget(&self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.pids.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        }
    }

    fn has(&self, pid: u32) -> bool {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
    }
}

/// Reaps orphans as they end, for ever. Never by a blanket wait, which would steal the exit status
/// of the broker from whoever waits for it.
pub async fn reap_orphans(kept: Kept) -> std::io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    while ended.recv().await.is_some() {
        for orphan in orphans(&kept) {
            reap(orphan.pid);
        }
    }
    Ok(())
}

/// Kills and reaps what the process `leader` left behind. As PID 1 these are all orphans: the broker
/// is the only program that the agent starts, so they are its descendants, or left behind by
/// somebody's `kubectl exec`. Otherwise (in tests) those of its process group.
pub async fn end_descendants(leader: i32, kept: &Kept) {
    let all = std::process::id() == 1;
    loop {
        let mut left = orphans(kept);
        left.retain(|orphan| all || orphan.group == leader);
        if left.is_empty() {
            return;
        }
        for orphan in left {
            if let Err(error) = kill(orphan.pid, Signal::SIGKILL) {
                tracing::debug!("process {} has ended by itself: {error}", orphan.pid);
            }
            reap(orphan.pid);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn reap(orphan: Pid) {
    match waitpid(orphan, Some(WaitPidFlag::WNOHANG)) {
        Ok(_) | Err(Errno::ECHILD) => {}
        Err(error) => tracing::warn!("cannot reap process {orphan}: {error}"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orphan {
    pid: Pid,
    group: i32,
}

/// The agent's children that it did not start itself.
fn orphans(kept: &Kept) -> Vec<Orphan> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&pid| !kept.has(pid))
        .filter_map(|pid| {
            let (parent, group) = relations(pid)?;
            let pid = Pid::from_raw(i32::try_from(pid).ok()?);
            (parent == own).then_some(Orphan { pid, group })
        })
        .collect()
}

/// Parent and process group, from `pid (name) state ppid pgrp ...`; the name may hold blanks and
/// parentheses.
fn relations(pid: u32) -> Option<(i32, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut numbers = rest.split_whitespace().skip(1).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_this_process_is_read_from_its_status() {
        let (parent, _) = relations(std::process::id()).unwrap();
        assert_eq!(parent, i32::try_from(std::os::unix::process::parent_id()).unwrap());
    }

    #[test]
    fn kept_processes_are_no_orphans() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let kept = Kept::default();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(orphans(&kept).iter().any(|orphan| orphan.pid == pid));
        kept.keep(Some(child.id()));
        assert!(orphans(&kept).iter().all(|orphan| orphan.pid != pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
