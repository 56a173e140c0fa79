//! Shared volumes on a network file system with locks across clients: `GlusterFS`. Each server is in
//! a network namespace of its own and is started when somebody asks for it; every node mounts it,
//! and pods get a directory of it as a hostPath. What it keeps goes with the next `up` of the bed.

mod client;
mod volume_file;
mod witness;

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::layout::{Layout, NodeLayout, Role, STORAGE_MOUNTS, ServerLayout};
use crate::node::{Node, kill_all_in};
use crate::process::State;
use crate::{cache, cgroup, cleanup, daemon, fault, network, progress, server, shell, wait};

pub use volume_file::PORT;
pub use witness::{Act, Seen, WITNESS_COMMAND, run as run_witness};

/// How a storage server and its clients behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct StorageOptions {
    /// Seconds of a client's silence after which the server frees its locks; the clock starts up to
    /// two seconds before a cut.
    #[arg(long, default_value_t = StorageOptions::default().lock_timeout)]
    pub lock_timeout: u8,
    /// Seconds of the server's silence after which a client gives up: what waits for it fails after
    /// one to two times this.
    #[arg(long, default_value_t = StorageOptions::default().ping_timeout)]
    pub ping_timeout: u8,
    /// Let the nodes' kernels keep written pages for half a minute.
    #[arg(long)]
    pub writeback: bool,
    /// Make a descriptor useless whose locks were lost with its connection.
    #[arg(long)]
    pub strict_locks: bool,
    /// Mebibytes that there is room for, in memory; without it the machine's disk is the limit.
    #[arg(long)]
    pub size: Option<u32>,
    /// Note what clients write and lock.
    #[arg(long)]
    pub witness: bool,
}

impl Default for StorageOptions {
    /// Locks are freed after 6 s; what waits for a server fails before that.
    fn default() -> Self {
        Self {
            lock_timeout: 6,
            ping_timeout: 2,
            writeback: false,
            strict_locks: false,
            size: None,
            witness: false,
        }
    }
}

/// What a later run must know of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    options: StorageOptions,
}

/// A storage server of one bed.
#[derive(Clone, Debug)]
pub struct Storage {
    layout: ServerLayout,
    record: Record,
    nodes: u8,
}

impl Storage {
    /// The server of that name, made, started, healed and mounted as far as need be.
    pub(crate) fn ensure(
        bed: &Layout,
        nodes: u8,
        name: &str,
        options: &StorageOptions,
    ) -> Result<Self> {
        server::check_name(name)?;
        ensure!(
            Path::new("/dev/fuse").exists(),
            "storage servers are mounted by FUSE, and this machine has no /dev/fuse"
        );
        let _lock = server::lock(bed, Role::Storage)?;
        let known = Self::all(bed, nodes)?.into_iter().find(|server| server.name() == name);
        let server = match known {
            Some(server) => server,
            None => Self::make(bed, nodes, name, options)?,
        };
        ensure!(
            server.record.options == *options,
            "the server {name} was made with other options; remove it first"
        );
        network::ensure_server(&server.layout, nodes)?;
        server.heal()?;
        server.start()?;
        for node in server.running_nodes()? {
            client::mount(&node, &server.layout, &server.record)?;
        }
        Ok(server)
    }

    /// All servers of the bed.
    pub(crate) fn all(bed: &Layout, nodes: u8) -> Result<Vec<Self>> {
        let servers = server::known(bed, Role::Storage)?.into_iter();
        Ok(servers.map(|(layout, record)| Self { layout, record, nodes }).collect())
    }

    fn make(bed: &Layout, nodes: u8, name: &str, options: &StorageOptions) -> Result<Self> {
        let layout = server::unused(bed, Role::Storage)?;
        let record = Record { name: name.to_owned(), options: options.clone() };
        let server = Self { layout, record, nodes };
        progress::step(&format!("making the storage server {name}"), || {
            let directory = server.layout.directory();
            cache::remove(&directory)?;
            fs::create_dir_all(server.layout.data())
                .with_context(|| format!("creating {}", directory.display()))?;
            let file = volume_file::of_server(&server.layout, options);
            fs::write(server.volume_file(), file).context("writing the server's volume file")?;
            client::write(&server.layout, options)?;
            server::save(&server.layout, &server.record)
        })?;
        Ok(server)
    }

    /// Its name on the bed.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// How it was made.
    pub fn options(&self) -> &StorageOptions {
        &self.record.options
    }

    /// The address that it listens on, reachable from nodes, pods and the control plane.
    pub fn address(&self) -> String {
        self.layout.address()
    }

    /// The file with everything the server logs: connections, and whose locks were freed when.
    pub fn log(&self) -> PathBuf {
        self.layout.bed().log(&self.layout.part())
    }

    /// The file with everything that a node's client logs.
    pub fn client_log(&self, node: u8) -> PathBuf {
        client::log(&self.layout.bed().node(node), &self.layout)
    }

    /// Where every node has the volume mounted.
    pub fn mount_point(&self) -> PathBuf {
        mount_point(self.name())
    }

    /// An empty directory of the volume which every user may write to, for a hostPath: the path is
    /// that on the nodes. What there was goes first. Its parent alone would not do for pods: on a
    /// node that has not mounted the volume yet it is a directory of the node's own.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        server::check_name(name)?;
        let path = self.mount_point().join(name);
        let node = self.running_nodes()?.into_iter().next();
        let node = node.context("every node is off: none can make a directory")?;
        let make = r#"rm -rf "$1" && mkdir "$1" && chmod 777 "$1""#;
        shell::run(node.command("sh")?.args(["-c", make, "sh"]).arg(&path))?;
        Ok(path)
    }

    /// What the server is doing.
    pub fn state(&self) -> Result<State> {
        daemon::running(self.layout.bed(), &self.layout.part())?
            .map_or(Ok(State::Gone), |process| process.state())
    }

    /// Whether the server is cut off from a node.
    pub fn is_cut(&self) -> Result<bool> {
        fault::is_server_cut(&self.layout)
    }

    /// Starts the server with the data it had and waits until it listens; it may run already, or be
    /// frozen. Clients that it had come back by themselves, within three seconds, without their
    /// locks.
    pub fn start(&self) -> Result<()> {
        if self.record.options.witness {
            witness::start(&self.layout)?;
        }
        match self.state()? {
            State::Running => {}
            State::Frozen => self.thaw()?,
            State::Gone => self.launch()?,
        }
        let log = self.log();
        let address = SocketAddr::new(self.address().parse()?, PORT);
        wait::until(&format!("{} to listen", self.name()), Duration::from_secs(30), || {
            if self.state()? == State::Gone {
                bail!("it ended")
            }
            network::inside(&self.layout.network(), || {
                Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok())
            })
        })
        .map(drop)
        .with_context(|| format!("see {}{}", log.display(), shell::log_tail(&log)))
    }

    fn launch(&self) -> Result<()> {
        let group = self.group();
        cgroup::create(&group)?;
        kill_all_in(&group)?;
        self.mount_disk()?;
        let brick = brick(&self.layout);
        fs::create_dir_all(&brick).with_context(|| format!("creating {}", brick.display()))?;
        let mut command = network::command(&self.layout.network(), "glusterfsd");
        command
            .arg("--no-daemon")
            .arg(format!("--volfile={}", self.volume_file().display()))
            .arg(format!("--log-file={}", self.log().display()));
        daemon::start(self.layout.bed(), &self.layout.part(), &group, &command).map(drop)
    }

    /// Of limited size, the disk is in memory. It outlives the server, as a disk does.
    fn mount_disk(&self) -> Result<()> {
        let disk = self.layout.data();
        match self.record.options.size {
            Some(size) if !cleanup::is_mounted(&disk)? => {
                let options = format!("size={size}m,mode=755");
                let mut mount = Command::new("mount");
                mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk);
                shell::run(&mut mount)
            }
            _ => Ok(()),
        }
    }

    /// Ends the server at once, as a crash would; it need not run. The kernel closes its connections:
    /// clients know at once.
    pub fn stop(&self) -> Result<()> {
        kill_all_in(&self.group())?;
        cache::remove(&self.layout.bed().process_record(&self.layout.part()))
    }

    /// Ends the server at once, starts it again and waits until it listens.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Stops the server in its tracks; connections stay open.
    pub fn freeze(&self) -> Result<()> {
        server::signal(&self.layout, &self.group(), Signal::SIGSTOP)
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) -> Result<()> {
        server::signal(&self.layout, &self.group(), Signal::SIGCONT)
    }

    /// Cuts the server off from these nodes, and from nobody else: its packets are dropped, so that
    /// connections fall silent. It lasts until [`Storage::heal`].
    pub fn cut_from(&self, nodes: &[u8]) -> Result<()> {
        let nodes: Vec<NodeLayout> =
            nodes.iter().map(|number| self.layout.bed().node(*number)).collect();
        fault::cut_server(&self.layout, &nodes)
    }

    /// Cuts the server off from all nodes.
    pub fn cut(&self) -> Result<()> {
        self.cut_from(&(1..=self.nodes).collect::<Vec<u8>>())
    }

    /// Undoes every cut.
    pub fn heal(&self) -> Result<()> {
        fault::heal_server(&self.layout)
    }

    /// Takes all room that is left on a server of limited size.
    pub fn fill(&self) -> Result<()> {
        ensure!(self.record.options.size.is_some(), "only a server of limited size can be filled");
        let path = self.ballast();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.with_context(|| format!("opening {}", path.display()))?;
        match io::copy(&mut io::repeat(0), &mut file) {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
            other => other.map(drop).with_context(|| format!("writing {}", path.display())),
        }
    }

    /// Gives back what [`Storage::fill`] took.
    pub fn drain(&self) -> Result<()> {
        cache::remove(&self.ballast())
    }

    /// What the witness has seen so far, in the order in which the server answered.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        ensure!(
            self.record.options.witness,
            "the server {} was made without a witness",
            self.name()
        );
        witness::read(&self.layout)
    }

    /// Unmounts it everywhere, ends the server and removes all of it.
    pub fn remove(self) -> Result<()> {
        let _lock = server::lock(self.layout.bed(), Role::Storage)?;
        for node in self.running_nodes()? {
            client::unmount(&node, &self.layout, &self.record)?;
        }
        kill_all_in(&self.layout.cgroup())?;
        for process in [self.layout.part(), witness::process(&self.layout)] {
            cache::remove(&self.layout.bed().process_record(&process))?;
        }
        cgroup::remove(&self.layout.cgroup())?;
        network::remove(&self.layout.network())?;
        cleanup::unmount_below(&self.layout.directory())?;
        cache::remove(&self.layout.directory())
    }

    fn running_nodes(&self) -> Result<Vec<Node>> {
        let bed = self.layout.bed();
        let mut running = Vec::new();
        for node in (1..=self.nodes).map(|number| Node::new(bed, number, self.nodes)) {
            if node.is_on()? {
                running.push(node);
            }
        }
        Ok(running)
    }

    /// The server's own control group: the witness, in another one, is neither frozen nor ended.
    fn group(&self) -> String {
        format!("{}/server", self.layout.cgroup())
    }

    fn volume_file(&self) -> PathBuf {
        self.layout.directory().join("server.vol")
    }

    fn ballast(&self) -> PathBuf {
        self.layout.data().join("ballast")
    }
}

/// Removes all servers of a bed of so many nodes.
pub(crate) fn remove_all(bed: &Layout, nodes: u8) -> Result<()> {
    Storage::all(bed, nodes)?.into_iter().try_for_each(Storage::remove)
}

/// Mounts all servers' volumes from within a node that has just been given its power.
pub(crate) fn mount_at_boot(node: &NodeLayout) -> Result<()> {
    let servers = server::known(node.bed(), Role::Storage)?;
    servers.iter().try_for_each(|(server, record)| client::mount_at_boot(node, server, record))
}

fn mount_point(name: &str) -> PathBuf {
    Path::new(STORAGE_MOUNTS).join(name)
}

/// What the server offers, beside the ballast of a full disk.
fn brick(server: &ServerLayout) -> PathBuf {
    server.data().join("brick")
}
