//! Looking at the lease's row, and what any agent does about what it finds there.

use crate::clock;
use crate::database::problem::Failure;
use crate::database::session::{Session, number, text};
use crate::database::sql::{Sql, Whose};
use crate::database::{ending, history};
use crate::lock::lease::{Nobody, REPAIR, Row};

/// The row; put back when it is missing. Sessions of a holder whose lease has run out are ended: a
/// takeover waits for their open transactions, and a frozen broker ends none.
pub async fn look(session: &mut Session, sql: &Sql) -> Result<Row, Failure> {
    let mut row = match read(session, sql).await? {
        Some(row) => row,
        None => repair(session, sql).await?,
    };
    if row.left_millis <= 0 && row.holder.is_some() {
        match ending::end(session, sql, Whose::RunOut).await {
            // The row was read all the same, and its lease has run out.
            Err(Failure::Server { code, message }) => {
                tracing::debug!(code, message, "sessions cannot be ended");
            }
            other => drop(other?),
        }
    }
    if row.nobody == Some(Nobody::NewHistory)
        && let Some(history) = session.history(sql.dialect).await?
    {
        let left = history::settle(session, sql, &history).await?;
        hold_back(&mut row, left);
    }
    Ok(row)
}

/// A row that nobody may believe yet. A lease that runs is its holder's on any server.
fn hold_back(row: &mut Row, left: i64) {
    if left == 0 || row.runs() {
        row.nobody = None;
        return;
    }
    row.holder = Some(REPAIR.to_owned());
    row.left_millis = left;
}

/// The row as it is.
pub async fn read(session: &mut Session, sql: &Sql) -> Result<Option<Row>, Failure> {
    let asked = clock::now().as_millisecond();
    let history = session.history(sql.dialect).await?;
    let rows = session.rows(&sql.look(history.as_deref())).await?;
    let answered = clock::now().as_millisecond();
    let Some(fields) = rows.into_iter().next() else { return Ok(None) };
    let holder = text(&fields, 0);
    let left_millis = number(&fields, 1)?;
    let database = number(&fields, 2)?;
    let nobody = if number(&fields, 3)? == 0 {
        Some(Nobody::NewHistory)
    } else {
        (left_millis > 0 && holder.as_deref() == Some(REPAIR)).then_some(Nobody::RowMissing)
    };
    Ok(Some(Row {
        nobody,
        holder,
        left_millis,
        // The database read its clock at about half of the time.
        clock_offset_millis: asked.midpoint(answered) - database,
    }))
}

/// Puts a missing row back, as a lease that nobody holds.
pub async fn repair(session: &mut Session, sql: &Sql) -> Result<Row, Failure> {
    session.run(&sql.repair()).await?;
    read(session, sql).await?.ok_or_else(|| Failure::answer("the lock's row stays away"))
}
