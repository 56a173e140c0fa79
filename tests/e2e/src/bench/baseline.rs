//! What people build without Tandem, from `bench/baselines/`: a pair by hand, and a single broker
//! that the kubelet restarts.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, LogParams},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tandem::core::status::{OPENWIRE_ADDRESS, OPENWIRE_LIST};
use tokio::time::sleep;

use super::{
    Counts, FORGET_ADDRESSES, LIMIT, clear,
    figures::{Fault, Series},
    note,
    prober::{self, Prober},
    service_address, settle,
};
use crate::{
    Address, Group, Lab, Product, Server, Store, TestClient, lab::project, objects,
    store::GroupDatabase, wait,
};

/// The hand-made pair's name in the results.
pub const STOCK: &str = "baseline-stock-pair";
/// The hand-made pair's with a database.
pub const STOCK_LEASE: &str = "baseline-stock-lease";
/// The single broker's.
pub const SINGLE: &str = "baseline-single";

/// How often a broker with stock settings tries the lock. Kills are spread evenly over this time:
/// a kill just before an attempt is lucky.
const STOCK_POLL: Duration = Duration::from_secs(10);
/// What a broker logs while it waits for the lock of a file, or of a database.
const WAITS: [&str; 2] = [
    "is now in slave mode waiting a lock to be acquired",
    "attempting to acquire exclusive lease to become the master",
];

/// Brokers that Kubernetes alone looks after.
struct Baseline<'a> {
    name: &'static str,
    group: Group<'a>,
    pods: Vec<String>,
    service: SocketAddr,
    clients: Vec<TestClient>,
}

/// Measures the hand-made pair: SIGKILL of the master.
///
/// # Errors
/// When a kill cannot be carried out.
pub async fn stock_pair(lab: &Lab, counts: Counts) -> Result<Vec<Series>> {
    killed(Baseline::up(lab, STOCK, "stock-pair.yaml", 2).await?, counts).await
}

/// Measures the hand-made pair with a database: SIGKILL of the master.
///
/// # Errors
/// When a kill cannot be carried out.
pub async fn stock_lease(lab: &Lab, counts: Counts) -> Result<Vec<Series>> {
    killed(Baseline::up(lab, STOCK_LEASE, "stock-lease-pair.yaml", 2).await?, counts).await
}

async fn killed(baseline: Baseline<'_>, counts: Counts) -> Result<Vec<Series>> {
    let name = baseline.name;
    let mut series = Series::new(name, "sigkill");
    let times = u32::try_from(counts.stock)?;
    for number in 1..=times {
        baseline.refresh().await?;
        sleep(STOCK_POLL * (2 * number - 1) / (2 * times)).await;
        let fault = baseline.kill().await?;
        note(&format!("{name} sigkill {number}/{times}: {}", fault.line()));
        series.faults.push(fault);
    }
    baseline.await_complete().await?;
    settle(&baseline.clients, &mut Vec::new(), &mut series).await?;
    clear(baseline.group).await?;
    Ok(vec![series])
}

/// Measures the single broker: SIGKILL, and again at once, which the kubelet answers with its
/// back-off.
///
/// # Errors
/// When a kill cannot be carried out.
pub async fn single(lab: &Lab, counts: Counts) -> Result<Vec<Series>> {
    let baseline = Baseline::up(lab, SINGLE, "single.yaml", 1).await?;
    let mut all = ["sigkill", "sigkill-again"].map(|fault| Series::new(SINGLE, fault));
    let mut accounts = Vec::new();
    for number in 1..=counts.single {
        baseline.refresh().await?;
        for series in &mut all {
            baseline.flows().await?;
            let fault = baseline.kill().await?;
            let times = counts.single;
            note(&format!("{SINGLE} {} {number}/{times}: {}", series.fault, fault.line()));
            series.faults.push(fault);
            baseline.await_complete().await?;
            settle(&baseline.clients, &mut accounts, series).await?;
        }
    }
    clear(baseline.group).await?;
    Ok(all.into())
}

impl<'a> Baseline<'a> {
    async fn up(lab: &'a Lab, name: &'static str, manifest: &str, pods: usize) -> Result<Self> {
        note(&format!("{name}: bench/baselines/{manifest} and two clients ..."));
        let store =
            if name == STOCK_LEASE { Store::Database(Product::PostgreSql) } else { Store::File };
        let namespace = format!("bench-{name}");
        let mut group = Group::prepare_on(lab, &namespace, store, Server::Own).await?;
        "amq".clone_into(&mut group.name);
        group.add_volume("amq-store").await?;
        if let Some(database) = &group.database {
            objects::apply(&lab.client, &access(&group, database)).await?;
        }
        for mut object in manifests(manifest)? {
            object["metadata"]["namespace"] = json!(group.namespace);
            objects::apply(&lab.client, &object).await?;
        }
        objects::apply(&lab.client, &credentials(&group)).await?;
        let service = service_address(&group).await?;
        let pods = (0..pods).map(|ordinal| format!("amq-{ordinal}")).collect();
        let mut baseline = Self { name, group, pods, service, clients: Vec::new() };
        baseline.await_complete().await?;
        for path in Address::ALL {
            let url = url(path, &baseline.group, &baseline.pods);
            baseline
                .clients
                .push(TestClient::start_with_url(&baseline.group, path, &url, None).await?);
        }
        Ok(baseline)
    }

    /// Brings every pod into the state of one that never failed, so that the kubelet's back-off is
    /// what a first failure meets: replaces those with restarts, the one that waits first.
    async fn refresh(&self) -> Result<()> {
        let mut replaced = false;
        loop {
            let master = self.await_complete().await?;
            let standbys = self.pods.iter().filter(|pod| **pod != master);
            let Some(worn) = self.first_worn(standbys.chain([&master])).await? else { break };
            note(&format!("{}: {worn} is replaced ...", self.name));
            self.replace(&worn).await?;
            replaced = true;
        }
        if replaced {
            sleep(FORGET_ADDRESSES).await;
        }
        self.flows().await
    }

    async fn first_worn(&self, pods: impl Iterator<Item = &String>) -> Result<Option<String>> {
        for name in pods {
            let status = self.group.pods().get(name).await?.status.unwrap_or_default();
            let containers = status.container_statuses.unwrap_or_default();
            if containers.iter().any(|container| container.restart_count > 0) {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    async fn replace(&self, name: &str) -> Result<()> {
        let pods = self.group.pods();
        let old = pods.get(name).await?.uid();
        pods.delete(name, &DeleteParams::default()).await?;
        wait::until(&format!("{name} is a new pod"), LIMIT, async || {
            let now = pods.get_opt(name).await?.and_then(|pod| pod.uid());
            Ok(if now.is_some() && now != old { Ok(()) } else { Err(format!("{now:?}")) })
        })
        .await
    }

    async fn flows(&self) -> Result<()> {
        for client in &self.clients {
            client.await_flow().await?;
        }
        Ok(())
    }

    /// Waits until one broker greets, all others wait for the lock, and the Service leads to the
    /// one; returns it.
    async fn await_complete(&self) -> Result<String> {
        wait::until(&format!("{} is complete", self.name), LIMIT, async || {
            let mut master = None;
            for name in &self.pods {
                let pod = self.group.pods().get(name).await?;
                if prober::greets((address(&pod)?, prober::PORT).into()).await {
                    master = Some(name.clone());
                } else if !self.waits(name).await? {
                    return Ok(Err(format!("{name} starts")));
                }
            }
            let serves = prober::greets(self.service).await;
            Ok(master.filter(|_| serves).ok_or_else(|| "nobody serves yet".to_owned()))
        })
        .await
    }

    async fn waits(&self, pod: &str) -> Result<bool> {
        let log = self.group.pods().logs(pod, &LogParams::default()).await?;
        Ok(WAITS.iter().any(|line| log.contains(line)))
    }

    /// Kills the master and waits until the clients go on.
    async fn kill(&self) -> Result<Fault> {
        let master = self.await_complete().await?;
        let mut addresses = Vec::new();
        for name in &self.pods {
            addresses.push((address(&self.group.pods().get(name).await?)?, prober::PORT).into());
        }
        let at = self.group.signal_broker(&master, Signal::SIGKILL).await?;
        let service = Prober::start(self.service);
        let pods: Vec<_> = addresses.into_iter().map(Prober::start).collect();
        service.await_recovery(LIMIT).await?;
        // Whoever wins: the other pod, or the killed one, which the kubelet has restarted.
        let greeted = pods.iter().filter_map(Prober::recovered).min();
        let greeted = greeted.context("the Service leads to a broker that no pod has")?;
        let mut fault = Fault {
            greeting: Some(greeted - at),
            service: service.first_greeting(greeted).map(|ms| ms - at),
            ..Fault::default()
        };
        for client in &self.clients {
            let millis = client.outage_until(at, greeted, LIMIT).await?;
            fault.clients.push((client.address, millis));
        }
        Ok(fault)
    }
}

fn address(pod: &Pod) -> Result<IpAddr> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    Ok(ip.context("a pod without an address")?.parse()?)
}

fn manifests(file: &str) -> Result<Vec<Value>> {
    let path = project().join("bench/baselines").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_multiple(&text).with_context(|| path.display().to_string())
}

/// What the brokers need to get at their database.
fn access(group: &Group<'_>, database: &GroupDatabase) -> Value {
    let (host, name) = (database.server.address(), &database.name);
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "amq-database", "namespace": group.namespace},
        "stringData": {
            "url": format!("jdbc:postgresql://{host}/{name}"),
            "username": name,
            "password": database.password
        }
    })
}

/// The clients send a name and a password; these brokers ask for none.
fn credentials(group: &Group<'_>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": group.admin_secret(), "namespace": group.namespace},
        "stringData": {"username": "nobody", "password": "nothing"}
    })
}

/// With the options that Tandem publishes: clients behave alike, only the brokers differ.
fn url(path: Address, group: &Group<'_>, pods: &[String]) -> String {
    let (name, namespace) = (&group.name, &group.namespace);
    let host = |host: String| format!("tcp://{host}.{namespace}.svc:61616{OPENWIRE_ADDRESS}");
    let hosts: Vec<String> = match path {
        Address::Service => vec![host(name.clone())],
        Address::List => pods.iter().map(|pod| host(format!("{pod}.{name}-pods"))).collect(),
    };
    format!("failover:({}){OPENWIRE_LIST}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baselines_manifests_are_whole() {
        for (file, replicas) in
            [("stock-pair.yaml", 2), ("stock-lease-pair.yaml", 2), ("single.yaml", 1)]
        {
            let objects = manifests(file).unwrap();
            let set = objects.iter().find(|object| object["kind"] == "StatefulSet").unwrap();
            assert_eq!(set["spec"]["replicas"], replicas, "{file}");
            assert_eq!(set["metadata"]["name"], "amq");
            assert!(objects.iter().all(|object| object["metadata"]["namespace"].is_null()));
        }
    }

    #[test]
    fn a_baseline_s_lock_has_the_stock_settings() {
        let path = "tests/testbed/images/classic/home/conf/activemq.xml";
        let xml = std::fs::read_to_string(project().join(path)).unwrap();
        assert!(xml.contains("<kahaDB directory"));
        for setting in ["lockKeepAlivePeriod", "lockAcquireSleepInterval", "locker"] {
            assert!(!xml.contains(setting), "{setting}");
        }
    }
}
