//! What agents do: the real machine with its real timing, the real judgement of looks.

use std::mem::discriminant;

use tandem::agent::asked::Asked;
use tandem::agent::machine::{
    Act, ChildEvent, Claims, Deadline, Input, Peers, PreparationView, State, step,
};
use tandem::agent::motion::{Motion, Trace};
use tandem::broker::report::{AgentState, GreetingView, LockView};
use tandem::lock::track::{Life, Track};

use crate::broker::{Broker, Phase};
use crate::rules::{Kind, LEASE, Mutation, millis};
use crate::world::{Agent, BrokerId, Doing, Event, World};

impl World {
    pub fn boots(&mut self, p: usize) {
        let pod = &mut self.pods[p];
        // The container of a pod that was told to end is not started again.
        pod.over |= pod.deleted && pod.cut_api.is_none();
        if pod.over || pod.agent.is_some() {
            return;
        }
        self.tell(|| format!("pod {p}: its agent starts"));
        let (machine, acts) = State::begin(self.rules.machine());
        self.pods[p].incarnation += 1;
        self.pods[p].agent = Some(Agent {
            machine,
            timers: Vec::new(),
            track: Track::default(),
            life: Life { generation: 1, ..Life::default() },
            proven_until: None,
            ticket: 0,
            pause: 50,
            tried: None,
            seen: 0,
            last: None,
            looking: false,
            asked: Asked::default(),
            trace: Trace::default(),
            motion: Motion::default(),
            wakes: 0,
            told: 0,
            asking: false,
        });
        for act in acts {
            self.carries_out(p, act);
        }
        self.soon(p, 1, Doing::Look);
        self.shows_record(p, 30);
        self.soon(p, 1, Doing::Turns);
    }

    pub fn soon(&mut self, p: usize, millis: u64, doing: Doing) {
        let incarnation = self.pods[p].incarnation;
        self.after(millis, Event::Agent(p, incarnation, doing));
    }

    pub fn agent(&mut self, p: usize) -> &mut Agent {
        self.pods[p].agent.as_mut().expect("an agent that acts")
    }

    pub fn state(&self, p: usize) -> AgentState {
        self.pods[p].agent.as_ref().map_or(AgentState::Stopped, |agent| agent.machine.name())
    }

    /// One input for the machine.
    pub fn step(&mut self, p: usize, input: Input) -> Vec<Input> {
        let Some(agent) = &mut self.pods[p].agent else { return Vec::new() };
        let before = agent.machine.name();
        let (machine, acts) = step(std::mem::take(&mut agent.machine), input);
        agent.machine = machine;
        let after = agent.machine.name();
        if !agent.machine.wants_promotion() {
            agent.ticket += 1;
        }
        if before != after {
            self.tell(|| format!("pod {p}: {before:?} -> {after:?} on {input:?}"));
        }
        let inputs = acts.into_iter().filter_map(|act| self.carries_out(p, act)).collect();
        if let Some(agent) = &mut self.pods[p].agent {
            agent.life.greeted = after == AgentState::Master;
            let generation = agent.life.generation;
            let greeted = matches!(
                after,
                AgentState::Starting
                    | AgentState::Standby
                    | AgentState::Promoting
                    | AgentState::Master
            );
            if before != after && greeted {
                self.soon(p, 1, Doing::Greet(generation));
            }
        }
        inputs
    }

    fn carries_out(&mut self, p: usize, act: Act) -> Option<Input> {
        match act {
            Act::Prepare => {
                let takes =
                    if self.pods[p].cut_storage.is_some() { 1000 } else { self.dice.roll(10, 50) };
                self.soon(p, takes, Doing::Prepares);
            }
            Act::Start => return Some(self.starts(p)),
            Act::Stop => {
                if let Some(id) = self.pods[p].broker.as_ref().map(|broker| broker.id) {
                    self.stops(id);
                }
            }
            Act::Kill(reason) => {
                if let Some(id) = self.pods[p].broker.as_ref().map(|broker| broker.id) {
                    self.tell(|| format!("pod {p}: kills {id:?}: {reason:?}"));
                    let takes = self.dice.roll(1, 40);
                    self.after(takes, Event::Dies(id));
                }
            }
            Act::Promote => self.begins_promotion(p),
            Act::EmptyRecord => {
                let takes = self.dice.roll(5, 40);
                self.soon(p, takes, Doing::Empties);
            }
            Act::Release => {
                let end = self.now + LEASE;
                self.soon(p, 20, Doing::Releases(end));
            }
            Act::AskPeers => {
                let generation = self.agent(p).life.generation;
                let (takes, peers) = match self.pods[p].cut_api {
                    Some(_) => (300, Peers::Unknown),
                    None => (10, Peers::Others),
                };
                self.soon(p, takes, Doing::Feed(generation, Input::Peers(peers)));
            }
            Act::AskClaims => {
                let generation = self.agent(p).life.generation;
                let claims = self.claims(p);
                self.soon(p, 20, Doing::Feed(generation, Input::Claims(claims)));
            }
            Act::AskStandbys => {
                if self.may_step_down(p, None) {
                    let generation = self.agent(p).life.generation;
                    let takes = self.dice.roll(2, 300);
                    self.soon(p, takes, Doing::Feed(generation, Input::StepDown));
                }
            }
            Act::Arm(deadline) => self.arms(p, deadline),
            Act::Disarm(deadline) => {
                let agent = self.agent(p);
                agent.timers.retain(|(it, _)| discriminant(it) != discriminant(&deadline));
            }
            Act::Exit => self.exits(p),
        }
        None
    }

    /// What the agents of the other pods say of the lock, if this one hears of them.
    fn claims(&self, p: usize) -> Claims {
        let others = self.pods.iter().enumerate().filter(|(at, _)| *at != p);
        let mut agents = others.filter_map(|(_, pod)| pod.agent.as_ref());
        let claims = agents.any(|agent| matches!(agent.machine.lock(), LockView::Mine(_)));
        if claims && self.pods[p].cut_api.is_none() { Claims::Some } else { Claims::None }
    }

    fn arms(&mut self, p: usize, deadline: Deadline) {
        let mut length = millis(self.timing.of(deadline));
        if deadline == Deadline::LockFile && self.rules.lacks(Mutation::UnstableLockFile) {
            length = 0;
        }
        let now = self.now;
        let agent = self.agent(p);
        agent.timers.retain(|(it, _)| discriminant(it) != discriminant(&deadline));
        let at = match (deadline, agent.proven_until) {
            (Deadline::Proof, None) => return,
            (Deadline::Proof, Some(end)) => end.max(now),
            _ => now + length,
        };
        agent.timers.push((deadline, at));
        self.soon(p, at - now, Doing::Passes(deadline, at));
    }

    fn starts(&mut self, p: usize) -> Input {
        self.brokers += 1;
        let id = BrokerId { pod: p, number: self.brokers };
        self.tell(|| format!("pod {p}: starts {id:?}"));
        let proven = self.proven_from(self.now);
        let agent = self.agent(p);
        agent.tried = None;
        agent.proven_until = proven;
        agent.last = Some(id);
        (agent.trace, agent.motion, agent.wakes) = (Trace::default(), Motion::default(), 0);
        agent.life = Life {
            generation: agent.life.generation + 1,
            pid: Some(1),
            nonce: id.number,
            greeted: false,
        };
        let born = self.file();
        let broker =
            Broker { id, phase: Phase::Booting, frozen: None, frozen_since: 0, took: None, born };
        self.pods[p].broker = Some(broker);
        let boots = self.dice.roll(400, 1500);
        self.again(id, boots);
        Input::Child(ChildEvent::Started)
    }

    pub fn proven_from(&self, moment: u64) -> Option<u64> {
        let length = millis(self.timing.of(Deadline::Proof));
        (self.rules.kind != Kind::Local).then_some(moment + length)
    }

    fn exits(&mut self, p: usize) {
        self.tell(|| format!("pod {p}: ends"));
        self.pods[p].agent = None;
        self.pods[p].over = true;
    }

    pub fn act(&mut self, p: usize, doing: Doing) {
        match doing {
            Doing::Look => self.looks(p),
            Doing::Looked(started, life) => self.has_looked(p, started, life),
            Doing::Unanswered(started) => self.gets_no_answer(p, started),
            Doing::Greet(generation) => self.greets(p, generation),
            Doing::Passes(deadline, at) => self.passes(p, deadline, at),
            Doing::Feed(generation, input) => {
                if self.agent(p).life.generation == generation {
                    self.all_feeds(p, input);
                }
            }
            Doing::Reaps(id) => self.reaps(p, id),
            Doing::Prepares => {
                let reached = self.pods[p].cut_storage.is_none();
                let view = if reached { PreparationView::Ready } else { PreparationView::Refused };
                self.all_feeds(p, Input::Prepared(view));
            }
            Doing::Releases(end) => self.releases(p, end),
            Doing::Promotes { ticket, stage } => {
                if self.agent(p).ticket == ticket {
                    self.promotes(p, stage);
                }
            }
            Doing::SeesRecord(change, record) => self.sees_record(p, change, record.as_ref()),
            Doing::Empties => self.empties(p),
            Doing::Turns => self.turns(p),
            Doing::AsksStandbys => self.asks_standbys(p),
        }
    }

    fn passes(&mut self, p: usize, deadline: Deadline, at: u64) {
        let agent = self.agent(p);
        let armed = agent.timers.iter().position(|timer| *timer == (deadline, at));
        let Some(place) = armed else { return };
        agent.timers.remove(place);
        if deadline == Deadline::Proof && self.rules.lacks(Mutation::NoFencing) {
            return;
        }
        self.all_feeds(p, Input::DeadlinePassed(deadline));
    }

    fn reaps(&mut self, p: usize, id: BrokerId) {
        let agent = self.agent(p);
        if agent.last == Some(id) && agent.life.pid.is_some() {
            self.all_feeds(p, Input::Child(ChildEvent::Exited));
            let agent = self.agent(p);
            let generation = agent.life.generation + 1;
            agent.life = Life { generation, pid: None, nonce: agent.life.nonce, greeted: false };
            self.all_feeds(p, Input::Child(ChildEvent::Gone));
        }
    }

    pub fn greeting(&self, p: usize) -> GreetingView {
        match &self.pods[p].broker {
            Some(broker) if !broker.greets() => GreetingView::Refused,
            Some(broker) if broker.frozen.is_some() => GreetingView::Silent,
            Some(_) => GreetingView::Ok,
            None => GreetingView::Refused,
        }
    }

    fn greets(&mut self, p: usize, generation: u32) {
        let state = self.state(p);
        let period = match state {
            AgentState::Starting | AgentState::Standby => self.timing.waiting_greeting(),
            AgentState::Promoting => self.timing.promoting_greeting(),
            AgentState::Master => self.timing.master_greeting(),
            _ => return,
        };
        if self.agent(p).life.generation != generation {
            return;
        }
        let view = self.greeting(p);
        self.all_feeds(p, Input::Greeting(view));
        // A new state asks for itself.
        if self.state(p) == state {
            self.soon(p, millis(period), Doing::Greet(generation));
        }
    }

    fn releases(&mut self, p: usize, end: u64) {
        if self.pods[p].cut_storage.is_some() && self.now < end {
            self.soon(p, 200, Doing::Releases(end));
            return;
        }
        let last = self.agent(p).last;
        if let (Some(id), None) = (last, self.pods[p].cut_storage) {
            if self.store.in_flight == Some(id) && !self.rules.lacks(Mutation::SessionsLeft) {
                self.store.in_flight = None;
            }
            if self.has_lease(id) {
                self.store.lease = None;
                self.tell(|| format!("pod {p}: gives the lease of {id:?} back"));
            }
        }
        self.all_feeds(p, Input::Released);
    }
}
