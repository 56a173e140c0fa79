//! What a killed writer's client still writes when its network comes back, after another took over.
//!
//! The writer holds the lock of one file and writes another without any, as a broker its journal.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nfslab::wire::{Call, Value};
use nfslab::{Actor, Lab, Machine};
use nix::sys::signal::Signal;

use crate::world::{LATE, SOON, fact, holder, lab, looker, until};

const TEST: &str = "late";
/// Ticks come ten times a second.
const TICK_MILLIS: u64 = 100;
/// From the cut to the SIGKILL: an agent fences before the lease ends.
const FENCED_AFTER: Duration = Duration::from_secs(4);

/// How many late lines there may be.
#[derive(Clone, Copy)]
pub enum Arrives {
    /// What was dirty: seconds of writing.
    Many,
    /// At most the one write that was under way.
    InFlight,
    Nothing,
}

/// When the cable is plugged in again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Healed {
    /// As soon as another holds the lock.
    Early,
    /// When soft mounts have given up.
    Late,
}

struct Case {
    label: &'static str,
    options: &'static str,
    locks_journal: bool,
    healed: Healed,
    arrives: Arrives,
}

/// Gives up some seconds after the lease. Whoever is to be healed before that gets more patience, or a
/// slow machine would heal it too late.
pub const GIVES_UP: &str = "timeo=20,retrans=2";
pub const PATIENT: &str = "timeo=600,retrans=2";

const fn case(
    label: &'static str,
    options: &'static str,
    healed: Healed,
    arrives: Arrives,
) -> Case {
    Case { label, options, locks_journal: false, healed, arrives }
}

const fn locked(label: &'static str, healed: Healed) -> Case {
    Case { locks_journal: true, ..case(label, "hard", healed, Arrives::Nothing) }
}

/// Until its mount has given up, a soft one is as hard.
const CASES: [Case; 10] = [
    case("hard", "hard", Healed::Late, Arrives::Many),
    case("soft-early", "soft", Healed::Early, Arrives::Many),
    case("soft", "soft", Healed::Late, Arrives::Nothing),
    case("hard-sync", "hard,sync", Healed::Late, Arrives::InFlight),
    case("soft-sync-early", "soft,sync", Healed::Early, Arrives::InFlight),
    case("soft-sync", "soft,sync", Healed::Late, Arrives::Nothing),
    case("soft-noac-early", "soft,noac", Healed::Early, Arrives::InFlight),
    case("soft-noac", "soft,noac", Healed::Late, Arrives::Nothing),
    locked("hard-locked-early", Healed::Early),
    locked("hard-locked", Healed::Late),
];

/// A machine on which a broker writes.
struct Writer<'a> {
    case: &'a Case,
    machine: Machine,
    broker: Actor,
    /// The last line that the broker's write took without an error.
    last: u32,
    /// How its first failed write failed.
    failure: Option<String>,
}

impl<'a> Writer<'a> {
    fn new(machine: Machine, case: &'a Case) -> Self {
        let patience = match case.healed {
            Healed::Early => PATIENT,
            Healed::Late => GIVES_UP,
        };
        machine
            .mount(nfslab::EXPORT, "/mnt", &format!("vers=4.1,{},{patience}", case.options))
            .unwrap();
        let mut broker = holder(&machine, &format!("/mnt/{}/lock", case.label));
        broker.done(&Call::Open(format!("/mnt/{}/journal", case.label))).unwrap();
        if case.locks_journal {
            broker.done(&Call::TryLock(1)).unwrap();
        }
        broker.begin(&Call::Tick { file: 1, every_millis: TICK_MILLIS }).unwrap();
        let mut writer = Self { case, machine, broker, last: 0, failure: None };
        until("the writer", SOON, || {
            writer.listen();
            writer.last > 20
        });
        writer
    }

    fn listen(&mut self) {
        while let Some(answer) = self.broker.answer(Duration::ZERO).unwrap() {
            match answer.result {
                Ok(Value::Line(line)) => self.last = line,
                Ok(value) => panic!("a tick gave {value:?}"),
                Err(error) if self.failure.is_none() => {
                    self.failure = Some(format!("{error} after {:.1?}", answer.took));
                }
                Err(_) => {}
            }
        }
    }

    fn says(&self, text: &str) {
        fact(TEST, &format!("{}: {text}", self.case.label));
    }

    /// Nothing is left to be written, and the server is reached again.
    fn await_settled(&mut self) {
        let mut actor = self.machine.actor().unwrap();
        actor.begin(&Call::StatForced(format!("/mnt/{}/journal", self.case.label))).unwrap();
        let answer = actor.answer(LATE).unwrap().expect("the server's answer");
        answer.result.unwrap();
        assert!(self.broker.is_gone(LATE).unwrap(), "{}: still there", self.case.label);
        await_last_page(&self.machine);
    }
}

/// Nothing that was written on this machine is on its way.
pub fn await_last_page(machine: &Machine) {
    until("the client's last page", LATE, || {
        let told = machine.shell("grep -E '^(Dirty|Writeback):' /proc/meminfo").unwrap();
        told.lines().all(|line| line.split_whitespace().nth(1) == Some("0"))
    });
}

#[test]
fn late_writes_arrive_or_do_not() {
    let lab = lab();
    let labels = CASES.each_ref().map(|case| case.label);
    for label in labels {
        fs::create_dir(lab.server.export().join(label)).unwrap();
    }
    let [taker] = lab.machines(["taker"]).unwrap();
    taker.mount(nfslab::EXPORT, "/mnt", "vers=4.1").unwrap();
    let machines = lab.machines(labels).unwrap();
    let mut writers: Vec<Writer<'_>> = machines
        .into_iter()
        .zip(&CASES)
        .map(|(machine, case)| Writer::new(machine, case))
        .collect();

    cut_and_fence(&mut writers);
    take_over(&taker);
    let before: Vec<_> =
        labels.iter().map(|label| lines(&lab, &format!("{label}/journal"))).collect();
    for healed in [Healed::Early, Healed::Late] {
        if healed == Healed::Late {
            await_given_up(&mut writers);
        }
        for writer in writers.iter().filter(|writer| writer.case.healed == healed) {
            writer.machine.set_link(true).unwrap();
        }
    }
    writers.iter_mut().for_each(Writer::await_settled);
    // What the server is told last, it may write a moment later.
    sleep(Duration::from_secs(2));
    for (writer, before) in writers.iter_mut().zip(before) {
        writer.listen();
        let after = lines(&lab, &format!("{}/journal", writer.case.label));
        judge(writer, &before, &after);
    }
}

/// The killed process of a soft mount is gone when all its calls have failed, that which closes the
/// file among them.
fn await_given_up(writers: &mut [Writer<'_>]) {
    let begun = Instant::now();
    let soft = |writer: &&mut Writer<'_>| {
        writer.case.healed == Healed::Late && writer.case.options.starts_with("soft")
    };
    for writer in writers.iter_mut().filter(soft) {
        assert!(writer.broker.is_gone(LATE).unwrap(), "{}: still there", writer.case.label);
        writer.says(&format!("gone {:.1?} after the takeover, still cut off", begun.elapsed()));
    }
    for writer in writers.iter_mut().filter(|writer| writer.case.options.starts_with("hard")) {
        let gone = writer.broker.is_gone(Duration::ZERO).unwrap();
        writer.says(if gone { "gone by then" } else { "not gone by then" });
    }
}

fn cut_and_fence(writers: &mut [Writer<'_>]) {
    for writer in &*writers {
        writer.machine.set_link(false).unwrap();
    }
    let cut = Instant::now();
    until("the time of fencing", SOON, || cut.elapsed() >= FENCED_AFTER);
    for writer in writers {
        writer.listen();
        writer.broker.signal(Signal::SIGKILL).unwrap();
    }
}

fn take_over(taker: &Machine) {
    let begun = Instant::now();
    take_locks(taker, CASES.iter().map(|case| case.label));
    fact(TEST, &format!("all locks taken over {:.1?} after the SIGKILL", begun.elapsed()));
}

/// Waits on this machine for the locks of all these directories at once, until the server has freed them.
/// They are held for as long as what is returned lives.
pub fn take_locks<'a>(taker: &Machine, labels: impl Iterator<Item = &'a str>) -> Vec<Actor> {
    let mut takers: Vec<Actor> =
        labels.map(|label| looker(taker, &format!("/mnt/{label}/lock"))).collect();
    for taker in &takers {
        taker.begin(&Call::WaitForLock(0)).unwrap();
    }
    for taker in &mut takers {
        assert_eq!(taker.answer(LATE).unwrap().expect("the lock").result, Ok(Value::Done));
    }
    takers
}

/// The lines of a journal at the server; what was never written reads as zero bytes.
pub fn lines(lab: &Lab, journal: &str) -> BTreeSet<String> {
    let path = lab.server.export().join(journal);
    read(&path).split_inclusive('\n').map(|line| line.trim_matches('\0').to_owned()).collect()
}

fn read(path: &Path) -> String {
    String::from_utf8(fs::read(path).unwrap()).unwrap()
}

fn judge(writer: &Writer<'_>, before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let late: Vec<&String> = after.difference(before).collect();
    writer.says(&format!(
        "{} late lines (server had {}, the writer's last was {}; its first error: {})",
        late.len(),
        before.len(),
        writer.last,
        writer.failure.as_deref().unwrap_or("none"),
    ));
    writer.case.arrives.expect(writer.case.label, late.len());
}

impl Arrives {
    /// So many lines came late.
    pub fn expect(self, label: &str, late: usize) {
        match self {
            Self::Many => assert!(late > 10, "{label}: {late}"),
            Self::InFlight => assert!(late <= 1, "{label}: {late}"),
            Self::Nothing => assert_eq!(late, 0, "{label}"),
        }
    }
}
