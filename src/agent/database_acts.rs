//! What the loop does about the database with the lock.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::agent::event::{Event, LeaseSeen};
use crate::agent::lease_watch::Holders;
use crate::agent::machine::{Input, PreparationView};
use crate::agent::prepare::Preparer;
use crate::agent::proof::Fence;
use crate::agent::run::Agent;
use crate::agent::view::{Known, Source};
use crate::broker::report::{DatabaseNote, DatabaseProblem, NoteKind, ProblemKind};
use crate::database::{Database, Prepared, skew};
use crate::lock::lease::Nobody;

/// The pause between attempts to release a lease.
const RELEASE_AGAIN: Duration = Duration::from_millis(200);

/// What an agent has whose broker gets at its lock by a database.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) preparer: Preparer,
    pub(super) holders: Holders,
    /// Whether the messages are in the database that the agent can ask.
    pub(super) holds_messages: bool,
}

impl Agent {
    /// A broker that is started has this holder id, and every other one another.
    pub(super) fn prepare_database(&mut self) {
        let Some(access) = &self.access else { return };
        self.nonce = rand::random();
        let holder = access.holders.id(self.nonce);
        let preparer = access.preparer.clone();
        let generation = self.generation();
        self.tell_later(async move {
            Event::Prepared { generation, outcome: preparer.prepare(holder).await }
        });
    }

    pub(super) fn on_prepared(&mut self, outcome: Result<Prepared, DatabaseProblem>) {
        let Some(access) = &self.access else { return };
        let database = access.preparer.database.clone();
        let view = match outcome {
            Ok(prepared) => {
                let fences = access.holds_messages && prepared.create_tables;
                self.fence = database.filter(|_| fences).map(|database| Fence {
                    database,
                    on: Arc::new(AtomicBool::new(false)),
                    events: self.around.events.clone(),
                });
                self.view.prepared(Ok(prepared));
                PreparationView::Ready
            }
            Err(problem) => {
                self.view.prepared(Err(problem));
                PreparationView::Refused
            }
        };
        self.feed(Input::Prepared(view));
    }

    pub(super) fn on_fenced(&mut self, notes: Vec<DatabaseNote>) {
        let mut known = self.view.known();
        known.notes.retain(|note| note.kind != NoteKind::WritesNotFenced);
        known.notes.extend(notes);
    }

    pub(super) fn on_lease(&mut self, of: u32, lease: Result<LeaseSeen, DatabaseProblem>) {
        let current = of == self.generation();
        let mut known = self.view.known();
        known.lease_problem = match lease {
            Ok(seen) => {
                note_skew(&mut known, seen.clock_offset_millis);
                if current {
                    known.lease_end = seen.proven_until;
                    self.proven_until = seen.proven_until.or(self.proven_until);
                }
                seen.nobody.map(held_back)
            }
            // Before the first preparation there is perhaps no table yet, and its answer says more.
            Err(problem) => known.server.is_some().then_some(problem),
        };
        let message = known.lease_problem.as_ref().map(|problem| problem.message.clone());
        drop(known);
        self.view.problem(Source::Lock, message);
    }

    pub(super) fn release(&mut self) {
        let Some(access) = &self.access else { return };
        let Some(database) = access.preparer.database.clone() else { return };
        let holder = access.holders.id(self.nonce);
        let generation = self.generation();
        // Later it has run out by itself.
        let end = Instant::now() + self.timing.lease();
        self.tell_later(async move {
            release(&database, &holder, end).await;
            Event::Released { generation }
        });
    }
}

/// The note comes and goes; what it says stays the same in between, or every look would be news.
fn note_skew(known: &mut Known, offset: i64) {
    known.clock_offset_millis = Some(offset);
    let is_skew = |note: &DatabaseNote| note.kind == NoteKind::ClockSkew;
    match skew(offset) {
        None => known.notes.retain(|note| !is_skew(note)),
        Some(note) if !known.notes.iter().any(is_skew) => known.notes.push(note),
        Some(_) => {}
    }
}

async fn release(database: &Database, holder: &str, end: Instant) {
    loop {
        let Err(problem) = database.release(holder).await else { return };
        if Instant::now() >= end {
            tracing::warn!("the lease of {holder} is left to run out: {}", problem.message);
            return;
        }
        sleep(RELEASE_AGAIN).await;
    }
}

fn held_back(why: Nobody) -> DatabaseProblem {
    let (kind, message) = match why {
        Nobody::RowMissing => (
            ProblemKind::LockRowMissing,
            "the lock's row was deleted; a lease that nobody holds is in its place, and brokers start \
             again when it has run out: let nobody write to the table",
        ),
        Nobody::NewHistory => (
            ProblemKind::ServerChanged,
            "the database's server was promoted, restored or replaced, so the lock's row may be an old \
             one: nobody can take the lock for the length of one lease; nothing needs to be done",
        ),
    };
    DatabaseProblem { kind, message: message.to_owned() }
}
