//! The highest epoch of the promotion record, for a deleted record.

use crate::database::problem::Failure;
use crate::database::session::Session;
use crate::database::sql::Sql;

/// The epoch kept; 0 before the first.
pub async fn read(session: &mut Session, sql: &Sql) -> Result<u64, Failure> {
    let Some(text) = session.value(&sql.epoch()).await? else { return Ok(0) };
    text.parse().map_err(|_| Failure::answer(format!("an epoch of {text:?}")))
}

/// Keeps an epoch, unless a higher one is kept.
pub async fn raise(session: &mut Session, sql: &Sql, epoch: u64) -> Result<(), Failure> {
    let number = i64::try_from(epoch).map_err(Failure::answer)?;
    session.run(&sql.first_epoch()).await?;
    session.run(&sql.raise_epoch(number)).await?;
    if read(session, sql).await? < epoch {
        return Err(Failure::answer(format!("epoch {epoch} was not kept")));
    }
    Ok(())
}
