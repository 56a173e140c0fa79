//! Tandem's own groups of Classic brokers: on a shared volume with a file lock, in a database, and on
//! a volume with the lock in a database.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::json;
use tandem::{api::labels, broker::report::PromotionReport};
use tokio::time::sleep;

use super::{
    Counts, FORGET_ADDRESSES, LIMIT, clear, figures::Fault, note, prober::Prober, service_address,
    settle,
};
use crate::{
    Group, Lab, Product, Server, Store, TestClient, bench::figures::Series, client::Silence,
    group::now_millis, wait,
};

/// The group's name in the results: messages and lock on a volume.
pub const FILE: &str = "classic-file";
/// Both in a database.
pub const DATABASE: &str = "classic-database";
/// Messages on a volume, the lock in a database.
pub const VOLUME_WITH_LEASE: &str = "classic-volume-dblock";
/// All of them.
pub const GROUPS: [&str; 3] = [FILE, DATABASE, VOLUME_WITH_LEASE];

fn store(name: &str) -> Store {
    match name {
        DATABASE => Store::Database(Product::PostgreSql),
        VOLUME_WITH_LEASE => Store::VolumeWithLease(Product::PostgreSql),
        _ => Store::File,
    }
}

/// What is done to a master.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Stop,
    Delete,
    Switchover,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "sigkill",
            Self::Stop => "sigstop",
            Self::Delete => "pod-delete",
            Self::Switchover => "switchover",
        }
    }

    /// Places the fault and returns its moment.
    async fn place(self, group: &Group<'_>, pod: &str) -> Result<i64> {
        match self {
            Self::Kill => group.signal_broker(pod, Signal::SIGKILL).await,
            Self::Stop => group.signal_broker(pod, Signal::SIGSTOP).await,
            Self::Delete => group.delete_pod(pod, None).await,
            Self::Switchover => {
                let at = now_millis();
                group.annotate(labels::SWITCHOVER, &format!("bench {at}")).await?;
                Ok(at)
            }
        }
    }
}

/// Measures every fault at the group of that name.
///
/// # Errors
/// When a fault cannot be carried out.
pub async fn measure(lab: &Lab, name: &'static str, counts: Counts) -> Result<Vec<Series>> {
    note(&format!("{name}: a pair of brokers and two clients ..."));
    let group = prepare(lab, name).await?;
    let clients = TestClient::start_both(&group).await?;
    let service = service_address(&group).await?;
    let mut accounts = Vec::new();
    let mut all = Vec::new();
    let faults = [
        (Kind::Kill, counts.kills),
        (Kind::Switchover, counts.switchovers),
        (Kind::Delete, counts.deletions),
        (Kind::Stop, counts.stops),
    ];
    for (kind, times) in faults.into_iter().filter(|(_, times)| *times > 0) {
        let mut series = Series::new(name, kind.name());
        for number in 1..=times {
            let fault = one(&group, &clients, service, kind).await?;
            note(&format!("{name} {} {number}/{times}: {}", kind.name(), fault.line()));
            series.faults.push(fault);
            group.await_complete().await?;
            if kind == Kind::Delete {
                sleep(FORGET_ADDRESSES).await;
            }
        }
        settle(&clients, &mut accounts, &mut series).await?;
        all.push(series);
    }
    clear(group).await?;
    Ok(all)
}

/// No witness writes into its database: what it costs is not ours.
async fn prepare<'a>(lab: &'a Lab, name: &str) -> Result<Group<'a>> {
    let namespace = format!("bench-{name}");
    let group = Group::prepare_on(lab, &namespace, store(name), Server::Own).await?;
    group.apply(&json!({})).await?;
    group.await_complete().await?;
    Ok(group)
}

/// One fault. Directions alternate by themselves: the other pod takes over.
async fn one(
    group: &Group<'_>,
    clients: &[TestClient],
    service: SocketAddr,
    kind: Kind,
) -> Result<Fault> {
    for client in clients {
        client.await_flow().await?;
    }
    let (master, epoch) = group.await_master(0).await?;
    let placed = kind.place(group, &master).await?;
    // Until the Service is back nothing else asks anybody anything: it would cost the brokers time.
    let prober = Prober::start(service);
    prober.await_recovery(LIMIT).await?;
    let (next, _) = group.await_master(epoch).await?;
    let (promotion, recorded) = promotion(group, &next).await?;
    let greeted = promotion.greeted.as_millisecond();
    let mut silences = Vec::new();
    for client in clients {
        silences.push((client.address, client.silence(placed, greeted, LIMIT).await?));
    }
    let begin = |silence: &Silence| if kind == Kind::Switchover { silence.from } else { placed };
    let at = silences.iter().map(|(_, silence)| begin(silence)).min().unwrap_or(placed);
    Ok(Fault {
        lock_taken: Some(promotion.lock_taken.as_millisecond() - at),
        greeting: Some(greeted - at),
        record: Some(recorded - at),
        service: prober.first_greeting(greeted).map(|ms| ms - at),
        prepared: (kind == Kind::Switchover).then_some(at - placed),
        clients: silences
            .iter()
            .map(|(path, silence)| (*path, silence.to - begin(silence)))
            .collect(),
    })
}

/// What the new master tells of its promotion. The record may be seen a moment before its writer
/// knows that it wrote it.
async fn promotion(group: &Group<'_>, pod: &str) -> Result<(PromotionReport, i64)> {
    sleep(Duration::from_millis(100)).await;
    wait::until(&format!("{pod} tells its promotion"), LIMIT, async || {
        let promotion = group.report(pod).await?.promotion.context("no promotion")?;
        let recorded = promotion.recorded.context("the record is not written")?;
        let recorded = recorded.as_millisecond();
        Ok(Ok((promotion, recorded)))
    })
    .await
}
