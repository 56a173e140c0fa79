//! A node: a process tree with its own network, mounts and process ids.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::fault::{self, From};
use crate::images::Image;
use crate::layout::{Layout, NodeLayout};
use crate::process::{Process, stat};
use crate::{cgroup, daemon, network, node_configuration, shell, wait};

/// The hidden command by which the test bed's program becomes a node's first process.
pub const INIT_COMMAND: &str = "node-init";

/// A node of one bed.
#[derive(Debug)]
pub struct Node {
    layout: NodeLayout,
    nodes: u8,
}

impl Node {
    pub(crate) fn new(bed: &Layout, number: u8, nodes: u8) -> Node {
        Node { layout: bed.node(number), nodes }
    }

    /// The node's names and paths.
    pub fn layout(&self) -> &NodeLayout {
        &self.layout
    }

    /// The node's name in Kubernetes.
    pub fn name(&self) -> String {
        self.layout.name()
    }

    /// Whether the node is powered on.
    pub fn is_on(&self) -> Result<bool> {
        Ok(daemon::running(self.layout.bed(), &self.name())?.is_some())
    }

    /// Starts the node with the disk it had and waits for its container runtime; it may run
    /// already. What it was cut off from it stays cut off from, except that its cable is plugged
    /// in.
    pub fn power_on(&self) -> Result<()> {
        network::ensure_node(&self.layout, self.nodes)?;
        if !self.is_on()? {
            self.clear()?;
            self.start().with_context(|| format!("starting node {}", self.name()))?;
        }
        network::plug(&self.layout, self.nodes)?;
        self.await_runtime()
    }

    /// Takes the node's power: its cable goes dead first, so that nothing can be sent any more,
    /// then everything on it ends at once. It may be off already.
    pub fn power_off(&self) -> Result<()> {
        network::unplug(&self.layout)?;
        self.kill()
    }

    /// Cuts the node off; see [`From`]. It lasts until [`Node::heal`].
    pub fn cut(&self, from: From) -> Result<()> {
        fault::cut(&self.layout, from)
    }

    /// Undoes every cut.
    pub fn heal(&self) -> Result<()> {
        if !self.is_on()? {
            bail!("node {} is off; power it on instead", self.name());
        }
        fault::heal(&self.layout, self.nodes)
    }

    /// What the node is cut off from.
    pub fn cuts(&self) -> Result<Vec<From>> {
        fault::active(&self.layout)
    }

    /// Imports the images the node does not have yet.
    pub fn import(&self, images: &[Image]) -> Result<()> {
        let record = self.layout.disk().join("images.json");
        let mut imported: BTreeMap<String, String> = fs::read(&record)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        for image in images {
            // An archive's place in the cache carries its digest.
            let archive = image.archive.display().to_string();
            if imported.get(&image.name) == Some(&archive) {
                continue;
            }
            self.import_archive(&image.archive)?;
            imported.insert(image.name.clone(), archive);
            fs::write(&record, serde_json::to_vec_pretty(&imported)?)
                .with_context(|| format!("writing {}", record.display()))?;
        }
        Ok(())
    }

    /// Imports every image of the archive (docker or OCI).
    pub fn import_archive(&self, archive: &Path) -> Result<()> {
        shell::run(self.ctr().args(["images", "import"]).arg(archive))
            .with_context(|| format!("importing {} on {}", archive.display(), self.name()))
    }

    /// Gives an image that the node has a second name.
    pub fn tag_image(&self, image: &str, name: &str) -> Result<()> {
        shell::run(self.ctr().args(["images", "tag", "--force", image, name]))
            .with_context(|| format!("tagging {image} on {}", self.name()))
    }

    fn ctr(&self) -> Command {
        let mut ctr = shell::command("ctr", &["--namespace", "k8s.io", "--address"]);
        ctr.arg(self.layout.containerd_socket());
        ctr
    }

    /// A command that runs on the node, in all of its namespaces; what it starts ends with the node.
    pub fn command(&self, program: &str) -> Result<Command> {
        let outer = daemon::running(self.layout.bed(), &self.name())?;
        let first = outer.as_ref().map(first_process_under).transpose()?.flatten();
        let Some(first) = first else { bail!("node {} is off", self.name()) };
        let target = format!("--target={}", first.pid());
        Ok(shell::command("nsenter", &[&target, "--net", "--mount", "--pid", program]))
    }

    /// Ends everything on the node; it may be off already.
    pub(crate) fn kill(&self) -> Result<()> {
        let bed = self.layout.bed();
        if let Some(outer) = daemon::running(bed, &self.name())? {
            // The kernel ends a process id namespace with its first process, and that process is
            // gone only when all others are.
            match first_process_under(&outer)? {
                Some(first) => first.kill()?,
                None => outer.kill()?,
            }
            outer.await_end(Duration::from_secs(20))?;
        }
        // Should the outer process alone have been killed, the rest ends a moment later.
        kill_all_in(&self.layout.cgroup())?;
        crate::cache::remove(&bed.process_record(&self.name()))
    }

    fn clear(&self) -> Result<()> {
        self.kill()?;
        network::clear_node(&self.layout)?;
        cgroup::remove(&self.layout.cgroup())?;
        crate::cache::remove(&self.layout.containerd_socket())
    }

    fn start(&self) -> Result<()> {
        node_configuration::write(&self.layout)?;
        let group = format!("{}/host", self.layout.cgroup());
        cgroup::create(&group)?;
        let bed = self.layout.bed();
        let mut command = network::command(&self.layout.network(), "unshare");
        command
            // Mounts of the machine appear on the node, the node's never on the machine.
            .args(["--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"])
            .arg(bed.program())
            .args(["--name", bed.name(), INIT_COMMAND])
            .arg(self.layout.number().to_string());
        daemon::start(bed, &self.name(), &group, &command)?;
        Ok(())
    }

    fn await_runtime(&self) -> Result<()> {
        let log = self.layout.bed().log(&self.name());
        let socket = self.layout.containerd_socket();
        wait::until(&format!("{}'s containerd", self.name()), Duration::from_secs(60), || {
            if !self.is_on()? {
                bail!("node {} ended; see {}{}", self.name(), log.display(), shell::log_tail(&log));
            }
            Ok(UnixStream::connect(&socket).is_ok().then_some(()))
        })
    }
}

/// Ends whatever is in the control group and waits until it is empty.
pub(crate) fn kill_all_in(group: &str) -> Result<()> {
    wait::until(&format!("{group} to be empty"), Duration::from_secs(20), || {
        let left = cgroup::processes(group)?;
        for process in &left {
            process.signal(nix::sys::signal::Signal::SIGKILL)?;
        }
        Ok(left.is_empty().then_some(()))
    })
}

/// The process that `unshare --fork` runs in the new namespace.
fn first_process_under(outer: &Process) -> Result<Option<Process>> {
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if stat(pid)?.is_some_and(|stat| stat.parent == outer.pid()) {
            return Process::find(pid);
        }
    }
    Ok(None)
}
