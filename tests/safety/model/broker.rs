//! What brokers and their store do, as far as it matters for the lock: research on ActiveMQ Classic
//! 6.3.1, its `SharedFileLocker` and its `LeaseDatabaseLocker`.

use tandem::agent::machine::{LockKind, LogSign};

use crate::rules::Mutation;
use crate::world::{Broker, BrokerId, Kept, Phase, Pod, World, Wrong};

impl World {
    /// The broker's process ends.
    pub fn die(&mut self, p: usize) {
        let pod = &mut self.pods[p];
        let Some(broker) = pod.broker.take() else { return };
        pod.corpse = Some(broker.id);
        // The kernel tells the server; a server that cannot be told keeps the lock for a while.
        if pod.storage || self.rules.0.local {
            self.unlock(broker.id);
        }
    }

    pub fn unlock(&mut self, id: BrokerId) {
        if self.store.lock == Some(id) {
            self.store.lock = None;
        }
    }

    /// The broker's next step.
    pub fn go_on(&mut self, p: usize) {
        match self.rules.0.kind {
            LockKind::File => self.go_on_with_file(p),
            LockKind::Lease | LockKind::Log => self.go_on_with_lease(p),
        }
    }

    fn phase(&mut self, p: usize, phase: Phase) {
        if let Some(broker) = &mut self.pods[p].broker {
            broker.phase = phase;
        }
    }

    fn go_on_with_file(&mut self, p: usize) {
        let Some(broker) = self.pods[p].broker.clone() else { return };
        match broker.phase {
            Phase::Booting { .. } | Phase::Waiting => self.try_file(p, &broker),
            // It looks once more before it serves.
            Phase::HoldingOff { checks: true } if !broker.took => {
                self.log(p, LogSign::LockLost);
                self.die(p);
            }
            // It would stop politely.
            Phase::HoldingOff { .. } | Phase::Serving if !broker.took && self.checks() => {
                self.phase(p, Phase::Stopping(true));
                self.log(p, LogSign::LockLost);
            }
            Phase::HoldingOff { .. } => {
                if self.others_have_looked(p) || self.rules.0.lacks(Mutation::NoHoldOff) {
                    self.phase(p, Phase::Serving);
                }
            }
            Phase::Serving => {}
            Phase::Stopping(_) => self.die(p),
        }
    }

    /// Brokers look at their lock themselves, once in a keep-alive period, if that is not zero.
    fn checks(&self) -> bool {
        !self.rules.0.lacks(Mutation::NoHoldOff)
    }

    fn try_file(&mut self, p: usize, broker: &Broker) {
        if self.holder().is_some() {
            self.phase(p, Phase::Waiting);
            self.log(p, LogSign::Waits);
            return;
        }
        let phase = match broker.phase {
            // Who gets the lock at the first attempt begins at once: others had the time since the
            // agent's last look to see what has become of the file.
            Phase::Booting { stable: true } => Phase::Serving,
            // What happened meanwhile they see before the first write: that is longer after the lock
            // than a look and a kill take.
            Phase::Booting { stable: false } => Phase::HoldingOff { checks: false },
            _ => Phase::HoldingOff { checks: true },
        };
        if self.store.file {
            self.touch();
        } else {
            self.replace(true);
        }
        self.store.lock = Some(broker.id);
        if let Some(broker) = &mut self.pods[p].broker {
            broker.took = true;
            broker.phase = phase;
        }
    }

    /// The lock file is written.
    pub fn touch(&mut self) {
        for pod in &mut self.pods {
            if pod.kept == Kept::Current {
                pod.kept = Kept::Touched;
            }
        }
        self.changed();
    }

    /// There is another lock file than before, or none.
    pub fn replace(&mut self, file: bool) {
        for pod in &mut self.pods {
            pod.kept = match (pod.kept, self.store.file) {
                (Kept::Current | Kept::Touched, true) => Kept::Replaced,
                (Kept::Current, false) => Kept::Absent,
                // Nobody who waits misses that there was one in between: they look too often.
                (Kept::Absent, true) => Kept::Replaced,
                (other, _) => other,
            };
        }
        self.store.file = file;
        self.store.lock = None;
        self.changed();
    }

    fn changed(&mut self) {
        for pod in &mut self.pods {
            pod.looked = false;
            if let Some(broker) = &mut pod.broker {
                broker.took = false;
                if let Phase::Booting { stable } = &mut broker.phase {
                    *stable = false;
                }
            }
        }
    }

    /// Whoever can look has looked, and killed if it had to. A hold-off is longer than that; agents that
    /// cannot look have killed by then, or stand still as a whole.
    pub fn others_have_looked(&self, p: usize) -> bool {
        let others = self.pods.iter().enumerate().filter(|(q, _)| *q != p);
        let mut able = others.filter(|(_, pod)| pod.acts() && pod.storage && pod.broker.is_some());
        able.all(|(_, pod)| pod.looked && !pod.is_for_its_broker_to_see())
    }

    fn go_on_with_lease(&mut self, p: usize) {
        let Some(broker) = self.pods[p].broker.clone() else { return };
        match broker.phase {
            Phase::Booting { .. } | Phase::Waiting => {
                let free =
                    self.store.lease.is_none_or(|(holder, over)| over || holder == broker.id);
                // The fence lets a takeover wait for message transactions in flight.
                let waits =
                    self.rules.0.fence && self.store.in_flight.is_some_and(|id| id != broker.id);
                if !free || waits {
                    self.phase(p, Phase::Waiting);
                    self.log(p, LogSign::Waits);
                    return;
                }
                self.store.lease = Some((broker.id, false));
                self.phase(p, Phase::Serving);
            }
            Phase::HoldingOff { .. } | Phase::Serving => {
                if self.store.lease != Some((broker.id, false)) {
                    // Its renewal changes no row: it gives up, politely if nobody kills it.
                    self.phase(p, Phase::Stopping(true));
                    self.log(p, LogSign::LockLost);
                }
            }
            Phase::Stopping(_) => {
                if self.store.lease.is_some_and(|(holder, _)| holder == broker.id) {
                    self.store.lease = None;
                }
                if self.store.in_flight == Some(broker.id) {
                    self.store.in_flight = None;
                }
                self.die(p);
            }
        }
    }

    /// Brokers whose lock the server may give up: it does not hear of them, and fencing was in time.
    /// The one assumption on time that all of this rests on.
    pub fn given_up(&self) -> Vec<BrokerId> {
        let held: Vec<BrokerId> = match self.rules.0.kind {
            LockKind::File if self.rules.0.local => Vec::new(),
            LockKind::File => self.store.lock.into_iter().collect(),
            LockKind::Lease | LockKind::Log => {
                let runs = self.store.lease.filter(|(_, over)| !over);
                runs.map(|(holder, _)| holder).into_iter().collect()
            }
        };
        held.into_iter().filter(|id| self.may_be_given_up(*id)).collect()
    }

    fn may_be_given_up(&self, id: BrokerId) -> bool {
        let of = self.pods.iter().find(|pod| pod.broker.as_ref().is_some_and(|b| b.id == id));
        let Some(pod) = of else {
            // Dead. On a node that the server hears of, the kernel has told it, if it was a file; the
            // agent gives a lease back long before its end.
            let file = self.rules.0.kind == LockKind::File;
            let told = |pod: &Pod| {
                let tells = file && pod.uid == id.pod && !pod.off;
                pod.storage && (tells || (pod.acts() && pod.releasing == Some(id)))
            };
            return !self.pods.iter().any(told);
        };
        let stale = self.rules.0.kind == LockKind::Lease && pod.broker_is_frozen();
        let silent = !pod.storage || pod.off || pod.stands || stale;
        // Its agent would have killed it by now, were it able to.
        let nobody_kills = pod.frozen || pod.off || self.rules.0.lacks(Mutation::NoFencing);
        silent && nobody_kills
    }

    /// The server gives a lock up.
    pub fn give_up(&mut self, id: BrokerId) {
        match self.rules.0.kind {
            LockKind::File => self.unlock(id),
            LockKind::Lease | LockKind::Log => self.store.lease = Some((id, true)),
        }
    }

    /// A transaction in flight is committed.
    pub fn land(&mut self) {
        if let Some(id) = self.store.in_flight.take() {
            let successor = self.store.lease.is_some_and(|(holder, _)| holder != id);
            if successor && !self.rules.0.fence {
                self.wrong = Some(Wrong::LateCommit);
            }
        }
    }
}
