//! The loop: all I/O is arranged around the machine, and nothing in it waits for anything but the
//! next input.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agent::api::{ApiServer, connect_from_env};
use crate::agent::asked::Asked;
use crate::agent::child::{Broker, Surroundings};
use crate::agent::credentials::Credentials;
use crate::agent::database_acts::Access;
use crate::agent::ending::Kill;
use crate::agent::event::{Event, Events};
use crate::agent::greeter::{self, Cadence};
use crate::agent::lock_watch::LockWatch;
use crate::agent::machine::{Input, State, step};
use crate::agent::promote::{Epochs, Floor, Promoter};
use crate::agent::proof::Fence;
use crate::agent::reap::{Kept, reap_orphans};
use crate::agent::sources::Sources;
use crate::agent::store_gate::StoreGate;
use crate::agent::timers::Timers;
use crate::agent::timing::Timing;
use crate::agent::view::{Source, View};
use crate::agent::volume_watch::Volume;
use crate::agent::{motion, serve, watch as record_watch};
use crate::broker::report::AgentState;
use crate::broker::settings::{AgentSettings, GreetingSettings};
use crate::core::promotion::Author;
use crate::core::promotion::Pod;
use crate::core::switchover::StepDown;
use crate::lock::track::Life;
use crate::telemetry::output::Output;

/// Events wait here; the loop never lets them wait for long.
const WAITING_EVENTS: usize = 256;
/// The loop turns at least so often.
const TURN: Duration = Duration::from_secs(1);

/// One agent.
pub(super) struct Agent {
    pub(super) settings: AgentSettings,
    pub(super) timing: Timing,
    pub(super) machine: State,
    /// Inputs that acts brought about.
    pub(super) inputs: VecDeque<Input>,
    pub(super) timers: Timers,
    pub(super) view: Arc<View>,
    pub(super) around: Surroundings,
    pub(super) tasks: JoinSet<()>,
    pub(super) life: watch::Sender<Life>,
    pub(super) cadence: watch::Sender<Cadence>,
    pub(super) locks: LockWatch,
    /// If brokers get at their lock by a database.
    pub(super) access: Option<Access>,
    /// Of the last prepared broker.
    pub(super) nonce: u32,
    /// Until then it is proven that the running broker's lock is no other's; nothing if for ever.
    pub(super) proven_until: Option<Instant>,
    /// When the last look at the lock file that was answered was begun.
    pub(super) looked: Instant,
    /// When the last beat on the volume that was confirmed was begun.
    pub(super) beaten: Instant,
    /// The volume with the store, if it is on one.
    pub(super) volume: Option<Volume>,
    /// As last seen: no server can give the lock file's lock to another one.
    pub(super) lock_is_local: bool,
    /// To be put on before the record is written.
    pub(super) fence: Option<Fence>,
    pub(super) promoter: Promoter,
    pub(super) broker: Option<Broker>,
    pub(super) starts: u32,
    /// When the lock was first seen as the running broker's.
    pub(super) lock_taken: Option<Instant>,
    pub(super) promotion: Option<AbortHandle>,
    /// Promotions in a row that repaired the record: two masters must not fight at full speed.
    pub(super) repairs: u32,
    /// What was so when the broker was killed.
    pub(super) kill: Kill,
    /// How many processes of the container the kernel had killed for its memory when the broker was started.
    pub(super) memory_kills: Option<u64>,
    pub(super) last_promotion: Option<Instant>,
    /// When another pod's agent last said that its broker holds the lock, asked before a start.
    pub(super) claimed: Option<Instant>,
    /// The record as last seen, and when.
    pub(super) record: Option<(Option<Box<serde_json::Value>>, Instant)>,
    /// What it asked of this pod, when last seen.
    pub(super) asked: Asked,
    /// For which request the others are asked whether this broker may step down.
    pub(super) asking: Option<(StepDown, AbortHandle)>,
    /// When it began, from which what the record asks is timed.
    pub(super) began: Instant,
    pub(super) done: bool,
}

/// Runs an agent until it is told to end and has ended its broker.
pub(super) async fn run(
    settings: AgentSettings,
    pod: Pod,
    port: u16,
    output: Output,
) -> anyhow::Result<()> {
    // First of all: PID 1 gets no signal that it has not asked for.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (events, mut queue) = mpsc::channel(WAITING_EVENTS);
    let mut agent = Agent::new(settings, pod, output, events).await;
    agent.start_tasks(port);

    let mut turn = interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !agent.done {
        agent.view.known().turned = Instant::now();
        agent.follow_requests();
        tokio::select! {
            biased;
            _ = terminate.recv() => agent.feed(Input::Terminate),
            _ = interrupt.recv() => agent.feed(Input::Terminate),
            Some(event) = queue.recv() => agent.on_event(event),
            deadline = agent.timers.next() => agent.feed(Input::DeadlinePassed(deadline)),
            Some(ended) = agent.tasks.join_next() => check(ended)?,
            _ = turn.tick() => {}
        }
    }
    Ok(())
}

/// A task that was given up is no failure. One that panicked is a fault of the agent: without it the
/// agent would be blind, so it ends, and its broker with it.
fn check(ended: Result<(), JoinError>) -> anyhow::Result<()> {
    match ended {
        Err(error) if !error.is_cancelled() => Err(error).context("a task of the agent failed"),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn promoter(settings: &AgentSettings, pod: &Pod, floor: Floor) -> Promoter {
    let author = Author {
        pod: pod.clone(),
        cluster: settings.cluster.clone(),
        ports: settings.ports.clone(),
    };
    let api = ApiServer::new(connect_from_env().await, &pod.namespace);
    Promoter {
        stores: StoreGate::new(api.clone(), settings),
        api,
        author: Arc::new(author),
        floor,
        epochs: Epochs::default(),
    }
}

impl Agent {
    async fn new(settings: AgentSettings, pod: Pod, output: Output, events: Events) -> Self {
        let timing = Timing::new(&settings);
        let (life, lives) = watch::channel(Life::default());
        let (cadence, _) = watch::channel(Cadence::default());
        let kept = Kept::default();
        let sources = Sources::new(&settings, &pod, &kept);
        let (machine, begin) = State::begin(sources.kind);
        let promoter = promoter(&settings, &pod, sources.floor).await;
        let mut agent = Self {
            locks: LockWatch::new(sources.lock, lives, timing.clone()),
            view: Arc::new(View::new(pod, output.clone(), sources.kind, sources.volume.clone())),
            around: Surroundings { events, output, kept },
            machine,
            access: sources.access,
            nonce: 0,
            proven_until: None,
            looked: Instant::now(),
            beaten: Instant::now(),
            volume: sources.volume,
            lock_is_local: false,
            fence: None,
            inputs: VecDeque::new(),
            timers: Timers::default(),
            tasks: JoinSet::new(),
            broker: None,
            starts: 0,
            lock_taken: None,
            promotion: None,
            repairs: 0,
            kill: Kill::default(),
            memory_kills: None,
            last_promotion: None,
            claimed: None,
            record: None,
            asked: Asked::default(),
            asking: None,
            began: Instant::now(),
            done: false,
            settings,
            timing,
            life,
            cadence,
            promoter,
        };
        for act in begin {
            agent.carry_out(act);
        }
        agent
    }

    fn start_tasks(&mut self, port: u16) {
        let events = &self.around.events;
        let mut credentials = Credentials::new(self.settings.credentials.clone());
        // Before the first start of the broker; what is wrong is told, and does not keep it down.
        self.view.problem(Source::Credentials, credentials.refresh());
        self.tasks.spawn(credentials.run(events.clone()));

        let GreetingSettings::OpenWire { port: greeting } = self.settings.greeting;
        self.tasks.spawn(greeter::run(greeting, self.cadence.subscribe(), events.clone()));
        self.tasks.spawn(motion::run(
            self.life.subscribe(),
            self.timing.patience(),
            events.clone(),
        ));
        self.tasks.spawn(self.locks.clone().run(events.clone()));
        if let Some(volume) = self.volume.clone() {
            self.tasks.spawn(volume.run(events.clone()));
        }
        let name = self.settings.cluster.clone();
        self.tasks.spawn(record_watch::run(self.promoter.api.clone(), name, events.clone()));

        let kept = self.around.kept.clone();
        self.tasks.spawn(async move {
            if let Err(error) = reap_orphans(kept).await {
                tracing::error!("orphans are not reaped: {error}");
            }
        });
        let view = Arc::clone(&self.view);
        self.tasks.spawn(async move {
            // Without its endpoints the pod stays NotReady; the broker goes on.
            let error = serve::run(port, view).await;
            tracing::error!("cannot serve on port {port}: {error}");
        });
    }

    /// One input, and all that follows from it at once.
    pub(super) fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let before = self.machine.name();
            let (machine, acts) = step(std::mem::take(&mut self.machine), input);
            self.machine = machine;
            let after = self.machine.name();
            if before != after {
                tracing::info!("{before:?} -> {after:?} on {input:?}");
            }
            for act in acts {
                self.carry_out(act);
            }
            self.after_step(after);
        }
    }

    /// Whatever depends on the state alone.
    fn after_step(&mut self, state: AgentState) {
        {
            let mut known = self.view.known();
            known.state = known.truth(state);
            known.lock = self.machine.lock();
            known.epoch = self.promoter.epochs.seen();
        }
        if !self.machine.wants_promotion()
            && let Some(promotion) = self.promotion.take()
        {
            promotion.abort();
        }
        if state == AgentState::Promoting && self.lock_taken.is_none() {
            self.lock_taken = Some(Instant::now());
            self.tasks.spawn(self.promoter.clone().look(self.around.events.clone()));
        }
        if self.life.borrow().pid.is_none() {
            self.view.known().lease_end = None;
        }
        let greeted = state == AgentState::Master;
        self.life.send_if_modified(|life| std::mem::replace(&mut life.greeted, greeted) != greeted);
        self.set_cadence(state);
    }

    fn set_cadence(&mut self, state: AgentState) {
        let period = match state {
            AgentState::Promoting => Some(self.timing.promoting_greeting()),
            AgentState::Master => Some(self.timing.master_greeting()),
            // One that greets without the lock is killed.
            AgentState::Starting | AgentState::Standby => Some(self.timing.waiting_greeting()),
            AgentState::Preflight
            | AgentState::SteppingDown
            | AgentState::Fenced
            | AgentState::Backoff
            | AgentState::Held
            | AgentState::Stopped
            | AgentState::Unknown => None,
        };
        let deadline = self.timing.master_greeting();
        let wanted = Cadence { generation: self.life.borrow().generation, period, deadline };
        self.cadence.send_if_modified(|now| std::mem::replace(now, wanted) != wanted);
    }

    /// Sends an event to the loop itself, for what a task finds out.
    pub(super) fn tell_later(&mut self, task: impl Future<Output = Event> + Send + 'static) {
        let events = self.around.events.clone();
        self.tasks.spawn(async move { drop(events.send(task.await).await) });
    }
}
