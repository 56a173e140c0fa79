//! What the tests have in common.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nfslab::wire::{Call, Value};
use nfslab::{Actor, Lab, Machine, Program};
use nix::errno::Errno;
use tandem::broker::report::LockView;
use tandem::lock::Observation;
use testbed::{progress, wait};

/// Within this, what is not bound to a lease happens, on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);
/// Within this a lease has run out, or a soft mount has given up, on a busy machine.
pub const LATE: Duration = Duration::from_secs(90);
/// A lock file as the tests' machines see it.
pub const LOCK: &str = "/mnt/lock";

/// A lab whose machines have the agent.
pub fn lab() -> Lab {
    lab_with_lease(nfslab::LEASE)
}

/// As that, with another lease.
pub fn lab_with_lease(lease: Duration) -> Lab {
    let tandem = tandem();
    assert!(
        tandem.is_file(),
        "{} does not exist: build it with `cargo build --release`, or name another in TANDEM_BINARY",
        tandem.display()
    );
    let guest = Path::new(env!("CARGO_BIN_EXE_nfslab-guest"));
    Lab::start_with_lease(lease, &[("nfslab-guest", guest), ("tandem", &tandem)]).unwrap()
}

fn tandem() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = || std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    std::env::var_os("TANDEM_BINARY").map_or_else(
        || {
            let target = target().unwrap_or_else(|| project.join("target"));
            target.join("x86_64-unknown-linux-gnu/release/tandem")
        },
        PathBuf::from,
    )
}

/// Machines with the server's directory at `/mnt`.
pub fn clients<const N: usize>(lab: &Lab, names: [&str; N], options: &str) -> [Machine; N] {
    let machines = lab.machines(names).unwrap();
    for machine in &machines {
        machine.mount(nfslab::EXPORT, "/mnt", options).unwrap();
    }
    machines
}

/// A process that holds the lock of a file of its own, opened first.
pub fn holder(machine: &Machine, file: &str) -> Actor {
    let mut actor = machine.actor().unwrap();
    actor.done(&Call::Open(file.to_owned())).unwrap();
    actor.done(&Call::TryLock(0)).unwrap();
    actor
}

/// A process that has the file open and holds nothing.
pub fn looker(machine: &Machine, file: &str) -> Actor {
    let mut actor = machine.actor().unwrap();
    actor.done(&Call::Open(file.to_owned())).unwrap();
    actor
}

/// Whether the lock is refused because somebody else holds it.
pub fn is_refused(actor: &mut Actor) -> bool {
    match actor.call(&Call::TryLock(0)).unwrap().result {
        Ok(_) => false,
        Err(Errno::EAGAIN | Errno::EACCES) => true,
        Err(error) => panic!("the lock is refused with {error}"),
    }
}

/// Whether what the process writes into its file reaches the server.
pub fn writes_through(actor: &mut Actor, text: &str) -> Result<Value, Errno> {
    let written = actor.call(&Call::Write(0, text.to_owned())).unwrap().result;
    // Always, so that an error of an earlier write is not told to a later call.
    let synced = actor.call(&Call::Sync(0)).unwrap().result;
    written.and(synced)
}

/// What `F_GETLK` says.
pub fn asked(actor: &mut Actor) -> Value {
    actor.done(&Call::AskLock(0)).unwrap()
}

/// What the client itself knows of its lease, without asking anybody: how long the server's leases
/// are, and for how long this one has run out, in seconds.
pub fn lease(actor: &mut Actor) -> (u64, u64) {
    let value = actor.done(&Call::Read("/proc/self/mountstats".to_owned())).unwrap();
    let Value::Text(text) = value else { panic!("mountstats are {value:?}") };
    let number = |key: &str| {
        let (_, rest) = text.split_once(key).expect(key);
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect(key)
    };
    (number(",lease_time="), number(",lease_expired="))
}

/// The agent's prober in a machine.
pub struct Prober(Program);

impl Prober {
    pub fn start(machine: &Machine, lock: &str) -> Self {
        let argv = ["tandem", "probe", "--lock", lock, "--floor", "/mnt/floor"];
        Self(machine.start_program(&argv).unwrap())
    }

    /// What it says of the lock, if this process is the broker.
    pub fn look(&mut self, child: Option<i32>) -> Observation {
        self.begin(child);
        self.answer(SOON).expect("an answer of the prober")
    }

    /// Asks it, which may take as long as the storage does.
    pub fn begin(&self, child: Option<i32>) {
        self.0.input(&serde_json::json!({ "look": child }).to_string()).unwrap();
    }

    /// Its answer; none if it gives none so long.
    pub fn answer(&mut self, patience: Duration) -> Option<Observation> {
        let line = self.0.line(patience).unwrap()?;
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        Some(serde_json::from_value(answer["looked"].clone()).unwrap())
    }

    pub fn view(&mut self, child: Option<i32>) -> LockView {
        self.look(child).view
    }
}

/// Waits for it, and says how long that took.
pub fn until(what: &str, limit: Duration, mut is: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    wait::until(what, limit, || Ok(is().then_some(()))).unwrap();
    begun.elapsed()
}

/// Something measured, for people.
pub fn fact(subject: &str, text: &str) {
    progress::note(&format!("{subject}: {text}"));
}
