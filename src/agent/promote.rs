//! Writes the promotion record: read, then prove, then write.
//!
//! The `resourceVersion` is read first; then it is proven afresh that the broker lives, holds the
//! lock and greets; then the record is written on condition of that version. So of two promotions
//! that race, the one with the older proof never ends on top.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::api::{ApiError, ApiServer};
use crate::agent::event::{Event, Events};
use crate::agent::helper::Helper;
use crate::agent::peers;
use crate::agent::store_gate::StoreGate;
use crate::broker::report::DatabaseProblem;
use crate::clock;
use crate::core::promotion::{self, Author, Claim, Next};
use crate::core::split_brain::Mark;
use crate::database::Database;

/// The pause after the first failed attempt; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a promotion waits for the store to tell the epoch floor.
const FLOOR_DEADLINE: Duration = Duration::from_millis(300);
/// How long the store may take to note a new one, or to tell it while nobody waits.
const RAISE_DEADLINE: Duration = Duration::from_secs(5);
/// How long emptying the record may take altogether: the container waits for it.
const EMPTY_DEADLINE: Duration = Duration::from_millis(900);

/// A higher floor is nobody's count of promotions: half of what a record may have ([`promotion::epoch`]).
const HIGHEST_FLOOR: u64 = 1 << 52;

/// The epochs that this agent knows of; shared between the loop and promotions.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    seen: Arc<AtomicU64>,
    /// Written, or tried to write, for the running broker process; 0 for none.
    tried: Arc<AtomicU64>,
    /// Whether the floor was read for the running broker process.
    floor_read: Arc<AtomicBool>,
}

impl Epochs {
    /// The highest epoch seen anywhere.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// The epoch written, or tried to write, for the running broker process.
    pub fn tried(&self) -> Option<u64> {
        Some(self.tried.load(Ordering::Relaxed)).filter(|&epoch| epoch > 0)
    }

    /// An epoch was seen.
    pub fn note(&self, epoch: u64) {
        self.seen.fetch_max(epoch, Ordering::Relaxed);
    }

    /// A floor was read. Whoever can write to the store could otherwise use up all epochs.
    fn note_floor(&self, floor: u64) {
        if floor <= HIGHEST_FLOOR {
            self.note(floor);
        }
    }

    /// A new broker process is a new claim.
    pub fn forget_tried(&self) {
        self.tried.store(0, Ordering::Relaxed);
        self.floor_read.store(false, Ordering::Relaxed);
    }

    fn try_one(&self, epoch: u64) {
        self.tried.store(epoch, Ordering::Relaxed);
        self.note(epoch);
    }
}

/// Who keeps the highest epoch, for a deleted record.
#[derive(Clone, Debug)]
pub enum Floor {
    /// A file beside the store.
    File(Helper),
    /// A table beside the lease.
    Database(Arc<Database>),
    /// Nobody: the agent sees neither a volume nor a database.
    Nobody,
}

impl Floor {
    async fn read(&self) -> anyhow::Result<u64> {
        match self {
            Self::File(helper) => helper.floor().await,
            Self::Database(database) => database.floor().await.map_err(in_words),
            Self::Nobody => Ok(0),
        }
    }

    async fn raise(&self, epoch: u64) -> anyhow::Result<()> {
        match self {
            Self::File(helper) => helper.raise_floor(epoch).await.map(drop),
            Self::Database(database) => database.raise_floor(epoch).await.map_err(in_words),
            Self::Nobody => Ok(()),
        }
    }
}

fn in_words(problem: DatabaseProblem) -> anyhow::Error {
    anyhow!(problem.message)
}

/// Writes the record for one agent.
#[derive(Clone, Debug)]
pub struct Promoter {
    /// The way to the API server.
    pub api: ApiServer,
    /// Who writes.
    pub author: Arc<Author>,
    /// Keeps the epoch floor.
    pub floor: Floor,
    /// Which store the broker was started on.
    pub stores: StoreGate,
    /// What is known of epochs.
    pub epochs: Epochs,
}

/// One promotion of one broker process.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The broker process.
    pub generation: u32,
    /// When the lock was first seen as its.
    pub lock_taken: Instant,
    /// Waited before the first attempt: nothing for a new master, more for each repair in a row.
    pub pause: Duration,
}

impl Promoter {
    /// Tries until the record names this broker process. `prove` shows afresh that it lives, holds
    /// the lock and greets. Dropped by the loop when it is no longer the master.
    pub async fn promote<P, F>(self, promotion: Promotion, prove: P, events: Events)
    where
        P: Fn() -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        sleep(promotion.pause).await;
        if !self.epochs.floor_read.load(Ordering::Relaxed) {
            self.note_floor(FLOOR_DEADLINE).await;
        }
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt(&promotion, &prove).await {
                Ok(epoch) => {
                    let generation = promotion.generation;
                    drop(events.send(Event::Promoted { generation, epoch }).await);
                    return;
                }
                Err(error) => drop(events.send(Event::RecordFailed(format!("{error:#}"))).await),
            }
            sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Reads the record, so that the connection is open when the promotion needs it.
    pub async fn look(self, events: Events) {
        if let Floor::Database(_) = self.floor {
            // A login of its own takes longer than a promotion may wait.
            tokio::join!(self.look_at_record(events), self.note_floor(RAISE_DEADLINE));
        } else {
            self.look_at_record(events).await;
        }
    }

    async fn look_at_record(&self, events: Events) {
        match self.api.get(&self.author.cluster).await {
            Ok(record) => drop(events.send(Event::Looked(Box::new(record))).await),
            Err(error) => tracing::debug!("cannot read the record: {error}"),
        }
    }

    /// Removes the endpoint if the record still names this pod, and tells when that is over.
    pub async fn empty(self, events: Events) {
        let outcome = in_time(EMPTY_DEADLINE, self.try_empty()).await;
        warn(outcome, "cannot empty the record");
        drop(events.send(Event::Emptied).await);
    }

    async fn attempt<P, F>(&self, promotion: &Promotion, prove: &P) -> anyhow::Result<u64>
    where
        P: Fn() -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let record = self.read_or_create().await.context("cannot read the promotion record")?;
        self.epochs.note(promotion::epoch(&record).unwrap_or_default());
        let claim = Claim {
            floor: self.epochs.seen(),
            tried: self.epochs.tried(),
            takeover_millis: u64::try_from(promotion.lock_taken.elapsed().as_millis())?,
            store: self.stores.opened(),
            now: clock::now(),
        };
        let (next, epoch) = match promotion::next(&record, &self.author, &claim)? {
            Next::Ours { epoch } => return Ok(epoch),
            Next::Write { record, epoch } => (record, epoch),
        };
        let (proof, others) = tokio::join!(prove(), self.others(&record, promotion));
        proof.and(others).context("the record is not written")?;
        self.epochs.try_one(epoch);
        let name = &self.author.cluster;
        let written =
            self.api.replace(name, &next).await.context("cannot write the promotion record")?;
        self.follow(&written).await;
        self.raise_floor(epoch);
        Ok(epoch)
    }

    /// That no other broker holds the lock as well. Of a disputed record that must be proven by all others.
    /// Of one that leads to another pod it is enough that none is seen to have held it after ours took it:
    /// clients are not led away from a master that has it too.
    async fn others(&self, record: &Value, promotion: &Promotion) -> anyhow::Result<()> {
        let disputed = Mark::of(record).is_some();
        if !disputed && !promotion::leads_elsewhere(record, &self.author) {
            return Ok(());
        }
        let since = Some(promotion.lock_taken).filter(|_| !disputed);
        let claims = peers::claims(&self.api, &self.author, since).await;
        let held_by = claims.held_by.join(" and ");
        ensure!(held_by.is_empty(), "{held_by} holds the lock too");
        match claims.silent.filter(|_| disputed) {
            Some(why) => {
                bail!("several brokers held the lock, and it is not proven to be over: {why}")
            }
            None => Ok(()),
        }
    }

    async fn read_or_create(&self) -> Result<Value, ApiError> {
        let name = &self.author.cluster;
        match self.api.get(name).await {
            Err(ApiError::NotFound) => {
                self.api.apply(name, &promotion::shell(&self.author)).await?;
                self.api.get(name).await
            }
            other => other,
        }
    }

    /// The second family's slice, where the operator made one. The record is what counts, so this is
    /// tried twice and then left to the operator.
    async fn follow(&self, record: &Value) {
        let Some(name) = promotion::follower_name(record, &self.author) else { return };
        for _ in 0..2 {
            match self.try_follow(&name, record).await {
                Ok(()) => return,
                Err(error) => tracing::warn!("slice {name} does not follow the record: {error:#}"),
            }
        }
    }

    async fn try_follow(&self, name: &str, record: &Value) -> anyhow::Result<()> {
        let slice = match self.api.get(name).await {
            Err(ApiError::NotFound) => return Ok(()),
            other => other?,
        };
        let slice = promotion::following(&slice, record, &self.author)?;
        self.api.replace(name, &slice).await?;
        Ok(())
    }

    async fn try_empty(&self) -> anyhow::Result<()> {
        loop {
            let name = &self.author.cluster;
            let record = self.api.get(name).await?;
            let Some(emptied) = promotion::emptied(&record, &self.author)? else { return Ok(()) };
            match self.api.replace(name, &emptied).await {
                Err(ApiError::Conflict) => {}
                other => return other.map(drop).map_err(Into::into),
            }
        }
    }

    /// The floor is only for a deleted record, so a store that does not answer delays nothing.
    async fn note_floor(&self, deadline: Duration) {
        let floor = in_time(deadline, self.floor.read()).await;
        self.epochs.floor_read.fetch_or(floor.is_ok(), Ordering::Relaxed);
        self.epochs.note_floor(*floor.as_ref().unwrap_or(&0));
        warn(floor, "cannot read the epoch floor");
    }

    fn raise_floor(&self, epoch: u64) {
        let floor = self.floor.clone();
        tokio::spawn(async move {
            let outcome = in_time(RAISE_DEADLINE, floor.raise(epoch)).await;
            warn(outcome, "cannot raise the epoch floor");
        });
    }
}

async fn in_time<T>(
    deadline: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    timeout(deadline, work).await.with_context(|| format!("no answer in {deadline:?}"))?
}

fn warn<T>(outcome: anyhow::Result<T>, what: &str) {
    if let Err(error) = outcome {
        tracing::warn!("{what}: {error:#}");
    }
}

#[cfg(test)]
#[path = "promote_tests.rs"]
mod tests;
