//! A group of agents on one store, each in a process number namespace of its own where the machine
//! permits it.

use std::cell::RefCell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tandem::broker::report::{AgentState, Report};
use tempfile::TempDir;

use crate::api::FakeApi;
use crate::network::Mounted;
use crate::server::{ADMIN, PASSWORD, Server, free_port};
use crate::{broker, lease_broker};

pub const KEEP_ALIVE: u64 = 300;
const FENCE_AFTER: u64 = 2000;
/// Of brokers on a database.
const LEASE: u64 = 3000;
const SOON: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Kill,
    Freeze,
    FreezeProbe,
    ThawProbe,
    FreezeBeats,
    ThawBeats,
    KillBeats,
    KillAgent,
    FreezeAgent,
    ThawAgent,
    TouchLock,
    ReplaceLock,
    DeleteLock,
}

pub struct Group {
    name: String,
    /// Before the directory, which they are in.
    _mounted: Vec<Mounted>,
    directory: TempDir,
    kubeconfig: PathBuf,
    /// Port of the database server, if the lock is there.
    database: Option<u16>,
    /// Whether agents cannot ask it.
    unseen: bool,
    /// How the store is tried, and where each pod has it, if it is tried at all.
    tried: Option<(&'static str, Vec<PathBuf>)>,
    /// The uid of its `BrokerCluster`.
    uid: &'static str,
    /// Whether each pod has a store of its own under the volume's name.
    apart: bool,
}

pub struct Pod {
    name: String,
    process: RefCell<Child>,
    port: u16,
    lock: PathBuf,
    marker: String,
}

impl Group {
    pub fn new(name: &str, api: &FakeApi) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("store")).unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        fs::write(&kubeconfig, api.kubeconfig()).unwrap();
        let name = name.to_owned();
        Self {
            name,
            _mounted: Vec::new(),
            directory,
            kubeconfig,
            database: None,
            unseen: false,
            tried: None,
            uid: "uid-of-the-cluster",
            apart: false,
        }
    }

    /// A group whose store is not of this kernel alone.
    pub fn on_network(name: &str, api: &FakeApi) -> Self {
        let group = Self::new(name, api);
        let root = group.directory.path();
        fs::create_dir(root.join("behind")).unwrap();
        let mounted = Mounted::new(&root.join("behind"), &root.join("store"));
        Self { _mounted: vec![mounted], ..group }
    }

    /// A group whose pods do not share a store.
    pub fn on_two_stores(name: &str, api: &FakeApi) -> Self {
        let group = Self { apart: true, ..Self::new(name, api) };
        for ordinal in 0..2 {
            fs::create_dir(group.store(ordinal)).unwrap();
        }
        group
    }

    /// A group whose pods share a store, and locks on it hold on one node only.
    pub fn on_local_locks(name: &str, api: &FakeApi) -> Self {
        let group = Self::on_two_stores(name, api);
        let behind = group.directory.path().join("behind");
        fs::create_dir(&behind).unwrap();
        let mounted = [0, 1].map(|node| Mounted::new(&behind, &group.store(node)));
        Self { _mounted: mounted.into(), ..group }
    }

    /// A group whose lock is in this database.
    pub fn on_database(name: &str, api: &FakeApi, database: &Server) -> Self {
        let group = Self { database: Some(database.port), ..Self::new(name, api) };
        fs::write(group.directory.path().join("username"), ADMIN).unwrap();
        group.set_password(PASSWORD);
        fs::write(group.directory.path().join("driver.jar"), driver()).unwrap();
        group
    }

    /// A group whose lock is in this database, but its agents do not speak its language.
    pub fn on_foreign_database(name: &str, api: &FakeApi, database: &Server) -> Self {
        Self { unseen: true, ..Self::on_database(name, api, database) }
    }

    /// A group whose pods try their stores, `Required` or `Warn`. Where each has it, is said by a
    /// function of the group's directory.
    pub fn tried(
        name: &str,
        api: &FakeApi,
        preflight: &'static str,
        stores: impl FnOnce(&Path) -> Vec<PathBuf>,
    ) -> Self {
        let group = Self::new(name, api);
        let stores = stores(group.directory.path());
        Self { tried: Some((preflight, stores)), ..group }
    }

    /// The same group of another `BrokerCluster`.
    pub fn of(self, uid: &'static str) -> Self {
        Self { uid, ..self }
    }

    /// The directory with everything of the group.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    fn store(&self, ordinal: u16) -> PathBuf {
        match &self.tried {
            Some((_, stores)) => stores[usize::from(ordinal)].clone(),
            None if self.apart => self.directory.path().join(format!("store-{ordinal}")),
            None => self.directory.path().join("store"),
        }
    }

    pub fn set_password(&self, password: &str) {
        fs::write(self.directory.path().join("password"), password).unwrap();
    }

    pub fn master_and_standby(&self) -> (Pod, Pod) {
        let first = self.pod(0);
        first.wait_for(AgentState::Master);
        let second = self.pod(1);
        second.wait_until("its wait", Report::waits);
        first.wait_until("its promotion", |report| {
            report.promotion.as_ref().is_some_and(|promotion| promotion.recorded.is_some())
        });
        (first, second)
    }

    /// The epoch floor beside the store.
    pub fn floor(&self) -> u64 {
        let text = fs::read_to_string(self.directory.path().join("store/epoch"));
        text.unwrap_or_default().trim().parse().unwrap_or_default()
    }

    pub fn pod(&self, ordinal: u16) -> Pod {
        self.pod_with(ordinal, &[], Stdio::inherit())
    }

    /// A pod whose broker logs without end, and whose output nobody reads.
    pub fn noisy_pod(&self, ordinal: u16) -> Pod {
        self.pod_with(ordinal, &[(broker::NOISE, "1")], Stdio::piped())
    }

    /// A pod whose broker tries the lock, and never takes it.
    pub fn shy_pod(&self, ordinal: u16) -> Pod {
        self.pod_with(ordinal, &[(broker::SHY, "1")], Stdio::inherit())
    }

    /// A pod whose broker says that it has the lock, and then does nothing.
    pub fn deadlocked_pod(&self, ordinal: u16) -> Pod {
        self.pod_with(ordinal, &[(broker::DEADLOCKED, "1")], Stdio::inherit())
    }

    /// A pod whose broker serves without its lock.
    pub fn lockless_pod(&self, ordinal: u16) -> Pod {
        self.pod_with(ordinal, &[(broker::LOCKLESS, "1")], Stdio::inherit())
    }

    /// A pod whose environment has variables that a broker must not be given.
    pub fn pod_with_options(&self, ordinal: u16) -> Pod {
        let options =
            [("JAVA_TOOL_OPTIONS", "-Dx=1"), ("LOG4J_CONFIGURATION_FILE", "/x"), ("TZ", "UTC")];
        self.pod_with(ordinal, &options, Stdio::inherit())
    }

    fn pod_with(&self, ordinal: u16, environment: &[(&str, &str)], output: Stdio) -> Pod {
        let root = self.directory.path();
        let name = format!("{}-{ordinal}", self.name);
        let config = root.join(&name);
        let secret = admin_secret(&config);
        let store = self.store(ordinal);
        let lock = store.join("lock");
        let volume = self.tried.as_ref().map(|(preflight, _)| {
            json!({
                "members": store.join("members"), "store": store.join("kahadb"), "preflight": preflight, "locks": true,
                "keepAliveMillis": KEEP_ALIVE,
            })
        });
        let (port, greeting) = (free_port(), free_port());
        let marker = format!("{}/{name}", root.file_name().unwrap().display());
        let settings = json!({
            "schema": 1,
            "cluster": self.name, "clusterUid": self.uid,
            "child": {
                "program": std::env::current_exe().unwrap(),
                "arguments": ["--exact", "--ignored", "--nocapture", "fake_broker", marker],
                "signs": config.join("signs"),
            },
            "lock": self.lock_settings(&config, &store),
            "volume": volume,
            "greeting": {"openWire": {"port": greeting}},
            "ports": [{"name": "openwire", "port": 61616}],
            // With a lease, longer than that.
            "hangTimeoutMillis": if self.database.is_some() { 10 * LEASE } else { 5 * KEEP_ALIVE },
            "stopGraceMillis": 5000,
            "epochFloor": self.database.is_none().then(|| store.join("epoch")),
            "storeNote": config.join("store-note"),
            "credentials": {"admin": secret, "users": null, "output": config},
        });
        fs::write(config.join("agent.json"), settings.to_string()).unwrap();
        let process = agent_command()
            .args(["--port", &port.to_string(), "--config"])
            .arg(&config)
            .envs([
                ("POD_NAME", name.as_str()),
                ("POD_NAMESPACE", "shop"),
                ("POD_UID", &format!("uid-of-{name}")),
                ("POD_IPS", &format!("10.0.0.{}", ordinal + 1)),
                ("NODE_NAME", &format!("node-{ordinal}")),
                (broker::PORT, &greeting.to_string()),
                (broker::KEEP_ALIVE, &KEEP_ALIVE.to_string()),
            ])
            .envs([(broker::LOCK, &lock), (broker::STORE, &store.join("kahadb"))])
            .env(broker::SIGNS, config.join("signs"))
            .envs(self.database.map(|port| (lease_broker::DATABASE, port.to_string())))
            .env(lease_broker::PROPERTIES, config.join("database.properties"))
            .env(lease_broker::LEASE, LEASE.to_string())
            .env("KUBECONFIG", &self.kubeconfig)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(environment.iter().copied())
            .stdout(output)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Pod { name, process: RefCell::new(process), port, lock, marker }
    }
}

/// The administrator's Secret as it is mounted.
fn admin_secret(config: &Path) -> PathBuf {
    let secret = config.join("admin");
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("username"), "admin").unwrap();
    fs::write(secret.join("password"), "secret").unwrap();
    secret
}

impl Group {
    fn lock_settings(&self, config: &Path, store: &Path) -> serde_json::Value {
        let root = self.directory.path();
        let Some(port) = self.database else {
            let lock = store.join("lock");
            return json!({"file": {
                "path": lock, "pollMillis": KEEP_ALIVE / 2, "keepAliveMillis": KEEP_ALIVE,
                "fenceAfterMillis": FENCE_AFTER,
            }});
        };
        let access = json!({
            "username": root.join("username"),
            "password": root.join("password"),
            "properties": config.join("database.properties"),
            "driverClass": "org.postgresql.Driver",
            "driverDirectories": [root],
            "keystore": null,
        });
        if self.unseen {
            return json!({"unseen": {"leaseMillis": LEASE, "access": access}});
        }
        json!({"lease": {
            "server": {
                "kind": "PostgreSQL", "host": "127.0.0.1", "port": port, "name": "postgres",
                "tls": "off",
            },
            "access": access,
            "tablePrefix": "",
            "holdsMessages": true,
            "pollMillis": KEEP_ALIVE,
            "renewMillis": KEEP_ALIVE,
            "leaseMillis": LEASE,
        }})
    }
}

/// A jar with an entry of the driver's name.
fn driver() -> Vec<u8> {
    let name = b"org/postgresql/Driver.class";
    let mut jar = b"PK\x01\x02".to_vec();
    jar.resize(46, 0);
    jar[28] = u8::try_from(name.len()).unwrap();
    jar.extend(name);
    jar.extend(b"PK\x05\x06");
    jar.extend([0; 18]);
    jar
}

/// The agent insists on being process 1 of a namespace; only root may make one.
fn agent_command() -> Command {
    let binary = env!("CARGO_BIN_EXE_tandem");
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if root {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", binary, "agent"]);
        command
    } else {
        let mut command = Command::new(binary);
        command.args(["agent", "--allow-any-pid"]);
        command
    }
}

impl Pod {
    pub fn report(&self) -> Report {
        let body = self.get("/v1/report").expect("the agent answers").1;
        serde_json::from_str(&body).unwrap()
    }

    /// Other agents find it by this API server.
    pub fn join(self, api: &FakeApi) -> Self {
        api.add_pod(&self.name, self.port);
        self
    }

    pub fn ready(&self) -> bool {
        self.get("/readyz").unwrap().0 == 200
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether `/livez` is answered well; it may not be answered at all.
    pub fn is_live(&self) -> bool {
        self.get("/livez").is_some_and(|(status, _)| status == 200)
    }

    /// From now on the agent may have so many files and sockets open.
    pub fn limit_descriptors(&self, most: u32) {
        let agent = self.agent().to_string();
        let limit = format!("--nofile={most}:{most}");
        let set = Command::new("prlimit").args(["--pid", &agent, &limit]).status().unwrap();
        assert!(set.success(), "{set}");
    }

    pub fn lives(&self) -> bool {
        self.get("/livez").unwrap().0 == 200
    }

    /// What `/readyz` says.
    pub fn why_not_ready(&self) -> String {
        let (status, body) = self.get("/readyz").unwrap();
        assert_eq!(status, 503, "{body}");
        body
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.get("/metrics").unwrap().1;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
    }

    pub fn wait_for(&self, state: AgentState) -> Report {
        self.wait_until(&format!("{state:?}"), |report| report.state == state)
    }

    pub fn wait_until(&self, what: &str, until: impl Fn(&Report) -> bool) -> Report {
        let end = Instant::now() + SOON;
        loop {
            let report =
                self.get("/v1/report").map(|(_, body)| serde_json::from_str(&body).unwrap());
            match report {
                Some(report) if until(&report) => return report,
                report if Instant::now() > end => panic!("{what} did not come: {report:#?}"),
                _ => sleep(Duration::from_millis(20)),
            }
        }
    }

    pub fn inflict(&self, fault: Fault) {
        match fault {
            Fault::Kill => kill(self.broker(), Signal::SIGKILL).unwrap(),
            Fault::Freeze => kill(self.broker(), Signal::SIGSTOP).unwrap(),
            Fault::FreezeProbe => kill(self.probe(), Signal::SIGSTOP).unwrap(),
            Fault::ThawProbe => kill(self.probe(), Signal::SIGCONT).unwrap(),
            Fault::FreezeBeats => kill(self.beater(), Signal::SIGSTOP).unwrap(),
            Fault::ThawBeats => kill(self.beater(), Signal::SIGCONT).unwrap(),
            Fault::KillBeats => kill(self.beater(), Signal::SIGKILL).unwrap(),
            Fault::KillAgent => {
                kill(self.agent(), Signal::SIGKILL).unwrap();
                self.process.borrow_mut().wait().unwrap();
                self.end_brokers();
            }
            Fault::FreezeAgent => kill(self.agent(), Signal::SIGSTOP).unwrap(),
            Fault::ThawAgent => kill(self.agent(), Signal::SIGCONT).unwrap(),
            Fault::TouchLock => fs::File::open(&self.lock)
                .unwrap()
                .set_modified(std::time::SystemTime::now())
                .unwrap(),
            Fault::DeleteLock => fs::remove_file(&self.lock).unwrap(),
            Fault::ReplaceLock => {
                let other = self.lock.with_extension("other");
                fs::copy(&self.lock, &other).unwrap();
                fs::rename(other, &self.lock).unwrap();
            }
        }
    }

    /// Ends the pod as the kubelet does; how long that took.
    pub fn end(&self) -> Duration {
        let start = Instant::now();
        kill(self.agent(), Signal::SIGTERM).unwrap();
        assert!(self.process.borrow_mut().wait().unwrap().success());
        start.elapsed()
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The names of the variables that its broker was given.
    pub fn variables(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/environ", self.broker())).unwrap();
        let names = text.split('\0').filter_map(|line| line.split_once('='));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    fn broker(&self) -> Pid {
        let found = self.brokers();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]
    }

    /// What the end of an agent that is process 1 does to its broker.
    fn end_brokers(&self) {
        for broker in self.brokers() {
            let sent = kill(broker, Signal::SIGKILL);
            assert!(matches!(sent, Ok(()) | Err(nix::errno::Errno::ESRCH)), "{sent:?}");
        }
    }

    /// The helper process that looks at the lock.
    fn probe(&self) -> Pid {
        self.helper(|arguments| !arguments.iter().any(|word| word == "--members"))
    }

    /// The helper process that beats.
    fn beater(&self) -> Pid {
        self.helper(|arguments| arguments.iter().any(|word| word == "--members"))
    }

    fn helper(&self, which: impl Fn(&[String]) -> bool) -> Pid {
        let agent = self.agent();
        let found = processes(|arguments| {
            arguments.get(1).is_some_and(|word| word == "probe") && which(arguments)
        });
        found.into_iter().find(|&pid| parent(pid) == Some(agent)).expect("the helper runs")
    }

    fn brokers(&self) -> Vec<Pid> {
        let marked = format!("-Dmarker={}", self.marker);
        processes(|arguments| arguments.last() == Some(&self.marker) || arguments.contains(&marked))
    }

    fn agent(&self) -> Pid {
        let process = Pid::from_raw(i32::try_from(self.process.borrow().id()).unwrap());
        let wanted = env!("CARGO_BIN_EXE_tandem");
        let found = processes(|arguments| arguments.first().is_some_and(|name| name == wanted));
        let of_this = |&pid: &Pid| pid == process || parent(pid) == Some(process);
        found.into_iter().find(of_this).expect("the agent runs")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let mut process = self.process.borrow_mut();
        if matches!(process.try_wait(), Ok(None)) {
            // `unshare --kill-child` takes the whole namespace along.
            drop(process.kill());
            drop(process.wait());
        }
        self.end_brokers();
    }
}

fn processes(wanted: impl Fn(&[String]) -> bool) -> Vec<Pid> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<_> = line.split_terminator('\0').map(str::to_owned).collect();
        wanted(&arguments)
    })
    .map(Pid::from_raw)
    .collect()
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}
