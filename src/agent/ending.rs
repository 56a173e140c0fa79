//! Why a broker process ended, once it is reaped: what the agent decided about it, and what the kernel says.
//!
//! The kernel frees the locks of a process before its parent can learn of its end. So a look may find the lock
//! free first, and the agent sends SIGKILL to be safe. Only the exit status tells whether that ended the broker.

use std::fs;
use std::io;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::broker::report::ExitReason;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It called `exit`.
    Exited,
    /// By `SIGKILL`: its agent's, the kernel's or somebody else's.
    Killed,
    /// By another signal.
    Signalled,
    /// It is not known.
    Unknown,
}

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status or signal, in words.
    pub status: String,
    /// How it ended.
    pub way: Way,
}

impl Ended {
    /// From what `wait` said.
    pub fn of(status: io::Result<ExitStatus>) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = match status {
            Ok(status) => status,
            Err(error) => return Self { status: error.to_string(), way: Way::Unknown },
        };
        match (status.code(), status.signal()) {
            (Some(code), _) => Self { status: format!("exit status {code}"), way: Way::Exited },
            (None, Some(number)) => {
                let signal = Signal::try_from(number);
                let killed = signal == Ok(Signal::SIGKILL);
                let name = signal.map_or_else(|_| number.to_string(), |it| it.to_string());
                let way = if killed { Way::Killed } else { Way::Signalled };
                Self { status: format!("signal {name}"), way }
            }
            (None, None) => Self { status: "unknown".to_owned(), way: Way::Unknown },
        }
    }
}

/// What was so when the agent sent `SIGKILL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kill {
    /// The process was about to end by itself, or had ended.
    pub dying: bool,
    /// The last look had found the lock free, and an earlier one had found that the process held it.
    pub let_go: bool,
    /// Only this node's kernel grants that lock: nobody but its holder can let go of it.
    pub local: bool,
}

/// Why the process ended. `decided` is what the agent decided about it, [`ExitReason::BrokerCrashed`] if
/// nothing; `memory`, whether the kernel has killed a process of the container for its memory meanwhile.
pub fn reason(decided: ExitReason, kill: Kill, way: Way, memory: bool) -> ExitReason {
    let itself = match decided {
        ExitReason::BrokerCrashed => true,
        ExitReason::LockLost => {
            kill.dying || kill.let_go && matches!(way, Way::Exited | Way::Signalled)
        }
        ExitReason::BrokerHung
        | ExitReason::LeaseUnproven
        | ExitReason::StorageUnproven
        | ExitReason::StorageFailed
        | ExitReason::SplitBrain
        | ExitReason::PodStopped
        | ExitReason::SwitchedOver
        | ExitReason::KeptDown
        | ExitReason::MemoryExceeded
        | ExitReason::StoppedItself
        | ExitReason::Unknown => false,
    };
    if itself && memory && way == Way::Killed {
        ExitReason::MemoryExceeded
    } else if itself {
        ExitReason::BrokerCrashed
    } else if decided == ExitReason::LockLost && kill.let_go && kill.local {
        ExitReason::StoppedItself
    } else {
        decided
    }
}

/// Where the kernel counts the processes that it has killed for the container's memory: cgroup v2 and v1, as
/// a container sees its own.
const COUNTERS: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// How many processes of the container the kernel has killed for its memory, if it tells.
pub fn memory_kills() -> Option<u64> {
    COUNTERS.iter().find_map(|path| kills(&fs::read_to_string(path).ok()?))
}

/// `oom_kill <count>` is a line of both files.
fn kills(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    const LOST: Kill = Kill { dying: false, let_go: true, local: true };

    #[test]
    fn a_broker_that_had_ended_before_its_kill_was_not_killed_for_its_lock() {
        use ExitReason::{BrokerCrashed, LockLost, MemoryExceeded, StoppedItself};
        let dying = Kill { dying: true, ..LOST };
        let remote = Kill { local: false, ..LOST };
        let stolen = Kill { let_go: false, ..LOST };
        for (kill, way, memory, wanted) in [
            (dying, Way::Killed, false, BrokerCrashed),
            (dying, Way::Killed, true, MemoryExceeded),
            (LOST, Way::Exited, false, BrokerCrashed),
            (LOST, Way::Signalled, false, BrokerCrashed),
            (remote, Way::Exited, false, BrokerCrashed),
            (LOST, Way::Killed, false, StoppedItself),
            (remote, Way::Killed, false, LockLost),
            (stolen, Way::Killed, false, LockLost),
            (stolen, Way::Exited, false, LockLost),
            (stolen, Way::Killed, true, LockLost),
        ] {
            assert_eq!(reason(LockLost, kill, way, memory), wanted, "{kill:?} {way:?} {memory}");
        }
    }

    #[test]
    fn nobody_decided_about_a_crash_and_the_kernel_tells_of_memory() {
        let crash = |way, memory| reason(ExitReason::BrokerCrashed, Kill::default(), way, memory);
        assert_eq!(crash(Way::Killed, false), ExitReason::BrokerCrashed);
        assert_eq!(crash(Way::Killed, true), ExitReason::MemoryExceeded);
        // Another process of the container was killed.
        assert_eq!(crash(Way::Exited, true), ExitReason::BrokerCrashed);
    }

    #[test]
    fn what_the_agent_did_for_another_reason_stays_its_doing() {
        use ExitReason::*;
        for decided in [
            BrokerHung,
            LeaseUnproven,
            StorageUnproven,
            StorageFailed,
            SplitBrain,
            PodStopped,
            SwitchedOver,
            KeptDown,
        ] {
            for way in [Way::Exited, Way::Killed, Way::Signalled, Way::Unknown] {
                assert_eq!(reason(decided, LOST, way, true), decided);
            }
        }
    }

    #[test]
    fn exit_statuses_and_signals_are_told() {
        let of = |raw| Ended::of(Ok(ExitStatus::from_raw(raw)));
        let ended = |status: &str, way| Ended { status: status.to_owned(), way };
        assert_eq!(of(1 << 8), ended("exit status 1", Way::Exited));
        assert_eq!(of(9), ended("signal SIGKILL", Way::Killed));
        assert_eq!(of(6), ended("signal SIGABRT", Way::Signalled));
        assert_eq!(of(40), ended("signal 40", Way::Signalled));
    }

    #[test]
    fn both_kinds_of_counters_are_read() {
        assert_eq!(kills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
