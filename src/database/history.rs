//! Whether a server is still the one that the lease was given on.
//!
//! A replica that was promoted, or a database that was restored, has an older state of the lease's row:
//! it may say "free" or "run out" while a broker holds a lease that the former server gave it. Nobody may
//! believe such a row.
//!
//! **Invariant.** A lease is obtained only on a server whose history is the recorded one. A history that
//! is not is recorded no earlier than one whole lease after an agent has seen it. Until then every lease
//! that another server gave has run out, because that server's end came before the first look.
//!
//! The history is what the server itself says of the past it continues, see [`current`]; the record is in
//! the database, so it is as old as the row is. The broker's own statement compares the two: a standby
//! that polls by itself obtains nothing meanwhile. Renewals are not touched: a row that runs and is the
//! broker's own is nobody else's on any server.

use crate::database::facts::{Fact, Facts};
use crate::database::problem::Failure;
use crate::database::session::{Session, text};
use crate::database::sql::{Dialect, Sql};

/// What to do about a server's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is the recorded one.
    Known,
    /// It is another one, and nobody has noted when it was first seen.
    Note,
    /// It was seen so recently that nobody may obtain the lease for so many milliseconds.
    Wait(i64),
    /// It was seen a whole lease ago.
    Record,
}

/// `seen` is the history that was noted, and how many milliseconds ago by this server's clock; that is
/// negative when the clock went back.
fn judge(current: &str, recorded: Option<&str>, seen: Option<(&str, i64)>, lease: i64) -> Step {
    if recorded == Some(current) {
        return Step::Known;
    }
    match seen {
        Some((history, ago)) if history == current && ago >= lease => Step::Record,
        Some((history, ago)) if history == current && ago >= 0 => Step::Wait(lease - ago),
        Some(_) | None => Step::Note,
    }
}

/// An expression that gives the server's history, if its user may ask for it.
///
/// PostgreSQL: the number that its data were made with, and the timeline, which a promotion and a
/// recovery to a point in time both change. The timeline comes from the name of the log file that is
/// written now: `pg_control_checkpoint` shows it only after the next checkpoint. Every user may call these
/// functions by default (tried on PostgreSQL 15). MySQL: `server_uuid`; MariaDB: `server_id`, which
/// differs between the servers of a replication.
pub async fn current(session: &mut Session, dialect: Dialect) -> Result<Option<String>, Failure> {
    let expression = match dialect {
        Dialect::Postgres => "(SELECT system_identifier||'/'||\
             substr(pg_walfile_name(pg_current_wal_lsn()),1,8) FROM pg_control_system())"
            .to_owned(),
        Dialect::MySql => {
            let named = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid','server_id')";
            let rows = session.rows(named).await?;
            let has = |name: &str| rows.iter().any(|row| text(row, 0).as_deref() == Some(name));
            let name = if has("server_uuid") { "server_uuid" } else { "server_id" };
            format!("CAST(@@GLOBAL.{name} AS CHAR(64))")
        }
    };
    match session.value(&format!("SELECT {expression}")).await {
        Ok(value) => Ok(value.and(Some(expression))),
        // PostgreSQL in recovery: what a replica shows of the lease is not to be believed at all.
        Err(Failure::Server { code, message }) if code == "55000" => {
            Err(Failure::ReadOnly(message))
        }
        Err(Failure::Server { code, message }) => {
            tracing::debug!(code, message, "the server's history cannot be seen");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// For how many milliseconds nobody may obtain the lease, because the server is not known yet; 0 when it
/// is. Takes the next step towards knowing it.
pub async fn settle(session: &mut Session, sql: &Sql, expression: &str) -> Result<i64, Failure> {
    let Some(current) = session.value(&format!("SELECT {expression}")).await? else {
        return Err(Failure::answer("no history of the server"));
    };
    let lease = sql.lease_millis();
    let facts = Facts::read(session, sql).await?;
    let recorded = facts.value(Fact::History);
    match judge(&current, recorded, facts.aged(Fact::NextHistory), lease) {
        Step::Known => {
            // Or a later return to that history would be taken for one that was seen long ago.
            if facts.value(Fact::NextHistory).is_some() {
                session.run(&sql.forget(Fact::NextHistory)).await?;
            }
            Ok(0)
        }
        Step::Wait(left) => Ok(left),
        Step::Note => {
            tracing::warn!(
                recorded,
                current,
                "the database's server is another one: the lease is nobody's"
            );
            Facts::put(session, sql, Fact::NextHistory, &current).await?;
            Ok(lease)
        }
        Step::Record => {
            Facts::put(session, sql, Fact::History, &current).await?;
            Ok(0)
        }
    }
}

/// Records the history of a database that no broker has used, or whose lease has just been put to nobody
/// for one lease.
pub async fn begin(session: &mut Session, sql: &Sql, expression: &str) -> Result<(), Failure> {
    let Some(current) = session.value(&format!("SELECT {expression}")).await? else {
        return Err(Failure::answer("no history of the server"));
    };
    Facts::put(session, sql, Fact::History, &current).await
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
