//! What brokers do at their locks: Classic's `SharedFileLocker` and `LeaseDatabaseLocker`.

use tandem::agent::machine::{Input, LogSign};
use tandem::lock::FileIdentity;

use crate::rules::{KEEP_ALIVE, Kind, LEASE, Mutation, POLL};
use crate::world::{BrokerId, Doing, Event, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Booting,
    Waiting,
    /// It got the lock, and is on its way to its first write.
    HoldingOff {
        waited: bool,
    },
    Recovering,
    Serving,
    Stopping {
        writes: bool,
    },
}

pub struct Broker {
    pub id: BrokerId,
    pub phase: Phase,
    /// Until then.
    pub frozen: Option<u64>,
    pub frozen_since: u64,
    pub took: Option<FileIdentity>,
    /// The lock file when it was started.
    pub born: Option<FileIdentity>,
}

impl Broker {
    pub fn writes(&self) -> bool {
        matches!(self.phase, Phase::Recovering | Phase::Serving | Phase::Stopping { writes: true })
    }

    pub fn greets(&self) -> bool {
        self.phase == Phase::Serving
    }
}

impl World {
    pub fn file(&self) -> Option<FileIdentity> {
        self.store.files.last().and_then(|(_, file)| *file)
    }

    pub fn file_changes(&mut self, file: Option<FileIdentity>) {
        self.store.files.push((self.now, file));
    }

    /// As seen from this pod's node, which has a cache of attributes and knows its own writes.
    pub fn file_as_seen(&self, p: usize) -> Option<FileIdentity> {
        let own = self.pods[p].broker.as_ref().and_then(|broker| broker.took);
        if own.is_some() && own == self.file() {
            return own;
        }
        let latest = self.now.saturating_sub(self.attribute_delay);
        let known = self.store.files.iter().rev().find(|(at, _)| *at <= latest);
        known.and_then(|(_, file)| *file)
    }

    pub fn written(&self, file: FileIdentity) -> FileIdentity {
        FileIdentity {
            modified_seconds: 0,
            modified_nanos: i64::try_from(self.store.files.len()).unwrap(),
            ..file
        }
    }

    pub fn new_file(&mut self) -> FileIdentity {
        self.store.inodes += 1;
        let inode = self.store.inodes;
        FileIdentity { device: 1, inode, modified_seconds: 0, modified_nanos: 0 }
    }

    pub fn lock_holder(&self) -> Option<BrokerId> {
        let file = self.file()?;
        self.store.locks.iter().find(|(inode, _)| *inode == file.inode).map(|(_, id)| *id)
    }

    /// Whether two holder ids are the same.
    pub fn same(&self, a: BrokerId, b: BrokerId) -> bool {
        let name = |id: BrokerId| &self.pods[id.pod].author.pod.name;
        a == b || (self.rules.lacks(Mutation::SameHolderIds) && name(a) == name(b))
    }

    pub fn has_lease(&self, id: BrokerId) -> bool {
        self.store.lease.is_some_and(|(it, _)| self.same(it, id))
    }

    /// The database's clock.
    pub fn database_now(&self) -> i64 {
        i64::try_from(self.now).unwrap() + self.store.clock_ahead
    }

    fn broker_mut(&mut self, id: BrokerId) -> Option<&mut Broker> {
        self.pods[id.pod].broker.as_mut().filter(|broker| broker.id == id)
    }

    pub fn again(&mut self, id: BrokerId, millis: u64) {
        self.after(millis, Event::Broker(id));
    }

    fn becomes(&mut self, id: BrokerId, phase: Phase) {
        self.tell(|| format!("broker {id:?}: {phase:?}"));
        if let Some(broker) = self.broker_mut(id) {
            broker.phase = phase;
        }
    }

    fn logs(&mut self, id: BrokerId, sign: LogSign) {
        let pod = &self.pods[id.pod];
        let Some(agent) = &pod.agent else { return };
        let (incarnation, generation) = (pod.incarnation, agent.life.generation);
        let feeds = Doing::Feed(generation, Input::Log(sign));
        let late = self.dice.roll(1, 10);
        self.after(late, Event::Agent(id.pod, incarnation, feeds));
    }

    pub fn broker_event(&mut self, id: BrokerId) {
        let Some(broker) = self.broker_mut(id) else { return };
        let (phase, frozen) = (broker.phase, broker.frozen);
        let waits_for = [frozen, self.pods[id.pod].cut_storage].into_iter().flatten().max();
        if let Some(end) = waits_for {
            // It stands still, or in a call that does not return.
            let late = self.dice.roll(1, 20);
            self.again(id, end.saturating_sub(self.now) + late);
            return;
        }
        match phase {
            Phase::Stopping { .. } => self.dies(id),
            _ if self.rules.kind == Kind::Lease => self.goes_on_with_lease(id, phase),
            _ => self.goes_on_with_file(id, phase),
        }
    }

    fn goes_on_with_file(&mut self, id: BrokerId, phase: Phase) {
        match phase {
            Phase::Booting | Phase::Waiting => self.tries_file(id, phase),
            Phase::HoldingOff { waited } => {
                if waited && !self.has_its_file(id) {
                    self.loses(id);
                    return;
                }
                self.becomes(id, Phase::Recovering);
                let recovers = self.dice.roll(50, 300);
                self.again(id, recovers);
            }
            Phase::Recovering => {
                self.becomes(id, Phase::Serving);
                self.again(id, KEEP_ALIVE);
            }
            _ if self.rules.lacks(Mutation::KeepAliveZero) => {}
            _ if self.has_its_file(id) => self.again(id, KEEP_ALIVE),
            _ => self.loses(id),
        }
    }

    fn has_its_file(&mut self, id: BrokerId) -> bool {
        let seen = self.file_as_seen(id.pod);
        let fresh = self.file();
        let lost = self.broker_mut(id).is_some_and(|it| it.took != seen && it.took != fresh);
        !lost || self.rules.lacks(Mutation::KeepAliveZero)
    }

    fn loses(&mut self, id: BrokerId) {
        self.logs(id, LogSign::LockLost);
        self.stops(id);
    }

    pub fn stops(&mut self, id: BrokerId) {
        let writes = self.broker_mut(id).is_some_and(|broker| broker.writes());
        self.becomes(id, Phase::Stopping { writes });
        let takes = self.dice.roll(100, 800);
        self.again(id, takes);
    }

    fn tries_file(&mut self, id: BrokerId, phase: Phase) {
        let found = self.file();
        if self.lock_holder().is_some() {
            if phase == Phase::Booting {
                self.logs(id, LogSign::Waits);
                self.becomes(id, Phase::Waiting);
            }
            self.again(id, POLL);
            return;
        }
        let file = found.unwrap_or_else(|| self.new_file());
        let file = self.written(file);
        self.file_changes(Some(file));
        self.store.locks.push((file.inode, id));
        let mut stable = false;
        if let Some(broker) = self.broker_mut(id) {
            broker.took = Some(file);
            stable = broker.born == found;
        }
        let waited = phase == Phase::Waiting;
        self.becomes(id, Phase::HoldingOff { waited });
        let zero = self.rules.lacks(Mutation::KeepAliveZero);
        let takes = match (waited, stable) {
            _ if zero => 20,
            (true, _) => KEEP_ALIVE,
            // Who has not waited does not hold off.
            (false, true) => self.dice.roll(50, 200),
            // While it started, the file was deleted or replaced. That its way to the first write is
            // longer than a look and a kill then, is an assumption.
            (false, false) => self.dice.roll(450, 900),
        };
        self.again(id, takes);
    }

    fn goes_on_with_lease(&mut self, id: BrokerId, phase: Phase) {
        let now = self.database_now();
        let end = now + i64::try_from(LEASE).unwrap();
        match phase {
            Phase::Booting | Phase::Waiting => {
                let lease = self.store.lease;
                let free = lease.is_none_or(|(it, end)| self.same(it, id) || end <= now);
                let waits =
                    self.rules.fence && self.store.in_flight.is_some_and(|it| !self.same(it, id));
                if phase == Phase::Booting {
                    self.logs(id, LogSign::Waits);
                    self.becomes(id, Phase::Waiting);
                }
                if !free || waits {
                    self.again(id, POLL);
                    return;
                }
                self.store.lease = Some((id, end));
                self.becomes(id, Phase::Recovering);
                let recovers = self.dice.roll(50, 300);
                self.again(id, recovers);
            }
            _ => {
                if !self.has_lease(id) {
                    self.loses(id);
                    return;
                }
                self.store.lease = Some((id, end));
                if phase == Phase::Recovering {
                    self.becomes(id, Phase::Serving);
                }
                self.again(id, KEEP_ALIVE);
            }
        }
    }

    /// The process ends.
    pub fn dies(&mut self, id: BrokerId) {
        let Some(broker) = self.pods[id.pod].broker.take_if(|broker| broker.id == id) else {
            return;
        };
        self.tell(|| format!("broker {id:?} is dead"));
        let pod = &self.pods[id.pod];
        let told = pod.cut_storage.is_none() || self.rules.kind == Kind::Local;
        let (incarnation, agent) = (pod.incarnation, pod.agent.is_some());
        if told {
            self.store.locks.retain(|(_, holder)| *holder != id);
        }
        let stopped = matches!(broker.phase, Phase::Stopping { .. });
        if stopped && told && self.has_lease(id) {
            self.store.lease = None;
        }
        if stopped && self.store.in_flight == Some(id) {
            self.store.in_flight = None;
        }
        if agent {
            let late = self.dice.roll(1, 20);
            self.after(late, Event::Agent(id.pod, incarnation, Doing::Reaps(id)));
        }
    }

    /// The server has not heard of a node for too long.
    pub fn gives_up(&mut self, p: usize, since: u64) {
        let pod = &self.pods[p];
        if pod.cut_storage.is_some() && pod.cut_since == since {
            let before = self.store.locks.len();
            self.store.locks.retain(|(_, holder)| holder.pod != p);
            if before != self.store.locks.len() {
                self.tell(|| format!("the server gives up the lock of pod {p}"));
            }
        }
    }

    /// A transaction in flight is committed.
    pub fn commits(&mut self, id: BrokerId) {
        if self.store.in_flight.take_if(|it| *it == id).is_some()
            && self.store.lease.is_some_and(|(holder, _)| holder != id)
            && !self.rules.fence
        {
            self.fail(format!(
                "S1: a transaction of {id:?} is committed after its successor began"
            ));
        }
    }
}
