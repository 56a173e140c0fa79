//! The processes of a pod, as the machine sees them: to be stopped or killed from outside.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::process::{self, Process};

/// A process in one of a pod's containers.
#[derive(Clone, Debug)]
pub struct PodProcess {
    /// The process, by its id on the machine.
    pub process: Process,
    /// The id of the process that started it.
    pub parent: i32,
    /// The short name of the program.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The id of the container (also the pod's sandbox is one, whose program is `pause`).
    pub container: String,
}

impl PodProcess {
    /// Sends a signal to the process, if it is still there.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

/// The processes of the pod with this uid on any of the bed's nodes.
pub(crate) fn find(bed: &str, pod: &str) -> Result<Vec<PodProcess>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end at any moment: what cannot be read is not there.
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let Some(container) = container(&groups, bed, pod) else { continue };
        let (Some(process), Some(stat)) = (Process::find(pid)?, process::stat(pid)?) else {
            continue;
        };
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        found.push(PodProcess {
            process,
            parent: stat.parent,
            name: read("comm").trim_end().to_owned(),
            command: read("cmdline").split_terminator('\0').map(str::to_owned).collect(),
            container,
        });
    }
    Ok(found)
}

/// The container's id in lines like `4:memory:/BED-n1/kubepods/burstable/podUID/CONTAINER`; with
/// version 2 there is one line, `0::/...`.
fn container(groups: &str, bed: &str, pod: &str) -> Option<String> {
    let pod = format!("pod{pod}");
    groups.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        let mut parts = path.split('/').skip_while(|part| part.is_empty());
        let node = parts.next()?.strip_prefix(bed)?;
        if !node.starts_with("-n") || !parts.any(|part| part == pod) {
            return None;
        }
        parts.next().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_named_by_its_group() {
        let line = |node: &str| format!("4:memory:/{node}/kubepods/burstable/pod12-3/abc\n0::/\n");
        assert_eq!(container(&line("tandem-n1"), "tandem", "12-3").as_deref(), Some("abc"));
        assert_eq!(container(&line("other-n1"), "tandem", "12-3"), None);
        assert_eq!(container(&line("tandem-n1"), "tandem", "12"), None);
    }
}
