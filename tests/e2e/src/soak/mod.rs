//! `make soak`: random faults from a seed, over a group on network storage and one in a database, while
//! clients go on. After most faults the groups have to be whole again; in the end both prove themselves.

mod fault;
mod place;

use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use serde_json::json;
use tokio::time::Instant;

use crate::{Address, Group, Lab, Product, Server, Store, TestClient};

pub use fault::{Fault, Role, Step, Which};

/// The kubelet waits longer and longer before it starts a container again that was killed: up to 5
/// minutes.
const LIMIT: Duration = Duration::from_secs(400);

/// A group with its clients.
struct Team<'a> {
    name: &'static str,
    group: Group<'a>,
    clients: Vec<TestClient>,
}

impl<'a> Team<'a> {
    async fn up(lab: &'a Lab, name: &'static str, store: Store) -> Result<Self> {
        let group = Group::prepare_on(lab, &store.namespace("soak"), store, Server::Own).await?;
        group.start(&json!({})).await?;
        // The node that never loses its power.
        let start = Address::ALL.map(|address| TestClient::start_on(&group, address, Some("n2")));
        let clients = futures::future::try_join_all(start).await?;
        Ok(Self { name, group, clients })
    }

    async fn whole(&self) -> Result<String> {
        let (master, epoch) = self.group.await_steady_within(LIMIT).await?;
        self.consume(true).await?;
        for client in &self.clients {
            client.await_flow().await.with_context(|| format!("{} group", self.name))?;
        }
        Ok(format!("{} {master} (epoch {epoch})", self.name))
    }

    /// Messages that wait in the store while something goes wrong are those that a lost end of the journal
    /// would take along: what was received before it could be lost without being missed.
    async fn consume(&self, on: bool) -> Result<()> {
        let all = self.clients.iter().map(|client| client.consume(on));
        futures::future::try_join_all(all).await.map(drop)
    }

    async fn prove(&self) -> Result<String> {
        let account = self.group.prove(&self.clients).await;
        Ok(format!("{}: {}", self.name, account.with_context(|| format!("{} group", self.name))?))
    }
}

/// Faults for so long, by this seed; prints a timeline.
///
/// # Errors
/// When a group does not come back, loses a message, or had two writers.
pub async fn run(lab: &Lab, seed: u64, time: Duration) -> Result<()> {
    let (volume, database) = futures::future::try_join(
        Team::up(lab, "volume", Store::NetworkFile),
        Team::up(lab, "database", Store::Database(Product::PostgreSql)),
    )
    .await?;
    let begun = Instant::now();
    let say = |text: &str| println!("{:>7.1} s  {text}", begun.elapsed().as_secs_f64());
    let mut rng = Rng::with_seed(seed);
    let mut number = 0;
    while begun.elapsed() < time {
        number += 1;
        let step = Step::draw(&mut rng);
        let group = match step.which {
            Which::Volume => &volume.group,
            Which::Database => &database.group,
        };
        futures::future::try_join(volume.consume(false), database.consume(false)).await?;
        match place::place(lab, group, step).await {
            Ok((place, undo)) => {
                say(&format!("{number:>3}  {step} {place}"));
                if step.fault.lasts() {
                    tokio::time::sleep(step.lasts).await;
                }
                undo()?;
            }
            // As after a fault that was not waited for: a pod that is not there cannot be killed.
            Err(error) => say(&format!("{number:>3}  {step}: not now: {error:#}")),
        }
        if step.rest {
            let (one, two) = futures::future::try_join(volume.whole(), database.whole()).await?;
            say(&format!("     whole: {one}, {two}"));
        }
    }
    say(&format!("{number} faults; the proof:"));
    for team in [&volume, &database] {
        team.whole().await?;
        say(&team.prove().await?);
    }
    volume.group.remove().await?;
    database.group.remove().await
}
