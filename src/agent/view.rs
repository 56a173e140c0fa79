//! What the agent knows of itself, for whoever asks: kept up to date by the loop, read by the HTTP
//! endpoints.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::machine::LockKind;
use crate::agent::volume_watch::Volume;
use crate::broker::report::{
    AgentState, ChildExit, ChildReport, DatabaseNote, DatabaseProblem, DatabaseReport, ExitReason,
    GreetingView, LockReport, LockView, MotionView, PromotionReport, Report,
};
use crate::core::promotion::Pod;
use crate::database::Prepared;
use crate::telemetry::metrics::{
    AgentMetrics, ProblemLabel, ProblemLabels, StateLabel, StateLabels,
};
use crate::telemetry::output::Output;
use crate::telemetry::serve::Probes;

/// The loop turns at least every second; so long without a turn means that it is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// Where a problem was found; one of each is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The broker process could not be started, or does not end.
    Child,
    /// The broker process, which does not move.
    Motion,
    /// The storage, or the lease.
    Lock,
    /// The volume, whose locks are tried before a broker is started.
    Volume,
    /// The database, before a broker is started.
    Database,
    /// The promotion record.
    Record,
    /// What other pods hold.
    Peers,
    /// The Secrets.
    Credentials,
}

/// What is known now.
#[derive(Clone, Debug)]
pub struct Known {
    /// When the loop last turned.
    pub turned: Instant,
    /// The machine's state.
    pub state: AgentState,
    /// The last view of the lock.
    pub lock: LockView,
    /// When the look behind it was started.
    pub lock_seen: Instant,
    /// What the greeting listener last did.
    pub greeting: GreetingView,
    /// When it last greeted, if the running broker has.
    pub greeted: Option<Instant>,
    /// The running broker.
    pub child: Option<ChildReport>,
    /// Whether it is seen to try the lock, if it waits for it.
    pub motion: MotionView,
    /// When it was told to end politely, if it was.
    pub stopped: Option<jiff::Timestamp>,
    /// The end of the one before.
    pub last_exit: Option<ChildExit>,
    /// The last promotion.
    pub promotion: Option<PromotionReport>,
    /// The highest epoch seen.
    pub epoch: u64,
    /// Product and version of the database.
    pub server: Option<String>,
    /// Why no broker can be started on the database.
    pub database_problem: Option<DatabaseProblem>,
    /// Why the lease cannot be seen, or is nobody's.
    pub lease_problem: Option<DatabaseProblem>,
    /// What people should know of the database.
    pub notes: Vec<DatabaseNote>,
    /// This node's clock minus the database's.
    pub clock_offset_millis: Option<i64>,
    /// Until when the running broker's lease is proven to be no other's.
    pub lease_end: Option<Instant>,
    /// What is wrong.
    pub problems: BTreeMap<Source, String>,
}

/// Shared between the loop and the HTTP endpoints.
#[derive(Debug)]
pub struct View {
    /// The metrics.
    pub metrics: AgentMetrics,
    pod: Pod,
    output: Output,
    kind: LockKind,
    volume: Option<Volume>,
    known: Mutex<Known>,
}

impl View {
    /// Of an agent that has just started.
    pub fn new(pod: Pod, output: Output, kind: LockKind, volume: Option<Volume>) -> Self {
        let known = Known {
            turned: Instant::now(),
            state: AgentState::Preflight,
            lock: LockView::Unknown,
            lock_seen: Instant::now(),
            greeting: GreetingView::Refused,
            greeted: None,
            child: None,
            motion: MotionView::Unknown,
            stopped: None,
            last_exit: None,
            promotion: None,
            epoch: 0,
            server: None,
            database_problem: None,
            lease_problem: None,
            notes: Vec::new(),
            clock_offset_millis: None,
            lease_end: None,
            problems: BTreeMap::new(),
        };
        let metrics = AgentMetrics::default();
        Self { metrics, pod, output, kind, volume, known: Mutex::new(known) }
    }

    /// To read or change what is known. Never held across an await.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a problem, or that there is none any more; logs each change.
    pub fn problem(&self, source: Source, problem: Option<String>) {
        let mut known = self.known();
        if known.problems.get(&source) == problem.as_ref() {
            return;
        }
        tracing::warn!("{source:?}: {}", problem.as_deref().unwrap_or("no problem any more"));
        known.problems.remove(&source);
        known.problems.extend(problem.map(|problem| (source, problem)));
    }

    /// Notes what the preparation of a start found out.
    pub fn prepared(&self, outcome: Result<Prepared, DatabaseProblem>) {
        let problem = outcome.as_ref().err().cloned();
        {
            let mut known = self.known();
            if let Ok(prepared) = outcome {
                known.server = prepared.server;
                known.notes = prepared.notes;
            }
            known.database_problem.clone_from(&problem);
        }
        self.problem(Source::Database, problem.map(|problem| problem.message));
    }

    /// The report.
    pub fn report(&self) -> Report {
        let known = self.known().clone();
        let database = known.database(self.kind);
        let mut problems: Vec<_> = known.problems.into_values().collect();
        problems.dedup();
        let age = known.lock_seen.elapsed().as_millis();
        Report {
            pod: self.pod.name.clone(),
            pod_uid: self.pod.uid.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            state: known.state,
            lock: LockReport {
                view: known.lock,
                age_millis: u64::try_from(age).unwrap_or(u64::MAX),
            },
            greeting: known.greeting,
            child: known.child,
            motion: Some(known.motion),
            last_exit: known.last_exit,
            promotion: known.promotion,
            epoch: known.epoch,
            message: (!problems.is_empty()).then(|| problems.join("; ")),
            database,
            volume: self.volume.as_ref().map(Volume::report),
            store: self.volume.as_ref().and_then(Volume::found),
        }
    }
}

impl Known {
    /// The state to be told. The machine waits before the next start as after a lost lock once it has seen the
    /// lock free; that the broker had ended by itself is known only when it is reaped.
    pub fn truth(&self, state: AgentState) -> AgentState {
        let itself = self.last_exit.as_ref().is_some_and(|exit| {
            matches!(
                exit.reason,
                ExitReason::BrokerCrashed | ExitReason::MemoryExceeded | ExitReason::StoppedItself
            )
        });
        if state == AgentState::Fenced && itself && self.child.is_none() {
            return AgentState::Backoff;
        }
        state
    }

    fn database(&self, kind: LockKind) -> Option<DatabaseReport> {
        let problem = self.database_problem.as_ref().or(self.lease_problem.as_ref());
        let asked = match kind {
            LockKind::File => false,
            LockKind::Lease => true,
            LockKind::Log => problem.is_some(),
        };
        asked.then(|| DatabaseReport {
            server: self.server.clone(),
            problem: problem.cloned(),
            notes: self.notes.clone(),
            clock_offset_millis: self.clock_offset_millis,
        })
    }

    /// Whether the pod does what it is there for: serve, or wait for the lock.
    fn ready(&self, kind: LockKind) -> Result<(), String> {
        let waits =
            matches!(self.state, AgentState::Preflight | AgentState::Fenced | AgentState::Backoff);
        let unseen = self.lease_problem.as_ref().filter(|_| waits);
        if let Some(problem) = self.database_problem.as_ref().or(unseen) {
            return Err(format!("no broker is started: {}", problem.message));
        }
        let problem = self.problems.values().next();
        let because = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
        let not_yet = match (self.state, self.lock) {
            (AgentState::Master, _) => return Ok(()),
            (AgentState::Standby, LockView::Other) => match self.motion {
                MotionView::Moves => return Ok(()),
                MotionView::Still => "the broker waits for the lock and stands still",
                MotionView::Unknown => "the broker is not seen to try the lock yet",
            },
            (AgentState::Standby, LockView::Unknown) => "the lock cannot be seen",
            (AgentState::Standby, _) => "the lock is free, and the broker has not taken it yet",
            (AgentState::Preflight, _) => match kind {
                LockKind::File => {
                    "the broker is not started before the volume is tried and the lock file is stable"
                }
                LockKind::Lease | LockKind::Log => {
                    "the broker is not started before its database is ready"
                }
            },
            (AgentState::Starting, _) => "the broker starts",
            (AgentState::Promoting, _) => "the broker holds the lock and does not greet yet",
            (AgentState::SteppingDown, _) => "the broker stops",
            (AgentState::Fenced, _) => "the broker was killed: its lock was in doubt",
            (AgentState::Backoff, _) => "the broker ended and will be started again",
            (AgentState::Held, _) => "the broker is kept down, as asked for",
            (AgentState::Stopped, _) => "the pod ends",
            (AgentState::Unknown, _) => "nothing is known of the broker",
        };
        Err(format!("{not_yet}{because}"))
    }
}

impl Probes for View {
    fn live(&self) -> Result<(), String> {
        let still = self.known().turned.elapsed();
        if still < STUCK {
            return Ok(());
        }
        Err(format!("the agent has not turned for {} s", still.as_secs()))
    }

    fn ready(&self) -> Result<(), String> {
        self.known().ready(self.kind)
    }

    fn metrics(&self) -> Result<String, String> {
        let known = self.known().clone();
        let metrics = &self.metrics;
        metrics.master.set(i64::from(known.state == AgentState::Master));
        metrics.state.clear();
        metrics.state.get_or_create(&StateLabels { state: StateLabel(known.state) }).set(1);
        metrics.epoch.set(i64::try_from(known.epoch).unwrap_or(i64::MAX));
        metrics.greeting_age.set(known.greeted.map_or(-1, |at| millis(at.elapsed())));
        let left = known.lease_end.map(|end| millis(end.saturating_duration_since(Instant::now())));
        metrics.lease_left.set(left.unwrap_or(-1));
        metrics.clock_offset.set(known.clock_offset_millis.unwrap_or_default());
        metrics.database_problem.clear();
        if let Some(problem) = known.database(self.kind).and_then(|database| database.problem) {
            let labels = ProblemLabels { kind: ProblemLabel(problem.kind) };
            metrics.database_problem.get_or_create(&labels).set(1);
        }
        metrics.dropped_lines.set(i64::try_from(self.output.dropped()).unwrap_or(i64::MAX));
        metrics.encode().map_err(|error| error.to_string())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
