//! What must be seen between reading the record and writing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, ensure};

use crate::agent::event::{Event, Events};
use crate::agent::greeter::greet;
use crate::agent::lock_watch::LockWatch;
use crate::broker::report::{GreetingView, LockView};
use crate::database::Database;

/// How long the fence may take: it waits for the broker to have made its tables.
const FENCE_DEADLINE: Duration = Duration::from_secs(10);

/// A fence that is to be put onto the tables that the running broker has just made.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    pub(super) database: Arc<Database>,
    /// Whether it is on.
    pub(super) on: Arc<AtomicBool>,
    pub(super) events: Events,
}

/// What must be seen.
#[derive(Clone)]
pub(super) struct Proof {
    pub(super) generation: u32,
    pub(super) locks: LockWatch,
    pub(super) port: u16,
    pub(super) deadline: Duration,
    pub(super) fence: Option<Fence>,
}

impl Proof {
    /// Looks at the lock and greets, both begun now, and finds the same broker process alive after.
    pub(super) async fn give(self) -> anyhow::Result<()> {
        if let Some(fence) = &self.fence {
            // Before the look: clients are led here only when no other can write to the tables.
            fence.put_on(self.generation).await?;
        }
        let both = async { tokio::join!(self.locks.look(), greet(self.port, self.deadline)) };
        let ((life, verdict), greeting) = tokio::time::timeout(2 * self.deadline, both).await?;
        ensure!(life.generation == self.generation, "the broker has ended");
        // On network file systems the client's table is a hint. That the server answered this look, and
        // that nobody has rewritten the lock file since it was taken, is what proves there.
        ensure!(
            matches!(verdict.view, LockView::Mine(_)) && !verdict.changed,
            "the lock is not proven: {:?}",
            verdict.view
        );
        ensure!(greeting == GreetingView::Ok, "the broker does not greet: {greeting:?}");
        ensure!(self.locks.life() == life, "the broker has ended");
        Ok(())
    }
}

impl Fence {
    async fn put_on(&self, generation: u32) -> anyhow::Result<()> {
        if self.on.load(Ordering::Relaxed) {
            return Ok(());
        }
        let fenced = tokio::time::timeout(FENCE_DEADLINE, self.database.fence()).await?;
        let notes = fenced.map_err(|problem| anyhow!(problem.message))?;
        self.on.store(true, Ordering::Relaxed);
        drop(self.events.send(Event::Fenced { generation, notes }).await);
        Ok(())
    }
}
