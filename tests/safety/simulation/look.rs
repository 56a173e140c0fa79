//! What agents see of the lock, and what it means by the real judgement.

use std::time::Duration;

use tandem::agent::machine::{Input, LockKind};
use tandem::broker::report::{Evidence, LockView};
use tandem::lock::Observation;
use tandem::lock::lease::{Row, proven_for, seen};
use tandem::lock::track::Life;

use crate::rules::{Kind, LEASE, Mutation, millis};
use crate::world::{BrokerId, Doing, World};

impl World {
    pub fn looks(&mut self, p: usize) {
        let (now, life) = (self.now, self.agent(p).life);
        self.agent(p).looking = true;
        let takes = match self.pods[p].cut_storage {
            Some(end) => end - now + self.dice.roll(1, 30),
            None => self.dice.roll(1, 20),
        };
        let patience = millis(self.timing.probe_deadline());
        if takes > patience {
            self.soon(p, patience, Doing::Unanswered(now));
        }
        self.soon(p, takes, Doing::Looked(now, life));
    }

    pub fn gets_no_answer(&mut self, p: usize, started: u64) {
        if self.agent(p).looking {
            self.all_feeds(p, Input::Lock(LockView::Unknown));
            let patience = millis(self.timing.probe_deadline());
            if self.pods[p].agent.is_some() {
                self.soon(p, patience, Doing::Unanswered(started));
            }
        }
    }

    pub fn has_looked(&mut self, p: usize, started: u64, life: Life) {
        if let Some(end) = self.pods[p].cut_storage {
            let late = self.dice.roll(1, 30);
            self.soon(p, end - self.now + late, Doing::Looked(started, life));
            return;
        }
        self.agent(p).looking = false;
        let next = (started + millis(self.timing.probe_period())).max(self.now + 1);
        self.soon(p, next - self.now, Doing::Look);
        match self.rules.machine() {
            LockKind::Lease => self.judges_lease(p, started, life),
            _ => self.judges_file(p, started, life),
        }
    }

    pub fn observes(&self, p: usize, life: Life) -> Observation {
        let local = self.rules.kind == Kind::Local;
        let evidence = if local { Evidence::Kernel } else { Evidence::ClientTable };
        let view = match self.lock_holder() {
            None => LockView::Free,
            Some(id) if id.pod == p && life.pid.is_some() && id.number == life.nonce => {
                LockView::Mine(evidence)
            }
            Some(_) => LockView::Other,
        };
        Observation { view, file: self.file_as_seen(p), local, error: None }
    }

    fn judges_file(&mut self, p: usize, started: u64, life: Life) {
        let found = self.observes(p, life);
        let proven = self.proven_from(started);
        let agent = self.agent(p);
        let verdict = agent.track.judge(life, &found);
        let generation = life.generation;
        if agent.life.generation != generation {
            return;
        }
        agent.proven_until = proven;
        if let Some(file) = verdict.file {
            self.all_feeds(p, Input::LockFile(file));
        }
        let same = |world: &Self| {
            world.pods[p].agent.as_ref().is_some_and(|it| it.life.generation == generation)
        };
        if verdict.changed && same(self) {
            self.all_feeds(p, Input::LockChanged);
        }
        if same(self) {
            self.all_feeds(p, Input::Lock(verdict.view));
        }
    }

    pub fn lease_row(&self) -> Row {
        let now = self.database_now();
        let lacks = self.rules.lacks(Mutation::SameHolderIds);
        let holder = |id: BrokerId| {
            let pod = &self.pods[id.pod].author.pod;
            if lacks { pod.name.clone() } else { format!("{}.{}.{}", pod.name, pod.uid, id.number) }
        };
        Row {
            holder: self.store.lease.map(|(id, _)| holder(id)),
            left_millis: self.store.lease.map_or(0, |(_, end)| end - now),
            nobody: None,
            clock_offset_millis: 0,
        }
    }

    pub fn holder_id(&self, p: usize, life: Life) -> Option<String> {
        let pod = &self.pods[p].author.pod;
        let lacks = self.rules.lacks(Mutation::SameHolderIds);
        let own = if lacks {
            pod.name.clone()
        } else {
            format!("{}.{}.{}", pod.name, pod.uid, life.nonce)
        };
        life.pid.map(|_| own)
    }

    pub fn sees_lease(&self, p: usize, life: Life) -> (LockView, bool) {
        let of_this_pod = self.store.lease.is_some_and(|(id, _)| id.pod == p);
        seen(&self.lease_row(), self.holder_id(p, life).as_deref(), of_this_pod)
    }

    fn judges_lease(&mut self, p: usize, started: u64, life: Life) {
        let (view, ran_out) = self.sees_lease(p, life);
        let row = self.lease_row();
        let ours = self.holder_id(p, life);
        if self.agent(p).life.generation != life.generation {
            return;
        }
        if let Some(ours) = ours {
            let proven = millis(proven_for(&row, &ours, Duration::from_millis(LEASE)));
            self.agent(p).proven_until = Some(started + proven);
        }
        if ran_out {
            self.all_feeds(p, Input::LockChanged);
        }
        if self.pods[p].agent.as_ref().is_some_and(|it| it.life.generation == life.generation) {
            self.all_feeds(p, Input::Lock(view));
        }
    }
}
