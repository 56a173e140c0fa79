//! A bed as a whole: up, down, and access to its parts.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::control_plane::{self, COMPONENTS, Component, ComponentControl};
use crate::images::{self, Image};
use crate::layout::{Layout, STATE};
use crate::node::Node;
use crate::pod_process::{self, PodProcess};
use crate::{
    cgroup, cleanup, components, credentials, dns, network, packages, progress, shell, wait,
};

/// The bed's name unless another is given.
pub const DEFAULT_NAME: &str = "tandem";

/// How to bring a bed up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bed's name: beds of different names stand side by side.
    pub name: String,
    /// How many nodes, 1 to 9. It is fixed when the bed is made.
    pub nodes: u8,
    /// The operator's static binary, for its image.
    pub tandem: Option<PathBuf>,
    /// The `testbed` program, which every node runs as its first process. Without it, it is this
    /// program if it is called `testbed`, else the one beside it or in the directory above (where
    /// Cargo puts it, seen from a test).
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { name: DEFAULT_NAME.to_owned(), nodes: 2, tandem: None, program: None }
    }
}

/// A bed that is up.
#[derive(Clone, Debug)]
pub struct Bed {
    layout: Layout,
    record: Record,
}

/// What a later run must know of a bed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    nodes: u8,
}

impl Bed {
    /// Brings the bed into its normal state, whatever state it is in: makes or repairs what is
    /// missing, powers on, thaws and heals.
    pub fn up(options: &Options) -> Result<Bed> {
        check_machine()?;
        let layout = Layout::new(&options.name)?;
        let cache = Cache::open()?;
        let program = program(options)?;
        packages::ensure(&cache, &packages::NEEDED)?;
        let built = components::ensure(&cache, &project())?;
        let images = make_images(&cache, options.tandem.as_deref())?;

        let _lock = lock()?;
        let bed = Bed { record: record(&layout, options.nodes)?, layout };
        progress::step(&format!("bed {}: control plane", bed.name()), || {
            bed.install(&built, &program)?;
            bed.start_control_plane()
        })?;
        progress::step(&format!("bed {}: {} node(s)", bed.name(), bed.record.nodes), || {
            bed.start_nodes(&images)?;
            bed.await_ready()
        })?;
        Ok(bed)
    }

    /// The bed of that name, which was brought up before.
    pub fn open(name: &str) -> Result<Bed> {
        check_machine()?;
        let layout = Layout::new(name)?;
        let record = read_record(&layout)?.ok_or_else(|| {
            anyhow!("there is no bed {name}: bring it up with `testbed --name {name} up`")
        })?;
        Ok(Bed { layout, record })
    }

    /// Takes the bed of that name down and leaves nothing of it; there need not be one.
    pub fn remove(name: &str) -> Result<()> {
        check_machine()?;
        let layout = Layout::new(name)?;
        let _lock = lock()?;
        progress::step(&format!("bed {name}: down"), || cleanup::remove(&layout))
    }

    /// Takes the bed down and leaves nothing of it.
    pub fn down(self) -> Result<()> {
        Bed::remove(self.name())
    }

    /// The bed's name.
    pub fn name(&self) -> &str {
        self.layout.name()
    }

    /// The names and paths of the bed's parts.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The administrator's client configuration; the server in it is reachable from the control
    /// plane's network namespace.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig(credentials::ADMIN)
    }

    /// Moves the calling thread, and the threads it starts from then on, into the control plane's
    /// network namespace: the API server, pods and services are reachable from there. To be called
    /// before other threads exist.
    pub fn enter_network(&self) -> Result<()> {
        network::enter(&self.layout.network())
    }

    /// Runs kubectl as the administrator and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        shell::output(self.kubectl_command().args(arguments))
    }

    /// Runs Helm as the administrator and returns what it printed.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        shell::output(self.helm_command().args(arguments))
    }

    /// A kubectl command to which arguments can be added.
    pub fn kubectl_command(&self) -> Command {
        control_plane::kubectl(&self.layout)
    }

    /// A Helm command to which arguments can be added.
    pub fn helm_command(&self) -> Command {
        let home = self.layout.root().join("helm");
        let mut helm = network::command(&self.layout.network(), self.layout.bin().join("helm"));
        helm.env("KUBECONFIG", self.kubeconfig());
        for kind in ["CACHE", "CONFIG", "DATA"] {
            helm.env(format!("HELM_{kind}_HOME"), home.join(kind.to_lowercase()));
        }
        helm
    }

    /// A component of the control plane.
    pub fn component(&self, component: Component) -> ComponentControl<'_> {
        ComponentControl::new(&self.layout, component)
    }

    /// The node of that number, counted from 1.
    pub fn node(&self, number: u8) -> Result<Node> {
        if number == 0 || number > self.record.nodes {
            bail!("bed {} has nodes 1 to {}, not {number}", self.name(), self.record.nodes);
        }
        Ok(Node::new(&self.layout, number, self.record.nodes))
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Node> {
        (1..=self.record.nodes)
            .map(|number| Node::new(&self.layout, number, self.record.nodes))
            .collect()
    }

    /// The processes of the pod with this uid, on whatever node it is.
    pub fn processes_of_pod(&self, uid: &str) -> Result<Vec<PodProcess>> {
        pod_process::find(self.name(), uid)
    }

    /// Imports the images of an archive (docker or OCI) on every node that is on.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        self.on_running_nodes(|node| node.import_archive(archive))
    }

    /// Makes what is missing of the images and imports them on every node that is on.
    pub fn refresh_images(&self, tandem: Option<&Path>) -> Result<Vec<Image>> {
        let images = make_images(&Cache::open()?, tandem)?;
        self.on_running_nodes(|node| node.import(&images))?;
        Ok(images)
    }

    /// A directory of the machine which every user may write to, for a volume that all nodes share
    /// (a hostPath). It is removed with the bed.
    pub fn volume(&self, name: &str) -> Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            bail!("a volume's name has letters, digits and dashes: {name:?}");
        }
        let path = self.layout.volumes().join(name);
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o777)))
            .with_context(|| format!("making the volume {}", path.display()))?;
        Ok(path)
    }

    fn install(&self, built: &Path, program: &Path) -> Result<()> {
        components::install(built, &self.layout.bin())?;
        components::place(program, &self.layout.program())?;
        fs::create_dir_all(self.layout.volumes())?;
        credentials::ensure(&self.layout, self.record.nodes)?;
        dns::prepare(&self.layout)?;
        network::ensure_control_plane(&self.layout)?;
        cgroup::create(&self.layout.cgroup())
    }

    fn start_control_plane(&self) -> Result<()> {
        for component in COMPONENTS {
            self.component(component).start()?;
        }
        let objects = self.layout.root().join("dns.json");
        fs::write(&objects, serde_json::to_vec_pretty(&dns::objects())?)?;
        // The API server makes its own namespaces a moment after it is ready.
        let mut error = None;
        wait::until("the API server to take objects", Duration::from_secs(30), || {
            let mut apply = self.kubectl_command();
            error = shell::run(apply.args(["apply", "-f"]).arg(&objects)).err();
            Ok(error.is_none().then_some(()))
        })
        .map_err(|late| error.unwrap_or(late))
    }

    fn start_nodes(&self, images: &[Image]) -> Result<()> {
        each(self.nodes(), |node| {
            node.power_on()?;
            node.heal()?;
            node.import(images)
        })
    }

    fn on_running_nodes(&self, work: impl Fn(&Node) -> Result<()> + Sync) -> Result<()> {
        each(self.nodes(), |node| if node.is_on()? { work(node) } else { Ok(()) })
    }

    /// Waits for what a first pod needs: nodes that are Ready, and the default service account.
    fn await_ready(&self) -> Result<()> {
        let names: Vec<String> = self.nodes().iter().map(Node::name).collect();
        let ready = r#"{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
        wait::until("the nodes to be Ready", Duration::from_secs(90), || {
            let output = format!("jsonpath={ready}");
            let states = self.kubectl(&["get", "nodes", "-o", &output])?;
            let is_ready =
                |name: &String| states.lines().any(|line| line == format!("{name} True"));
            Ok(names.iter().all(is_ready).then_some(()))
        })
        .with_context(|| {
            format!("see the logs in {}", self.layout.root().join("logs").display())
        })?;
        wait::until("the default service account", Duration::from_secs(30), || {
            let mut get = self.kubectl_command();
            let found = shell::succeeds(get.args(["get", "serviceaccount", "default"]))?;
            Ok(found.then_some(()))
        })
    }
}

/// Does the work for all nodes at once.
fn each(nodes: Vec<Node>, work: impl Fn(&Node) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = nodes.iter().map(|node| scope.spawn(move || work(node))).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("work on a node panicked"))??;
        }
        Ok(())
    })
}

fn check_machine() -> Result<()> {
    if !cfg!(target_os = "linux") || !nix::unistd::geteuid().is_root() {
        bail!("the test bed needs Linux and root, for namespaces and control groups");
    }
    Ok(())
}

/// The checkout this program was built from: the sources of components and images are there.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn make_images(cache: &Cache, tandem: Option<&Path>) -> Result<Vec<Image>> {
    images::ensure(&images::Request {
        cache: cache.root().to_owned(),
        project: project(),
        tandem: tandem.map(Path::to_owned),
    })
}

fn program(options: &Options) -> Result<PathBuf> {
    if let Some(program) = &options.program {
        return Ok(program.clone());
    }
    let this = std::env::current_exe().context("finding this program's own file")?;
    this.ancestors()
        .take(3)
        .map(|path| path.with_file_name("testbed"))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("there is no `testbed` near {}: run `cargo build -p tandem-testbed` with the same target directory", this.display()))
}

/// One change of beds at a time.
fn lock() -> Result<Flock<File>> {
    fs::create_dir_all(STATE).with_context(|| format!("creating {STATE}"))?;
    let directory = File::open(STATE).with_context(|| format!("opening {STATE}"))?;
    Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, error)| anyhow!(error).context(format!("locking {STATE}")))
}

fn record(layout: &Layout, nodes: u8) -> Result<Record> {
    if !(1..=9).contains(&nodes) {
        bail!("a bed has 1 to 9 nodes, not {nodes}");
    }
    let wanted = Record { nodes };
    match read_record(layout)? {
        Some(found) if found == wanted => {}
        Some(found) => bail!(
            "bed {} has {} nodes; take it down before bringing it up with {nodes}",
            layout.name(),
            found.nodes
        ),
        None => {
            // Whatever is there without a record is what a killed run left.
            cleanup::remove(layout)?;
            fs::create_dir_all(layout.root())
                .with_context(|| format!("creating {}", layout.root().display()))?;
            let fresh = layout.root().join("bed.json.new");
            fs::write(&fresh, serde_json::to_vec(&wanted)?)?;
            fs::rename(fresh, record_path(layout)).context("recording the bed")?;
        }
    }
    Ok(wanted)
}

fn record_path(layout: &Layout) -> PathBuf {
    layout.root().join("bed.json")
}

fn read_record(layout: &Layout) -> Result<Option<Record>> {
    let path = record_path(layout);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("reading {} (take the bed down)", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
