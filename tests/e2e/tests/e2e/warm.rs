//! What a standby has at hand before it takes over.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, lab::project, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use tandem::api::v1alpha1::VERSIONS;

use crate::{
    Outcome,
    faults::repetitions,
    lifecycle::{listeners_of_all_protocols, smoke},
};

/// Where the JVM tells in the pod which classes it initialises.
const LOG: &str = "/tmp/classes.log";
/// Without the list it is about 1,000.
const AT_MOST: usize = 50;

/// Kills a master under load: its successor has initialised before what a master needs. Of several
/// versions in a full run.
///
/// With `TANDEM_GENERATE` it adds what the successors did initialise to the list that standbys go by.
pub async fn standby(lab: &Lab, store: Store) -> Outcome {
    let mut text = Vec::new();
    for version in VERSIONS.into_iter().rev().take(repetitions(1, VERSIONS.len())) {
        let late = of_version(lab, store, version).await?;
        text.push(format!("{version}: {} classes after the lock", late.len()));
        if std::env::var_os("TANDEM_GENERATE").is_some() {
            add(&late)?;
        } else {
            ensure!(late.len() <= AT_MOST, "{version} initialises too late: {late:?}");
        }
    }
    Ok(text.join("; "))
}

async fn of_version(lab: &Lab, store: Store, version: &str) -> Result<BTreeSet<String>> {
    let group = Group::prepare_on(lab, &store.namespace("e2e-warm"), store, Server::Shared).await?;
    let option = format!("-Xlog:class+init=info:file={LOG}:uptime");
    let listeners = listeners_of_all_protocols();
    let options = [lab.java.as_slice(), &[option]].concat();
    let java = json!({"options": options});
    group
        .start(&json!({"broker": {"version": version, "java": java}, "listeners": listeners}))
        .await?;
    let (master, epoch) = group.await_steady().await?;
    let clients = TestClient::start_both(&group).await?;
    let next = group.other(&master);
    let before = initialised(&group, &next).await?;
    group.signal_broker(&master, Signal::SIGKILL).await?;
    group.await_master(epoch).await?;
    smoke(&group, "all", &[]).await?;
    for client in &clients {
        client.await_flow().await?;
    }
    let after = initialised(&group, &next).await?;
    group.settle(&clients).await?;
    group.remove().await?;
    Ok(after.difference(&before).cloned().collect())
}

/// The classes with a name that a pod's JVM has initialised; the JDK's internal ones differ from one to the
/// next.
async fn initialised(group: &Group<'_>, pod: &str) -> Result<BTreeSet<String>> {
    let broker = group.process(pod, "java").await?;
    let log = PathBuf::from(format!("/proc/{}/root{LOG}", broker.process.pid()));
    let text = wait::until("the log of classes", e2e::group::LIMIT, async || {
        Ok(fs::read_to_string(&log).map_err(|error| error.to_string()))
    })
    .await?;
    let classes: BTreeSet<String> = text.lines().filter_map(class).collect();
    ensure!(classes.contains("java.lang.Object"), "cannot read the log of {pod}'s classes");
    Ok(classes)
}

/// `[1.234s] 567 Initializing 'java/lang/Object' (0x...)`.
fn class(line: &str) -> Option<String> {
    let name = line.split_once("Initializing '")?.1.split_once('\'')?.0.replace('/', ".");
    let made_up = ["$$", "Lambda", "$Proxy", "LambdaForm", "0x"];
    let internal = ["jdk.", "sun."];
    let named = !made_up.iter().any(|part| name.contains(part))
        && !internal.iter().any(|package| name.starts_with(package));
    named.then_some(name)
}

fn add(late: &BTreeSet<String>) -> Result<()> {
    let path = project().join("src/broker/classic/warm-up.txt");
    let mut all: BTreeSet<String> = fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
    all.extend(late.iter().cloned());
    let text: String = all.iter().map(|name| format!("{name}\n")).collect();
    fs::write(&path, text).context("the list of classes")
}
