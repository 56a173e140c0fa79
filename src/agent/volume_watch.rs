//! Beats on the volume, one after the other, and keeps what came of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::event::{BeatNews, Event, Events};
use crate::agent::helper::Helper;
use crate::agent::peers::Presence;
use crate::agent::preflight::{self, Facts, HANGS};
use crate::broker::report::{FoundStore, StoreProblem, VolumeReport};
use crate::broker::settings::VolumeSettings;
use crate::lock::members::{BeatFailure, Beaten};
use crate::lock::mount::Mount;

/// From one beat to the next while a trial goes on or has not been made yet.
const BUSY: Duration = Duration::from_millis(100);
/// The longest time from one beat to the next.
const IDLE: Duration = Duration::from_secs(1);
/// An agent that is older has been alone for long enough to look for others less often.
const YOUNG: Duration = Duration::from_mins(1);

/// The volume, as the beats show it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Volume {
    helper: Helper,
    settings: VolumeSettings,
    period: Duration,
    fence_after: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    begun: Instant,
    beaten: Option<Box<Beaten>>,
    /// Why the last beat failed, if it did.
    problem: Option<StoreProblem>,
    /// When the last beat that succeeded was begun.
    confirmed: Option<Instant>,
    /// When another pod was last heard of.
    heard: Instant,
    /// Other pods, as the API server and their agents last told.
    presence: Presence,
    /// Since when another pod has been saying that it beats, unseen.
    unseen: Option<Instant>,
    waits_for: Option<String>,
    /// A broker was started on it.
    used: bool,
    /// Why no broker was started on this store when it was last judged.
    refusal: Option<StoreProblem>,
}

impl Volume {
    /// Nothing is written yet. `fence_after`: how long a beat proves something.
    pub fn new(helper: Helper, settings: VolumeSettings, fence_after: Duration) -> Self {
        let now = Instant::now();
        let state = State {
            begun: now,
            beaten: None,
            problem: None,
            confirmed: None,
            heard: now,
            presence: Presence::Unknown,
            unseen: None,
            waits_for: None,
            used: false,
            refusal: None,
        };
        let period = (fence_after / 4).clamp(BUSY, IDLE);
        Self { helper, settings, period, fence_after, state: Arc::new(Mutex::new(state)) }
    }

    /// How the volume is to be used.
    pub fn settings(&self) -> &VolumeSettings {
        &self.settings
    }

    /// Beats for ever, and tells what comes of it.
    pub async fn run(self, events: Events) {
        loop {
            let started = Instant::now();
            let Some(news) = self.beat_or_say_it_hangs(started, &events).await else { return };
            if events.send(Event::Beat(news)).await.is_err() {
                return;
            }
            sleep_until(started + self.pause()).await;
        }
    }

    async fn beat_or_say_it_hangs(&self, started: Instant, events: &Events) -> Option<BeatNews> {
        let mut beat = std::pin::pin!(self.helper.beat());
        loop {
            let outcome = tokio::select! {
                outcome = &mut beat => outcome,
                () = sleep(HANGS) => {
                    self.state().problem = Some(preflight::hangs());
                    events.send(Event::Beat(BeatNews::Missed)).await.ok()?;
                    continue;
                }
            };
            return Some(self.note(started, outcome));
        }
    }

    fn note(
        &self,
        started: Instant,
        outcome: anyhow::Result<Result<Box<Beaten>, BeatFailure>>,
    ) -> BeatNews {
        let mut state = self.state();
        match outcome {
            Ok(Ok(beaten)) => {
                if beaten.hears_others() {
                    state.heard = Instant::now();
                    state.unseen = None;
                }
                state.beaten = Some(beaten);
                state.problem = None;
                state.confirmed = Some(started);
                BeatNews::Confirmed(started)
            }
            Ok(Err(failure)) => {
                state.problem = Some(failure.problem);
                if failure.lost { BeatNews::Lost } else { BeatNews::Missed }
            }
            Err(error) => {
                tracing::warn!("no beat: {error:#}");
                BeatNews::Missed
            }
        }
    }

    fn pause(&self) -> Duration {
        let state = self.state();
        let busy = match &state.beaten {
            Some(beaten) => {
                beaten.busy || beaten.finding.is_none() && state.begun.elapsed() < YOUNG
            }
            None => state.begun.elapsed() < YOUNG,
        };
        if busy { BUSY } else { self.period }
    }

    /// Whether no other pod beats at the moment, as far as the last beat showed.
    pub fn is_lonely(&self) -> bool {
        !self.state().beaten.as_ref().is_some_and(|beaten| beaten.hears_others())
    }

    /// What the API server and the other agents say while no other pod is seen to beat.
    pub fn note_presence(&self, presence: Presence) {
        let mut state = self.state();
        match &presence {
            Presence::Beats(_) => drop(state.unseen.get_or_insert_with(Instant::now)),
            Presence::Alone | Presence::Silent | Presence::Unknown => state.unseen = None,
        }
        state.presence = presence;
    }

    /// A broker is started on it.
    pub fn note_start(&self) {
        self.state().used = true;
    }

    /// What is known.
    pub fn with<T>(&self, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let state = self.state();
        let none = preflight::hangs();
        judge(&state.facts(&none, self.fence_after))
    }

    /// What a start waits for now.
    pub fn waits_for(&self, what: Option<String>) {
        self.state().waits_for = what;
    }

    /// Why no broker may be started on this store, if that is so.
    pub fn note_refusal(&self, problem: Option<StoreProblem>) {
        self.state().refusal = problem;
    }

    /// The store, as the last beat found it.
    pub fn found(&self) -> Option<FoundStore> {
        self.state().beaten.as_ref().map(|beaten| beaten.store.clone())
    }

    /// Why no broker can or should be started.
    pub fn problem(&self) -> Option<StoreProblem> {
        let state = self.state();
        let none = preflight::hangs();
        let facts = state.facts(&none, self.fence_after);
        let elsewhere = || preflight::elected_otherwise(&self.settings, state.beaten.as_deref()?);
        let objection = || preflight::objection(&self.settings, state.beaten.as_deref()?, &facts);
        let refusal = || state.refusal.clone();
        state.problem.clone().or_else(elsewhere).or_else(refusal).or_else(objection)
    }

    /// For the agent's report.
    pub fn report(&self) -> VolumeReport {
        let problem = self.problem();
        let state = self.state();
        let millis =
            |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let beaten = state.beaten.as_deref();
        VolumeReport {
            file_system: beaten.and_then(|beaten| beaten.mount.as_ref()).map(Mount::describe),
            local: beaten.is_some_and(|beaten| beaten.local),
            trial: beaten.and_then(|beaten| beaten.finding.clone()?.ok()),
            problem,
            notes: beaten
                .map(|beaten| preflight::notes(&self.settings, beaten))
                .unwrap_or_default(),
            waits_for: state.waits_for.clone(),
            beat_millis: state.confirmed.map(millis),
            peers: beaten.map(|beaten| beaten.peers.clone()).unwrap_or_default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn facts<'a>(&'a self, none: &'a StoreProblem, fence_after: Duration) -> Facts<'a> {
        Facts {
            beaten: match (&self.problem, &self.beaten) {
                (Some(problem), _) => Err(problem),
                (None, Some(beaten)) => Ok(beaten),
                (None, None) => Err(none),
            },
            beat_age: self.confirmed.map(|at| at.elapsed()),
            lonely: self.heard.elapsed(),
            unseen: self.unseen.map(|since| since.elapsed()),
            used: self.used,
            presence: &self.presence,
            fence_after,
        }
    }
}
