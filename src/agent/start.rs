//! Starts a broker, and makes the one that serves the master of the record.

use std::time::Duration;

use tokio::time::Instant;

use crate::agent::child::Broker;
use crate::agent::ending::{self, Kill};
use crate::agent::machine::{ChildEvent, Input};
use crate::agent::promote::Promotion;
use crate::agent::proof::Proof;
use crate::agent::run::Agent;
use crate::agent::view::Source;
use crate::broker::report::{ChildReport, PromotionReport};
use crate::broker::settings::GreetingSettings;
use crate::clock;

/// The pause before the first repair of the record; doubles with each in a row.
const FIRST_REPAIR: Duration = Duration::from_millis(250);
/// The longest pause before a repair.
const LONGEST_REPAIR: Duration = Duration::from_secs(10);
/// So long without a promotion, and repairs are no longer in a row.
const CALM: Duration = Duration::from_mins(1);

impl Agent {
    pub(super) fn start(&mut self) {
        // Not before this can it get the lock.
        self.begin_proof(Instant::now());
        self.lock_taken = None;
        self.last_promotion = None;
        self.repairs = 0;
        self.kill = Kill::default();
        self.memory_kills = ending::memory_kills();
        self.promoter.epochs.forget_tried();
        let generation = self.generation() + 1;
        match Broker::start(&self.settings.child, generation, self.around.clone()) {
            Ok(broker) => {
                let report = ChildReport {
                    instance: format!("{:08x}", rand::random::<u32>()),
                    pid: broker.pid,
                    started: clock::now(),
                    restarts: self.starts,
                };
                tracing::info!("broker {} started as process {}", report.instance, report.pid);
                self.starts += 1;
                if let Some(volume) = &self.volume {
                    volume.note_start();
                }
                self.view.metrics.starts.inc();
                self.view.known().child = Some(report);
                self.next_life(Some(broker.pid));
                self.broker = Some(broker);
                self.view.problem(Source::Child, None);
                self.view.problem(Source::Peers, None);
                self.inputs.push_back(Input::Child(ChildEvent::Started));
            }
            Err(problem) => {
                self.view.problem(Source::Child, Some(problem));
                self.next_life(None);
                self.inputs.push_back(Input::Child(ChildEvent::NotStarted));
            }
        }
    }

    pub(super) fn promote(&mut self) {
        let now = Instant::now();
        let first = self.last_promotion.is_none();
        let pause = match self.last_promotion {
            None => Duration::ZERO,
            Some(last) => {
                self.repairs = if now - last > CALM { 0 } else { self.repairs + 1 };
                (FIRST_REPAIR * 2_u32.saturating_pow(self.repairs.min(8))).min(LONGEST_REPAIR)
            }
        };
        self.last_promotion = Some(now);
        if first {
            let taken = self.lock_taken.map_or(Duration::ZERO, |taken| taken.elapsed());
            let greeted = clock::now();
            let lock_taken =
                jiff::SignedDuration::try_from(taken).map_or(greeted, |taken| greeted - taken);
            self.view.known().promotion =
                Some(PromotionReport { lock_taken, greeted, recorded: None, epoch: None });
        }
        let promotion = Promotion {
            generation: self.generation(),
            lock_taken: self.lock_taken.unwrap_or(now),
            pause,
        };
        let GreetingSettings::OpenWire { port } = self.settings.greeting;
        let proof = Proof {
            generation: promotion.generation,
            locks: self.locks.clone(),
            port,
            deadline: self.timing.master_greeting(),
            fence: self.fence.clone(),
        };
        let promoter = self.promoter.clone();
        let events = self.around.events.clone();
        let task = self.tasks.spawn(async move {
            promoter.promote(promotion, || proof.clone().give(), events).await;
        });
        if let Some(before) = self.promotion.replace(task) {
            before.abort();
        }
    }
}
