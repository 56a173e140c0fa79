//! A bed as a whole: up, down, and access to its parts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::cache::Cache;
use crate::control_plane::{self, COMPONENTS, Component, ComponentControl};
use crate::database::{Database, DatabaseKind};
use crate::images::{self, Image};
use crate::layout::Layout;
use crate::node::Node;
use crate::pod_process::{self, PodProcess};
use crate::record::Record;
use crate::storage::{Storage, StorageOptions};
use crate::{
    cgroup, cleanup, components, credentials, database, dns, machine, network, packages, progress,
    shell, storage, wait,
};

/// The bed's name unless another is given.
pub const DEFAULT_NAME: &str = "tandem";

/// How to bring a bed up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bed's name: beds of different names stand side by side.
    pub name: String,
    /// How many nodes, 1 to 9, fixed when the bed is made. Without it, those the bed has; 2 for a
    /// new one.
    pub nodes: Option<u8>,
    /// The operator's static binary, for its image.
    pub tandem: Option<PathBuf>,
    /// The `testbed` program, which every node runs as its first process. Without it, it is this
    /// program if it is called `testbed`, else the one beside it or in the directory above (where
    /// Cargo puts it, seen from a test).
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { name: DEFAULT_NAME.to_owned(), nodes: None, tandem: None, program: None }
    }
}

/// A bed that is up.
#[derive(Clone, Debug)]
pub struct Bed {
    layout: Layout,
    record: Record,
}

impl Bed {
    /// Brings the bed into its normal state, whatever state it is in: makes or repairs what is
    /// missing, powers on, thaws and heals. Database and storage servers are removed: they are made
    /// on demand.
    pub fn up(options: &Options) -> Result<Bed> {
        machine::check()?;
        let layout = Layout::new(&options.name)?;
        let cache = Cache::open()?;
        let program = machine::program(options.program.as_deref())?;
        packages::ensure(&cache, &packages::NEEDED)?;
        let built = components::ensure(&cache, &machine::project())?;
        let images = make_images(&cache, options.tandem.as_deref())?;

        let _lock = machine::lock()?;
        let bed = Bed { record: Record::ensure(&layout, options.nodes)?, layout };
        progress::step(&format!("bed {}: control plane", bed.name()), || {
            bed.install(&built, &program)?;
            database::remove_all(&bed.layout)?;
            storage::remove_all(&bed.layout, bed.record.nodes)?;
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
        machine::check()?;
        let layout = Layout::new(name)?;
        let record = Record::read(&layout)?.ok_or_else(|| {
            anyhow!("there is no bed {name}: bring it up with `testbed --name {name} up`")
        })?;
        Ok(Bed { layout, record })
    }

    /// Takes the bed of that name down and leaves nothing of it; there need not be one.
    pub fn remove(name: &str) -> Result<()> {
        machine::check()?;
        let layout = Layout::new(name)?;
        let _lock = machine::lock()?;
        progress::step(&format!("bed {name}: down"), || cleanup::remove(&layout))?;
        cleanup::remove_empty_state();
        Ok(())
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
        control_plane::without_proxy(&mut helm);
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

    /// The database server of that name, made, started and healed as far as need be.
    pub fn database(&self, kind: DatabaseKind, name: &str) -> Result<Database> {
        Database::ensure(&self.layout, self.record.nodes, kind, name)
    }

    /// The database server of that name, as it is.
    pub fn known_database(&self, name: &str) -> Result<Database> {
        let mut servers = self.databases()?.into_iter();
        servers.find(|server| server.name() == name).ok_or_else(|| {
            anyhow!("there is no database server {name}: make it with `testbed database up`")
        })
    }

    /// All database servers.
    pub fn databases(&self) -> Result<Vec<Database>> {
        Database::all(&self.layout, self.record.nodes)
    }

    /// The storage server of that name, made, started, healed and mounted on the nodes that are on,
    /// as far as need be.
    pub fn storage(&self, name: &str, options: &StorageOptions) -> Result<Storage> {
        Storage::ensure(&self.layout, self.record.nodes, name, options)
    }

    /// The storage server of that name, as it is.
    pub fn known_storage(&self, name: &str) -> Result<Storage> {
        let mut servers = self.storages()?.into_iter();
        servers.find(|server| server.name() == name).ok_or_else(|| {
            anyhow!("there is no storage server {name}: make it with `testbed storage up`")
        })
    }

    /// All storage servers.
    pub fn storages(&self) -> Result<Vec<Storage>> {
        Storage::all(&self.layout, self.record.nodes)
    }

    /// The processes of the pod with this uid, on whatever node it is.
    pub fn processes_of_pod(&self, uid: &str) -> Result<Vec<PodProcess>> {
        pod_process::find(self.name(), uid)
    }

    /// Imports the images of an archive (docker or OCI) on every node that is on.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        self.on_running_nodes(|node| node.import_archive(archive))
    }

    /// Gives an image a second name on every node that is on.
    pub fn tag_image(&self, image: &str, name: &str) -> Result<()> {
        self.on_running_nodes(|node| node.tag_image(image, name))
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
        components::copy(program, &self.layout.program())?;
        fs::create_dir_all(self.layout.volumes())?;
        credentials::ensure(&self.layout, self.record.nodes)?;
        dns::prepare(&self.layout)?;
        network::ensure_control_plane(&self.layout)?;
        cgroup::create(&self.layout.cgroup())
    }

    fn start_control_plane(&self) -> Result<()> {
        let (first, rest) = ([Component::Etcd, Component::Apiserver], &COMPONENTS[2..]);
        for component in first {
            self.component(component).start()?;
        }
        self.apply_dns()?;
        for component in rest {
            self.component(*component).launch()?;
        }
        rest.iter().try_for_each(|component| self.component(*component).await_service())
    }

    fn apply_dns(&self) -> Result<()> {
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
        // All networks come before the first node: a node that is plugged in tells the others.
        for node in self.nodes() {
            network::ensure_node(node.layout(), self.record.nodes)?;
        }
        each(self.nodes(), |node| {
            node.power_on()?;
            node.heal()?;
            node.import(images)
        })
    }

    fn on_running_nodes(&self, work: impl Fn(&Node) -> Result<()> + Sync) -> Result<()> {
        each(self.nodes(), |node| if node.is_on()? { work(node) } else { Ok(()) })
    }

    /// The names of the nodes that the API server knows as Ready; a node that has just lost its
    /// power still counts for a while.
    pub fn ready_nodes(&self) -> Result<Vec<String>> {
        let states = self.kubectl(&[
            "--request-timeout=5s",
            "get",
            "nodes",
            "-o",
            r#"jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#,
        ])?;
        Ok(states
            .lines()
            .filter_map(|line| line.strip_suffix(" True"))
            .map(str::to_owned)
            .collect())
    }

    /// Waits for what a first pod needs: nodes that are Ready, kubelets that answer, and the default
    /// service account.
    fn await_ready(&self) -> Result<()> {
        let names: Vec<String> = self.nodes().iter().map(Node::name).collect();
        let logs = self.layout.root().join("logs");
        wait::until("the nodes to be Ready", Duration::from_secs(90), || {
            let ready = self.ready_nodes()?;
            Ok(names.iter().all(|name| ready.contains(name)).then_some(()))
        })
        .with_context(|| format!("see the logs in {}", logs.display()))?;
        for name in names {
            let path = format!("/api/v1/nodes/{name}/proxy/healthz");
            self.await_answer(&format!("{name}'s kubelet"), &["get", "--raw", &path])?;
        }
        self.await_answer("the default service account", &["get", "serviceaccount", "default"])
    }

    fn await_answer(&self, what: &str, question: &[&str]) -> Result<()> {
        wait::until(what, Duration::from_secs(30), || {
            let mut kubectl = self.kubectl_command();
            Ok(shell::succeeds(kubectl.args(question))?.then_some(()))
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

fn make_images(cache: &Cache, tandem: Option<&Path>) -> Result<Vec<Image>> {
    images::ensure(&images::Request {
        cache: cache.root().to_owned(),
        project: machine::project(),
        tandem: tandem.map(Path::to_owned),
    })
}
