//! Watches the promotion record, so that an edited or deleted one is repaired by the master's agent.

use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::watcher;
use tokio::time::sleep;

use crate::agent::api::ApiServer;
use crate::agent::event::{Event, Events};

/// The pause after the first failure; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Watches for ever, on a fresh connection after each failure.
pub async fn run(api: ApiServer, name: String, events: Events) {
    let mut pause = FIRST_PAUSE;
    loop {
        match follow(&api, &name, &events, &mut pause).await {
            Ok(()) => return,
            Err(error) => tracing::debug!("watching the record: {error:#}"),
        }
        sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

async fn follow(
    api: &ApiServer,
    name: &str,
    events: &Events,
    pause: &mut Duration,
) -> anyhow::Result<()> {
    let mut changes = std::pin::pin!(watcher::watch_object(api.slices()?, name));
    while let Some(change) = changes.next().await {
        let record = change?.map(serde_json::to_value).transpose()?.map(Box::new);
        *pause = FIRST_PAUSE;
        if events.send(Event::Record(record)).await.is_err() {
            return Ok(());
        }
    }
    anyhow::bail!("the watch has ended")
}
