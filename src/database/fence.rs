//! The fence: the database itself refuses writes of a broker that does not hold the lease.

use std::time::Duration;

use crate::broker::report::{DatabaseNote, NoteKind};
use crate::database::problem::Failure;
use crate::database::session::Session;
use crate::database::sql::{Dialect, Sql, Table};

/// Sees to it that the fence is on; says so if it is not. Waits so long for another agent.
pub async fn ensure(
    session: &mut Session,
    sql: &Sql,
    patience: Duration,
) -> Result<Vec<DatabaseNote>, Failure> {
    if is_on(session, sql).await? {
        return Ok(Vec::new());
    }
    alone(session, sql, patience).await?;
    if is_on(session, sql).await? {
        return Ok(Vec::new());
    }
    match make(session, sql).await {
        Ok(()) if is_on(session, sql).await? => Ok(Vec::new()),
        Ok(()) => Ok(vec![note(sql, "its triggers do not show")]),
        Err(Failure::Server { code, message }) => {
            // What was begun must not stay open.
            session.run("ROLLBACK").await?;
            Ok(vec![note(sql, &format!("{message} ({code})"))])
        }
        Err(failure) => Err(failure),
    }
}

/// Waits until no other agent makes tables or triggers; they wait until this session ends. May be
/// asked for more than once in a session.
pub async fn alone(session: &mut Session, sql: &Sql, patience: Duration) -> Result<(), Failure> {
    let obtained = session.value(&sql.prepare_alone(patience.as_secs().max(1))).await?;
    // MySQL and MariaDB give 0 after the time, PostgreSQL an error.
    if obtained.as_deref() == Some("1") { Ok(()) } else { Err(Failure::Late(patience)) }
}

/// Whether it is complete and in force.
pub async fn is_on(session: &mut Session, sql: &Sql) -> Result<bool, Failure> {
    Ok(session.value(&sql.fence_is_on()).await?.as_deref() == Some("1"))
}

async fn make(session: &mut Session, sql: &Sql) -> Result<(), Failure> {
    for statement in sql.fence() {
        session.run(&statement).await?;
    }
    Ok(())
}

fn note(sql: &Sql, why: &str) -> DatabaseNote {
    let (messages, acks) = (sql.table(Table::Messages), sql.table(Table::Acks));
    let lock = sql.table(Table::Lock);
    let remedy = match sql.dialect {
        Dialect::Postgres => format!(
            "let the user create functions in the schema (GRANT CREATE ON SCHEMA ...) and own the \
             tables {messages}, {acks} and {lock}, or GRANT TRIGGER on them"
        ),
        Dialect::MySql => format!(
            "GRANT TRIGGER on {messages}, {acks} and {lock}; with a binary log also SET GLOBAL \
             log_bin_trust_function_creators=1"
        ),
    };
    DatabaseNote {
        kind: NoteKind::WritesNotFenced,
        message: format!(
            "the database does not refuse writes of a broker that has lost its lease, because the \
             triggers on {messages} and {acks} cannot be made or seen: {why}; {remedy}; then \
             restart the standby"
        ),
    }
}
