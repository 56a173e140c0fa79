//! Faults around network storage: cuts, silent and forgetful servers, a full disk, a lock file that is
//! tampered with, and whoever sleeps through the server's lock timeout. After each of them the group
//! proves itself ([`Group::prove`]).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, group::now_millis, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::{Component, From, PodProcess, Storage};

use crate::{
    Outcome,
    faults::{CEILING, outages, outages_until},
    nodes,
};

/// Longer than the server keeps a silent client's locks (6 s), and than `fenceAfter` (4 s).
const LONG: Duration = Duration::from_secs(9);
/// Shorter than `fenceAfter`, and than a client's patience (2 s).
const SHORT: Duration = Duration::from_secs(1);
/// So long that nobody is taken for hung.
const NEVER_HUNG: &str = "5m";

/// A broker that got the lock of another file waits so long for the old one's end. Where many tests run side
/// by side, the default of 250 ms would leave too little: the old one was seen to write for 398 ms.
const BUSY_KEEP_ALIVE: &str = "1s";

/// A broker ends when its journal cannot be written, and a new one that finds no room takes no messages:
/// pauses between starts double.
const MOST_WHILE_FULL: i64 = 3;

/// When a cut is healed.
#[derive(Clone, Copy)]
pub enum Heal {
    /// So many milliseconds later: before the server frees the lock.
    After(u64),
    /// When the standby has taken over.
    Takeover,
}

impl Heal {
    fn name(self) -> String {
        match self {
            Self::After(millis) => format!("{millis}"),
            Self::Takeover => "late".to_owned(),
        }
    }
}

/// A group with clients, and who is its master.
struct Scene<'a> {
    group: Group<'a>,
    clients: Vec<TestClient>,
    master: String,
    epoch: i64,
    node: u8,
}

impl<'a> Scene<'a> {
    async fn on(
        lab: &'a Lab,
        namespace: &str,
        store: Store,
        server: Server,
        spec: Value,
    ) -> Result<Self> {
        let group = Group::prepare_on(lab, &store.namespace(namespace), store, server).await?;
        group.start(&spec).await?;
        let (master, epoch) = group.await_master(0).await?;
        let clients = nodes::clients_beside_the_standby(&group, &master).await?;
        let node = group.node_of(&master).await?;
        Ok(Self { group, clients, master, epoch, node })
    }

    /// On network storage with a server of its own.
    async fn own(lab: &'a Lab, namespace: &str) -> Result<Self> {
        Self::on(lab, namespace, Store::NetworkFile, Server::Own, json!({})).await
    }

    fn storage(&self) -> Result<&Storage> {
        self.group.storage.as_ref().context("a group on no network storage")
    }

    /// Waits until the other broker has taken over; tells how long clients were cut off.
    async fn taken_over(&self, at: i64) -> Result<String> {
        let (next, _) = self.group.await_master(self.epoch).await?;
        ensure!(next == self.group.other(&self.master), "{next} took over from {}", self.master);
        let promoted = self.group.promoted(&next, at).await?;
        // The old master serves on until it is killed.
        Ok(format!("{promoted}, {}", outages_until(&self.clients, at, now_millis()).await?))
    }

    /// The same master serves, and never ceased to be one.
    async fn unmoved(&self) -> Result<()> {
        let now = self.group.await_steady().await?;
        ensure!(now == (self.master.clone(), self.epoch), "the mastership moved: {now:?}");
        Ok(())
    }

    /// The group proves itself and goes.
    async fn end(self, text: &str) -> Outcome {
        let restarts = self.group.restarts().await?;
        let account = self.group.prove(&self.clients).await?;
        self.group.remove().await?;
        Ok(format!("{text}; {restarts} container restarts; {account}"))
    }
}

/// Lasts as long as a fault does.
async fn last(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The master's node loses the storage, and nothing else.
pub async fn cut(lab: &Lab, heal: Heal) -> Outcome {
    let scene = Scene::own(lab, &format!("e2e-cut-{}", heal.name())).await?;
    let broker = scene.group.process(&scene.master, "java").await?;
    let at = now_millis();
    scene.storage()?.cut_from(&[scene.node])?;
    let text = match heal {
        Heal::After(millis) => {
            last(Duration::from_millis(millis)).await;
            scene.storage()?.heal()?;
            let (master, epoch) = scene.group.await_steady().await?;
            let text = outages_until(&scene.clients, at, now_millis()).await?;
            format!("{text}, {master} with {} failovers", epoch - scene.epoch)
        }
        Heal::Takeover => {
            let text = scene.taken_over(at).await?;
            ensure!(!broker.process.is_alive()?, "the old master was left alive");
            let exit = scene.group.last_exit(&scene.master).await?;
            scene.storage()?.heal()?;
            format!("{exit}: {text}")
        }
    };
    scene.end(&text).await
}

/// The master's node loses the storage; when the other one has taken over, that one loses it.
pub async fn cut_twice(lab: &Lab) -> Outcome {
    let mut scene = Scene::own(lab, "e2e-cut-twice").await?;
    let at = now_millis();
    scene.storage()?.cut_from(&[scene.node])?;
    let first = scene.taken_over(at).await?;
    (scene.master, scene.epoch) = scene.group.await_master(scene.epoch).await?;
    let at = now_millis();
    // One rule set replaces the other: the first node is healed in the same moment.
    scene.storage()?.cut_from(&[scene.group.node_of(&scene.master).await?])?;
    let second = scene.taken_over(at).await?;
    scene.storage()?.heal()?;
    scene.end(&format!("{first}; then {second}")).await
}

/// The storage server stands still: nothing happens when it is short. Otherwise nobody can be master
/// until it goes on.
pub async fn server_frozen(lab: &Lab) -> Outcome {
    let scene = Scene::own(lab, "e2e-server-frozen").await?;
    let broker = scene.group.process(&scene.master, "java").await?;
    let storage = scene.storage()?;
    let at = now_millis();
    storage.freeze()?;
    last(SHORT).await;
    storage.thaw()?;
    let short = outages(&scene.clients, at).await?;
    scene.unmoved().await?;
    storage.freeze()?;
    let at = now_millis();
    let fenced = wait::until("the master ends", CEILING, async || {
        Ok(if broker.process.is_alive()? { Err("it runs".to_owned()) } else { Ok(()) })
    })
    .await;
    let ended = now_millis() - at;
    storage.thaw()?;
    fenced?;
    let back = now_millis();
    scene.group.await_master(scene.epoch).await?;
    let long = outages(&scene.clients, back).await?;
    let exit = scene.group.last_exit(&scene.master).await?;
    scene
        .end(&format!(
            "1 s: {short}; then {exit} after {ended} ms, since the server's return: {long}"
        ))
        .await
}

/// The storage server ends at once and starts again: it has forgotten all locks.
pub async fn server_restarted(lab: &Lab) -> Outcome {
    let scene = Scene::own(lab, "e2e-server-restarted").await?;
    let at = now_millis();
    scene.storage()?.restart()?;
    let away = now_millis() - at;
    scene.group.await_master(scene.epoch).await?;
    let text = outages_until(&scene.clients, at, now_millis()).await?;
    let exit = scene.group.last_exit(&scene.master).await?;
    scene.end(&format!("away for {away} ms, {exit}: {text}")).await
}

/// No room is left, and then there is again.
pub async fn full(lab: &Lab) -> Outcome {
    let scene = Scene::on(lab, "e2e-full", Store::NetworkFile, Server::Small, json!({})).await?;
    let storage = scene.storage()?;
    storage.fill()?;
    last(LONG).await;
    let (_, epoch) = scene.group.record().await?;
    storage.drain()?;
    let back = now_millis();
    let text = outages(&scene.clients, back).await?;
    let moved = epoch - scene.epoch;
    ensure!(moved <= MOST_WHILE_FULL, "{moved} failovers while there was no room");
    let text = format!("{moved} failovers while full; since there is room: {text}");
    scene.end(&text).await
}

/// Somebody touches, replaces and deletes the lock file.
pub async fn lock_file(lab: &Lab, store: Store) -> Outcome {
    let file = json!({"keepAlive": BUSY_KEEP_ALIVE});
    let spec = json!({"storage": {"sharedVolume": {"lock": {"file": file}}}});
    let mut scene = Scene::on(lab, "e2e-lock-file", store, Server::Own, spec).await?;
    let mut text = Vec::new();
    for (what, command) in [
        ("touched", r#"touch "$1""#),
        ("replaced", r#"cp -p "$1" "$1.new" && mv "$1.new" "$1""#),
        ("deleted", r#"rm "$1""#),
    ] {
        let (master, epoch) = scene.group.await_steady().await?;
        (scene.master, scene.epoch) = (master, epoch);
        let at = now_millis();
        scene
            .group
            .tamper(scene.group.node_of(&scene.group.other(&scene.master)).await?, command)?;
        scene.group.await_master(epoch).await?;
        let outage = outages(&scene.clients, at).await?;
        let exit = scene.group.last_exit(&scene.master).await?;
        ensure!(exit == "LockLost", "{} tells {exit}", scene.master);
        text.push(format!("{what}: {outage}"));
    }
    scene.end(&text.join("; ")).await
}

/// The master's JVM sleeps through the lock timeout while its node's client keeps the lock for it.
pub async fn thawed(lab: &Lab, store: Store) -> Outcome {
    let spec = json!({"failover": {"hangTimeout": NEVER_HUNG}});
    let scene = Scene::on(lab, "e2e-thawed", store, Server::Own, spec).await?;
    let broker = scene.group.process(&scene.master, "java").await?;
    let at = now_millis();
    broker.signal(Signal::SIGSTOP)?;
    last(LONG).await;
    broker.signal(Signal::SIGCONT)?;
    let text = outages(&scene.clients, at).await?;
    scene.unmoved().await?;
    scene.end(&text).await
}

/// The master's agent sleeps through the lock timeout; its broker serves on.
pub async fn agent_thawed(lab: &Lab, store: Store) -> Outcome {
    let scene = Scene::on(lab, "e2e-agent-thawed", store, Server::Own, json!({})).await?;
    let agent = scene.group.process(&scene.master, "tandem").await?;
    let at = now_millis();
    agent.signal(Signal::SIGSTOP)?;
    last(LONG).await;
    for client in &scene.clients {
        client.await_flow().await?;
    }
    agent.signal(Signal::SIGCONT)?;
    let (_, epoch) = scene.group.await_steady().await?;
    let moved = epoch - scene.epoch;
    let text = outages_until(&scene.clients, at, now_millis()).await?;
    scene.end(&format!("{text}, {moved} failovers")).await
}

/// Both pods sleep through the lock timeout; the standby wakes first, then the master does.
pub async fn pods_thawed(lab: &Lab, store: Store) -> Outcome {
    let mut scene = Scene::on(lab, "e2e-pods-thawed", store, Server::Own, json!({})).await?;
    let mut text = Vec::new();
    for standby_first in [true, false] {
        (scene.master, scene.epoch) = scene.group.await_steady().await?;
        let mut pods = [scene.group.other(&scene.master), scene.master.clone()];
        if !standby_first {
            pods.reverse();
        }
        let [first, second] =
            [scene.group.processes(&pods[0]).await?, scene.group.processes(&pods[1]).await?];
        let at = now_millis();
        send(first.iter().chain(&second), Signal::SIGSTOP)?;
        last(LONG).await;
        send(first.iter(), Signal::SIGCONT)?;
        last(SHORT).await;
        send(second.iter(), Signal::SIGCONT)?;
        let (_, epoch) = scene.group.await_steady().await?;
        let outage = outages_until(&scene.clients, at, now_millis()).await?;
        text.push(format!("{outage}, {} failovers", epoch - scene.epoch));
    }
    scene.end(&text.join("; ")).await
}

fn send<'p>(processes: impl Iterator<Item = &'p PodProcess>, signal: Signal) -> Result<()> {
    processes.into_iter().try_for_each(|process| process.signal(signal))
}

/// The master's node loses its power, and gets it back when the other one has taken over.
pub async fn power_off(lab: &Lab) -> Outcome {
    let scene = Scene::own(lab, "e2e-power-off").await?;
    let node = lab.bed.node(scene.node)?;
    let at = now_millis();
    node.power_off()?;
    let text = scene.taken_over(at).await;
    node.power_on()?;
    scene.end(&text?).await
}

/// The master's node loses everybody.
pub async fn cut_from_all(lab: &Lab, heal: Heal) -> Outcome {
    let scene = Scene::own(lab, &format!("e2e-cut-all-{}", heal.name())).await?;
    let broker = scene.group.process(&scene.master, "java").await?;
    let node = lab.bed.node(scene.node)?;
    let at = now_millis();
    node.cut(From::All)?;
    let text = match heal {
        Heal::After(millis) => {
            last(Duration::from_millis(millis)).await;
            node.heal()?;
            let (_, epoch) = scene.group.await_steady().await?;
            let text = outages_until(&scene.clients, at, now_millis()).await;
            text.map(|text| format!("{text}, {} failovers", epoch - scene.epoch))
        }
        Heal::Takeover => {
            let text = scene.taken_over(at).await;
            let alive = broker.process.is_alive()?;
            node.heal()?;
            ensure!(!alive, "the old master was left alive");
            text
        }
    };
    scene.end(&text?).await
}

/// The API server takes connections and never answers, while the master is killed.
pub async fn api_server_frozen(lab: &Lab) -> Outcome {
    let scene = Scene::own(lab, "e2e-api-frozen").await?;
    let broker = scene.group.process(&scene.master, "java").await?;
    let api_server = lab.bed.component(Component::Apiserver);
    api_server.freeze()?;
    let at = now_millis();
    broker.signal(Signal::SIGKILL)?;
    let list = scene.clients.iter().find(|client| client.address == e2e::Address::List);
    let listed = list.context("no client with a list")?.outage(at, CEILING).await;
    api_server.thaw()?;
    let back = now_millis();
    let (next, _) = scene.group.await_master(scene.epoch).await?;
    ensure!(next == scene.group.other(&scene.master), "{next} took over from {}", scene.master);
    let text = format!("list {} ms, record right {} ms later", listed?, now_millis() - back);
    scene.end(&text).await
}
