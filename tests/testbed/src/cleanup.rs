//! Removing all of a bed, also what a killed run left of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};

use crate::layout::{Layout, STATE};
use crate::node::kill_all_in;
use crate::{cache, cgroup, network};

/// Removes everything that carries the bed's name: the processes in its control groups, the
/// groups, the network namespaces and the bed's directory.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    let groups = groups_of(layout)?;
    for group in &groups {
        kill_all_in(group).with_context(|| format!("ending what runs in {group}"))?;
    }
    for group in &groups {
        cgroup::remove(group)?;
    }
    for namespace in names_in(Path::new("/run/netns"), layout) {
        network::remove(&namespace)?;
    }
    network::remove_empty_directory()?;
    unmount_below(&layout.root())?;
    cache::remove(&layout.root())
}

/// Removes the directory of all beds after the last of them.
pub(crate) fn remove_empty_state() {
    let _ = fs::remove_dir(STATE);
}

fn groups_of(layout: &Layout) -> Result<Vec<String>> {
    let mut groups: Vec<String> =
        cgroup::hierarchies()?.iter().flat_map(|top| names_in(top, layout)).collect();
    groups.sort();
    groups.dedup();
    Ok(groups)
}

/// The names in the directory that are of this bed's parts: `BED-cp`, `BED-n1`, `BED-d1`, `BED-s1`...
fn names_in(directory: &Path, layout: &Layout) -> Vec<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_part(name, layout.name()))
        .collect()
}

fn is_part(name: &str, bed: &str) -> bool {
    let Some(part) = name.strip_prefix(bed).and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    part == "cp" || part.strip_prefix(['n', 'd', 's']).is_some_and(is_number)
}

/// Unmounts everything below the directory: removing files through a mount would remove what
/// belongs to someone else.
pub(crate) fn unmount_below(directory: &Path) -> Result<()> {
    let mut below = mounts()?;
    below.retain(|point| point.starts_with(directory));
    below.sort();
    for point in below.iter().rev() {
        umount2(point, MntFlags::MNT_DETACH)
            .with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

/// Whether something is mounted exactly there.
pub(crate) fn is_mounted(directory: &Path) -> Result<bool> {
    Ok(mounts()?.iter().any(|point| point == directory))
}

fn mounts() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beds_own_parts_are_taken() {
        assert!(is_part("tandem-cp", "tandem"));
        assert!(is_part("tandem-n2", "tandem"));
        assert!(is_part("tandem-d1", "tandem"));
        assert!(is_part("tandem-s1", "tandem"));
        for other in ["tandem", "tandem-two-n1", "tandem-nx", "tandem-n", "other-n1", "tandem2-cp"]
        {
            assert!(!is_part(other, "tandem"), "{other}");
        }
    }
}
