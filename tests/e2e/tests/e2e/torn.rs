//! A journal that ends with half a record.

use anyhow::{Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, journal, wait};
use nix::sys::signal::Signal;

use crate::{Outcome, faults::CEILING};

/// The master dies while it writes, so that its last record is half there. The next broker says so, writes
/// over it, and has all that was acknowledged.
pub async fn last_record(lab: &Lab) -> Outcome {
    let group = Group::up_on(lab, "e2e-torn", Store::File, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_steady().await?;
    for client in &clients {
        client.consume(false).await?;
        client.await_sent(20).await?;
    }
    // Nobody is to open the journal before it is torn.
    let standby = group.process(&group.other(&master), "java").await?;
    standby.signal(Signal::SIGSTOP)?;
    let torn = tear(&group, &master).await;
    standby.signal(Signal::SIGCONT)?;
    let at = torn?;
    group.await_master(epoch).await?;
    for client in &clients {
        client.consume(true).await?;
    }
    let account = group.prove(&clients).await?;
    let told = group.check_logs()?.torn;
    ensure!(told == 1, "{told} brokers told of the record torn at {at}");
    group.remove().await?;
    Ok(format!("torn at {at}: {account}"))
}

async fn tear(group: &Group<'_>, master: &str) -> Result<usize> {
    let broker = group.process(master, "java").await?;
    broker.signal(Signal::SIGKILL)?;
    wait::until("the master ends", CEILING, async || {
        Ok(if broker.process.is_alive()? { Err("it runs".to_owned()) } else { Ok(()) })
    })
    .await?;
    journal::tear(&journal::newest(&group.store_directory()?.join("kahadb"))?)
}
