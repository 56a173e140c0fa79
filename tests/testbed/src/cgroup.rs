//! Control groups: each part of a bed has its own, in every hierarchy there is.
//!
//! Besides limits this gives a bed's processes a mark that survives everything: what is in a bed's
//! group was started by the bed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;
use crate::wait;

/// The mount points of all hierarchies: one per controller with version 1, one with version 2.
pub fn hierarchies() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    Ok(hierarchies_in(&text))
}

/// A line is `id parent device root mountpoint options [tags] - type source options`.
fn hierarchies_in(mountinfo: &str) -> Vec<PathBuf> {
    let group = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let kind = kind.split(' ').next()?;
        matches!(kind, "cgroup" | "cgroup2")
            .then(|| mount.split(' ').nth(4).map(PathBuf::from))
            .flatten()
    };
    mountinfo.lines().filter_map(group).collect()
}

/// Makes the group `name` (which may have parts, `a/b`) in every hierarchy.
pub fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        delegate(&hierarchy);
        let mut group = hierarchy.clone();
        for part in name.split('/') {
            let parent = group.clone();
            group.push(part);
            if let Err(error) = fs::create_dir(&group)
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(error).with_context(|| {
                    format!("creating {} (is the hierarchy writable?)", group.display())
                });
            }
            inherit_cpuset(&parent, &group)?;
        }
    }
    Ok(())
}

/// With version 1 a new group has no processors and no memory of its own: nothing can join it.
fn inherit_cpuset(parent: &Path, group: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(file), group.join(file));
        let Ok(current) = fs::read_to_string(&to) else { continue };
        if !current.trim().is_empty() || parent.join("cgroup.controllers").exists() {
            continue;
        }
        let inherited = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        fs::write(&to, inherited).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

/// With version 2 a controller works below the root only after it was handed down. Where the root
/// is managed by someone else this may be refused, and is then already so.
fn delegate(hierarchy: &Path) {
    let Ok(controllers) = fs::read_to_string(hierarchy.join("cgroup.controllers")) else { return };
    for controller in controllers.split_whitespace() {
        let _ = fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Moves the process into the group in every hierarchy.
pub fn join(name: &str, pid: u32) -> Result<()> {
    for hierarchy in hierarchies()? {
        let list = hierarchy.join(name).join("cgroup.procs");
        fs::write(&list, pid.to_string()).with_context(|| format!("joining {}", list.display()))?;
    }
    Ok(())
}

/// The processes in the group and all groups below it.
pub fn processes(name: &str) -> Result<Vec<Process>> {
    let mut found: Vec<Process> = Vec::new();
    for hierarchy in hierarchies()? {
        for group in tree(&hierarchy.join(name)) {
            let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in list.lines().filter_map(|line| line.parse().ok()) {
                if !found.iter().any(|process| process.pid() == pid) {
                    found.extend(Process::find(pid)?);
                }
            }
        }
    }
    Ok(found)
}

/// Removes the group and all groups below it. A group can be removed only some time after its
/// last process ended.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let top = hierarchy.join(name);
        wait::until(
            &format!("{} to be removable", top.display()),
            Duration::from_secs(15),
            || {
                for group in tree(&top) {
                    // Whatever could not be removed is seen below.
                    let _ = fs::remove_dir(group);
                }
                Ok((!top.exists()).then_some(()))
            },
        )?;
    }
    Ok(())
}

/// The group and all groups below it, deepest first.
fn tree(top: &Path) -> Vec<PathBuf> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            groups.extend(tree(&entry.path()));
        }
    }
    if top.is_dir() {
        groups.push(top.to_owned());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_among_the_mounts() {
        let mounts = "25 1 0:22 / /proc rw - proc proc rw\n\
            30 25 0:25 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            31 25 0:26 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n";
        let expected = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(hierarchies_in(mounts), expected);
    }
}
