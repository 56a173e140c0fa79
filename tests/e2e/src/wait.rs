//! Waiting for a condition with a deadline, never for a time.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How often a condition is looked at.
const PERIOD: Duration = Duration::from_millis(50);

/// Asks until the answer is something; the last answer's reason is in the error.
///
/// # Errors
/// When the deadline passes: what was waited for, and why it was not so the last time.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let why = match ask().await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why)) => why,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s: {why}", limit.as_secs());
        }
        tokio::time::sleep(PERIOD).await;
    }
}
