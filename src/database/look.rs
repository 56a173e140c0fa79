//! Looking at the lease's row, and what any agent does about what it finds there.

use crate::clock;
use crate::database::problem::Failure;
use crate::database::session::{Fields, Session};
use crate::database::sql::Sql;
use crate::lock::lease::{REPAIR, Row};

/// The row; put back when it is missing.
pub async fn look(session: &mut Session, sql: &Sql) -> Result<Row, Failure> {
    let row = match read(session, sql).await? {
        Some(row) => row,
        None => {
            session.run(&sql.repair()).await?;
            read(session, sql).await?.ok_or_else(|| Failure::answer("the lock's row stays away"))?
        }
    };
    Ok(row)
}

/// The row as it is.
pub async fn read(session: &mut Session, sql: &Sql) -> Result<Option<Row>, Failure> {
    let asked = clock::now().as_millisecond();
    let rows = session.rows(&sql.look()).await?;
    let answered = clock::now().as_millisecond();
    let Some(fields) = rows.into_iter().next() else { return Ok(None) };
    let holder = text(&fields, 0);
    let left_millis = number(&fields, 1)?;
    let database = number(&fields, 2)?;
    Ok(Some(Row {
        repaired: left_millis > 0 && holder.as_deref() == Some(REPAIR),
        holder,
        left_millis,
        // The database read its clock at about half of the time.
        clock_offset_millis: asked.midpoint(answered) - database,
    }))
}

/// A field's text.
pub fn text(fields: &Fields, index: usize) -> Option<String> {
    fields.get(index).cloned().flatten()
}

/// A field's number.
pub fn number(fields: &Fields, index: usize) -> Result<i64, Failure> {
    let text = text(fields, index);
    let number = text.as_deref().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::answer(format!("not a number: {text:?}")))
}
