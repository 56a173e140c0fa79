//! What agents do about the record: the real rules of promotion.

use tandem::agent::machine::Input;

use crate::record::{NEW, Record, view};
use crate::rules::{Fault, Mutation};
use crate::world::{Promotion, World, Wrong};

impl World {
    /// The next step of a promotion.
    pub fn promote(&mut self, p: usize, stale: bool) {
        let reversed = self.rules.0.lacks(Mutation::ProofBeforeRead);
        match self.pods[p].promotion.take() {
            Some(Promotion::Begun) if reversed => {
                self.prove(p, Promotion::OnlyProven { newer: 0 });
            }
            Some(Promotion::OnlyProven { newer }) => {
                self.read(p, stale, |next| Promotion::Proven { next, newer });
            }
            Some(Promotion::Begun) => self.read(p, stale, Promotion::Read),
            Some(Promotion::Read(next)) => self.prove(p, Promotion::Proven { next, newer: 0 }),
            Some(Promotion::Proven { .. }) | None => {}
        }
    }

    fn prove(&mut self, p: usize, proven: Promotion) {
        if !self.proves(p) {
            self.pods[p].promotion = Some(Promotion::Begun);
            return;
        }
        // Whoever proved before has the older proof.
        for pod in &mut self.pods {
            if let Some(Promotion::Proven { newer, .. } | Promotion::OnlyProven { newer }) =
                &mut pod.promotion
            {
                *newer |= 1 << p;
            }
        }
        self.pods[p].promotion = Some(proven);
    }

    fn read(&mut self, p: usize, stale: bool, then: impl Fn(Record) -> Promotion) {
        let read = if stale { self.before } else { self.record };
        let read = read.unwrap_or(Record { version: NEW, ..Record::default() });
        let pod = &mut self.pods[p];
        let floor = if pod.storage { self.store.floor } else { 0 };
        pod.epoch_seen = pod.epoch_seen.max(read.epoch.unwrap_or_default()).max(floor);
        match read.next(pod.uid, pod.epoch_seen, pod.tried) {
            None => self.feed(p, Input::Promoted),
            Some(next) => pod.promotion = Some(then(next)),
        }
    }

    /// The write of a promotion; its answer may be lost.
    pub fn write(&mut self, p: usize, lost: bool) {
        let Some(Promotion::Proven { next, newer }) = self.pods[p].promotion.take() else {
            return;
        };
        let epoch = next.epoch.unwrap_or_default();
        let pod = &mut self.pods[p];
        pod.tried = Some(epoch);
        pod.epoch_seen = pod.epoch_seen.max(epoch);
        pod.promotion = Some(Promotion::Begun);
        let now = self.record.map_or(NEW, |record| record.version);
        if next.version != now && !self.rules.0.lacks(Mutation::UnconditionalWrite) {
            return;
        }
        self.check(epoch, newer);
        self.commit(next);
        if self.pods[p].storage {
            self.store.floor = self.store.floor.max(epoch);
        }
        if !lost {
            self.pods[p].promotion = None;
            self.feed(p, Input::Promoted);
        }
    }

    fn commit(&mut self, record: Record) {
        let version = self.fresh_version();
        let before = self.record.replace(Record { version, ..record });
        if self.rules.0.may(Fault::StaleRead) && self.faults > 0 {
            self.before = before;
        }
    }

    fn check(&mut self, epoch: u64, newer: u8) {
        let last = self.record.and_then(|record| record.uid);
        let last = last.and_then(|uid| self.pods.iter().position(|pod| pod.uid == uid));
        if epoch <= self.top_epoch {
            self.wrong = Some(Wrong::Epoch);
        }
        if last.is_some_and(|last| newer & (1 << last) != 0) {
            self.wrong = Some(Wrong::OlderProof);
        }
        self.top_epoch = self.top_epoch.max(epoch);
    }

    /// The record's watch tells.
    pub fn see_record(&mut self, p: usize) {
        let pod = &mut self.pods[p];
        let seen = self.record.and_then(|record| record.epoch).unwrap_or_default();
        pod.epoch_seen = pod.epoch_seen.max(seen);
        let view = view(self.record, pod.uid, pod.tried);
        self.feed(p, Input::Record(view));
    }

    /// The record is emptied, if it names this pod.
    pub fn empty(&mut self, p: usize) {
        self.pods[p].emptying = false;
        let pod = &self.pods[p];
        let rest = self.record.filter(|_| pod.api).and_then(|record| record.emptied(pod.uid));
        if let Some(record) = rest {
            self.commit(record);
        }
        self.feed(p, Input::Emptied);
    }
}
