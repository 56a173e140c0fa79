//! What must be true before a broker is started.

use std::time::Duration;

use crate::broker::report::{DatabaseNote, NoteKind};
use crate::broker::settings::GroupIdentity;
use crate::database::durability;
use crate::database::problem::Failure;
use crate::database::session::{Session, text};
use crate::database::sql::{Dialect, Sql, Table};
use crate::database::{Prepared, ending, fence, group, history, look};

/// Messages expire by the broker's clock and are counted by the database's.
const SKEW_MILLIS: i64 = 2_000;

/// What a database is to be prepared for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whether the messages are in it.
    pub messages: bool,
    /// Whose tables they are, if that was told.
    pub group: Option<&'a GroupIdentity>,
    /// How long to wait for another agent.
    pub patience: Duration,
}

/// Prepares the database; two agents do so at the same time.
pub async fn prepare(
    session: &mut Session,
    sql: &Sql,
    wanted: Wanted<'_>,
) -> Result<Prepared, Failure> {
    let Wanted { messages: holds_messages, group, patience } = wanted;
    let server = server(session, sql.dialect).await?;
    durability::writable(session, sql.dialect).await?;
    schema(session, sql).await?;
    fence::alone(session, sql, patience).await?;
    let used = holds_messages && has(session, sql, Table::Messages).await?;
    let history = session.history(sql.dialect).await?;
    own_tables(session, sql, holds_messages && !used).await?;
    if let Some(group) = group {
        group::claim(session, sql, group).await?;
    }
    ending::forget_ended(session, sql).await?;
    let mut create_tables = false;
    let mut notes = durability::notes(session, sql.dialect, holds_messages).await?;
    if history.is_none() {
        notes.push(durability::unseen_history(holds_messages));
    }
    if holds_messages {
        create_tables = !message_tables(session, sql).await?;
        if !create_tables {
            notes.extend(fence::ensure(session, sql, patience).await?);
        }
    }
    let row = match look::read(session, sql).await? {
        Some(row) => row,
        None => look::repair(session, sql).await?,
    };
    notes.extend(skew(row.clock_offset_millis));
    notes.extend(session.doubt().map(not_proven));
    let group = group.and_then(|group| Sql::fact_literal(&group.in_words()));
    let obtain_if = sql.obtain_if(group.as_deref(), history.as_deref());
    Ok(Prepared { create_tables, obtain_if, server, notes })
}

/// Product and version.
async fn server(session: &mut Session, dialect: Dialect) -> Result<Option<String>, Failure> {
    let version = match dialect {
        Dialect::Postgres => "SELECT 'PostgreSQL '||current_setting('server_version')",
        Dialect::MySql => {
            "SELECT IF(VERSION() LIKE '%MariaDB%',CONCAT('MariaDB ',VERSION()),\
             CONCAT('MySQL ',VERSION()))"
        }
    };
    session.value(version).await
}

/// A path that leads nowhere is no error to PostgreSQL.
async fn schema(session: &mut Session, sql: &Sql) -> Result<(), Failure> {
    let Some((schema, exists)) = sql.schema_is_there() else { return Ok(()) };
    if session.rows(&exists).await?.is_empty() {
        return Err(Failure::NoSchema(schema.to_owned()));
    }
    Ok(())
}

/// Makes our own tables and their rows, and checks them. An administrator may have made them.
async fn own_tables(session: &mut Session, sql: &Sql, first: bool) -> Result<(), Failure> {
    let mut fresh_lock = false;
    for table in sql.own_tables() {
        let made = columns(session, sql, *table).await?.is_empty();
        if made && let Some(create) = sql.create(*table) {
            session.run(&create).await.map_err(|failure| failure.while_running(&create))?;
        }
        fresh_lock |= made && *table == Table::Lock;
        check(session, sql, *table).await?;
    }
    session.run(&sql.first_epoch()).await?;
    if fresh_lock {
        if let Some(history) = session.history(sql.dialect).await? {
            history::begin(session, sql, &history).await?;
        }
        // A lock's table that was dropped while a broker ran: that broker must see its end first.
        let row = if first { sql.first_row() } else { sql.repair() };
        session.run(&row).await?;
    }
    Ok(())
}

/// Whether the broker's message tables are complete. Those that are not and hold nothing are what a
/// broker left that was killed while it made them; the next one completes them.
async fn message_tables(session: &mut Session, sql: &Sql) -> Result<bool, Failure> {
    let mut complete = true;
    for table in [Table::Messages, Table::Acks] {
        let found = columns(session, sql, table).await?;
        if missing(&found, table).is_empty() {
            check(session, sql, table).await?;
            continue;
        }
        if !found.is_empty() && !is_empty(session, sql, table).await? {
            return Err(mismatch(sql, table, &found));
        }
        complete = false;
    }
    if !complete {
        // Refused without the right to create tables, though this one is there.
        let create = sql.create(Table::Group).unwrap_or_default();
        session.run(&create).await.map_err(|failure| failure.while_running("CREATE TABLE"))?;
    }
    Ok(complete)
}

async fn has(session: &mut Session, sql: &Sql, table: Table) -> Result<bool, Failure> {
    Ok(!columns(session, sql, table).await?.is_empty())
}

async fn is_empty(session: &mut Session, sql: &Sql, table: Table) -> Result<bool, Failure> {
    let some = format!("SELECT 1 FROM {} LIMIT 1", sql.table(table));
    Ok(session.rows(&some).await?.is_empty())
}

/// Columns and rights of a table that is there.
async fn check(session: &mut Session, sql: &Sql, table: Table) -> Result<(), Failure> {
    let found = columns(session, sql, table).await?;
    if !missing(&found, table).is_empty() {
        return Err(mismatch(sql, table, &found));
    }
    if sql.dialect == Dialect::MySql {
        durability::transactional(session, &sql.table(table)).await?;
    }
    for statement in sql.needs(table) {
        session.run(&statement).await.map_err(|failure| failure.while_running(&statement))?;
    }
    Ok(())
}

async fn columns(session: &mut Session, sql: &Sql, table: Table) -> Result<Vec<String>, Failure> {
    let rows = session.rows(&sql.columns_of(table)).await?;
    Ok(rows.iter().filter_map(|fields| text(fields, 0)).collect())
}

fn missing(found: &[String], table: Table) -> Vec<&'static str> {
    let wanted = Sql::columns(table).iter().copied();
    wanted.filter(|name| !found.iter().any(|column| column == name)).collect()
}

fn mismatch(sql: &Sql, table: Table, found: &[String]) -> Failure {
    Failure::Mismatch(format!(
        "table {} has the columns {} but not {}",
        sql.table(table),
        found.join(", "),
        missing(found, table).join(", ")
    ))
}

fn not_proven(why: &str) -> DatabaseNote {
    DatabaseNote {
        kind: NoteKind::SessionsNotProven,
        message: format!(
            "a proxy or pooler answers in the database's place, and whether it shares sessions between \
             clients could not be found out: {why}; give host and port of the server itself, or make \
             sure that the pooler is in session mode and has sessions to spare"
        ),
    }
}

/// What people should know of this node's clock, if it differs so much from the database's.
pub fn skew(offset: i64) -> Option<DatabaseNote> {
    (offset.abs() > SKEW_MILLIS).then(|| DatabaseNote {
        kind: NoteKind::ClockSkew,
        message: format!(
            "this node's clock is {} ms {} the database's: messages expire too {} on one of the \
             nodes; synchronise the clocks (the lock does not depend on them)",
            offset.abs(),
            if offset > 0 { "ahead of" } else { "behind" },
            if offset > 0 { "early" } else { "late" },
        ),
    })
}
