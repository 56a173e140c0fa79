//! Looks at the lock, period after period.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::event::{Event, Events, LockNews};
use crate::agent::helper::Helper;
use crate::agent::timing::Timing;
use crate::broker::report::LockView;
use crate::lock::Observation;
use crate::lock::track::{Life, Track, Verdict};

/// Everything that looks at the lock.
#[derive(Clone, Debug)]
pub struct LockWatch {
    helper: Helper,
    /// The broker process of the moment.
    life: watch::Receiver<Life>,
    track: Arc<Mutex<Track>>,
    timing: Timing,
}

impl LockWatch {
    /// Nothing is looked at yet.
    pub fn new(helper: Helper, life: watch::Receiver<Life>, timing: Timing) -> Self {
        Self { helper, life, track: Arc::default(), timing }
    }

    /// Looks for ever, and tells what it sees.
    pub async fn run(mut self, events: Events) {
        loop {
            let started = Instant::now();
            let life = *self.life.borrow_and_update();
            let Some(found) = self.look_or_say_unknown(life, started, &events).await else {
                return;
            };
            let news = LockNews {
                generation: life.generation,
                verdict: self.judge(life, &found),
                started,
                took: started.elapsed(),
                error: found.error,
            };
            if events.send(Event::Lock(news)).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep_until(started + self.timing.probe_period()) => {}
                // A new broker process makes what was seen for the old one useless.
                _ = self.life.changed() => {}
            }
        }
    }

    /// One look for the broker process of the moment: the life it was made for and what it means.
    pub async fn look(&self) -> (Life, Verdict) {
        let life = *self.life.borrow();
        let found = self.helper.look(life.pid).await;
        (life, self.judge(life, &found))
    }

    /// The broker process of the moment.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    fn judge(&self, life: Life, found: &Observation) -> Verdict {
        self.track.lock().unwrap_or_else(PoisonError::into_inner).judge(life, found)
    }

    async fn look_or_say_unknown(
        &self,
        life: Life,
        started: Instant,
        events: &Events,
    ) -> Option<Observation> {
        let mut look = pin!(self.helper.look(life.pid));
        loop {
            tokio::select! {
                found = &mut look => return Some(found),
                () = sleep(self.timing.probe_deadline()) => {}
            }
            let took = started.elapsed();
            let view = LockView::Unknown;
            let news = LockNews {
                generation: self.life().generation,
                verdict: Verdict { view, changed: false, file: None },
                started,
                took,
                error: Some("the storage does not answer".to_owned()),
            };
            events.send(Event::Lock(news)).await.ok()?;
        }
    }
}
