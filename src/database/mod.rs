//! The database with the lock's lease, and perhaps the messages, as the agent sees it.
//!
//! [`Database`] is the only type that the agent needs. Each step has a deadline. Looks keep one
//! session open; every other step, which may have to wait for others, opens one of its own and closes
//! it, so that looks never wait behind it.
//!
//! The two dialects share all logic: a [`session`] runs one statement and gives its rows as text; the
//! statements themselves are in [`sql`].

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::broker::report::{DatabaseNote, DatabaseProblem};
use crate::broker::settings::LeaseSettings;
use crate::lock::lease::Row;

use self::problem::{Failure, Place};
use self::session::Session;
use self::sql::Sql;

mod look;
mod postgres;
mod problem;
mod resolve;
mod session;
mod sql;
mod tls;

/// Name lookup, TCP, TLS and login together.
const CONNECT: Duration = Duration::from_secs(2);

/// What must be true before a broker is started is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The broker shall create the message tables.
    pub create_tables: bool,
    /// Product and version.
    pub server: String,
    /// What is not as it should be, though brokers may run.
    pub notes: Vec<DatabaseNote>,
    /// This node's clock minus the database's.
    pub clock_offset_millis: i64,
}

/// A database with a lease.
#[derive(Debug)]
pub struct Database {
    settings: LeaseSettings,
    sql: Sql,
    /// The session of the looks; a fresh one after any failure.
    looks: Mutex<Option<Session>>,
}

impl Database {
    /// Connects at the first use.
    pub fn new(settings: LeaseSettings) -> Self {
        let sql = Sql::new(&settings);
        Self { settings, sql, looks: Mutex::new(None) }
    }

    /// One look at the lease's row. A missing row is put back as a lease that nobody holds; sessions
    /// of a holder whose lease has run out are ended, because a takeover waits for their transactions.
    pub async fn look(&self) -> Result<Row, DatabaseProblem> {
        let mut kept = self.looks.lock().await;
        let found = self.look_by(&mut kept).await;
        if found.is_err() {
            *kept = None;
        }
        found.map_err(|failure| self.problem(&failure))
    }

    async fn look_by(&self, kept: &mut Option<Session>) -> Result<Row, Failure> {
        let session = match kept {
            Some(session) => session,
            None => kept.insert(self.connect().await?),
        };
        within(self.statement(), look::look(session, &self.sql)).await
    }

    /// Everything that must be true before a broker is started; tables and fence are made if need be.
    pub async fn prepare(&self) -> Result<Prepared, DatabaseProblem> {
        Err(self.problem(&Failure::answer("prepare is not there yet")))
    }

    /// Puts the fence onto tables that the broker has just made; cheap when it is there.
    pub async fn fence(&self) -> Result<Vec<DatabaseNote>, DatabaseProblem> {
        Err(self.problem(&Failure::answer("fence is not there yet")))
    }

    /// To be called only when the process of `holder` has been reaped: ends its sessions, sees them
    /// gone, releases the lease if it is its own, and reads it again.
    pub async fn release(&self, holder: &str) -> Result<(), DatabaseProblem> {
        Err(self.problem(&Failure::answer(format!("release of {holder} is not there yet"))))
    }

    /// The highest epoch kept; 0 before the first.
    pub async fn floor(&self) -> Result<u64, DatabaseProblem> {
        Err(self.problem(&Failure::answer("floor is not there yet")))
    }

    /// Keeps `epoch`, unless a higher one is kept already.
    pub async fn raise_floor(&self, epoch: u64) -> Result<(), DatabaseProblem> {
        Err(self.problem(&Failure::answer(format!("floor {epoch} is not there yet"))))
    }

    async fn connect(&self) -> Result<Session, Failure> {
        within(CONNECT, Session::open(&self.settings, self.statement())).await
    }

    /// How long one statement may take.
    fn statement(&self) -> Duration {
        Duration::from_millis(self.settings.lease_millis / 2)
    }

    fn problem(&self, failure: &Failure) -> DatabaseProblem {
        Place::of(&self.settings).problem(failure)
    }
}

/// `work`, but not longer than `limit`.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    timeout_at(deadline, work).await.unwrap_or(Err(Failure::Late(limit)))
}
