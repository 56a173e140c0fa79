//! Faults, and what ends them.

use tandem::agent::machine::Input;
use tandem::broker::report::AgentState;

use crate::rules::Fault;
use crate::world::{Phase, Pod, REPLACED, World, ordinal};

impl World {
    /// Whether this fault would do something to this pod.
    pub fn can_suffer(&self, p: usize, fault: Fault) -> bool {
        let pod = &self.pods[p];
        let lives = pod.broker.is_some();
        match fault {
            Fault::Crash => lives,
            Fault::FreezeBroker => lives && !pod.broker_is_frozen(),
            Fault::RestartAgent | Fault::PowerLoss => !pod.off,
            Fault::FreezeAgent => pod.acts(),
            Fault::FreezeNode => pod.acts() && lives,
            Fault::CutStorage => pod.storage && !pod.off,
            Fault::CutApi => pod.api && !pod.off,
            Fault::ReplacePod => pod.acts() && lives && !self.is_replaced(p) && pod.uid < REPLACED,
            Fault::Terminate => pod.acts(),
            Fault::StepDown => pod.acts() && pod.machine.name() == AgentState::Master,
            Fault::Hold => pod.acts() && !pod.machine.keeps_down(),
            Fault::TouchLock | Fault::DeleteLock => p == 0 && self.store.file,
            Fault::DeleteRecord => p == 0 && self.record.is_some(),
            Fault::LateCommit => {
                let serves = |phase: Phase| matches!(phase, Phase::Serving);
                self.store.in_flight.is_none()
                    && pod.storage
                    && pod.broker.as_ref().is_some_and(|b| serves(b.phase) && !b.frozen)
            }
            // They befall single requests.
            Fault::StaleRead | Fault::LostAnswer => false,
        }
    }

    /// Places a fault.
    pub fn suffer(&mut self, p: usize, fault: Fault) {
        match fault {
            Fault::Crash => self.die(p),
            Fault::FreezeBroker => self.freeze_broker(p, true),
            Fault::RestartAgent => {
                self.die(p);
                self.start_anew(p);
            }
            Fault::FreezeAgent => self.pods[p].frozen = true,
            Fault::FreezeNode => {
                self.pods[p].frozen = true;
                self.pods[p].stands = true;
                self.freeze_broker(p, true);
            }
            Fault::PowerLoss => {
                self.pods[p].storage = false;
                self.die(p);
                self.pods[p].off = true;
            }
            Fault::CutStorage => self.pods[p].storage = false,
            Fault::CutApi => self.pods[p].api = false,
            Fault::ReplacePod => {
                self.pods[p].api = false;
                self.add(self.pods[p].uid + REPLACED);
            }
            Fault::Terminate => self.feed(p, Input::Terminate),
            // Whether somebody waits is the agent's question before; here it may have been answered wrongly.
            Fault::StepDown => self.feed(p, Input::StepDown),
            Fault::Hold => self.feed(p, Input::Hold(true)),
            Fault::TouchLock => {
                self.touch();
            }
            Fault::DeleteLock => self.replace(false),
            Fault::DeleteRecord => self.record = None,
            Fault::LateCommit => {
                self.store.in_flight = self.pods[p].broker.as_ref().map(|broker| broker.id);
            }
            Fault::StaleRead | Fault::LostAnswer => {}
        }
    }

    fn freeze_broker(&mut self, p: usize, frozen: bool) {
        if let Some(broker) = &mut self.pods[p].broker {
            broker.frozen = frozen;
        }
    }

    /// The container starts anew, with an agent that remembers nothing.
    fn start_anew(&mut self, p: usize) {
        let Pod { uid, storage, api, .. } = self.pods[p];
        let (pod, acts) = Pod::new(uid, self.rules.0);
        self.pods[p] = Pod { storage, api, ..pod };
        for input in self.carry_out(p, acts) {
            self.feed(p, input);
        }
    }

    pub fn is_replaced(&self, p: usize) -> bool {
        let uid = self.pods[p].uid;
        self.pods.iter().any(|other| other.uid > uid && ordinal(other.uid) == ordinal(uid))
    }

    /// Whether something is wrong with this pod that can be mended.
    pub fn is_ill(&self, p: usize) -> bool {
        let pod = &self.pods[p];
        let ended = pod.off && pod.storage;
        let cut = !pod.storage || !pod.api;
        let replaced = self.is_replaced(p);
        // A pod that is replaced stays off once it ended.
        if replaced && pod.off {
            return false;
        }
        // Unless its node hears again that it was deleted, it goes on for ever.
        let cut = if replaced && !self.rules.0.ends { !pod.storage } else { cut };
        let held = pod.acts() && pod.machine.keeps_down();
        let stopped = self.rules.0.thaws && pod.broker_is_frozen();
        pod.frozen || stopped || cut || ended || held
    }

    /// Mends what is wrong: thaws, plugs in, powers on; a pod that ended is replaced.
    pub fn mend(&mut self, p: usize) {
        let (replaced, ends, ill) = (self.is_replaced(p), self.rules.0.ends, self.pods[p].clone());
        let pod = &mut self.pods[p];
        if ill.frozen || ill.broker_is_frozen() {
            (pod.late, pod.frozen, pod.stands) = (pod.frozen, false, false);
            self.freeze_broker(p, false);
            return;
        }
        if pod.acts() && pod.machine.keeps_down() {
            self.feed(p, Input::Hold(false));
            return;
        }
        (pod.storage, pod.api) = (true, pod.api || !replaced || ends);
        // Its kernel gives back what it held, or never knew of it.
        let alive = pod.broker.as_ref().map(|broker| broker.id);
        self.store.lock = self.store.lock.filter(|it| it.pod != ill.uid || Some(*it) == alive);
        if ill.off {
            self.start_anew(p);
        } else if replaced && ends && !ill.api {
            // Its node hears that it was deleted.
            self.feed(p, Input::Terminate);
        }
    }
}
