//! The SQL of the lease. The broker's own compares and writes its own clock; here the database's clock
//! alone writes the lease and judges it, and the lease can be longer than the time between two tries.
//!
//! The broker (6.3.1, `LeaseDatabaseLocker`) sets the parameters of its statements by position, and all
//! of them must be there. Obtain: 1 holder, 2 its idea of the end, 3 its idea of now. Update: 1 holder
//! or null, 2 its idea of the end or 0, 3 holder; used for renewals, and with null and 0 for the
//! release. What comes of its clock is multiplied by 0.
//!
//! An update takes effect only while the lease runs: a broker that wakes after its lease has lost it,
//! also if nobody has taken it.
//!
//! Tried on PostgreSQL 15 with driver 42.7.7, and MariaDB 10.11 with MariaDB's driver 3.5.4 and MySQL's
//! 9.4.0.

use crate::broker::settings::DatabaseKind;

/// Statements of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSql {
    /// Takes a lease that is free or has run out.
    pub obtain: String,
    /// Renews or releases it.
    pub update: String,
}

/// The statements for this kind of database, the lock's table and a lease of so many milliseconds.
/// `obtain_if` must hold as well: the agent says that the tables are the group's and that the server is
/// the one that it knows.
pub fn statements(kind: DatabaseKind, table: &str, lease: u64, obtain_if: &str) -> LeaseSql {
    let now = now_millis(kind);
    LeaseSql {
        obtain: format!(
            "UPDATE {table} SET BROKER_NAME=?, TIME={now}+{lease}+0*? WHERE (TIME IS NULL OR TIME < {now}+0*?) AND ID=1 AND {obtain_if}"
        ),
        update: format!(
            "UPDATE {table} SET BROKER_NAME=?, TIME=CASE WHEN ?=0 THEN 0 ELSE {now}+{lease} END WHERE BROKER_NAME=? AND ID=1 AND TIME >= {now}"
        ),
    }
}

/// Milliseconds since 1970 by the database's clock at the moment of the statement, not of the
/// transaction (PostgreSQL's `now()` would be that); in UTC, because a time zone with daylight saving
/// has an hour twice a year.
pub fn now_millis(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::PostgreSQL => "CAST(EXTRACT(EPOCH FROM clock_timestamp())*1000 AS BIGINT)",
        DatabaseKind::MySQL | DatabaseKind::MariaDB => {
            "(TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6)) DIV 1000)"
        }
    }
}
