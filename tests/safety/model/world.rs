//! What there is: pods with their agents and brokers, the store with its lock, the record.

use tandem::agent::machine::{Act, Deadline, State};
use tandem::broker::report::AgentState;

use crate::record::Record;
use crate::rules::{Fault, Known, Rules};

/// A broker process: its pod's uid, and a number that no other one bears that is still heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerId {
    pub pod: u8,
    pub life: u8,
}

impl BrokerId {
    /// The holder id of its lease.
    pub fn holder(self) -> String {
        format!("{}.{}", self.pod, self.life)
    }
}

/// Replacements of a pod have uids that are this much higher.
pub const REPLACED: u8 = 10;

/// The ordinal of the pod with this uid, which makes its name.
pub fn ordinal(uid: u8) -> u8 {
    uid % REPLACED
}

/// The lock file that somebody keeps in mind, compared with what there is now: which file it was counts
/// for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// None was seen.
    Nothing,
    /// It is as it was; or there was none, and is none.
    Current,
    /// It was written since. Classic writes it whenever it takes the lock.
    Touched,
    /// It is another one, or gone.
    Replaced,
    /// There was none, and now there is one.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has not tried to get the lock. `stable`: the lock file is as its agent saw it last before the
    /// start.
    Booting { stable: bool },
    /// It was refused the lock, and tries again.
    Waiting,
    /// It got the lock after a wait, and gives the old master time to notice: file locks only.
    /// `checks`: it looks at the lock file once more before it serves.
    HoldingOff { checks: bool },
    /// It writes, and greets.
    Serving,
    /// Told to stop, while it served or not.
    Stopping(bool),
}

/// A broker process that lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    pub id: BrokerId,
    pub phase: Phase,
    /// By `SIGSTOP`, or a pause that does not end.
    pub frozen: bool,
    /// It has the lock on the file of now, which is as this broker wrote it then.
    pub took: bool,
}

impl Broker {
    /// Whether it writes, as soon as it runs and reaches the store.
    pub fn writes(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Stopping(true))
    }
}

/// How far a promotion is: read, then prove, then write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Promotion {
    Begun,
    /// The wrong way round: proven, and not read yet. Pods, by number, that have proven more recently.
    OnlyProven {
        newer: u8,
    },
    /// What was read, and is to be written on condition of its version.
    Read(Record),
    Proven {
        next: Record,
        /// Pods, by number, that have proven more recently.
        newer: u8,
    },
}

/// A pod: its agent, and what it knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub uid: u8,
    pub machine: State,
    pub armed: Vec<Deadline>,
    pub broker: Option<Broker>,
    /// It ended; its agent has not reaped it yet.
    pub corpse: Option<BrokerId>,
    pub promotion: Option<Promotion>,
    pub epoch_seen: u64,
    pub tried: Option<u64>,
    /// The agent waits for the word that a broker can be started.
    pub preparing: bool,
    pub releasing: Option<BrokerId>,
    pub emptying: bool,
    /// The lock file has not changed since the agent's last look.
    pub looked: bool,
    /// The lock file as the agent keeps it in mind, for the broker of the moment or the time without one.
    pub kept: Kept,
    /// The broker had greeted by then.
    pub settled: bool,
    /// The agent stands still.
    pub frozen: bool,
    /// The node stands still.
    pub stands: bool,
    /// It stood still, and deadlines may have passed meanwhile.
    pub late: bool,
    pub storage: bool,
    pub api: bool,
    /// Its container has ended for good, or its node has no power.
    pub off: bool,
}

/// What all brokers share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Store {
    /// There is a lock file.
    pub file: bool,
    /// Who has locked it, as far as the server knows. Locks on files that are gone are nobody's concern.
    pub lock: Option<BrokerId>,
    /// The lease's holder, and whether it has run out.
    pub lease: Option<(BrokerId, bool)>,
    /// A broker's transaction that is to be committed.
    pub in_flight: Option<BrokerId>,
    /// The epoch floor.
    pub floor: u64,
}

/// What went wrong, besides two writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// The record's epoch fell, or is borne by two.
    Epoch,
    /// A promotion took the place of one that was proven later.
    OlderProof,
    /// A dead broker's transaction was committed after its successor had begun.
    LateCommit,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub rules: Known,
    pub pods: Vec<Pod>,
    pub store: Store,
    pub record: Option<Record>,
    /// The record before its last change, which a stale read shows.
    pub before: Option<Record>,
    pub top_epoch: u64,
    /// How many more faults there may be.
    pub faults: u8,
    pub wrong: Option<Wrong>,
}

impl Pod {
    /// A pod that has just been made, or whose container has just been started again.
    pub fn new(uid: u8, rules: &Rules) -> (Self, Vec<Act>) {
        let (machine, acts) = State::begin(rules.kind);
        let pod = Self {
            uid,
            machine,
            armed: Vec::new(),
            broker: None,
            corpse: None,
            promotion: None,
            epoch_seen: 0,
            tried: None,
            preparing: false,
            releasing: None,
            emptying: false,
            looked: false,
            kept: Kept::Nothing,
            settled: false,
            frozen: false,
            stands: false,
            late: false,
            storage: true,
            api: true,
            off: false,
        };
        (pod, acts)
    }

    /// The agent can do something.
    pub fn acts(&self) -> bool {
        !self.frozen && !self.off
    }

    /// The lock file went before the agent's first look that would have found it locked by its broker.
    /// The broker's own look, one in each keep-alive period, is in time too, unless the broker is frozen.
    pub fn is_for_its_broker_to_see(&self) -> bool {
        let has = |phase| matches!(phase, Phase::Serving | Phase::HoldingOff { .. });
        let unseen = |broker: &Broker| has(broker.phase) && !broker.took && !broker.frozen;
        self.kept == Kept::Nothing && self.broker.as_ref().is_some_and(unseen)
    }

    /// The broker process stands still.
    pub fn broker_is_frozen(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.frozen)
    }

    /// What is known of the lock counts for one life of a broker, or one time without.
    pub fn forget_looks(&mut self) {
        self.looked = false;
        self.kept = Kept::Nothing;
        self.settled = false;
    }

    pub fn arm(&mut self, deadline: Deadline) {
        // Any of them can pass at once, so how long they are makes no difference.
        let deadline = match deadline {
            Deadline::Backoff(_) => Deadline::Backoff(1),
            other => other,
        };
        self.disarm(deadline);
        let place = self.armed.partition_point(|armed| rank(*armed) < rank(deadline));
        self.armed.insert(place, deadline);
    }

    pub fn disarm(&mut self, deadline: Deadline) {
        let kind = std::mem::discriminant(&deadline);
        self.armed.retain(|armed| std::mem::discriminant(armed) != kind);
    }
}

/// An order, so that the same deadlines are the same state.
fn rank(deadline: Deadline) -> u8 {
    match deadline {
        Deadline::LockFile => 0,
        Deadline::Handover => 1,
        Deadline::Backoff(_) => 2,
        Deadline::Settle => 3,
        Deadline::Take => 4,
        Deadline::Hang => 5,
        Deadline::Health => 6,
        Deadline::StopGrace => 7,
        Deadline::Record => 8,
        Deadline::Linger => 9,
        Deadline::Proof => 10,
        Deadline::Prepare => 11,
        Deadline::Release => 12,
        Deadline::Exit => 13,
        Deadline::Claims => 14,
        Deadline::Doubt => 15,
        Deadline::Yield => 16,
        Deadline::MakeWay => 17,
        Deadline::Reconnect => 18,
    }
}

impl World {
    /// Pods that have never run, and nothing on the store.
    pub fn new(rules: &'static Rules) -> Self {
        let mut world = Self {
            rules: Known(rules),
            pods: Vec::new(),
            store: Store::default(),
            record: Some(Record { version: 1, ..Record::default() }),
            before: None,
            top_epoch: 0,
            faults: rules.faults,
            wrong: None,
        };
        for uid in 0..rules.pods {
            world.add(uid);
        }
        world.settle();
        world
    }

    pub fn add(&mut self, uid: u8) {
        let (pod, acts) = Pod::new(uid, self.rules.0);
        self.pods.push(pod);
        let p = self.pods.len() - 1;
        for input in self.carry_out(p, acts) {
            self.feed(p, input);
        }
    }

    /// What an agent sees of its own at once, and what only delays its next step: happening later, it
    /// would lead nowhere else.
    pub fn settle(&mut self) {
        for p in 0..self.pods.len() {
            let pod = &self.pods[p];
            if pod.acts() && pod.corpse.is_some() && !pod.late {
                self.reap(p);
            }
            let pod = &self.pods[p];
            if pod.acts() && pod.preparing && pod.storage {
                self.prepare(p);
            }
        }
    }

    /// Forgets what makes no difference any more, so that equal worlds are the same.
    pub fn forget(&mut self) {
        let rules = self.rules.0;
        for pod in self.pods.iter_mut().filter(|pod| pod.off) {
            let Pod { uid, storage, api, .. } = *pod;
            *pod = Pod { storage, api, off: true, ..Pod::new(uid, rules).0 };
        }
        if self.faults == 0 || !rules.may(Fault::StaleRead) {
            self.before = None;
        }
        // A promotion counts on from the highest epoch that it knows of. What it reads is as high, as
        // long as the record cannot go.
        let lasts = self.faults == 0 || !rules.may(Fault::DeleteRecord);
        let shown = [self.record, self.before.or(self.record)].map(|it| it.and_then(|it| it.epoch));
        let least = shown.into_iter().map(Option::unwrap_or_default).min().unwrap_or_default();
        if lasts && self.record.is_some() {
            let worth = |epoch: u64| if epoch <= least { 0 } else { epoch };
            self.store.floor = worth(self.store.floor);
            for pod in &mut self.pods {
                pod.epoch_seen = worth(pod.epoch_seen);
            }
        }
    }

    /// Who holds the lock on the lock file.
    pub fn holder(&self) -> Option<BrokerId> {
        self.store.lock.filter(|_| self.store.file)
    }

    /// Brokers that could write at this moment.
    pub fn writers(&self) -> impl Iterator<Item = BrokerId> {
        let able = self.pods.iter().filter(|pod| pod.storage && !pod.off);
        let brokers = able.filter_map(|pod| pod.broker.as_ref());
        let writing = brokers.filter(|broker| broker.writes() && !broker.frozen);
        // The database refuses everybody but the lease's holder.
        let may =
            |id: BrokerId| !self.rules.0.fence || self.store.lease.is_some_and(|it| it.0 == id);
        writing.map(|broker| broker.id).filter(move |id| may(*id))
    }

    pub fn is_master(&self, p: usize) -> bool {
        self.pods[p].machine.name() == AgentState::Master
    }
}
