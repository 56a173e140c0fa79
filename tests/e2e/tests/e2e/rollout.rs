//! Changes of the spec of a running group.

use anyhow::{Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, group::LIMIT, wait};
use kube::ResourceExt;
use serde_json::json;

use crate::{Outcome, faults::repetitions};

/// A pod's uid.
pub async fn uid(group: &Group<'_>, pod: &str) -> Result<String> {
    Ok(group.pods().get(pod).await?.uid().unwrap_or_default())
}

/// Waits until there is another pod of that name.
pub async fn await_replaced(group: &Group<'_>, pod: &str, before: &str) -> Result<()> {
    wait::until(&format!("{pod} is replaced"), LIMIT, async || {
        let now = group.pods().get_opt(pod).await?.and_then(|pod| pod.metadata.uid);
        Ok(now.filter(|now| now != before).map(drop).ok_or_else(|| "not yet".to_owned()))
    })
    .await
}

/// An edit replaces the standby, then the master: one failover, nothing lost.
pub async fn edit(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-rollout");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_master(0).await?;
    let standby = group.other(&master);
    let before = (uid(&group, &master).await?, uid(&group, &standby).await?);
    group.edit(&json!({"broker": {"java": {"heap": "40%"}}})).await?;
    group.await_complete().await?;
    let after = (uid(&group, &master).await?, uid(&group, &standby).await?);
    ensure!(before.0 != after.0 && before.1 != after.1, "both pods are replaced");
    let (now, new_epoch) = group.await_master(0).await?;
    ensure!(
        now == standby && new_epoch == epoch + 1,
        "exactly one failover: {now}, epoch {epoch} to {new_epoch}"
    );
    for client in &clients {
        client.await_flow().await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("one failover; {account}"))
}

/// A broken image, and in a full run a broker that does not start, stops at the standby, is given up, and the pods
/// go back to what the master runs, which is not touched. Then a change that works is made, and taken back.
pub async fn bad_edit(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-bad-edit").await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_master(0).await?;
    let (standby, before) = (group.other(&master), uid(&group, &master).await?);
    let untouched = async || -> Result<()> {
        ensure!(uid(&group, &master).await? == before, "the master was touched");
        ensure!(group.record().await? == (Some(master.clone()), epoch), "the mastership moved");
        group.await_condition("Ready", "True", "").await.map(drop)
    };
    group.edit(&json!({"broker": {"image": "localhost/no-such-image:1"}})).await?;
    let message = group.await_condition("Progressing", "False", "RolloutStuck").await?;
    ensure!(message.contains(&standby), "{message}");
    untouched().await?;
    let xml = json!({"broker": {"image": null, "config": {"xml": "<noSuchElement/>"}}});
    for bad in [None, Some(xml)].into_iter().take(repetitions(1, 2)) {
        if let Some(bad) = bad {
            group.edit(&bad).await?;
        }
        let message = group.await_condition("Progressing", "False", "RolloutHalted").await?;
        ensure!(message.contains(&standby), "{message}");
        group.await_condition("StandbyReady", "True", "").await?;
        untouched().await?;
    }
    // A lost pod comes back as the master is.
    let lost = uid(&group, &standby).await?;
    group.delete_pod(&standby, None).await?;
    wait::until("the standby waits again", LIMIT, async || {
        let now = group.pods().get_opt(&standby).await?.and_then(|pod| pod.metadata.uid);
        let waits = group.report(&standby).await?.waits();
        let so = waits && now.is_some_and(|now| now != lost);
        Ok(if so { Ok(()) } else { Err("it does not".to_owned()) })
    })
    .await?;
    untouched().await?;

    for (round, heap) in ["40%", "50%"].into_iter().enumerate() {
        let good =
            json!({"broker": {"image": null, "config": {"xml": null}, "java": {"heap": heap}}});
        group.edit(&good).await?;
        group.await_complete().await?;
        let now = group.record().await?.1;
        ensure!(now == epoch + 1 + i64::try_from(round)?, "one failover each");
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(account)
}
