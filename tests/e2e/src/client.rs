//! A client pod that sends numbered persistent messages and accounts for every one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{Group, http, objects, wait};

const PORT: u16 = 8080;
const IMAGE: &str = "localhost/tandem-client:1";

/// By which address a client reaches the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The Service, which follows the master.
    Service,
    /// The published list of all brokers.
    List,
}

impl Address {
    /// Both, as every test has them.
    pub const ALL: [Self; 2] = [Self::Service, Self::List];

    /// As it stands in names and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::List => "list",
        }
    }
}

/// A running client.
pub struct TestClient {
    /// Its address.
    pub address: Address,
    pods: Api<Pod>,
    name: String,
    base: String,
}

/// Between two acknowledged sends, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The last acknowledgement before it.
    pub from: i64,
    /// The first one after it.
    pub to: i64,
}

/// The account of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Sends that the broker acknowledged.
    pub acknowledged: i64,
    /// Messages received, each counted once.
    pub received: i64,
    /// Acknowledged and never received.
    pub lost: i64,
    /// Received more than once.
    pub duplicates: i64,
}

impl TestClient {
    /// Starts a client and waits until it sends and receives.
    ///
    /// # Errors
    /// When it does not get going.
    pub async fn start(group: &Group<'_>, address: Address) -> Result<Self> {
        Self::start_on(group, address, None).await
    }

    /// Starts a client on a certain node and waits until it sends and receives.
    ///
    /// # Errors
    /// When it does not get going.
    pub async fn start_on(group: &Group<'_>, address: Address, node: Option<&str>) -> Result<Self> {
        let url = group.url(address).await?;
        Self::start_with_url(group, address, &url, node).await
    }

    /// Starts a client of brokers that Tandem does not run, whose URL nobody publishes.
    ///
    /// # Errors
    /// When it does not get going.
    pub async fn start_with_url(
        group: &Group<'_>,
        address: Address,
        url: &str,
        node: Option<&str>,
    ) -> Result<Self> {
        let name = format!("{}-{}", group.name, address.as_str());
        objects::apply(&group.lab.client, &pod(group, &name, url, node)).await?;
        let pods: Api<Pod> = Api::namespaced(group.lab.client.clone(), &group.namespace);
        let ip = wait::until(&format!("client {name} runs"), Duration::from_secs(60), async || {
            let status = pods.get(&name).await?.status.unwrap_or_default();
            Ok(status
                .pod_ip
                .filter(|_| status.phase.as_deref() == Some("Running"))
                .ok_or(format!("{:?}", status.phase)))
        })
        .await?;
        let client = Self { address, pods, name, base: format!("http://{ip}:{PORT}") };
        client.await_flow().await?;
        Ok(client)
    }

    /// Starts both kinds of clients.
    ///
    /// # Errors
    /// When one does not get going.
    pub async fn start_both(group: &Group<'_>) -> Result<Vec<Self>> {
        futures::future::try_join_all(Address::ALL.map(|address| Self::start(group, address))).await
    }

    /// Waits until messages have gone both ways after now.
    ///
    /// # Errors
    /// When they do not.
    pub async fn await_flow(&self) -> Result<()> {
        let number = |stats: &Value, key: &str| stats[key].as_i64().unwrap_or_default();
        let mut before: Option<Value> = None;
        wait::until(
            &format!("{} sends and receives", self.name),
            Duration::from_secs(60),
            async || {
                let now = self.stats().await?;
                let first = before.get_or_insert_with(|| now.clone());
                let flows = ["acknowledged", "received"]
                    .iter()
                    .all(|key| number(&now, key) > number(first, key) + 5);
                Ok(if flows { Ok(()) } else { Err(now.to_string()) })
            },
        )
        .await
    }

    /// Waits until so many more sends are acknowledged.
    ///
    /// # Errors
    /// When they are not.
    pub async fn await_sent(&self, more: i64) -> Result<()> {
        let mut before = None;
        let what = format!("{more} more sends of {}", self.name);
        wait::until(&what, Duration::from_secs(60), async || {
            let now = self.stats().await?["acknowledged"].as_i64().unwrap_or_default();
            let sent = now - *before.get_or_insert(now);
            Ok(if sent >= more { Ok(()) } else { Err(format!("{sent} sent")) })
        })
        .await
    }

    /// The client's counters.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn stats(&self) -> Result<Value> {
        http::json(Method::GET, &format!("{}/stats", self.base), Duration::from_secs(5)).await
    }

    /// Waits for the first acknowledged send after a fault and returns how long after the fault that
    /// was: the end of the longest silence since then.
    ///
    /// # Errors
    /// When no send was acknowledged in time.
    pub async fn outage(&self, fault_millis: i64, limit: Duration) -> Result<i64> {
        self.outage_until(fault_millis, fault_millis, limit).await
    }

    /// As [`Self::outage`], told once sends go on after this later moment: a master that was asked
    /// politely to end acknowledges some more after the fault.
    ///
    /// # Errors
    /// When no send was acknowledged in time.
    pub async fn outage_until(
        &self,
        fault_millis: i64,
        later_millis: i64,
        limit: Duration,
    ) -> Result<i64> {
        Ok(self.silence(fault_millis, later_millis, limit).await?.to - fault_millis)
    }

    /// The longest silence since a fault, told once sends go on after the later moment.
    ///
    /// # Errors
    /// When no send was acknowledged in time.
    pub async fn silence(
        &self,
        fault_millis: i64,
        later_millis: i64,
        limit: Duration,
    ) -> Result<Silence> {
        wait::until(&format!("{} sends again", self.name), limit, async || {
            let url = format!("{}/acks?since={}", self.base, fault_millis - 500);
            let acks = http::json(Method::GET, &url, Duration::from_secs(5)).await?;
            Ok(silence(&acks, fault_millis, later_millis)
                .ok_or_else(|| "no acknowledged send since the fault".to_owned()))
        })
        .await
    }

    /// Stops sending, receives what is left, and closes the account.
    ///
    /// # Errors
    /// When the account cannot be closed: messages are missing, or nothing was ever sent.
    pub async fn settle(&self) -> Result<Account> {
        let account = self.account().await?;
        ensure!(account.acknowledged > 0, "{}: nothing was ever acknowledged", self.name);
        ensure!(
            account.lost == 0,
            "{}: {} messages lost; its log names them",
            self.name,
            account.lost
        );
        Ok(account)
    }

    /// Stops sending, receives what is left, and tells the account, whatever it is.
    ///
    /// # Errors
    /// When the client does not answer.
    pub async fn account(&self) -> Result<Account> {
        let url = format!("{}/drain?timeoutSeconds=60", self.base);
        let stats = http::json(Method::POST, &url, Duration::from_secs(90)).await?;
        let number = |key: &str| stats[key].as_i64().with_context(|| format!("{key} in {stats}"));
        let account = Account {
            acknowledged: number("acknowledged")?,
            received: number("received")?,
            lost: number("lost")?,
            duplicates: number("duplicates")?,
        };
        ensure!(account.acknowledged > 0, "{}: nothing was ever acknowledged", self.name);
        ensure!(
            account.lost == 0,
            "{}: {} messages lost: {}",
            self.name,
            account.lost,
            stats["lostSequences"]
        );
        Ok(account)
    }

    /// Sends again after [`Self::settle`].
    ///
    /// # Errors
    /// When the client does not answer.
    pub async fn go_on(&self) -> Result<()> {
        let url = format!("{}/produce/start", self.base);
        http::json(Method::POST, &url, Duration::from_secs(5)).await.map(drop)
    }

    /// Stops or starts receiving.
    ///
    /// # Errors
    /// When the client does not answer.
    pub async fn consume(&self, on: bool) -> Result<()> {
        let url = format!("{}/consume/{}", self.base, if on { "start" } else { "stop" });
        http::json(Method::POST, &url, Duration::from_secs(10)).await.map(drop)
    }

    /// Ends the client.
    ///
    /// # Errors
    /// The API server's.
    pub async fn stop(self) -> Result<()> {
        self.pods.delete(&self.name, &DeleteParams::default().grace_period(1)).await?;
        Ok(())
    }
}

/// The longest silence that ended after the fault, once sends go on after `later`.
fn silence(acks: &Value, fault: i64, later: i64) -> Option<Silence> {
    let times: Vec<i64> = acks.as_array()?.iter().filter_map(|ack| ack["ack"].as_i64()).collect();
    let settled = times.iter().filter(|time| **time > later).count() > 10;
    let longest = times
        .windows(2)
        .filter_map(|pair| match pair {
            [from, to] if *to >= fault => Some(Silence { from: *from, to: *to }),
            _ => None,
        })
        .max_by_key(|silence| silence.to - silence.from)?;
    settled.then_some(longest)
}

/// The administrator's login, as environment of a client's container.
pub fn login(group: &Group<'_>) -> [Value; 2] {
    [("TANDEM_USER", "username"), ("TANDEM_PASSWORD", "password")].map(|(name, key)| {
        json!({"name": name, "valueFrom": {"secretKeyRef": {"name": group.admin_secret(), "key": key}}})
    })
}

fn pod(group: &Group<'_>, name: &str, url: &str, node: Option<&str>) -> Value {
    let [user, password] = login(group);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": group.namespace, "labels": {"app": "client"}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": node.map(|node| json!({"kubernetes.io/hostname": node})),
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "client", "image": IMAGE, "imagePullPolicy": "Never",
                "args": ["--url", url, "--queue", format!("e2e.{name}"), "--rate", "50", "--id", name],
                // As the clients' guide advises: Java otherwise keeps a replaced pod's address for 30 s.
                "env": [user, password, {"name": "JAVA_TOOL_OPTIONS", "value": "-Dsun.net.inetaddr.ttl=5 -Dsun.net.inetaddr.negative.ttl=1"}],
                "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
            }]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(times: &[i64]) -> Value {
        Value::Array(times.iter().map(|time| json!({"ack": time})).collect())
    }

    #[test]
    fn an_outage_is_the_longest_silence_after_the_fault() {
        let mut times = vec![980, 1000, 1005, 1900];
        times.extend((1..20).map(|n| 1900 + n * 20));
        assert_eq!(silence(&acks(&times), 1001, 1001), Some(Silence { from: 1005, to: 1900 }));
    }

    #[test]
    fn a_polite_master_s_last_acknowledgements_do_not_end_the_outage() {
        let mut times: Vec<i64> = (0..30).map(|n| 900 + n * 20).collect();
        assert_eq!(silence(&acks(&times), 1001, 2400), None);
        times.extend((0..20).map(|n| 2500 + n * 20));
        assert_eq!(silence(&acks(&times), 1001, 2400), Some(Silence { from: 1480, to: 2500 }));
    }

    #[test]
    fn there_is_no_outage_to_tell_before_sends_go_on() {
        assert_eq!(silence(&acks(&[980, 1000, 1005]), 1001, 1001), None);
    }
}
