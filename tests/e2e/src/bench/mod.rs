//! The benchmark: how long clients are cut off when a master fails, for Tandem's groups and for
//! what people build without it, in the same run on the same machine; and what Tandem costs.
//!
//! Failover time is from the fault to the first acknowledged persistent send of a client that was
//! sending all along. A switchover has no fault: its time is the client's longest silence, from the
//! last send that the old master acknowledged to the first of the new one, and the parts count from
//! the first client's last one. All is measured, never asserted.

pub mod baseline;
pub mod chart;
pub mod classic;
pub mod cost;
pub mod figures;
pub mod prober;
pub mod requests;
pub mod statistics;
pub mod table;

mod proc;

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Api;

use crate::{Group, TestClient, bench::figures::Series, wait};

/// How long a fault may keep clients out before it counts as not carried out.
const LIMIT: Duration = Duration::from_mins(5);

/// How often each fault is placed.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// SIGKILL of a master of Tandem's.
    pub kills: usize,
    /// Deletion of a master's pod, the polite way.
    pub deletions: usize,
    /// SIGSTOP of a master.
    pub stops: usize,
    /// Switchovers that were asked for.
    pub switchovers: usize,
    /// SIGKILL of a hand-made pair's master.
    pub stock: usize,
    /// Pairs of SIGKILLs of a single broker.
    pub single: usize,
}

/// After a pod got a new address: DNS and the clients remember the old one for 5 s each. Within that
/// time clients with a list of brokers look for the new pod at its old address, and the next fault
/// would measure that.
const FORGET_ADDRESSES: Duration = Duration::from_secs(15);

/// A line about what is going on.
fn note(text: &str) {
    testbed::progress::note(text);
}

/// Where a Service leads.
async fn service_address(group: &Group<'_>) -> Result<std::net::SocketAddr> {
    let services: Api<Service> = Api::namespaced(group.lab.client.clone(), &group.namespace);
    let spec = services.get(&group.name).await?.spec;
    let ip = spec.and_then(|spec| spec.cluster_ip).context("a Service without an address")?;
    Ok((ip.parse::<std::net::IpAddr>()?, prober::PORT).into())
}

/// Adds each client's account to the series; `before` is what the clients told the last time.
async fn settle(
    clients: &[TestClient],
    before: &mut Vec<crate::client::Account>,
    series: &mut Series,
) -> Result<()> {
    let accounts = futures::future::try_join_all(clients.iter().map(TestClient::account)).await?;
    for (at, (client, account)) in clients.iter().zip(&accounts).enumerate() {
        series.account(client.address, account, before.get(at));
        client.go_on().await?;
    }
    *before = accounts;
    Ok(())
}

/// Removes a group and waits until nothing of it runs: the next one is measured alone.
async fn clear(group: Group<'_>) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(group.lab.client.clone());
    let name = group.namespace.clone();
    group.remove().await?;
    wait::until(&format!("{name} is gone"), LIMIT, async || {
        let gone = namespaces.get_opt(&name).await?.is_none();
        Ok(if gone { Ok(()) } else { Err("it is still there".to_owned()) })
    })
    .await
}
