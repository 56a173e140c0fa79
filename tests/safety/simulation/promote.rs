//! The record: agents' real rules of promotion against an API server that may be slow, stale, and lose
//! answers.

use jiff::Timestamp;
use serde_json::Value;
use tandem::agent::machine::{Input, RecordView};
use tandem::broker::report::{GreetingView, LockView};
use tandem::core::promotion::{Claim, Next, emptied, epoch, is_newer, is_ours, next, shell};

use crate::rules::{Kind, Mutation};
use crate::world::{Doing, Event, Put, Stage, World};

impl World {
    /// What a promotion has to prove, at this moment.
    pub fn proves(&mut self, p: usize) -> bool {
        if self.pods[p].cut_storage.is_some() {
            return false;
        }
        let life = self.agent(p).life;
        let mine = if self.rules.kind == Kind::Lease {
            self.sees_lease(p, life).0
        } else {
            let found = self.observes(p, life);
            let verdict = self.agent(p).track.judge(life, &found);
            if verdict.changed { LockView::Unknown } else { verdict.view }
        };
        matches!(mine, LockView::Mine(_)) && self.greeting(p) == GreetingView::Ok
    }

    /// The first step of a promotion.
    pub fn begins_promotion(&mut self, p: usize) {
        let agent = self.agent(p);
        agent.ticket += 1;
        agent.pause = 50;
        let ticket = agent.ticket;
        self.soon(p, 1, Doing::Promotes { ticket, stage: Stage::Read });
    }

    fn request(&mut self) -> u64 {
        if self.now < self.api.slow_until {
            self.dice.roll(500, 4000)
        } else {
            self.dice.roll(1, 10)
        }
    }

    fn goes_on(&mut self, p: usize, millis: u64, stage: Stage) {
        let ticket = self.agent(p).ticket;
        self.soon(p, millis, Doing::Promotes { ticket, stage });
    }

    fn tries_again(&mut self, p: usize) {
        let agent = self.agent(p);
        let pause = agent.pause;
        agent.pause = (2 * pause).min(1000);
        self.goes_on(p, pause, Stage::Read);
    }

    pub fn promotes(&mut self, p: usize, stage: Stage) {
        match stage {
            Stage::Read => self.reads(p),
            Stage::HasRead(record, proven) => self.has_read(p, record, proven),
            Stage::Prove(record) => {
                let proven = self.now;
                if self.proves(p) {
                    self.sends(p, record, proven);
                } else {
                    self.tries_again(p);
                }
            }
            Stage::Answered(Ok(epoch)) => {
                self.store.floor = self.store.floor.max(epoch);
                self.all_feeds(p, Input::Promoted);
            }
            Stage::Answered(Err(())) => self.tries_again(p),
        }
    }

    fn reads(&mut self, p: usize) {
        let mut proven = None;
        if self.rules.lacks(Mutation::ProofBeforeRead) {
            if !self.proves(p) {
                self.tries_again(p);
                return;
            }
            proven = Some(self.now);
        }
        let takes = self.request();
        if self.pods[p].cut_api.is_some() {
            self.goes_on(p, 1000, Stage::Answered(Err(())));
            return;
        }
        let stale = self.now < self.api.stale_until;
        let record = if stale { self.api.before.clone() } else { self.api.record.clone() };
        // The wrong way round, it is read when the request arrives.
        let record = if proven.is_some() { None } else { record };
        self.goes_on(p, takes, Stage::HasRead(record, proven));
    }

    fn has_read(&mut self, p: usize, record: Option<Value>, proven: Option<u64>) {
        let record = if proven.is_some() { self.api.record.clone() } else { record };
        let Some(record) = record else {
            self.creates(p);
            self.tries_again(p);
            return;
        };
        let (floor, author) = (self.store.floor, self.pods[p].author.clone());
        let agent = self.agent(p);
        agent.seen = agent.seen.max(epoch(&record).unwrap_or_default()).max(floor);
        let claim = Claim {
            floor: agent.seen,
            tried: agent.tried,
            takeover_millis: 0,
            store: None,
            now: Timestamp::UNIX_EPOCH,
        };
        match (next(&record, &author, &claim), proven) {
            (Ok(Next::Ours { .. }), _) => self.all_feeds(p, Input::Promoted),
            (Ok(Next::Write { record, .. }), Some(proven)) => self.sends(p, record, proven),
            (Ok(Next::Write { record, .. }), None) => self.goes_on(p, 1, Stage::Prove(record)),
            (Err(error), _) => self.fail(format!("a record of ours: {error}")),
        }
    }

    fn creates(&mut self, p: usize) {
        if self.api.record.is_none() && self.pods[p].cut_api.is_none() {
            let record = shell(&self.pods[p].author);
            self.commits_record(record);
        }
    }

    fn sends(&mut self, p: usize, record: Value, proven: u64) {
        let epoch = epoch(&record).unwrap_or_default();
        let agent = self.agent(p);
        agent.tried = Some(epoch);
        agent.seen = agent.seen.max(epoch);
        let (ticket, agent) = (agent.ticket, self.pods[p].incarnation);
        if self.pods[p].cut_api.is_some() {
            self.goes_on(p, 1000, Stage::Answered(Err(())));
            return;
        }
        let takes = self.request();
        self.after(takes, Event::Put(Put { pod: p, agent, ticket, record, proven }));
    }

    /// A write arrives. It does so even if its sender has given up by now.
    pub fn put(&mut self, put: &Put) {
        let Put { pod: p, agent, ticket, proven, record } = put;
        let (p, proven) = (*p, *proven);
        let version =
            |record: &Value| record["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let current = self.api.record.as_ref().and_then(version);
        let conditional = !self.rules.lacks(Mutation::UnconditionalWrite);
        let fits = current == version(record) || !conditional;
        let epoch = epoch(record).unwrap_or_default();
        let lost = self.now < self.api.lossy_until && self.dice.one_in(2);
        let mut answer = Err(());
        if fits {
            self.tell(|| format!("the record names pod {p} by epoch {epoch}"));
            if epoch <= self.api.top_epoch {
                self.fail(format!("S2: epoch {epoch} after {}", self.api.top_epoch));
            }
            if proven < self.api.proven {
                let newer = self.api.proven;
                self.fail(format!("S3: proven at {proven} ms, over a proof of {newer} ms"));
            }
            self.api.top_epoch = self.api.top_epoch.max(epoch);
            self.api.proven = proven;
            self.commits_record(record.clone());
            if !lost {
                answer = Ok(epoch);
            }
        }
        let stage = Stage::Answered(answer);
        self.after(1, Event::Agent(p, *agent, Doing::Promotes { ticket: *ticket, stage }));
    }

    pub fn commits_record(&mut self, mut record: Value) {
        self.api.version += 1;
        record["metadata"]["resourceVersion"] = self.api.version.to_string().into();
        self.api.before = self.api.record.replace(record);
        self.announces();
    }

    /// The watches tell; those of a server that lags behind when it has caught up.
    pub fn announces(&mut self) {
        let lag = self.api.stale_until.saturating_sub(self.now);
        self.api.changes += 1;
        for p in 0..self.pods.len() {
            let late = lag + self.dice.roll(2, 50);
            if self.pods[p].cut_api.is_none() {
                self.shows_record(p, late);
            }
        }
    }

    pub fn shows_record(&mut self, p: usize, late: u64) {
        let seen = Doing::SeesRecord(self.api.changes, self.api.record.clone());
        self.soon(p, late, seen);
    }

    pub fn sees_record(&mut self, p: usize, change: u64, record: Option<&Value>) {
        let author = self.pods[p].author.clone();
        let agent = self.agent(p);
        agent.seen = agent.seen.max(record.and_then(epoch).unwrap_or_default());
        let view = match record {
            Some(record) if is_ours(record, &author, agent.tried) => RecordView::Ours,
            Some(record) if is_newer(record, &author, agent.tried) => RecordView::Newer,
            Some(_) | None => RecordView::Astray,
        };
        self.is_asked(p, change, record);
        self.all_feeds(p, Input::Record(view));
        if self.pods[p].agent.is_some() {
            self.follows_requests(p);
        }
    }

    pub fn empties(&mut self, p: usize) {
        if self.pods[p].cut_api.is_none()
            && let Some(record) = &self.api.record
            && let Ok(Some(rest)) = emptied(record, &self.pods[p].author)
        {
            self.tell(|| format!("pod {p}: empties the record"));
            self.commits_record(rest);
        }
        self.all_feeds(p, Input::Emptied);
    }
}
