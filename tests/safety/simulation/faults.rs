//! Faults, what ends them, and whether the group is whole again.

use std::net::{IpAddr, Ipv4Addr};

use tandem::agent::machine::Input;
use tandem::broker::report::AgentState;
use tandem::broker::settings::RecordPort;
use tandem::core::promotion::{Author, Pod as RecordPod, names};

use crate::asked::Note;
use crate::broker::Phase;
use crate::rules::{Kind, LOCK_TIMEOUT, Rules};
use crate::world::{BrokerId, Event, Pod, World};

/// A fault, of which pod, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Crash(usize),
    FreezeBroker(usize, u64),
    /// The broker of a pod that waits for the lock.
    FreezeStandby(u64),
    /// The broker dies while its agent stands still.
    CrashUnseen(usize, u64),
    CutStorage(usize, u64),
    CutApi(usize, u64),
    RestartContainer(usize),
    DeletePod(usize),
    /// The master is asked to make way, if another one waits.
    StepDown,
    /// A pod's broker is to be kept down for a while.
    Fence(usize, u64),
    /// The master is asked to make way for this one, or another one, of those that wait.
    SwitchTo(usize),
    /// Replaced while it goes on: its node is cut off from the API server.
    ReplacePod(usize, u64),
    TouchLock,
    DeleteLock,
    ReplaceLock,
    DeleteRecord,
    StorageDown(u64),
    StaleReads(u64),
    LostAnswers(u64),
    SlowApi(u64),
    LateCommit(u64),
    ClockJumps(i64),
}

/// No fault is placed before the group is up, none after that.
const FIRST: u64 = 9_000;
const LAST: u64 = 24_000;
/// Long after everything is mended the group must be whole.
const PATIENCE: u64 = 150_000;

impl World {
    pub fn add_pod(&mut self, ordinal: usize) {
        let number = u8::try_from(self.pods.len()).unwrap();
        let author = Author {
            pod: RecordPod {
                name: format!("orders-{ordinal}"),
                namespace: "shop".to_owned(),
                uid: format!("uid{number}"),
                ips: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))],
                node: format!("n{number}"),
            },
            cluster: "orders".to_owned(),
            ports: vec![RecordPort { name: "openwire".to_owned(), port: 61616 }],
        };
        self.pods.push(Pod {
            author,
            incarnation: 0,
            agent: None,
            broker: None,
            cut_storage: None,
            cut_api: None,
            cut_since: 0,
            agent_frozen: None,
            deleted: false,
            over: false,
        });
        let late = self.dice.roll(1, 2000);
        self.after(late, Event::Boots(usize::from(number)));
    }

    /// A schedule by the dice.
    pub fn plan_faults(&mut self) {
        let count = self.dice.roll(1, 5);
        for _ in 0..count {
            let at = self.dice.roll(FIRST, LAST);
            let fault = self.any_fault();
            self.after(at, Event::Fault(fault));
        }
    }

    fn any_fault(&mut self) -> Fault {
        let Rules { kind, pods, .. } = self.rules;
        let p = self.dice.index(pods);
        let short = self.dice.roll(100, 3000);
        let long = self.dice.roll(200, 12_000);
        match self.dice.roll(0, 19) {
            0 => Fault::Crash(p),
            1 => Fault::FreezeBroker(p, long),
            2 => Fault::CrashUnseen(p, short),
            3 | 4 => Fault::CutStorage(p, long),
            5 => Fault::CutApi(p, long),
            6 => Fault::RestartContainer(p),
            7 => Fault::DeletePod(p),
            8 => Fault::ReplacePod(p, long),
            9 if kind == Kind::Lease => Fault::LateCommit(long),
            10 if kind == Kind::Lease => Fault::ClockJumps(long.cast_signed() - 6000),
            9 => Fault::TouchLock,
            10 => {
                if p == 0 {
                    Fault::DeleteLock
                } else {
                    Fault::ReplaceLock
                }
            }
            11 => Fault::StorageDown(long),
            14 => Fault::StepDown,
            16 => Fault::Fence(p, long),
            17 | 18 => Fault::SwitchTo(p),
            12 => Fault::StaleReads(long),
            13 => {
                if p == 0 {
                    Fault::LostAnswers(long)
                } else {
                    Fault::DeleteRecord
                }
            }
            _ => Fault::SlowApi(long),
        }
    }

    fn some_cannot_look(&self) -> bool {
        let cannot = |pod: &Pod| {
            let broker = pod.broker.as_ref().is_some_and(|broker| broker.frozen.is_some());
            pod.cut_storage.is_some() || pod.agent_frozen.is_some() || broker
        };
        self.pods.iter().any(cannot)
    }

    pub fn place(&mut self, fault: Fault) {
        let deletes = matches!(fault, Fault::DeleteLock | Fault::ReplaceLock);
        let blinds = matches!(
            fault,
            Fault::FreezeBroker(..)
                | Fault::FreezeStandby(_)
                | Fault::CrashUnseen(..)
                | Fault::CutStorage(..)
                | Fault::StorageDown(_)
        );
        // What the model names as expected: a lock file deleted under a holder that cannot look.
        let just_deleted = self.deleted_lock_at.is_some_and(|at| self.now < at + 3000);
        let known = (deletes && self.some_cannot_look()) || (blinds && just_deleted);
        if known && !self.reckless {
            return;
        }
        self.tell(|| format!("FAULT {fault:?}"));
        match fault {
            Fault::Crash(p) => self.crashes(p),
            Fault::FreezeBroker(p, length) => self.freezes(p, length),
            Fault::FreezeStandby(length) => {
                let waits = |p: &usize| self.state(*p) == AgentState::Standby;
                if let Some(p) = (0..self.pods.len()).find(waits) {
                    self.freezes(p, length);
                }
            }
            Fault::CrashUnseen(p, length) => {
                self.pods[p].agent_frozen = Some(self.lasts(p, length));
                self.crashes(p);
            }
            Fault::CutStorage(p, length) => self.cuts_storage(p, length),
            Fault::StorageDown(length) => {
                // No client's lock runs out while the server itself is away.
                let length = length.min(LOCK_TIMEOUT - 1000);
                for p in 0..self.pods.len() {
                    self.cuts_storage(p, length);
                }
            }
            Fault::CutApi(p, length) => self.pods[p].cut_api = Some(self.lasts(p, length)),
            Fault::RestartContainer(p) => self.restarts(p),
            Fault::DeletePod(p) => self.deletes(p),
            Fault::StepDown => self.asks_for_a_switchover(),
            Fault::Fence(p, length) => self.notes(Note::Fenced(p), length),
            Fault::SwitchTo(p) => self.notes(Note::SwitchTo(p), 0),
            Fault::ReplacePod(p, length) => {
                if !self.pods[p].deleted {
                    self.pods[p].cut_api = Some(self.lasts(p, length));
                    self.pods[p].deleted = true;
                    self.replaced(p);
                }
            }
            other => self.tampers(other),
        }
    }

    fn freezes(&mut self, p: usize, length: u64) {
        let (now, end) = (self.now, self.lasts(p, length));
        if let Some(broker) = &mut self.pods[p].broker {
            broker.frozen = Some(end);
            broker.frozen_since = now;
        }
    }

    fn tampers(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::TouchLock => {
                if let Some(file) = self.file() {
                    let file = self.written(file);
                    self.file_changes(Some(file));
                }
            }
            Fault::DeleteLock => {
                self.deleted_lock_at = Some(now);
                self.file_changes(None);
            }
            Fault::ReplaceLock => {
                self.deleted_lock_at = Some(now);
                let file = self.new_file();
                let file = self.written(file);
                self.file_changes(Some(file));
            }
            Fault::DeleteRecord => {
                self.api.before = self.api.record.take();
                self.announces();
            }
            Fault::StaleReads(length) => self.api.stale_until = now + length,
            Fault::LostAnswers(length) => self.api.lossy_until = now + length,
            Fault::SlowApi(length) => self.api.slow_until = now + length,
            Fault::LateCommit(length) => {
                let serves =
                    |pod: &&Pod| pod.broker.as_ref().is_some_and(|it| it.phase == Phase::Serving);
                let id = self
                    .pods
                    .iter()
                    .find(serves)
                    .and_then(|pod| pod.broker.as_ref())
                    .map(|it| it.id);
                if let Some(id) = id.filter(|id| self.has_lease(*id)) {
                    self.store.in_flight = Some(id);
                    self.after(length, Event::Commits(id));
                }
            }
            Fault::ClockJumps(by) => self.store.clock_ahead += by,
            _ => {}
        }
        let api = self.api.slow_until.max(self.api.stale_until).max(self.api.lossy_until);
        self.trouble_until = self.trouble_until.max(api).max(now + 1);
    }

    fn lasts(&mut self, p: usize, length: u64) -> u64 {
        let end = self.now + length;
        self.trouble_until = self.trouble_until.max(end);
        self.after(length, Event::Mends(p));
        end
    }

    fn crashes(&mut self, p: usize) {
        if let Some(id) = self.pods[p].broker.as_ref().map(|broker| broker.id) {
            self.dies(id);
        }
    }

    fn cuts_storage(&mut self, p: usize, length: u64) {
        if self.rules.kind == Kind::Local || self.pods[p].over {
            return;
        }
        let until = self.pods[p].cut_storage.unwrap_or_default();
        let fresh = until == 0;
        let end = self.lasts(p, length).max(until);
        self.pods[p].cut_storage = Some(end);
        if fresh {
            self.pods[p].cut_since = self.now;
            self.after(LOCK_TIMEOUT, Event::GivesUp(p, self.now));
        }
    }

    fn restarts(&mut self, p: usize) {
        if self.pods[p].agent.is_none() || self.pods[p].over {
            return;
        }
        // PID 1 takes the broker with it, and nobody is left who reaps it.
        self.pods[p].agent = None;
        self.crashes(p);
        let late = self.dice.roll(300, 1500);
        self.after(late, Event::Boots(p));
    }

    fn deletes(&mut self, p: usize) {
        if !self.pods[p].deleted
            && self.pods[p].agent.is_some()
            && self.pods[p].agent_frozen.is_none()
        {
            self.pods[p].deleted = true;
            self.replaced(p);
            self.all_feeds(p, Input::Terminate);
        }
    }

    fn asks_for_a_switchover(&mut self) {
        let somebody = |world: &Self, state| {
            (0..world.pods.len()).find(|p| world.state(*p) == state && !world.pods[*p].over)
        };
        let waits = somebody(self, AgentState::Standby).is_some();
        if let Some(master) = somebody(self, AgentState::Master).filter(|_| waits) {
            self.all_feeds(master, Input::StepDown);
        }
    }

    fn replaced(&mut self, p: usize) {
        let name = self.pods[p].author.pod.name.clone();
        let ordinal = name.rsplit('-').next().and_then(|it| it.parse().ok()).unwrap_or_default();
        self.add_pod(ordinal);
    }

    /// Whatever was to last until now is over.
    pub fn mends(&mut self, p: usize) {
        let now = self.now;
        let over = |end: &mut u64| *end <= now;
        let pod = &mut self.pods[p];
        pod.agent_frozen.take_if(over);
        let api = pod.cut_api.take_if(over).is_some();
        let storage = pod.cut_storage.take_if(over).is_some();
        if let Some(broker) = &mut pod.broker {
            broker.frozen.take_if(over);
        }
        let alive = pod.broker.as_ref().map(|broker| broker.id);
        if storage {
            let keeps = |holder: BrokerId| holder.pod != p || Some(holder) == alive;
            self.store.locks.retain(|(_, holder)| keeps(*holder));
        }
        self.tell(|| format!("pod {p}: something is mended"));
        if api && self.pods[p].agent.is_some() {
            self.shows_record(p, 40);
            if self.pods[p].deleted {
                self.all_feeds(p, Input::Terminate);
            }
        }
    }

    pub fn is_whole(&self) -> bool {
        let there: Vec<usize> = (0..self.pods.len()).filter(|p| !self.pods[*p].over).collect();
        let is = |p: &&usize, state| self.state(**p) == state;
        let masters: Vec<usize> =
            there.iter().filter(|p| is(p, AgentState::Master)).copied().collect();
        let waits = there.iter().filter(|p| is(p, AgentState::Standby)).count();
        let [master] = masters[..] else { return false };
        let led = self.api.record.as_ref().is_some_and(|it| names(it, &self.pods[master].author));
        let serves = self.pods[master].broker.as_ref().is_some_and(|it| it.phase == Phase::Serving);
        there.len() == self.rules.pods && waits + 1 == there.len() && led && serves
    }

    /// Goes on until the group is whole again after all faults, or something is wrong.
    pub fn runs(&mut self) {
        self.after(LAST + PATIENCE, Event::Ends);
        let mut whole_since = None;
        while self.turn() {
            let calm = self.now > LAST.max(self.trouble_until);
            if !calm || !self.is_whole() {
                whole_since = None;
            } else if self.now > *whole_since.get_or_insert(self.now) + 500 {
                return;
            }
        }
        if self.wrong.is_none() {
            let states: Vec<_> = (0..self.pods.len()).map(|p| self.state(p)).collect();
            self.fail(format!("L1: not whole long after the last fault: {states:?}"));
        }
    }
}
