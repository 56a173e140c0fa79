//! Which calls ask the server, and which are answered from the client's own memory: seen on clients
//! that are cut off, where a call that asks does not come back.

use std::time::{Duration, Instant};

use nfslab::wire::Call;
use nfslab::{Actor, Answer, LEASE, Machine};
use nix::sys::signal::Signal;

use crate::world::{LATE, LOCK, SOON, fact, holder, lab, lab_with_lease, looker};

const TEST: &str = "calls";
/// Nobody else answers a cut-off client, and no mount gives up before: an answer within this is from
/// memory, however busy the machine is.
const AT_ONCE: Duration = LEASE;
/// The manual's sum, 2 + 4 + 6 s, is not what it takes: see below.
const SOFT: &str = "timeo=20,retrans=2";
/// Longer than a soft mount's patience.
const HANGS: Duration = Duration::from_mins(1);
/// Whoever is not gone by then waits for the server, unless others have its file open.
const REAPED: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// From memory.
    AtOnce,
    /// Not while there is no server: it fails on a soft mount, it hangs on a hard one.
    Asks,
    /// As that, but it is about nothing than attributes: `softerr` means `softreval`, by which they
    /// are told from memory once nobody has answered.
    AsksForAttributes,
}
use Answers::{Asks, AsksForAttributes, AtOnce};

struct Mount {
    label: &'static str,
    options: &'static str,
    cached: bool,
    gives_up: GivesUp,
}

#[derive(Clone, Copy, Debug)]
enum GivesUp {
    Never,
    WithError,
    WithErrorOrMemory,
}
use GivesUp::{Never, WithError, WithErrorOrMemory};

/// Attributes are cached for 3 to 60 s by default; always 60 s here, so that a slow test does not
/// outlast them.
const MOUNTS: [Mount; 6] = [
    Mount { label: "hard", options: "hard,actimeo=60", cached: true, gives_up: Never },
    Mount { label: "hard-noac", options: "hard,noac", cached: false, gives_up: Never },
    Mount { label: "soft", options: "soft,actimeo=60", cached: true, gives_up: WithError },
    Mount { label: "soft-noac", options: "soft,noac", cached: false, gives_up: WithError },
    Mount {
        label: "softerr-noac",
        options: "softerr,noac",
        cached: false,
        gives_up: WithErrorOrMemory,
    },
    Mount {
        label: "softerr",
        options: "softerr,actimeo=60",
        cached: true,
        gives_up: WithErrorOrMemory,
    },
];

const SYNCED: &str = "write, fsync";

/// One call by a process of its own.
struct Question {
    name: &'static str,
    /// What the process has open.
    file: &'static str,
    actor: Actor,
    /// Made before it, when the cable is out.
    before: Option<Call>,
    call: Call,
    wanted: Answers,
}

impl Question {
    fn begin(&self) {
        self.before.iter().for_each(|call| self.actor.begin(call).unwrap());
        self.actor.begin(&self.call).unwrap();
    }

    /// What all of it gave.
    fn answer(&mut self, deadline: Instant) -> Option<Answer> {
        let left = || deadline.saturating_duration_since(Instant::now());
        if self.before.is_some() {
            let first = self.actor.answer(left()).unwrap()?;
            let last = self.actor.answer(left()).unwrap()?;
            return Some(Answer {
                took: first.took + last.took,
                result: first.result.and(last.result),
            });
        }
        self.actor.answer(left()).unwrap()
    }
}

/// All calls have been made once when this returns, so what can be cached is.
fn questions(machine: &Machine, mount: &Mount) -> Vec<Question> {
    let unless_cached = if mount.cached { AtOnce } else { AsksForAttributes };
    let written = if mount.cached { AtOnce } else { Asks };
    let path = || LOCK.to_owned();
    let write = Call::Write(0, "x".to_owned());
    let mut all = Vec::new();
    let mut ask = |name, file: &'static str, call, wanted| {
        let actor = looker(machine, file);
        all.push(Question { name, file, actor, before: None, call, wanted });
    };
    ask("stat", LOCK, Call::Stat(path()), unless_cached);
    ask("fstat", LOCK, Call::FileStat(0), unless_cached);
    ask("open, fstat", LOCK, Call::OpenStat(path()), Asks);
    ask("statx FORCE_SYNC", LOCK, Call::StatForced(path()), AsksForAttributes);
    ask("statx FORCE_SYNC, only the type", LOCK, Call::TypeForced(path()), unless_cached);
    ask("statfs", LOCK, Call::FsStat(path()), Asks);
    // A file of its own: reading makes the client forget the time of the last access.
    ask("open, read", "/mnt/read", Call::Read("/mnt/read".to_owned()), Asks);
    ask("F_GETLK, held on this client", LOCK, Call::AskLock(0), AtOnce);
    ask("F_GETLK, held by nobody", "/mnt/free", Call::AskLock(0), Asks);
    ask("F_SETLK", "/mnt/wanted", Call::TryLock(0), Asks);
    ask("write", "/mnt/written", write.clone(), written);
    ask("utimensat", "/mnt/touched", Call::Touch("/mnt/touched".to_owned()), Asks);
    // A file made later changes the directory, and the client would look up all names again.
    let (name, file) = (SYNCED, "/mnt/synced");
    let synced = looker(machine, file);
    for question in all.iter_mut().filter(|question| question.call != Call::TryLock(0)) {
        question.actor.done(&question.call).unwrap();
    }
    let (actor, before, call) = (synced, Some(write), Call::Sync(0));
    all.push(Question { name, file, actor, before, call, wanted: Asks });
    all
}

/// A client that is cut off, with calls that were begun then.
struct Cut<'a> {
    mount: &'a Mount,
    machine: &'a Machine,
    begun: Instant,
    questions: Vec<Question>,
    /// Holds the lock of the file that the questions are about.
    _broker: Actor,
}

impl<'a> Cut<'a> {
    fn new(machine: &'a Machine, mount: &'a Mount) -> Self {
        let broker = holder(machine, LOCK);
        let questions = questions(machine, mount);
        machine.set_link(false).unwrap();
        questions.iter().for_each(Question::begin);
        Self { mount, machine, begun: Instant::now(), questions, _broker: broker }
    }

    fn says(&self, question: &Question, text: &str) {
        fact(TEST, &format!("{}: {}: {text}", self.mount.label, question.name));
    }

    /// Those that were not answered stay.
    fn judge(&mut self) {
        let questions = std::mem::take(&mut self.questions);
        for mut question in questions {
            let answer = question.answer(self.begun + HANGS);
            self.says(&question, &tell(answer.as_ref()));
            let name = format!("{}: {}", self.mount.label, question.name);
            let Some(Answer { took, result }) = answer else {
                // With `softerr` an open is tried again and again, for several times as long.
                assert!(
                    question.wanted != AtOnce && !matches!(self.mount.gives_up, WithError),
                    "{name}"
                );
                self.questions.push(question);
                continue;
            };
            match (question.wanted, self.mount.gives_up) {
                (AtOnce, _) => {
                    assert!(result.is_ok() && took < AT_ONCE, "{name}: {took:?} {result:?}");
                }
                // No soft mount gives up before the lease is over.
                (AsksForAttributes, WithErrorOrMemory) => {
                    assert!(result.is_ok() && took > LEASE, "{name}: {took:?} {result:?}");
                }
                (_, WithError | WithErrorOrMemory) => {
                    assert!(result.is_err() && took > LEASE, "{name}: {took:?} {result:?}");
                }
                (_, Never) => panic!("{name}: {took:?} {result:?}"),
            }
        }
    }

    /// Kills those that hang. A process that was the last to have a file open is not gone before
    /// the server has heard of that.
    fn kill(&mut self) {
        for question in &self.questions {
            question.actor.signal(Signal::SIGKILL).unwrap();
        }
        let killed = Instant::now();
        let mut waiting = std::mem::take(&mut self.questions);
        let others_have_it = |question: &Question| question.file == LOCK;
        while !waiting.is_empty()
            && (killed.elapsed() < REAPED
                || killed.elapsed() < SOON && waiting.iter().any(others_have_it))
        {
            waiting.retain_mut(|question| {
                let gone = question.actor.is_gone(POLL).unwrap();
                if gone {
                    let after = killed.elapsed();
                    self.says(question, &format!("gone {after:.1?} after its SIGKILL"));
                }
                !gone
            });
        }
        for question in &waiting {
            self.says(question, &format!("not gone {} s after its SIGKILL", REAPED.as_secs()));
            assert_ne!(question.file, LOCK, "{}: others have it open", question.name);
        }
        if matches!(self.mount.gives_up, Never) {
            assert!(waiting.iter().any(|question| question.name == SYNCED), "it closed its file");
        }
        self.machine.set_link(true).unwrap();
        for question in &mut waiting {
            assert!(question.actor.is_gone(LATE).unwrap(), "{}", question.name);
        }
    }
}

fn tell(answer: Option<&Answer>) -> String {
    match answer {
        Some(Answer { took, result: Ok(_) }) => format!("answered after {took:.1?}"),
        Some(Answer { took, result: Err(error) }) => format!("{error} after {took:.1?}"),
        None => format!("no answer within {} s", HANGS.as_secs()),
    }
}

#[test]
fn which_calls_ask_the_server() {
    let lab = lab();
    let machines = lab.machines(MOUNTS.each_ref().map(|mount| mount.label)).unwrap();
    for (machine, mount) in machines.iter().zip(&MOUNTS) {
        std::fs::create_dir(lab.server.export().join(mount.label)).unwrap();
        let directory = format!("{}/{}", nfslab::EXPORT, mount.label);
        machine.mount(&directory, "/mnt", &format!("vers=4.1,{},{SOFT}", mount.options)).unwrap();
    }
    let mut cuts: Vec<Cut<'_>> =
        machines.iter().zip(&MOUNTS).map(|(machine, mount)| Cut::new(machine, mount)).collect();
    cuts.iter_mut().for_each(Cut::judge);
    cuts.iter_mut().for_each(Cut::kill);
}

/// NFSv4's client breaks the connection off only after the lease time, which the server tells it, and
/// no request fails before: `timeo` and `retrans` can lengthen that, never shorten it.
#[test]
fn a_soft_mount_gives_up_after_the_lease() {
    let lease = 3 * LEASE;
    let lab = lab_with_lease(lease);
    let machines = lab.machines(["v41", "v40"]).unwrap();
    let mut waiting = Vec::new();
    for (machine, version) in machines.iter().zip(["4.1", "4.0"]) {
        let options = format!("vers={version},soft,noac,timeo=10,retrans=1");
        machine.mount(nfslab::EXPORT, "/mnt", &options).unwrap();
        let actor = looker(machine, LOCK);
        machine.set_link(false).unwrap();
        actor.begin(&Call::Write(0, "x".to_owned())).unwrap();
        waiting.push((version, actor));
    }
    for (version, mut actor) in waiting {
        let answer = actor.answer(LATE).unwrap().expect("an error");
        let told = tell(Some(&answer));
        fact(TEST, &format!("NFS {version}, lease {} s: a write gives {told}", lease.as_secs()));
        // TCP's timers are not exact.
        let lease = lease.saturating_sub(Duration::from_secs(2));
        assert!(answer.result.is_err() && answer.took > lease, "{answer:?}");
    }
}
