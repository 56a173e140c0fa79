//! The real agent in a machine, as process 1 of a pod, with a program in its broker's place.

use std::path::Path;
use std::time::{Duration, Instant};

use nfslab::wire::{Call, Value};
use nfslab::{Actor, Machine, Program, SERVER};
use nix::sys::signal::Signal;
use serde_json::json;
use tandem::broker::report::{AgentState, LockView, REPORT_PATH, Report, StoreProblemKind};
use tandem::broker::settings::{AGENT_PORT, SETTINGS_FILE};
use testbed::network;

use crate::api::FakeApi;
use crate::world::{LATE, SOON};

/// Everything is slow in an emulated machine, the more so on a busy one.
const KEEP_ALIVE_MILLIS: u64 = 1000;
const HANG_MILLIS: u64 = 60_000;
const GREETING_PORT: u16 = 61_617;
const CONFIG: &str = "/etc/tandem";
const SIGNS: &str = "/tmp/signs";
const POLL: Duration = Duration::from_millis(200);

/// A group of agents, and the API server that all machines reach.
pub struct Group {
    pub api: FakeApi,
    pub fence_after: Duration,
    /// What the volume's preflight means.
    pub preflight: &'static str,
    /// Where the lock is, as the machines see it.
    pub store: String,
    /// Where the agents beat.
    pub members: String,
}

impl Group {
    /// One with its store at the volume's root.
    pub fn new(lab: &nfslab::Lab, fence_after: Duration) -> Self {
        let api = network::inside(&lab.namespace(), || Ok(FakeApi::start())).unwrap();
        let [store, members] = ["/mnt", "/mnt/members"].map(str::to_owned);
        hold_messages(&lab.server.export());
        Self { api, fence_after, preflight: "Required", store, members }
    }

    /// One with its store, and where its agents beat, in a directory of its own.
    pub fn in_directory(lab: &nfslab::Lab, fence_after: Duration, name: &str) -> Self {
        let store = format!("/mnt/{name}");
        let directory = lab.server.export().join(name);
        std::fs::create_dir(&directory).unwrap();
        hold_messages(&directory);
        Self { members: format!("{store}/members"), store, ..Self::new(lab, fence_after) }
    }

    pub fn api(&self) -> &FakeApi {
        &self.api
    }

    /// A pod called as its machine, whose volume is mounted at `/mnt`.
    pub fn pod<'a>(&self, machine: &'a Machine) -> Pod<'a> {
        let mut asker = machine.actor().unwrap();
        let kubeconfig = self.api.kubeconfig().replace("127.0.0.1", SERVER);
        for (path, text) in [
            ("admin/username", "admin"),
            ("admin/password", "secret"),
            ("kubeconfig", &kubeconfig),
            (SETTINGS_FILE, &self.settings(machine.name())),
        ] {
            asker.done(&Call::Put(format!("{CONFIG}/{path}"), text.to_owned())).unwrap();
        }
        let argv = ["unshare", "--pid", "--fork", "--mount-proc", "tandem", "agent"];
        let environment = [
            ("POD_NAME", machine.name()),
            ("POD_NAMESPACE", "shop"),
            ("POD_UID", machine.name()),
            ("POD_IPS", "10.0.2.15"),
            ("NODE_NAME", machine.name()),
            ("KUBECONFIG", &format!("{CONFIG}/kubeconfig")),
        ];
        let argv = [&["busybox"], &argv[..]].concat();
        let agent = machine.start_program_with(&argv, &environment).unwrap();
        Pod { machine, agent, asker }
    }

    fn settings(&self, pod: &str) -> String {
        let lock = format!("{}/lock", self.store);
        let journal = format!("{}/journal-{pod}", self.store);
        json!({
            "schema": 1,
            "cluster": "orders",
            "child": {
                "program": "/bin/nfslab-guest",
                "arguments": [
                    "broker", lock, GREETING_PORT.to_string(), KEEP_ALIVE_MILLIS.to_string(),
                    journal, SIGNS,
                ],
                "signs": SIGNS,
            },
            "lock": {"file": {
                "path": lock,
                "pollMillis": KEEP_ALIVE_MILLIS / 2,
                "keepAliveMillis": KEEP_ALIVE_MILLIS,
                "fenceAfterMillis": u64::try_from(self.fence_after.as_millis()).unwrap(),
            }},
            "greeting": {"openWire": {"port": GREETING_PORT}},
            "ports": [{"name": "openwire", "port": 61616}],
            "hangTimeoutMillis": HANG_MILLIS,
            "stopGraceMillis": 5000,
            "epochFloor": format!("{}/epoch", self.store),
            "volume": {
                "members": self.members, "store": format!("{}/kahadb", self.store),
                "preflight": self.preflight,
                "locks": true,
                "keepAliveMillis": KEEP_ALIVE_MILLIS,
            },
            "credentials": {
                "admin": format!("{CONFIG}/admin"), "users": null, "output": "/tmp",
            },
        })
        .to_string()
    }
}

/// The program in the broker's place keeps its journal elsewhere. A group that has served is refused a store on
/// which nobody has.
fn hold_messages(store: &Path) {
    std::fs::create_dir_all(store.join("kahadb")).unwrap();
    std::fs::write(store.join("kahadb/db.data"), "").unwrap();
}

/// Why no broker is started on the volume, or should not have been.
pub fn problem_of(report: &Report) -> Option<StoreProblemKind> {
    report.volume.as_ref()?.problem.as_ref().map(|problem| problem.kind)
}

/// A pod of the group.
pub struct Pod<'a> {
    machine: &'a Machine,
    /// Process 1 of the pod's namespace is its child.
    agent: Program,
    asker: Actor,
}

impl<'a> Pod<'a> {
    /// Where it runs.
    pub fn machine(&self) -> &'a Machine {
        self.machine
    }

    /// What the agent answers, also when the machine is cut off.
    pub fn report(&mut self) -> Report {
        self.wait_until("a report", LATE, |_| true)
    }

    fn asked(&mut self) -> Option<Report> {
        let call = Call::Get(AGENT_PORT, REPORT_PATH.to_owned());
        match self.asker.call(&call).unwrap().result.ok()? {
            Value::Answer { status: 200, body } => Some(serde_json::from_str(&body).unwrap()),
            other => panic!("a report is {other:?}"),
        }
    }

    pub fn wait_for(&mut self, state: AgentState, view: LockView) -> Report {
        self.wait_until(&format!("{state:?} and {view:?}"), LATE, |report| {
            (report.state, report.lock.view) == (state, view)
        })
    }

    /// Until the record names it by this epoch.
    pub fn wait_for_epoch(&mut self, epoch: u64) -> Report {
        self.wait_until("its promotion", LATE, |report| {
            report.promotion.as_ref().is_some_and(|promotion| promotion.epoch == Some(epoch))
        })
    }

    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        is: impl Fn(&Report) -> bool,
    ) -> Report {
        let end = Instant::now() + limit;
        loop {
            match self.asked() {
                Some(report) if is(&report) => return report,
                report if Instant::now() > end => {
                    let said = self.said();
                    panic!("{}: {what} did not come: {report:#?}\n{said}", self.machine.name());
                }
                _ => std::thread::sleep(POLL),
            }
        }
    }

    /// Waits until the agent or its broker prints a line with this.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        let mut said = String::new();
        while let Some(line) = self.agent.line(end - Instant::now()).unwrap() {
            if line.contains(part) {
                return line;
            }
            said += &(line + "\n");
        }
        panic!("{}: no line with {part:?}:\n{said}", self.machine.name());
    }

    /// A signal for the broker's process.
    pub fn signal_broker(&mut self, signal: Signal) {
        // Not the shell with this very line.
        let line = self.machine.shell("ps -o pid,args | grep '[n]fslab-guest broker'").unwrap();
        let pid = line.split_whitespace().next().unwrap().parse().unwrap();
        self.asker.done(&Call::Kill(pid, signal as i32)).unwrap();
    }

    /// Ends it at once, with its broker.
    pub fn end(mut self) {
        let line = self.machine.shell("ps -o pid,args | grep -E '^ *[0-9]+ tandem agent'").unwrap();
        let pid = line.split_whitespace().next().unwrap().parse().unwrap();
        self.asker.done(&Call::Kill(pid, Signal::SIGKILL as i32)).unwrap();
        assert!(self.agent.end(SOON).unwrap().is_some(), "{}: still there", self.machine.name());
    }

    /// What it printed since it was last asked.
    fn said(&mut self) -> String {
        let mut said = String::new();
        while let Some(line) = self.agent.line(Duration::ZERO).unwrap() {
            said += &(line + "\n");
        }
        let end = self.agent.end(Duration::ZERO).unwrap();
        said + &end.map(|end| format!("it ended: {end:?}")).unwrap_or_default()
    }
}
