//! What a node mounts: a FUSE file system whose program runs on the node, in a control group of its
//! own, and ends with the node's power.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::layout::{NodeLayout, ServerLayout};
use crate::node::{Node, kill_all_in};
use crate::storage::{Record, StorageOptions, mount_point, volume_file};
use crate::{cgroup, daemon, shell, wait};

/// Writes what the nodes mount by.
pub(super) fn write(server: &ServerLayout, options: &StorageOptions) -> Result<()> {
    let file = file(server);
    fs::write(&file, volume_file::of_clients(server, options))
        .with_context(|| format!("writing {}", file.display()))
}

/// Mounts the volume on the node, which is on, and waits until the server answers there.
pub(super) fn mount(node: &Node, server: &ServerLayout, record: &Record) -> Result<()> {
    let point = mount_point(&record.name);
    let group = group(node.layout(), server);
    if !is_mounted(node, &point)? || cgroup::processes(&group)?.is_empty() {
        unmount(node, server, record)?;
        cgroup::create(&group)?;
        shell::run(node.command("mkdir")?.arg("--parents").arg(&point))?;
        let inner = node.command("glusterfs")?;
        let mut mount = daemon::in_group(server.bed(), &group, &inner);
        mount.args(arguments(node.layout(), server, record));
        shell::run(&mut mount)?;
    }
    let what = format!("the volume {} on {}", record.name, node.name());
    wait::until(&what, Duration::from_secs(30), || {
        // What a look at a silent server waits for ends with the client's patience.
        shell::succeeds(node.command("stat")?.arg(&point)).map(|there| there.then_some(()))
    })
}

/// Unmounts the volume and ends its program; it need not be mounted.
pub(super) fn unmount(node: &Node, server: &ServerLayout, record: &Record) -> Result<()> {
    let point = mount_point(&record.name);
    let group = group(node.layout(), server);
    // Without its program the file system answers everybody with an error and nobody waits in it.
    kill_all_in(&group)?;
    while is_mounted(node, &point)? {
        shell::run(node.command("umount")?.arg("--lazy").arg(&point))?;
    }
    cgroup::remove(&group)
}

/// Mounts the volume from within a node that has just been given its power. Nobody waits for it: the
/// server may be out of reach.
pub(super) fn mount_at_boot(
    node: &NodeLayout,
    server: &ServerLayout,
    record: &Record,
) -> Result<()> {
    let point = mount_point(&record.name);
    let group = group(node, server);
    cgroup::create(&group)?;
    fs::create_dir_all(&point).with_context(|| format!("creating {}", point.display()))?;
    let mut mount = daemon::in_group(server.bed(), &group, &Command::new("glusterfs"));
    // Its first process ends when the file system is mounted; the node's first process buries it.
    mount.args(arguments(node, server, record)).spawn().context("starting glusterfs")?;
    Ok(())
}

/// Where the program logs.
pub(super) fn log(node: &NodeLayout, server: &ServerLayout) -> PathBuf {
    server.bed().log(&format!("{}-{}", node.name(), server.part()))
}

/// Without timeouts the kernel asks the program each time, and the program the server: a change made
/// on one node is seen on the others at once. That holds for contents only if old pages are dropped
/// when the file is opened and when its time changes: version 10.3 does neither unless it is told so,
/// and a node goes on reading what it once read for ever, if the file's length stays as it was.
fn arguments(node: &NodeLayout, server: &ServerLayout, record: &Record) -> Vec<String> {
    let writeback = if record.options.writeback { "on" } else { "off" };
    vec![
        format!("--volfile={}", file(server).display()),
        format!("--log-file={}", log(node, server).display()),
        "--attribute-timeout=0".to_owned(),
        "--entry-timeout=0".to_owned(),
        "--auto-invalidation=on".to_owned(),
        "--fopen-keep-cache=off".to_owned(),
        format!("--kernel-writeback-cache={writeback}"),
        mount_point(&record.name).display().to_string(),
    ]
}

fn file(server: &ServerLayout) -> PathBuf {
    server.directory().join("client.vol")
}

/// Below the node's, so that it ends with the node.
fn group(node: &NodeLayout, server: &ServerLayout) -> String {
    format!("{}/{}", node.cgroup(), server.part())
}

fn is_mounted(node: &Node, point: &Path) -> Result<bool> {
    let mounts = shell::output(node.command("cat")?.arg("/proc/1/mountinfo"))?;
    let point = point.display().to_string();
    Ok(mounts.lines().any(|line| line.split(' ').nth(4) == Some(&point)))
}
