//! The first process of a node: prepares the node's own view of the machine, runs its services,
//! and buries orphans. When it is killed, everything on the node ends with it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::wait::{WaitStatus, wait as wait_for_child};

use crate::control_plane::proxy_arguments;
use crate::layout::{NodeLayout, STATE};
use crate::{storage, wait};

/// How long a service that ended stays down, as with a service manager.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// A service of the node.
struct Service {
    name: &'static str,
    command: Command,
    child: Child,
}

/// Runs the node; returns only with an error.
pub fn run(node: &NodeLayout) -> Result<()> {
    mount_own_directories(node).context("preparing the node's mounts")?;

    storage::mount_at_boot(node).context("mounting shared volumes")?;
    let mut services = vec![Service::start(node, "containerd", containerd(node))?];
    let socket = node.containerd_socket();
    wait::until("containerd's socket", Duration::from_secs(60), || {
        Ok(UnixStream::connect(&socket).is_ok().then_some(()))
    })?;
    services.push(Service::start(node, "kube-proxy", proxy(node))?);
    services.push(Service::start(node, "kubelet", kubelet(node))?);
    loop {
        // Also children of others that ended arrive here: containers' shims are orphans.
        let ended = match wait_for_child().context("waiting for children")? {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => pid.as_raw(),
            _ => continue,
        };
        for service in &mut services {
            if i32::try_from(service.child.id()) == Ok(ended) {
                eprintln!("{} ended; starting it again", service.name);
                thread::sleep(RESTART_DELAY);
                service.child = service.command.spawn()?;
            }
        }
    }
}

impl Service {
    fn start(node: &NodeLayout, name: &'static str, mut command: Command) -> Result<Service> {
        let log = log_file(&node.bed().log(&format!("{}-{name}", node.name())))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(log.try_clone().context("sharing the log file")?)
            .stdout(log)
            .env("TMPDIR", node.disk().join("tmp"))
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Service { name, command, child })
    }
}

fn log_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

/// Gives the node directories of its own where its programs write to fixed places: fresh ones for
/// what a restart loses (`/run`), the node's disk for the rest.
fn mount_own_directories(node: &NodeLayout) -> Result<()> {
    let none = None::<&str>;
    // Volumes may be mounted and shared within the node; the machine must not see it (the parent
    // made this namespace a receiver only).
    mount(none, "/", none, MsFlags::MS_SHARED | MsFlags::MS_REC, none).context("sharing mounts")?;
    // The names of other beds' network namespaces would keep those alive.
    let _ = umount2("/run/netns", MntFlags::MNT_DETACH);

    let proc_flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), proc_flags, none).context("mounting /proc")?;
    fresh("/run")?;
    bind(&node.disk().join("log"), Path::new("/var/log"))?;

    // Of /var/lib the node needs the beds' directory and one for CNI: everything else is left out,
    // because containerd and CNI plugins keep records at fixed places there.
    let keep = Path::new("/run/keep");
    fs::create_dir(keep)?;
    bind(Path::new(STATE), keep)?;
    fresh("/var/lib")?;
    for (from, to) in
        [(keep, Path::new(STATE)), (&node.disk().join("cni"), Path::new("/var/lib/cni"))]
    {
        fs::create_dir_all(to)?;
        bind(from, to)?;
    }
    umount2(keep, MntFlags::MNT_DETACH).context("unmounting /run/keep")?;
    Ok(())
}

fn fresh(path: &str) -> Result<()> {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))
        .with_context(|| format!("mounting a fresh {path}"))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let none = None::<&str>;
    mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .with_context(|| format!("mounting {} on {}", from.display(), to.display()))
}

fn containerd(node: &NodeLayout) -> Command {
    let mut command = Command::new("containerd");
    command.arg("--config").arg(node.disk().join("containerd.toml"));
    command
}

fn proxy(node: &NodeLayout) -> Command {
    let mut command = Command::new(node.bed().bin().join("kube-proxy"));
    command.args(proxy_arguments(node.bed(), &node.name()));
    command
}

fn kubelet(node: &NodeLayout) -> Command {
    let disk = node.disk();
    let mut command = Command::new(node.bed().bin().join("kubelet"));
    command
        .arg(format!("--config={}", disk.join("kubelet.json").display()))
        .arg(format!("--kubeconfig={}", node.bed().kubeconfig(&node.name()).display()))
        .arg(format!("--hostname-override={}", node.name()))
        .arg(format!("--node-ip={}", node.address()))
        .arg(format!("--node-labels=topology.kubernetes.io/zone={}", node.zone()))
        .arg(format!("--root-dir={}", disk.join("kubelet").display()))
        .arg(format!("--cert-dir={}", disk.join("kubelet/pki").display()));
    command
}
