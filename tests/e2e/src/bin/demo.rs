//! `make demo`: a real ActiveMQ master is killed on a real Kubernetes while real JMS clients go on. Then the
//! kubectl plugin shows the group and switches it over.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use e2e::{Group, Lab, TestClient, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use testbed::progress;
use tokio::runtime::Runtime;

const NAMESPACE: &str = "demo";

fn main() -> Result<()> {
    let bed = Lab::enter(testbed::DEFAULT_NAME)?;
    let runtime = Runtime::new()?;
    let lab = runtime.block_on(Lab::open(bed))?;
    progress::step("helm install tandem", || lab.install(&[]))?;
    runtime.block_on(demo(&lab))
}

async fn demo(lab: &Lab) -> Result<()> {
    println!("kubectl apply: a BrokerCluster \"orders\" of two brokers on one shared volume");
    let group = Group::prepare(lab, NAMESPACE).await?;
    group.apply(&json!({})).await?;
    group.await_complete().await?;
    println!("{}", lab.bed.kubectl(&["-n", NAMESPACE, "get", "brokercluster,pods", "-o", "wide"])?);

    println!("two JMS clients send and receive 50 persistent messages a second each:");
    let clients = TestClient::start_both(&group).await?;
    for client in &clients {
        println!("  {:8}{}", client.address.as_str(), group.url(client.address).await?);
    }
    let (master, epoch) = group.await_master(0).await?;
    println!("\nSIGKILL to the JVM of the master, {master}");
    let killed = group.signal_broker(&master, Signal::SIGKILL).await?;
    let (next, _) = group.await_master(epoch).await?;
    let mut events = timeline(&group, &next, killed).await?;
    for client in &clients {
        let millis = client.outage(killed, Duration::from_secs(60)).await?;
        events.push((
            millis,
            format!("first acknowledged send through the {}", client.address.as_str()),
        ));
    }
    events.sort();
    println!("\n      ms");
    for (millis, what) in &events {
        println!("  {millis:>6}  {what}");
    }
    group.await_complete().await?;
    println!("\n{master} is a standby again.\n");
    plugin(lab, &["status", "orders"])?;
    println!();
    plugin(lab, &["switchover", "orders"])?;
    group.await_complete().await?;
    println!("\nThe account of every message:");
    for client in &clients {
        let account = client.settle().await?;
        println!(
            "  {:8}{} sent and acknowledged, {} received, {} lost, {} duplicated",
            client.address.as_str(),
            account.acknowledged,
            account.received,
            account.lost,
            account.duplicates
        );
        client.go_on().await?;
    }
    look_around();
    Ok(())
}

/// Runs the plugin, which is built beside this program, as kubectl would.
fn plugin(lab: &Lab, arguments: &[&str]) -> Result<()> {
    let program = std::env::current_exe()?.with_file_name("kubectl-tandem");
    let line = arguments.join(" ");
    println!("kubectl tandem {line}");
    let status = Command::new(program)
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .env("KUBECONFIG", lab.bed.kubeconfig())
        .env("NO_PROXY", "*")
        .status()?;
    ensure!(status.success(), "kubectl tandem {line} failed: {status}");
    Ok(())
}

/// What the new master's agent tells, in milliseconds after the kill.
async fn timeline(group: &Group<'_>, master: &str, killed: i64) -> Result<Vec<(i64, String)>> {
    let what = "the new master tells its promotion";
    let (promotion, recorded) = wait::until(what, Duration::from_secs(10), async || {
        let told = group.report(master).await?.promotion;
        let both = told.and_then(|promotion| promotion.recorded.map(|at| (promotion, at)));
        Ok(both.ok_or_else(|| "the record is not written yet".to_owned()))
    })
    .await?;
    let after = |at: jiff::Timestamp| at.as_millisecond() - killed;
    Ok(vec![
        (0, "the master is killed".to_owned()),
        (after(promotion.lock_taken), format!("{master} has the lock")),
        (after(promotion.greeted), format!("{master} greets clients")),
        (after(recorded), "the record is written: the Service follows".to_owned()),
    ])
}

fn look_around() {
    println!(
        "
The cluster stays up and the clients go on. Look around:
  tests/kubectl get brokerclusters -A
  tests/kubectl -n {NAMESPACE} describe bc orders
  tests/kubectl -n {NAMESPACE} delete pod -l tandem-operator.io/role=master
  tests/kubectl -n tandem-system logs deploy/tandem
  make demo-down"
    );
}
