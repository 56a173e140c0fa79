//! What agents do: the real machine and the real judgement of looks.

use std::collections::VecDeque;

use tandem::agent::machine::{
    Act, ChildEvent, Claims, Deadline, Input, LockKind, LogSign, Peers, PreparationView, step,
};
use tandem::broker::report::{AgentState, Evidence, GreetingView, LockView};
use tandem::lock::lease::{Row, seen};
use tandem::lock::track::{Life, Track, Verdict};
use tandem::lock::{FileIdentity, Observation};

use crate::rules::Mutation;
use crate::world::{Broker, Kept, Phase, Promotion, World, ordinal};

impl World {
    /// One input, and all that follows from it at once.
    pub fn feed(&mut self, p: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let (machine, acts) = step(std::mem::take(&mut self.pods[p].machine), input);
            self.pods[p].machine = machine;
            inputs.extend(self.carry_out(p, acts));
            let pod = &mut self.pods[p];
            if !pod.machine.wants_promotion() {
                pod.promotion = None;
            }
        }
    }

    /// Carries out what the machine wants, and tells what comes of it at once.
    pub fn carry_out(&mut self, p: usize, acts: Vec<Act>) -> Vec<Input> {
        let mut inputs = Vec::new();
        for act in acts {
            match act {
                Act::Start => inputs.push(self.start(p)),
                Act::Stop => {
                    if let Some(broker) = &mut self.pods[p].broker {
                        broker.phase = Phase::Stopping(broker.writes());
                    }
                }
                Act::Kill(_) => self.die(p),
                Act::Release => self.pods[p].releasing = self.pods[p].corpse.take(),
                // Enough time between the ends of two brokers: the back-off, which only delays a start
                // that can be late anyway, begins anew.
                Act::Arm(Deadline::Health) => inputs.push(Input::DeadlinePassed(Deadline::Health)),
                Act::Arm(Deadline::Proof) if self.rules.0.local => {}
                other => inputs.extend(self.note(p, other)),
            }
        }
        inputs
    }

    /// What an agent keeps in mind.
    fn note(&mut self, p: usize, act: Act) -> Option<Input> {
        let unstable = self.rules.0.lacks(Mutation::UnstableLockFile);
        let (claims, waits) = (self.claims(p), self.somebody_waits(p));
        let pod = &mut self.pods[p];
        match act {
            Act::Prepare => pod.preparing = true,
            Act::Promote => pod.promotion = Some(Promotion::Begun),
            Act::EmptyRecord => pod.emptying = true,
            Act::AskPeers => {
                return Some(Input::Peers(if pod.api { Peers::Others } else { Peers::Unknown }));
            }
            Act::AskClaims => return Some(Input::Claims(claims)),
            Act::AskStandbys => return waits.then_some(Input::StepDown),
            Act::Arm(Deadline::LockFile) if unstable => {
                return Some(Input::DeadlinePassed(Deadline::LockFile));
            }
            Act::Arm(deadline) => pod.arm(deadline),
            Act::Disarm(deadline) => pod.disarm(deadline),
            Act::Exit => pod.off = true,
            Act::Start | Act::Stop | Act::Kill(_) | Act::Release => {}
        }
        None
    }

    /// What the agents of the other pods say of the lock, if this one hears of them.
    fn claims(&self, p: usize) -> Claims {
        let mut others = self.pods.iter().enumerate().filter(|(at, pod)| *at != p && pod.acts());
        let claims = others.any(|(_, pod)| matches!(pod.machine.lock(), LockView::Mine(_)));
        if claims && self.pods[p].api { Claims::Some } else { Claims::None }
    }

    /// Whether another pod's agent says that its broker waits for the lock, if this one hears of it.
    fn somebody_waits(&self, p: usize) -> bool {
        let mut others = self.pods.iter().enumerate().filter(|(at, pod)| *at != p && pod.acts());
        let waits = others.any(|(_, pod)| {
            pod.machine.name() == AgentState::Standby
                && pod.machine.lock() == LockView::Other
                && !pod.broker_is_frozen()
        });
        waits && self.pods[p].api
    }

    /// Whether the broker, before it serves, may have shown no sign of life for long enough.
    pub fn shows_no_life(&self, p: usize) -> bool {
        let early = matches!(
            self.pods[p].machine.name(),
            AgentState::Starting | AgentState::Standby | AgentState::Promoting
        );
        early && self.pods[p].broker_is_frozen() && !self.rules.0.lacks(Mutation::NoProofOfLife)
    }

    fn start(&mut self, p: usize) -> Input {
        let id = self.fresh_broker(p);
        let pod = &mut self.pods[p];
        assert!(pod.broker.is_none(), "a second child");
        let phase = Phase::Booting { stable: pod.looked };
        pod.tried = None;
        pod.forget_looks();
        pod.broker = Some(Broker { id, phase, frozen: false, took: false });
        Input::Child(ChildEvent::Started)
    }

    /// A look at the lock that is answered.
    pub fn look(&mut self, p: usize) {
        self.pods[p].late = false;
        match self.rules.0.kind {
            LockKind::File => self.look_at_file(p),
            LockKind::Lease | LockKind::Log => self.look_at_lease(p),
        }
    }

    fn look_at_file(&mut self, p: usize) {
        let (child, greeted) = (self.pods[p].broker.is_some(), self.is_master(p));
        let view = self.view_of_file(p);
        let verdict = self.judge(p, view, greeted);
        let pod = &mut self.pods[p];
        pod.looked = true;
        if !child {
            pod.kept = Kept::Current;
        } else if !verdict.changed
            && (pod.kept != Kept::Nothing || matches!(view, LockView::Mine(_)))
        {
            pod.kept = Kept::Current;
            pod.settled |= greeted;
        }
        if let Some(file) = verdict.file {
            self.feed(p, Input::LockFile(file));
        }
        // The first may have started a broker, for which this view is too old.
        if self.pods[p].broker.is_some() == child {
            if verdict.changed {
                self.feed(p, Input::LockChanged);
            }
            self.feed(p, Input::Lock(verdict.view));
        }
    }

    /// By a real `Track` that has seen what this agent keeps in mind.
    fn judge(&self, p: usize, view: LockView, greeted: bool) -> Verdict {
        let pod = &self.pods[p];
        let life = |greeted| {
            let pid = pod.broker.as_ref().map(|_| 1);
            Life { generation: 1, pid, nonce: 0, greeted }
        };
        let looked =
            |view, file| Observation { view, file, local: self.rules.0.local, error: None };
        let file = |inode, modified_seconds| {
            Some(FileIdentity { device: 1, inode, modified_seconds, modified_nanos: 0 })
        };
        let now = if self.store.file { file(1, 1) } else { None };
        let before = match pod.kept {
            Kept::Nothing => return Track::default().judge(life(greeted), &looked(view, now)),
            Kept::Current => now,
            Kept::Touched => file(1, 0),
            Kept::Replaced => file(0, 0),
            Kept::Absent => None,
        };
        let mut track = Track::default();
        track.judge(life(pod.settled), &looked(LockView::Mine(Evidence::Kernel), before));
        track.judge(life(greeted), &looked(view, now))
    }

    fn view_of_file(&self, p: usize) -> LockView {
        let ours = self.pods[p].broker.as_ref().map(|broker| broker.id);
        let evidence = if self.rules.0.local { Evidence::Kernel } else { Evidence::ClientTable };
        match self.holder() {
            None => LockView::Free,
            holder if holder == ours => LockView::Mine(evidence),
            Some(_) => LockView::Other,
        }
    }

    fn view_of_lease(&self, p: usize) -> (LockView, bool) {
        let pod = &self.pods[p];
        let row = Row {
            holder: self.store.lease.map(|(holder, _)| holder.holder()),
            left_millis: self.store.lease.map_or(0, |(_, over)| if over { 0 } else { 1000 }),
            nobody: None,
            clock_offset_millis: 0,
        };
        let ours = pod.broker.as_ref().map(|broker| broker.id.holder());
        let same = self.rules.0.lacks(Mutation::SameHolderIds);
        let mine = if same { ordinal(pod.uid) } else { pod.uid };
        let of_this_pod = self.store.lease.is_some_and(|(holder, _)| holder.pod == mine);
        seen(&row, ours.as_deref(), of_this_pod)
    }

    fn look_at_lease(&mut self, p: usize) {
        let (view, ran_out) = self.view_of_lease(p);
        if ran_out {
            self.feed(p, Input::LockChanged);
        }
        self.feed(p, Input::Lock(view));
    }

    fn greeting(&self, p: usize) -> GreetingView {
        match &self.pods[p].broker {
            Some(broker) if broker.phase != Phase::Serving => GreetingView::Refused,
            Some(broker) if broker.frozen => GreetingView::Silent,
            Some(_) => GreetingView::Ok,
            None => GreetingView::Refused,
        }
    }

    /// The greeting listener is asked while that matters.
    pub fn greet(&mut self, p: usize) {
        if matches!(
            self.pods[p].machine.name(),
            AgentState::Starting | AgentState::Standby | AgentState::Promoting | AgentState::Master
        ) {
            let view = self.greeting(p);
            self.feed(p, Input::Greeting(view));
        }
    }

    /// What a promotion has to prove.
    pub fn proves(&self, p: usize) -> bool {
        let pod = &self.pods[p];
        let mine = match self.rules.0.kind {
            LockKind::File => self.view_of_file(p),
            LockKind::Lease | LockKind::Log => self.view_of_lease(p).0,
        };
        pod.storage && matches!(mine, LockView::Mine(_)) && self.greeting(p) == GreetingView::Ok
    }

    /// A broker's end is noticed.
    pub fn reap(&mut self, p: usize) {
        self.pods[p].forget_looks();
        self.feed(p, Input::Child(ChildEvent::Exited));
        self.feed(p, Input::Child(ChildEvent::Gone));
        self.pods[p].corpse = None;
    }

    /// The broker's log is read, if somebody reads it.
    pub fn log(&mut self, p: usize, sign: LogSign) {
        if self.pods[p].acts() {
            self.feed(p, Input::Log(sign));
        }
    }

    /// The agent is told whether a broker can be started.
    pub fn prepare(&mut self, p: usize) {
        let view =
            if self.pods[p].storage { PreparationView::Ready } else { PreparationView::Refused };
        self.pods[p].preparing = false;
        self.feed(p, Input::Prepared(view));
    }

    /// The dead broker's sessions are ended and its lease is given back.
    pub fn release(&mut self, p: usize) {
        let Some(id) = self.pods[p].releasing.take() else { return };
        if self.store.in_flight == Some(id) && !self.rules.0.lacks(Mutation::SessionsLeft) {
            self.store.in_flight = None;
        }
        if self.store.lease.is_some_and(|(holder, _)| holder == id) {
            self.store.lease = None;
        }
        self.feed(p, Input::Released);
    }

    /// A deadline passes.
    pub fn pass(&mut self, p: usize, deadline: Deadline) {
        self.pods[p].disarm(deadline);
        self.feed(p, Input::DeadlinePassed(deadline));
    }

    /// Whether a deadline can pass now. Most can at any time: more than ever happens.
    pub fn may_pass(&self, p: usize, deadline: Deadline) -> bool {
        let pod = &self.pods[p];
        match deadline {
            // While looks are answered, and show what they showed, each moves it.
            Deadline::Proof => {
                let stale = self.rules.0.kind == LockKind::Lease && pod.broker_is_frozen();
                (!pod.storage || pod.late || stale) && !self.rules.0.lacks(Mutation::NoFencing)
            }
            // Two keep-alive periods: a change of the file has been seen by then, by all who can.
            Deadline::LockFile => pod.looked && self.others_have_looked(p),
            // It is longer than a look of the others, too.
            Deadline::Handover => !pod.looked || self.others_have_looked(p),
            // While the broker greets, each greeting moves it.
            Deadline::Hang => pod.late || self.greeting(p) != GreetingView::Ok,
            // A broker that stops, and is not held up, does so in time.
            // A broker that can take a free lock does so in time.
            Deadline::Take => pod.late || pod.broker_is_frozen() || self.store.in_flight.is_some(),
            Deadline::StopGrace | Deadline::MakeWay => {
                pod.late || pod.broker_is_frozen() || !pod.storage
            }
            _ => true,
        }
    }
}
