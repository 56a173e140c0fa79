//! The database with the lock's lease, and perhaps the messages, as the agent sees it.
//!
//! [`Database`] is the only type that the agent needs. Each step has a deadline. Looks keep one
//! session open; every other step, which may have to wait for others, opens one of its own and closes
//! it, so that looks never wait behind it.
//!
//! The two dialects share all logic: a [`session`] runs one statement and gives its rows as text; the
//! statements themselves are in [`sql`].

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::report::{DatabaseNote, DatabaseProblem};
use crate::broker::settings::LeaseSettings;
use crate::lock::lease::Row;

use self::prepare::Wanted;
pub use self::prepare::skew;
use self::problem::Failure;
use self::session::Session;
use self::sql::Sql;

mod durability;
mod ending;
mod epoch;
mod facts;
mod fence;
mod group;
mod history;
mod look;
mod mysql;
mod pooler;
mod postgres;
mod prepare;
mod problem;
mod session;
mod sql;
mod tls;

/// Name lookup, TCP, TLS and login together.
const CONNECT: Duration = Duration::from_secs(2);

/// Looking at everything, and making tables. No broker of ours runs meanwhile.
const PREPARE: Duration = Duration::from_secs(15);
/// For the last words of a session.
const GOOD_BYE: Duration = Duration::from_millis(200);

/// What is known when a broker can be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The broker shall create the message tables.
    pub create_tables: bool,
    /// What must hold in the database for this broker to obtain the lease: a condition in SQL.
    pub obtain_if: String,
    /// Product and version, if the database could be asked.
    pub server: Option<String>,
    /// What is not as it should be, though brokers may run.
    pub notes: Vec<DatabaseNote>,
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
        // Taken out: what is cut off in the middle, also by whoever called us, is not used again.
        let found = match kept.take() {
            Some(session) => self.look_by(session).await,
            None => match self.connect().await {
                Ok(session) => self.look_by(session).await,
                Err(failure) => Err(failure),
            },
        };
        match found {
            Ok((row, session)) => {
                *kept = Some(session);
                Ok(row)
            }
            Err(failure) => Err(self.problem(&failure)),
        }
    }

    async fn look_by(&self, mut session: Session) -> Result<(Row, Session), Failure> {
        let row = within(self.statement(), look::look(&mut session, &self.sql)).await?;
        Ok((row, session))
    }

    /// Everything that must be true before a broker is started; tables and fence are made if need be.
    pub async fn prepare(&self) -> Result<Prepared, DatabaseProblem> {
        self.step(PREPARE, async |session| {
            let messages = self.settings.holds_messages;
            let group = self.settings.group.as_deref();
            let wanted = Wanted { messages, group, patience: self.statement() };
            prepare::prepare(session, &self.sql, wanted).await
        })
        .await
    }

    /// Puts the fence onto tables that the broker has just made; cheap when it is there.
    pub async fn fence(&self) -> Result<Vec<DatabaseNote>, DatabaseProblem> {
        if !self.settings.holds_messages {
            return Ok(Vec::new());
        }
        let patience = self.statement();
        let fence = async |session: &mut Session| fence::ensure(session, &self.sql, patience).await;
        self.step(self.lease(), fence).await
    }

    /// To be called only when the process of `holder` has been reaped: ends its sessions, sees them
    /// gone, releases the lease if it is its own, and reads it again.
    pub async fn release(&self, holder: &str) -> Result<(), DatabaseProblem> {
        let release =
            async |session: &mut Session| ending::release(session, &self.sql, holder).await;
        self.step(self.lease(), release).await
    }

    /// The highest epoch kept; 0 before the first.
    pub async fn floor(&self) -> Result<u64, DatabaseProblem> {
        self.step(self.statement(), async |session| epoch::read(session, &self.sql).await).await
    }

    /// Keeps `epoch`, unless a higher one is kept already.
    pub async fn raise_floor(&self, epoch: u64) -> Result<(), DatabaseProblem> {
        let raise = async |session: &mut Session| epoch::raise(session, &self.sql, epoch).await;
        self.step(self.statement(), raise).await
    }

    /// A step with a session of its own.
    async fn step<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, DatabaseProblem> {
        let done = async {
            let mut session = self.connect().await?;
            let done = within(limit, work(&mut session)).await?;
            // A server that is slow to hear a good-bye costs nobody anything.
            drop(timeout(GOOD_BYE, session.close()).await);
            Ok(done)
        };
        match done.await {
            Ok(done) => Ok(done),
            Err(failure) => Err(self.problem(&failure)),
        }
    }

    async fn connect(&self) -> Result<Session, Failure> {
        // A large future, in the middle of others.
        Box::pin(Session::open(&self.settings, self.statement())).await
    }

    /// How long one statement may take.
    fn statement(&self) -> Duration {
        self.lease() / 2
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.settings.lease_millis)
    }

    fn problem(&self, failure: &Failure) -> DatabaseProblem {
        problem::problem(&self.settings, failure)
    }
}

/// `work`, but not longer than `limit`.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, work).await.unwrap_or(Err(Failure::Late(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The agent runs them in tasks.
    #[allow(dead_code, reason = "it compiles, that is the test")]
    fn steps_can_be_sent(database: &'static Database) {
        fn sent<T: Send + 'static>(_: T) {}
        sent(database.look());
        sent(database.prepare());
        sent(database.fence());
        sent(database.release("holder"));
        sent(database.floor());
        sent(database.raise_floor(1));
    }
}
