//! What the loop does with what it is told, and how it carries out what the machine decides.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::agent::child::Broker;
use crate::agent::ending::{self, Ended, Kill};
use crate::agent::event::{ChildNews, Event, LockNews};
use crate::agent::machine::{self, Act, ChildEvent, Deadline, Input, LogSign};
use crate::agent::motion::{Motion, Sign};
use crate::agent::peers::Claims;
use crate::agent::run::Agent;
use crate::agent::view::Source;
use crate::agent::{peers, record};
use crate::broker::report::{
    AgentState, ChildExit, ExitReason, GreetingView, LockView, MotionView,
};
use crate::clock;
use crate::core::promotion;
use crate::core::split_brain::Mark;
use crate::lock::track::Life;
use crate::telemetry::metrics::{ExitLabels, ReasonLabel};

/// A broker that was said to hold the lock is taken to hold it for so long while its agent is silent.
const CLAIMS_LAST: Duration = Duration::from_secs(10);
/// A master steps down no sooner than this after it saw the request: its clients are served meanwhile. A
/// request is a change of the EndpointSlice, which kube-proxy follows as any other (1.34 compares whole
/// objects), and it follows no two changes within a second (`minSyncPeriod`). The successor's promotion
/// would have to wait.
const NODES_FOLLOW: Duration = Duration::from_millis(600);
/// The pause before other pods are asked again whether a master may step down.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What people are told of a standby that would not take over.
const STANDS_STILL: &str = "the broker does not try the lock: its process is stopped, deadlocked or starved; \
                            it is killed after hangTimeout";

impl Agent {
    pub(super) fn on_event(&mut self, event: Event) {
        let generation = self.generation();
        match event {
            Event::Lock(news) => self.on_lock(news),
            Event::Beat(news) => self.on_beat(news),
            Event::Volume { generation: of, opened } if of == generation => self.on_volume(opened),
            Event::Greeting { generation: of, view } if of == generation => self.on_greeting(view),
            Event::Motion { generation: of, motion } if of == generation => self.on_motion(motion),
            Event::Child { generation: of, news } if of == generation => self.on_child(news),
            // A broker with a database may ignore its errors: it looks until the database is back.
            Event::Log { sign: LogSign::StorageFailed, .. } if self.volume.is_none() => {}
            Event::Log { generation: of, sign } if of == generation => {
                self.locks.note(of, sign);
                self.feed(Input::Log(sign));
            }
            Event::Peers { generation: of, peers } if of == generation => {
                self.feed(Input::Peers(peers));
            }
            Event::Claims { generation: of, claims } if of == generation => {
                self.on_claims(&claims);
            }
            Event::StepDown { generation: of } if of == generation => self.feed(Input::StepDown),
            Event::Promoted { generation: of, epoch } if of == generation => {
                self.on_promoted(epoch);
            }
            Event::Record(record) => {
                let author = &self.promoter.author;
                self.asked.see(record.as_deref(), author, self.began.elapsed());
                self.record = Some((record, Instant::now()));
                self.on_record();
            }
            Event::Looked(record) => {
                self.record = Some((Some(record), Instant::now()));
                self.on_record();
            }
            Event::RecordFailed(problem) => {
                self.view.metrics.record_failures.inc();
                self.view.problem(Source::Record, Some(problem));
            }
            Event::Prepared { generation: of, outcome } if of == generation => {
                self.on_prepared(outcome);
            }
            Event::Fenced { generation: of, notes } if of == generation => self.on_fenced(notes),
            Event::Released { generation: of } if of == generation => self.feed(Input::Released),
            Event::Emptied => self.feed(Input::Emptied),
            Event::Credentials(problem) => self.view.problem(Source::Credentials, problem),
            // Of a broker process before this one.
            Event::Greeting { .. }
            | Event::Motion { .. }
            | Event::Child { .. }
            | Event::Log { .. }
            | Event::Peers { .. }
            | Event::Claims { .. }
            | Event::StepDown { .. }
            | Event::Prepared { .. }
            | Event::Volume { .. }
            | Event::Fenced { .. }
            | Event::Released { .. }
            | Event::Promoted { .. } => {}
        }
    }

    pub(super) fn generation(&self) -> u32 {
        self.life.borrow().generation
    }

    fn on_lock(&mut self, news: LockNews) {
        let verdict = news.verdict;
        let unknown = verdict.view == LockView::Unknown;
        // A log that says nothing yet is no look without an answer.
        if unknown && (news.error.is_some() || news.lease.is_some()) {
            self.view.metrics.probe_unknown.inc();
        } else {
            self.view.metrics.probe_seconds.observe(news.took.as_secs_f64());
        }
        let file = self.access.is_none();
        match news.lease {
            Some(lease) => self.on_lease(news.generation, lease),
            None => self.view.problem(Source::Lock, news.error),
        }
        if news.generation != self.generation() {
            return;
        }
        self.view.known().lock_seen = news.started;
        if !unknown && file {
            self.lock_is_local = verdict.local;
            self.looked = news.started;
            self.prove();
        }
        if let Some(file) = verdict.file {
            self.feed(Input::LockFile(file));
        }
        // The first may have started a broker, for which this view is too old.
        if news.generation == self.generation() {
            if verdict.changed {
                self.feed(Input::LockChanged);
            }
            self.feed(Input::Lock(verdict.view));
        }
    }

    fn on_greeting(&mut self, view: GreetingView) {
        {
            let mut known = self.view.known();
            known.greeting = view;
            if view == GreetingView::Ok {
                known.greeted = Some(Instant::now());
            }
        }
        self.feed(Input::Greeting(view));
    }

    fn on_motion(&mut self, motion: Motion) {
        let state = self.machine.name();
        let waits = state == AgentState::Standby;
        self.view.known().motion = if waits { motion.view() } else { MotionView::Unknown };
        let still = waits && matches!(motion.tries, Sign::Still(_));
        self.view.problem(Source::Motion, still.then(|| STANDS_STILL.to_owned()));
        if motion.hangs(state, self.timing.patience()) {
            self.feed(Input::Hung);
        }
    }

    fn on_child(&mut self, news: ChildNews) {
        match news {
            ChildNews::Exited(ended) => {
                self.note_exit(ended);
                self.feed(Input::Child(ChildEvent::Exited));
            }
            ChildNews::Gone => {
                self.view.problem(Source::Child, None);
                self.view.problem(Source::Motion, None);
                self.broker = None;
                self.next_life(None);
                self.feed(Input::Child(ChildEvent::Gone));
                // A successor that was seen while this broker still took itself for the master.
                self.on_record();
            }
            ChildNews::Stuck => self.view.problem(
                Source::Child,
                Some(
                    "the broker does not end after SIGKILL: it waits for its storage; if that \
                     does not come back, the node must be restarted"
                        .to_owned(),
                ),
            ),
        }
    }

    fn note_exit(&mut self, ended: Ended) {
        let memory = self.memory_kills.zip(ending::memory_kills());
        let memory = memory.is_some_and(|(before, now)| now > before);
        let reason = ending::reason(self.machine.exit_reason(), self.kill, ended.way, memory);
        let status = ended.status;
        tracing::info!("the broker ended ({status}): {reason:?}");
        self.view.metrics.exits.get_or_create(&ExitLabels { reason: ReasonLabel(reason) }).inc();
        let mut known = self.view.known();
        known.child = None;
        known.motion = MotionView::Unknown;
        known.greeted = None;
        known.greeting = GreetingView::Refused;
        let was_master = self.lock_taken.is_some() && self.last_promotion.is_some();
        let stopped = known.stopped.take();
        known.last_exit = Some(ChildExit { reason, status, at: clock::now(), was_master, stopped });
    }

    /// Everything found out for the broker process before is void from now on.
    pub(super) fn next_life(&mut self, pid: Option<i32>) {
        let generation = self.generation() + 1;
        self.life.send_replace(Life { generation, pid, nonce: self.nonce, greeted: false });
    }

    /// While the record is disputed, an agent that does not answer may have a broker that holds the lock; so
    /// may one that has just said so.
    fn on_claims(&mut self, claims: &Claims) {
        if !claims.held_by.is_empty() {
            self.claimed = Some(Instant::now());
        }
        let claimed = self.claimed.is_some_and(|at| at.elapsed() < CLAIMS_LAST);
        let record = self.record.as_ref().and_then(|(record, _)| record.as_deref());
        let disputed = record.and_then(Mark::of).is_some();
        let silent = claims.silent.as_ref().filter(|_| disputed || claimed);
        let problem = if claims.held_by.is_empty() {
            silent.map(|why| {
                format!("no broker is started here before others are seen to hold no lock: {why}")
            })
        } else {
            Some(format!(
                "no broker is started here: {} holds the lock, which is not seen here; the nodes do not share a store, or its locks do not hold between nodes",
                claims.held_by.join(" and ")
            ))
        };
        let answer = if problem.is_some() { machine::Claims::Some } else { machine::Claims::None };
        self.view.problem(Source::Peers, problem);
        self.feed(Input::Claims(answer));
    }

    fn on_record(&mut self) {
        let Some((record, _)) = &self.record else { return };
        let uid = &self.promoter.author.pod.uid;
        let instance = self.view.known().child.as_ref().map(|child| child.instance.clone());
        let side = instance.and_then(|instance| record::side(record.as_deref()?, uid, &instance));
        let epochs = &self.promoter.epochs;
        epochs.note(record.as_deref().and_then(promotion::epoch).unwrap_or_default());
        let view = record::view(record.as_deref(), &self.promoter.author, epochs.tried());
        if let Some(side) = side {
            self.feed(Input::Disputed(side));
        }
        self.feed(Input::Record(view));
    }

    /// Does what the record asks at this moment. Requests end by time too, so this is looked at with every
    /// turn.
    pub(super) fn follow_requests(&mut self) {
        let now = self.began.elapsed();
        let hold = self.asked.keeps_down(now);
        if hold != self.machine.keeps_down() {
            self.feed(Input::Hold(hold));
        }
        let master = self.machine.name() == AgentState::Master;
        let tried = self.promoter.epochs.tried();
        let request = self.asked.steps_down(tried, now).filter(|_| master);
        if self.asking.as_ref().map(|(asking, _)| asking) == request {
            return;
        }
        let request = request.cloned();
        if let Some((_, task)) = self.asking.take() {
            task.abort();
        }
        self.asking = request.map(|request| {
            let task = self.ask_standbys(request.to.clone());
            (request, task)
        });
    }

    /// The master steps down only for somebody who waits, and others may need a moment to make room: they
    /// are asked until the request is over, or the broker steps down.
    fn ask_standbys(&mut self, to: Option<String>) -> AbortHandle {
        let (generation, events) = (self.generation(), self.around.events.clone());
        let (api, author) = (self.promoter.api.clone(), Arc::clone(&self.promoter.author));
        self.tasks.spawn(async move {
            sleep(NODES_FOLLOW).await;
            loop {
                let may = peers::let_step_down(&api, &author, to.as_deref()).await;
                if may && events.send(Event::StepDown { generation }).await.is_err() {
                    return;
                }
                sleep(ASK_AGAIN).await;
            }
        })
    }

    fn on_promoted(&mut self, epoch: u64) {
        self.promotion = None;
        self.view.problem(Source::Record, None);
        let mut first = false;
        if let Some(promotion) = &mut self.view.known().promotion {
            first = promotion.recorded.is_none();
            promotion.recorded.get_or_insert_with(clock::now);
            promotion.epoch = Some(epoch);
        }
        // Repairs write the record again, but the failover was over before them.
        if let Some(taken) = self.lock_taken.filter(|_| first) {
            self.view.metrics.promotion_seconds.observe(taken.elapsed().as_secs_f64());
            tracing::info!("the record names this pod by epoch {epoch}");
        }
        let started = self.last_promotion;
        self.feed(Input::Promoted);
        // The record may have been edited while it was written.
        if self.record.as_ref().is_some_and(|(_, seen)| started.is_some_and(|at| *seen > at)) {
            self.on_record();
        }
    }

    pub(super) fn carry_out(&mut self, act: Act) {
        match act {
            Act::Prepare => self.prepare(),
            Act::Start => self.start(),
            Act::Release => self.release(),
            Act::Stop => {
                self.view.known().stopped = Some(clock::now());
                self.signal(Signal::SIGTERM);
            }
            Act::Kill(reason) => {
                // A lock that is free because its holder just died was not lost.
                self.kill = Kill {
                    dying: self.broker.as_ref().is_some_and(Broker::is_ending),
                    let_go: self.lock_taken.is_some() && self.machine.lock() == LockView::Free,
                    local: self.lock_is_local,
                };
                self.signal(Signal::SIGKILL);
                if matches!(reason, ExitReason::SwitchedOver | ExitReason::PodStopped) {
                    tracing::info!(
                        "the broker is killed: its stop takes too long for the one that waits"
                    );
                } else {
                    tracing::error!("the broker is killed: {reason:?}");
                }
            }
            Act::Promote => self.promote(),
            Act::EmptyRecord => {
                self.tasks.spawn(self.promoter.clone().empty(self.around.events.clone()));
            }
            Act::AskPeers => {
                let generation = self.generation();
                let (api, author) = (self.promoter.api.clone(), Arc::clone(&self.promoter.author));
                self.tell_later(async move {
                    Event::Peers { generation, peers: peers::ask(&api, &author).await }
                });
            }
            Act::AskClaims => {
                let generation = self.generation();
                let (api, author) = (self.promoter.api.clone(), Arc::clone(&self.promoter.author));
                self.tell_later(async move {
                    Event::Claims { generation, claims: peers::claims(&api, &author, None).await }
                });
            }
            Act::AskStandbys => {
                let (generation, events) = (self.generation(), self.around.events.clone());
                let (api, author) = (self.promoter.api.clone(), Arc::clone(&self.promoter.author));
                self.tasks.spawn(async move {
                    if peers::let_step_down(&api, &author, None).await {
                        drop(events.send(Event::StepDown { generation }).await);
                    }
                });
            }
            Act::Arm(Deadline::Proof) => match self.proven_until {
                Some(end) => self.timers.arm_at(Deadline::Proof, end),
                None => self.timers.disarm(Deadline::Proof),
            },
            Act::Arm(deadline) => self.timers.arm(deadline, &self.timing),
            Act::Disarm(deadline) => self.timers.disarm(deadline),
            Act::Exit => self.done = true,
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(broker) = &self.broker {
            broker.signal(signal);
        }
    }
}
