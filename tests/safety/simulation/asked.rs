//! What the record asks of agents besides promotions: the agents' real reading of it, and the operator's
//! part in as few words as possible.

use std::time::Duration;

use serde_json::{Value, json};
use tandem::agent::machine::{Child, Input};
use tandem::agent::motion::{Sample, Sign};
use tandem::api::labels;
use tandem::broker::report::{AgentState, LockView};
use tandem::core::promotion::epoch;
use tandem::core::switchover::StepDown;

use crate::rules::Mutation;
use crate::world::{Doing, Event, Pod, World};

/// What the operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// This pod's broker is to be kept down.
    Fenced(usize),
    /// The master is to make way for this one of those that wait.
    SwitchTo(usize),
    /// Nobody is kept down any more.
    NoneFenced,
    /// The request is refused, or of no use any more.
    NoRequest,
}

/// From one turn of an agent's loop to the next.
const TURN: u64 = 1000;
/// An agent tells within this that its standby stands still: its patience, two turns.
const TOLD_WITHIN: u64 = 5_500;
/// The operator refuses a request that was not carried out by then.
const PATIENCE: u64 = 15_000;

impl World {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// The loop turns at least so often.
    pub fn turns(&mut self, p: usize) {
        self.samples(p);
        self.follows_requests(p);
        self.soon(p, TURN, Doing::Turns);
    }

    /// What the kernel counts of the broker process.
    fn samples(&mut self, p: usize) {
        let broker = self.pods[p].broker.as_ref();
        let (there, frozen) = (broker.is_some(), broker.is_some_and(|it| it.frozen.is_some()));
        // A call to its storage does not return.
        let blocked = self.pods[p].cut_storage.is_some();
        let (now, state, patience) = (self.elapsed(), self.state(p), self.timing.patience());
        let lacks = self.rules.lacks(Mutation::NoProofOfLife);
        let agent = self.agent(p);
        agent.wakes += u64::from(!frozen && !blocked);
        let sample = Sample { wakes: agent.wakes, blocked, ..Sample::default() };
        agent.motion = agent.trace.see(now, there.then_some(sample), patience);
        if agent.motion.hangs(state, patience) && !lacks {
            self.all_feeds(p, Input::Hung);
        }
    }

    /// Whether its agent says that its broker, which waits, moves.
    fn moves(&self, q: usize) -> bool {
        let agent = self.pods[q].agent.as_ref();
        let moves = agent.is_some_and(|agent| agent.motion.tries == Sign::Moves);
        moves || self.rules.lacks(Mutation::NoProofOfLife)
    }

    /// No master steps down for a standby that has stood still for longer than it takes to notice.
    fn checks_that_it_moves(&mut self, p: usize) {
        let now = self.now;
        let stands = |pod: &Pod| {
            let broker = pod.broker.as_ref().filter(|it| it.frozen.is_some());
            broker.is_some_and(|it| now > it.frozen_since + TOLD_WITHIN)
        };
        let waits = |q: &usize| *q != p && self.state(*q) == AgentState::Standby;
        let mut waiting = (0..self.pods.len()).filter(waits).peekable();
        if waiting.peek().is_some() && waiting.all(|q| stands(&self.pods[q])) {
            self.fail(format!("S13: pod {p} makes way, and all that wait have long stood still"));
        }
    }

    /// Only the watch counts, which keeps the order; a record that is read on the way may be older.
    pub fn is_asked(&mut self, p: usize, change: u64, record: Option<&Value>) {
        let (now, author) = (self.elapsed(), self.pods[p].author.clone());
        let agent = self.agent(p);
        if change >= agent.told {
            agent.told = change;
            agent.asked.see(record, &author, now);
        }
    }

    /// Does what was last seen on the record.
    pub fn follows_requests(&mut self, p: usize) {
        let now = self.elapsed();
        let agent = self.agent(p);
        let hold = agent.asked.keeps_down(now);
        if hold != agent.machine.keeps_down() {
            self.all_feeds(p, Input::Hold(hold));
        }
        if self.way_for(p).is_some() && !self.agent(p).asking {
            self.agent(p).asking = true;
            self.soon(p, 1, Doing::AsksStandbys);
        }
    }

    /// The request by which this pod's master is to make way.
    fn way_for(&mut self, p: usize) -> Option<StepDown> {
        let (now, master) = (self.elapsed(), self.state(p) == AgentState::Master);
        let agent = self.agent(p);
        agent.asked.steps_down(agent.tried, now).filter(|_| master).cloned()
    }

    pub fn asks_standbys(&mut self, p: usize) {
        let Some(request) = self.way_for(p) else {
            self.agent(p).asking = false;
            return;
        };
        if self.may_step_down(p, request.to.as_deref()) {
            let generation = self.agent(p).life.generation;
            self.checks_that_it_moves(p);
            let takes = self.dice.roll(2, 300);
            self.soon(p, takes, Doing::Feed(generation, Input::StepDown));
        }
        let again = self.dice.roll(202, 500);
        self.soon(p, again, Doing::AsksStandbys);
    }

    /// As the other agents would say at this moment.
    pub fn may_step_down(&self, p: usize, to: Option<&str>) -> bool {
        let wanted = |q: usize| to.is_none_or(|to| self.pods[q].author.pod.name == to);
        let answers = |q: usize| self.pods[q].agent_frozen.is_none();
        let waits = |q: usize| {
            let agent = self.pods[q].agent.as_ref().filter(|_| answers(q));
            self.state(q) == AgentState::Standby
                && agent.is_some_and(|agent| agent.machine.lock() == LockView::Other)
                && self.moves(q)
        };
        let idle = |q: usize| {
            let agent = self.pods[q].agent.as_ref().filter(|_| answers(q));
            agent.is_some_and(|agent| agent.machine.child() == Child::Absent)
        };
        let others = || (0..self.pods.len()).filter(|q| *q != p && !self.pods[*q].over);
        self.pods[p].cut_api.is_none()
            && others().any(|q| wanted(q) && waits(q))
            && (to.is_none() || others().all(|q| wanted(q) || idle(q)))
    }

    /// The operator writes, and takes it back later.
    pub fn notes(&mut self, note: Note, length: u64) {
        let Some(mut record) = self.api.record.clone() else { return };
        let mut annotate = |key: &str, value: Value| {
            let Some(notes) = record["metadata"]["annotations"].as_object_mut() else { return };
            notes.remove(key);
            notes.extend((!value.is_null()).then(|| (key.to_owned(), value)));
        };
        let end = match note {
            Note::Fenced(p) => {
                let name = &self.pods[p].author.pod.name;
                annotate(labels::FENCED, json!([name]).to_string().into());
                (length, Note::NoneFenced)
            }
            Note::SwitchTo(at) => {
                let Some(request) = self.switchover(&self.pods[at].author.pod.name) else { return };
                self.wanted = request["to"].as_str().map(str::to_owned);
                annotate(labels::STEP_DOWN, request.to_string().into());
                (PATIENCE, Note::NoRequest)
            }
            Note::NoneFenced => {
                annotate(labels::FENCED, Value::Null);
                (0, note)
            }
            Note::NoRequest => {
                annotate(labels::STEP_DOWN, Value::Null);
                (0, note)
            }
        };
        self.tell(|| format!("the operator writes {note:?}"));
        self.commits_record(record);
        if end.1 != note {
            self.trouble_until = self.trouble_until.max(self.now + end.0);
            self.after(end.0, Event::Notes(end.1));
        }
    }

    /// To the wanted pod if it waits, or to any that does.
    fn switchover(&self, wanted: &str) -> Option<Value> {
        let record = self.api.record.as_ref()?;
        let from = record["metadata"]["annotations"][labels::MASTER].as_str()?;
        let there = (0..self.pods.len()).filter(|q| !self.pods[*q].over);
        let waits = there.filter(|q| self.state(*q) == AgentState::Standby);
        let mut names: Vec<&str> =
            waits.map(|q| self.pods[q].author.pod.name.as_str()).filter(|it| *it != from).collect();
        names.sort_by_key(|name| *name != wanted);
        let to = names.first()?;
        Some(json!({
            "id": self.now.to_string(), "at": "2026-01-01T00:00:00Z", "epoch": epoch(record)?,
            "from": from, "to": to,
        }))
    }
}
