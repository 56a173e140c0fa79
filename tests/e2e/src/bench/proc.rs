//! What processes use, as the machine's `/proc` tells.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::PodProcess;

/// The kernel's unit of processor time towards programs, on every architecture that Tandem runs on.
const TICK: Duration = Duration::from_millis(10);

/// Memory of some processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident, in KiB: what the kernel counts, pages of the program's file included.
    pub resident: u64,
    /// The part that no file backs, in KiB.
    pub anonymous: u64,
    /// Resident, pages shared with others in equal parts, in KiB.
    pub proportional: u64,
}

/// The memory of these processes together. What they share is counted for each, but for the
/// proportional part.
pub fn memory(processes: &[PodProcess]) -> Result<Memory> {
    let mut sum = Memory::default();
    for process in processes {
        let status = read(process, "status")?;
        sum.resident += kib(&status, "VmRSS:")?;
        sum.anonymous += kib(&status, "RssAnon:")?;
        sum.proportional += kib(&read(process, "smaps_rollup")?, "\nPss:")?;
    }
    Ok(sum)
}

/// The processor time that these processes have used so far.
pub fn cpu(processes: &[PodProcess]) -> Result<Duration> {
    let mut ticks = 0;
    for process in processes {
        ticks += used_ticks(&read(process, "stat")?)?;
    }
    Ok(TICK * ticks)
}

fn read(process: &PodProcess, file: &str) -> Result<String> {
    let path = format!("/proc/{}/{file}", process.process.pid());
    std::fs::read_to_string(&path).with_context(|| format!("{}: {path}", process.name))
}

fn kib(status: &str, key: &str) -> Result<u64> {
    let rest = status.split_once(key).map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split_whitespace().next());
    Ok(number.with_context(|| format!("no {key} in {status}"))?.parse()?)
}

/// User and system time: the 14th and 15th field; the 2nd, the name, may hold blanks and brackets.
fn used_ticks(stat: &str) -> Result<u32> {
    let (_, rest) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<u32> {
        Ok(fields.get(at).context("too few fields in /proc/PID/stat")?.parse()?)
    };
    Ok(field(11)? + field(12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status() {
        let status = "Name:\ttandem\nVmRSS:\t   10240 kB\nRssAnon:\t    4096 kB\n";
        assert_eq!(kib(status, "VmRSS:").unwrap(), 10_240);
        assert_eq!(kib(status, "RssAnon:").unwrap(), 4096);
        assert!(kib(status, "VmSwap:").is_err());
    }

    #[test]
    fn processor_time_is_user_and_system_time() {
        let stat = "12 (a) b) S 7 12 12 0 -1 4 1 0 0 0 31 11 5 5 20 0 1 0 4711 1 1";
        assert_eq!(used_ticks(stat).unwrap(), 42);
    }
}
