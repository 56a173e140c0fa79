//! Looks at the lock, period after period, wherever it is.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::event::{Event, Events, LockNews};
use crate::agent::helper::Helper;
use crate::agent::lease_watch::{Lease, LogWatch, Look};
use crate::agent::machine::LogSign;
use crate::agent::timing::Timing;
use crate::broker::report::LockView;
use crate::lock::track::{Life, Track, Verdict};

/// From one look to the next while a database refuses and no broker is at stake: refused logins are
/// counted by some servers.
const REFUSED: Duration = Duration::from_secs(2);

/// Where the lock is.
#[derive(Clone, Debug)]
pub enum Lock {
    /// A file of the shared volume, which the helper process looks at.
    File(Helper),
    /// A lease in a database.
    Lease(Lease),
    /// Somewhere that only the broker sees.
    Log(LogWatch),
}

/// Everything that looks at the lock.
#[derive(Clone, Debug)]
pub struct LockWatch {
    lock: Lock,
    /// The broker process of the moment.
    life: watch::Receiver<Life>,
    track: Arc<Mutex<Track>>,
    timing: Timing,
    /// The broker says that something changed.
    nudge: Arc<Notify>,
}

impl LockWatch {
    /// Nothing is looked at yet.
    pub fn new(lock: Lock, life: watch::Receiver<Life>, timing: Timing) -> Self {
        Self { lock, life, track: Arc::default(), timing, nudge: Arc::default() }
    }

    /// Looks for ever, and tells what it sees.
    pub async fn run(mut self, events: Events) {
        loop {
            let started = Instant::now();
            let life = *self.life.borrow_and_update();
            let Some(look) = self.look_or_say_unknown(life, started, &events).await else {
                return;
            };
            let refused = life.pid.is_none() && matches!(look.lease, Some(Err(_)));
            let period = if refused { REFUSED } else { self.timing.probe_period() };
            let news = news(life.generation, look, started);
            if events.send(Event::Lock(news)).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep_until(started + period) => {}
                () = self.nudge.notified() => {}
                // A new broker process makes what was seen for the old one useless.
                _ = self.life.changed() => {}
            }
        }
    }

    /// One look for the broker process of the moment: the life it was made for and what it means.
    pub async fn look(&self) -> (Life, Verdict) {
        let life = *self.life.borrow();
        (life, self.look_for(life).await.verdict)
    }

    /// The broker process of the moment.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// The broker process of this generation logged this.
    pub fn note(&self, generation: u32, sign: LogSign) {
        if let Lock::Log(log) = &self.lock {
            log.note(generation, sign);
        }
        // The lease was just taken: the record need not wait for the next look.
        if sign == LogSign::Takes {
            self.nudge.notify_one();
        }
    }

    async fn look_for(&self, life: Life) -> Look {
        match &self.lock {
            Lock::File(helper) => {
                let found = helper.look(life.pid).await;
                let mut track = self.track.lock().unwrap_or_else(PoisonError::into_inner);
                Look::plain(track.judge(life, &found), found.error)
            }
            Lock::Lease(lease) => lease.look(life).await,
            Lock::Log(log) => log.look(life),
        }
    }

    async fn look_or_say_unknown(
        &self,
        life: Life,
        started: Instant,
        events: &Events,
    ) -> Option<Look> {
        let mut look = pin!(self.look_for(life));
        loop {
            tokio::select! {
                found = &mut look => return Some(found),
                () = sleep(self.timing.probe_deadline()) => {}
            }
            let view = LockView::Unknown;
            let error = match &self.lock {
                Lock::File(_) | Lock::Log(_) => "the storage does not answer",
                Lock::Lease(_) => "the database does not answer",
            };
            let verdict = Verdict { view, changed: false, file: None, local: false };
            let look = Look::plain(verdict, Some(error.to_owned()));
            let news = news(self.life().generation, look, started);
            events.send(Event::Lock(news)).await.ok()?;
        }
    }
}

fn news(generation: u32, look: Look, started: Instant) -> LockNews {
    LockNews {
        generation,
        verdict: look.verdict,
        started,
        took: started.elapsed(),
        error: look.error,
        lease: look.lease,
    }
}
