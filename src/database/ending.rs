//! Ending sessions of a holder that must not write any more.

use std::time::Duration;

use tokio::time::sleep;

use crate::database::look;
use crate::database::problem::Failure;
use crate::database::session::{Fields, Session, number, text};
use crate::database::sql::{Dialect, Sql, Table, Whose};

/// Between two questions whether a session is gone. No server tells by itself.
const AGAIN: Duration = Duration::from_millis(20);
/// `ER_NO_SUCH_THREAD`: it went by itself.
const GONE: &str = "1094";

/// The holder's process is dead: ends its sessions, sees them gone, releases the lease if it is its
/// own, and reads it again. A session is listed until its transaction is rolled back, so none of its
/// statements lands afterwards.
pub async fn release(session: &mut Session, sql: &Sql, holder: &str) -> Result<(), Failure> {
    let literal = Sql::literal(holder);
    let literal = literal.ok_or_else(|| Failure::answer(format!("a holder named {holder:?}")))?;
    while end(session, sql, Whose::Holder(&literal)).await? > 0 {
        sleep(AGAIN).await;
    }
    session.run(&sql.release(&literal)).await?;
    if sql.dialect == Dialect::MySql {
        let sessions = sql.table(Table::Sessions);
        session.run(&format!("DELETE FROM {sessions} WHERE HOLDER={literal}")).await?;
    }
    match look::read(session, sql).await? {
        Some(row) if row.holder.as_deref() == Some(holder) => {
            Err(Failure::answer(format!("the lease is still of {holder}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Ends sessions; says how many there were. Those ended may go on for a moment: to roll back.
pub async fn end(session: &mut Session, sql: &Sql, whose: Whose<'_>) -> Result<usize, Failure> {
    let found = session.rows(&sql.sessions(whose)).await?;
    if sql.dialect == Dialect::Postgres || found.is_empty() {
        return Ok(found.len());
    }
    let mut ended = 0;
    let alive = alive(session).await?;
    for fields in &found {
        let id = number(fields, 0)?;
        if alive.contains(&id) {
            ended += 1;
            kill(session, id).await?;
        }
    }
    Ok(ended)
}

/// Forgets registered sessions that have ended: of brokers whose agents could not, because they
/// ended too. Registered ones are read first, so a session that is not alive then is gone.
pub async fn forget_ended(session: &mut Session, sql: &Sql) -> Result<(), Failure> {
    if sql.dialect == Dialect::Postgres {
        return Ok(());
    }
    let sessions = sql.table(Table::Sessions);
    let registered = session.rows(&format!("SELECT ID FROM {sessions}")).await?;
    let alive = alive(session).await?;
    let ids = registered.iter().map(|fields| number(fields, 0)).collect::<Result<Vec<_>, _>>()?;
    for id in ids.iter().filter(|id| !alive.contains(id)) {
        session.run(&format!("DELETE FROM {sessions} WHERE ID={id}")).await?;
    }
    Ok(())
}

/// How many sessions of brokers there are, of whatever broker of these tables.
pub async fn brokers(session: &mut Session, sql: &Sql, cluster: &str) -> Result<usize, Failure> {
    if sql.dialect == Dialect::Postgres {
        let count = Sql::count_brokers(cluster);
        let count = count.ok_or_else(|| Failure::answer(format!("a cluster named {cluster:?}")))?;
        let row = session.rows(&count).await?.into_iter().next().unwrap_or_default();
        return usize::try_from(number(&row, 0)?).map_err(Failure::answer);
    }
    let registered =
        session.rows(&format!("SELECT ID FROM {}", sql.table(Table::Sessions))).await?;
    let alive = alive(session).await?;
    let ids = registered.iter().map(|row| number(row, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(ids.iter().filter(|id| alive.contains(id)).count())
}

async fn kill(session: &mut Session, id: i64) -> Result<(), Failure> {
    match session.run(&format!("KILL {id}")).await {
        Err(Failure::Server { code, .. }) if code == GONE => Ok(()),
        other => other,
    }
}

/// The numbers of the user's sessions in this database. Numbers of ended ones are given out again
/// after a restart of the server, so a registered number alone may be of a stranger's session.
async fn alive(session: &mut Session) -> Result<Vec<i64>, Failure> {
    let me = "SELECT CONNECTION_ID(), SUBSTRING_INDEX(USER(),'@',1), DATABASE()";
    let me = session.rows(me).await?.into_iter().next().unwrap_or_default();
    let own = number(&me, 0)?;
    let is_ours =
        |fields: &Fields| text(fields, 1) == text(&me, 1) && text(fields, 3) == text(&me, 2);
    // Columns: Id, User, Host, db, ... In MySQL 9 no table of information_schema has them.
    let all = session.rows("SHOW PROCESSLIST").await?;
    let ids = all.iter().filter(|fields| is_ours(fields)).map(|fields| number(fields, 0));
    Ok(ids.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|id| *id != own).collect())
}
