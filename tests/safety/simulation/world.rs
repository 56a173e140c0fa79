//! The group in virtual time: pods with their agents and brokers, the store with its lock, the API
//! server with the record, and a queue of what is to happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::VecDeque;

use serde_json::Value;
use tandem::agent::asked::Asked;
use tandem::agent::machine::{Deadline, Input, State};
use tandem::agent::motion::{Motion, Trace};
use tandem::agent::timing::Timing;
use tandem::core::promotion::Author;
use tandem::lock::FileIdentity;
use tandem::lock::track::{Life, Track};

use crate::asked::Note;
use crate::broker::Broker;
use crate::faults::Fault;
use crate::rules::{Dice, Rules};

/// A broker process: its pod's number, and how many there were before it in the whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerId {
    pub pod: usize,
    pub number: u32,
}

/// What is to happen. `u32`s are an agent's incarnation or a broker's number: of an earlier one, it does
/// not happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something that this pod's agent does, unless it stands still.
    Agent(usize, u32, Doing),
    Broker(BrokerId),
    /// The broker process ends.
    Dies(BrokerId),
    /// A container starts.
    Boots(usize),
    /// A write arrives at the API server; the agent waits for the answer, unless it gave up.
    Put(Put),
    /// The server gives up the locks of a node that it has not heard of since.
    GivesUp(usize, u64),
    /// A transaction is committed.
    Commits(BrokerId),
    Fault(Fault),
    /// The operator writes.
    Notes(Note),
    Mends(usize),
    Ends,
}

/// A write of the record, on its way.
#[derive(Clone, Debug)]
pub struct Put {
    pub pod: usize,
    pub agent: u32,
    pub ticket: u32,
    pub record: Value,
    /// When the proof for it was begun.
    pub proven: u64,
}

/// What an agent does.
#[derive(Clone, Debug)]
pub enum Doing {
    Look,
    /// A look that was begun then, for this life.
    Looked(u64, Life),
    /// A look has no answer yet.
    Unanswered(u64),
    Greet(u32),
    Passes(Deadline, u64),
    Feed(u32, Input),
    Reaps(BrokerId),
    Prepares,
    Releases(u64),
    Promotes {
        ticket: u32,
        stage: Stage,
    },
    /// The record, and how many of its changes the watch told before.
    SeesRecord(u64, Option<Value>),
    Empties,
    Turns,
    AsksStandbys,
}

/// How far a promotion is.
#[derive(Clone, Debug)]
pub enum Stage {
    Read,
    /// With the record as read, and when it was proven, if that came first.
    HasRead(Option<Value>, Option<u64>),
    Prove(Value),
    /// Written, or refused.
    Answered(Result<u64, ()>),
}

pub struct Agent {
    pub machine: State,
    pub timers: Vec<(Deadline, u64)>,
    pub track: Track,
    pub life: Life,
    pub proven_until: Option<u64>,
    pub ticket: u32,
    pub pause: u64,
    pub tried: Option<u64>,
    pub seen: u64,
    /// Of the last broker, for its lease.
    pub last: Option<BrokerId>,
    pub looking: bool,
    pub asked: Asked,
    /// What it has seen of its broker, and what that proves.
    pub trace: Trace,
    pub motion: Motion,
    /// So often the broker has tried the lock, or worked.
    pub wakes: u64,
    /// Changes of the record that the watch has told.
    pub told: u64,
    /// It asks the others whether its broker may step down.
    pub asking: bool,
}

pub struct Pod {
    pub author: Author,
    /// Counts its agents; the agent itself is gone between two.
    pub incarnation: u32,
    pub agent: Option<Agent>,
    pub broker: Option<Broker>,
    /// When the storage comes back, if it is away; the API server; since when the storage is away.
    pub cut_storage: Option<u64>,
    pub cut_api: Option<u64>,
    pub cut_since: u64,
    pub agent_frozen: Option<u64>,
    /// It is to end and to be replaced.
    pub deleted: bool,
    pub over: bool,
}

#[derive(Default)]
pub struct Store {
    /// What became of the lock file, and when; the last is what it is now.
    pub files: Vec<(u64, Option<FileIdentity>)>,
    /// Locks that the server knows of: on which inode, whose.
    pub locks: Vec<(u64, BrokerId)>,
    pub inodes: u64,
    /// The lease: its holder and its end by the database's clock.
    pub lease: Option<(BrokerId, i64)>,
    pub clock_ahead: i64,
    pub in_flight: Option<BrokerId>,
    pub floor: u64,
}

#[derive(Default)]
pub struct Api {
    pub record: Option<Value>,
    pub before: Option<Value>,
    pub version: u64,
    /// Changes of the record, deletions too.
    pub changes: u64,
    pub top_epoch: u64,
    /// When the proof was begun by which the record was last written.
    pub proven: u64,
    pub stale_until: u64,
    pub lossy_until: u64,
    pub slow_until: u64,
}

struct Queued {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (Reverse(self.at), Reverse(self.number)).cmp(&(Reverse(other.at), Reverse(other.number)))
    }
}

pub struct World {
    pub rules: Rules,
    pub timing: Timing,
    pub dice: Dice,
    pub now: u64,
    /// To which pod the last switchover was to lead.
    pub wanted: Option<String>,
    queue: BinaryHeap<Queued>,
    queued: u64,
    pub pods: Vec<Pod>,
    pub store: Store,
    pub api: Api,
    pub brokers: u32,
    /// How long a change of a file's attributes stays unseen.
    pub attribute_delay: u64,
    pub trouble_until: u64,
    pub deleted_lock_at: Option<u64>,
    /// Faults may come together that are known to be too much.
    pub reckless: bool,
    pub story: Option<Vec<String>>,
    pub wrong: Option<String>,
    pub events: u64,
}

impl World {
    pub fn new(seed: u64, rules: Rules, tells: bool) -> Self {
        let mut dice = Dice(seed);
        let attribute_delay = match rules.kind {
            crate::rules::Kind::Network => dice.roll(0, 200),
            _ => 0,
        };
        let mut world = Self {
            timing: rules.timing(),
            dice,
            now: 0,
            wanted: None,
            queue: BinaryHeap::new(),
            queued: 0,
            pods: Vec::new(),
            store: Store { files: vec![(0, None)], ..Store::default() },
            api: Api { version: 1, ..Api::default() },
            brokers: 0,
            attribute_delay,
            trouble_until: 0,
            deleted_lock_at: None,
            reckless: false,
            story: tells.then(Vec::new),
            wrong: None,
            events: 0,
            rules,
        };
        for p in 0..rules.pods {
            world.add_pod(p);
        }
        world
    }

    pub fn after(&mut self, millis: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Queued { at: self.now + millis, number: self.queued, event });
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let now = self.now;
            story.push(format!("{:4}.{:03} {}", now / 1000, now % 1000, what()));
        }
    }

    pub fn fail(&mut self, why: String) {
        self.tell(|| format!("WRONG: {why}"));
        self.wrong.get_or_insert(why);
    }

    /// The next event; false at the end.
    pub fn turn(&mut self) -> bool {
        let Some(next) = self.queue.pop() else { return false };
        self.now = next.at;
        self.events += 1;
        match next.event {
            Event::Agent(p, agent, doing) => self.agent_event(p, agent, doing),
            Event::Broker(id) => self.broker_event(id),
            Event::Dies(id) => self.dies(id),
            Event::Boots(p) => self.boots(p),
            Event::Put(put) => self.put(&put),
            Event::GivesUp(p, since) => self.gives_up(p, since),
            Event::Commits(id) => self.commits(id),
            Event::Fault(fault) => self.place(fault),
            Event::Notes(note) => self.notes(note, 0),
            Event::Mends(p) => self.mends(p),
            Event::Ends => return false,
        }
        self.check_writers();
        self.wrong.is_none()
    }

    fn agent_event(&mut self, p: usize, agent: u32, doing: Doing) {
        if self.pods[p].incarnation != agent || self.pods[p].agent.is_none() {
            return;
        }
        if let Some(end) = self.pods[p].agent_frozen {
            // It finds all of it when it goes on; what it read before is handled first.
            let promotes = matches!(doing, Doing::Promotes { .. });
            let late = if promotes { 0 } else { self.dice.roll(20, 60) };
            self.after(end - self.now + late, Event::Agent(p, agent, doing));
            return;
        }
        self.act(p, doing);
    }

    /// At most one broker can write the store at a time.
    fn check_writers(&mut self) {
        let able = |pod: &Pod| pod.cut_storage.is_none();
        let brokers =
            self.pods.iter().filter(|pod| able(pod)).filter_map(|pod| pod.broker.as_ref());
        let fenced = |id: BrokerId| self.rules.fence && !self.has_lease(id);
        let writers: Vec<BrokerId> = brokers
            .filter(|broker| broker.writes() && broker.frozen.is_none())
            .map(|broker| broker.id)
            .filter(|id| !fenced(*id))
            .collect();
        if writers.len() > 1 {
            self.fail(format!("S1: two brokers can write: {writers:?}"));
        }
    }

    pub fn all_feeds(&mut self, p: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let more = self.step(p, input);
            inputs.extend(more);
        }
    }
}
