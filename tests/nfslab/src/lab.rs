//! One server and its machines, in a network namespace and a directory of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::cache::{self, Cache};
use testbed::{Process, network, packages};

use crate::kernel::{self, Kernel};
use crate::machine::{Boot, Machine};
use crate::{image, server};

/// Where every lab has a directory. Unix sockets lie below it, whose paths must be short.
const STATE: &str = "/var/lib/tandem-nfslab";
/// What clients mount.
pub const EXPORT: &str = "/export";
/// The emulator, and the package with it.
const EMULATOR: &str = "qemu-system-x86_64";
const EMULATOR_PACKAGE: &str = "qemu-system-x86";
/// The lab's process that has to be alive, or the lab is a killed run's.
const OWNER: &str = "owner.json";

/// A machine that boots wants a processor of its own; a kernel that waits too long for its first
/// timer gives up.
const BOOT_AT_ONCE: usize = 2;

static LABS: AtomicU32 = AtomicU32::new(0);
static MAKING: Mutex<()> = Mutex::new(());
static BOOTING: Mutex<()> = Mutex::new(());

/// An NFS server, and what is needed for machines.
#[derive(Debug)]
pub struct Lab {
    /// The server.
    pub server: server::Server,
    boot: Boot,
    place: Place,
}

impl Lab {
    /// Starts a server. Machines will have these programs in `/bin`: `nfslab-guest`, which has to
    /// be the lab's own, and those under test.
    pub fn start(programs: &[(&str, &Path)]) -> Result<Self> {
        Self::start_with_lease(server::LEASE, programs)
    }

    /// As that, with another lease for locks than [`crate::LEASE`].
    pub fn start_with_lease(lease: Duration, programs: &[(&str, &Path)]) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "the NFS lab needs root");
        let cache = Cache::open()?;
        let kernel = prepare(&cache)?;
        let place = Place::make(&cache)?;
        let root = place.directory().join("root.cpio");
        image::write(&cache, &kernel, programs, &root)?;
        let server = server::Server::start(lease, &place.namespace(), &place.records())?;
        Ok(Self { server, boot: Boot { kernel: kernel.image, root }, place })
    }

    /// The network namespace whose loopback the machines reach at [`crate::SERVER`].
    pub fn namespace(&self) -> String {
        self.place.namespace()
    }

    /// Boots machines, side by side, each with its label as its host name.
    pub fn machines<const N: usize>(&self, labels: [&str; N]) -> Result<[Machine; N]> {
        self.machines_named(labels.map(|label| (label, label)))
    }

    /// Boots machines, side by side, by label and host name.
    pub fn machines_named<const N: usize>(&self, names: [(&str, &str); N]) -> Result<[Machine; N]> {
        let mut booted = Vec::with_capacity(N);
        for pair in names.chunks(BOOT_AT_ONCE) {
            let _turn = BOOTING.lock().unwrap_or_else(PoisonError::into_inner);
            let begun = booted.len();
            for (label, host_name) in pair {
                booted.push(self.boot(label, host_name)?);
            }
            booted.iter().skip(begun).try_for_each(Machine::await_ready)?;
        }
        booted.try_into().ok().context("as many machines as names")
    }

    fn boot(&self, label: &str, host_name: &str) -> Result<Machine> {
        let emulator = network::command(&self.place.namespace(), EMULATOR);
        Machine::start(label, host_name, &self.boot, &self.place.records(), emulator)
    }
}

/// Installs and fetches what is missing, the first time in this process.
fn prepare(cache: &Cache) -> Result<Kernel> {
    static PREPARED: Mutex<Option<Kernel>> = Mutex::new(None);
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernel) = &*prepared {
        return Ok(kernel.clone());
    }
    let needed =
        [&server::PACKAGES[..], &image::PACKAGES, &[EMULATOR_PACKAGE, "iproute2", "xz-utils"]]
            .concat();
    packages::ensure(cache, &needed)?;
    let kernel = kernel::ensure(cache)?;
    Ok(prepared.insert(kernel).clone())
}

/// A lab's directory and network namespace; both are removed with it.
#[derive(Debug)]
struct Place {
    name: String,
}

impl Place {
    /// Makes a new one, after removing those of killed runs.
    fn make(cache: &Cache) -> Result<Self> {
        // Nobody takes a lab that is being made for one that was left behind: neither another test
        // of this run nor another run.
        let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = cache.lock("nfslab")?;
        let labs = Path::new(STATE);
        fs::create_dir_all(labs).with_context(|| format!("creating {STATE}"))?;
        for entry in fs::read_dir(labs).with_context(|| format!("listing {STATE}"))? {
            let entry = entry?;
            if Process::load(&entry.path().join(OWNER))?.is_none() {
                remove(&entry.file_name().to_string_lossy())?;
            }
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let place = Self { name: format!("{}-{number}", std::process::id()) };
        let processes = place.directory().join("processes");
        fs::create_dir_all(&processes)
            .with_context(|| format!("creating {}", processes.display()))?;
        let this = i32::try_from(std::process::id()).context("a process id out of range")?;
        let this = Process::find(this)?.context("this process does not exist")?;
        this.save(&place.directory().join(OWNER))?;
        network::ensure_namespace(&place.namespace())?;
        Ok(place)
    }

    fn directory(&self) -> PathBuf {
        directory(&self.name)
    }

    fn namespace(&self) -> String {
        namespace(&self.name)
    }

    fn records(&self) -> Records {
        Records { lab: self.directory() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("a lab is left behind, the next one removes it: {error:#}");
        }
    }
}

fn directory(lab: &str) -> PathBuf {
    Path::new(STATE).join(lab)
}

fn namespace(lab: &str) -> String {
    format!("nfslab-{lab}")
}

/// Ends what is left of a lab, and removes it.
fn remove(lab: &str) -> Result<()> {
    for entry in fs::read_dir(directory(lab).join("processes")).into_iter().flatten() {
        if let Some(process) = Process::load(&entry?.path())? {
            process.kill()?;
        }
    }
    network::remove(&namespace(lab))?;
    cache::remove(&directory(lab))
}

/// Where a lab's processes are recorded, so that the next lab ends those of a killed run.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    lab: PathBuf,
}

impl Records {
    /// Starts a process with its output in a log of its own, and records it.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Child> {
        let path = self.file(&format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("opening {}", path.display()))?;
        command.stdin(Stdio::null()).stderr(log.try_clone().context("sharing a log")?).stdout(log);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let pid = i32::try_from(child.id()).context("a process id out of range")?;
        let process = Process::find(pid)?.with_context(|| format!("{name} ended at once"))?;
        process.save(&self.lab.join("processes").join(format!("{name}.json")))?;
        Ok(child)
    }

    /// A file of the lab.
    pub fn file(&self, name: &str) -> PathBuf {
        self.lab.join(name)
    }
}
