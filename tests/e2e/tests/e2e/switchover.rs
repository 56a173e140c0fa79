//! Planned changes of master.

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, Server, Store, TestClient, group::LIMIT, group::now_millis, wait};
use serde_json::json;
use tandem::api::{
    labels,
    v1alpha1::{SwitchoverResult, SwitchoverStatus},
};

use crate::{
    Outcome,
    faults::{outages_until, repetitions},
};

/// Asks for switchovers under load, one after the other: each moves the mastership once and in place.
pub async fn asked_for(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-switchover");
    let group = Group::up_on(lab, &namespace, store, Server::Shared).await?;
    let clients = TestClient::start_both(&group).await?;
    let (mut text, mut outages) = (Vec::new(), Vec::new());
    for round in 0..repetitions(3, 20) {
        let (master, epoch) = group.await_steady().await?;
        let at = now_millis();
        let done = answer(&group, &format!("round {round}")).await?;
        ensure!(done.result == SwitchoverResult::Succeeded, "{done:?}");
        ensure!(done.from == master && done.to == Some(group.other(&master)), "{done:?}");
        text.push(outages_until(&clients, at, now_millis()).await?);
        outages.extend(done.outage_millis);
        group.await_complete().await?;
        let exit = group.last_exit(&master).await?;
        ensure!(exit == "SwitchedOver", "{master} tells {exit}");
        ensure!(group.record().await?.1 == epoch + 1, "more than one failover");
    }
    ensure!(group.restarts().await? == 0, "a container was restarted");
    // Nobody waits: it is refused, and stays refused.
    let (master, epoch) = group.await_steady().await?;
    group.edit(&json!({"paused": true})).await?;
    let refused = answer(&group, "while paused").await?;
    ensure!(
        refused.result == SwitchoverResult::Refused && refused.reason == "Paused",
        "{refused:?}"
    );
    group.edit(&json!({"paused": false})).await?;
    let wrong = answer(&group, &format!("to={master}")).await?;
    ensure!(wrong.reason == "AlreadyMaster", "{wrong:?}");
    ensure!(group.await_steady().await? == (master, epoch), "a refused switchover took place");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{}; as the agents say {outages:?} ms; {account}", text.join("; ")))
}

/// Asks, and waits for the answer.
pub async fn answer(group: &Group<'_>, request: &str) -> Result<SwitchoverStatus> {
    group.annotate(labels::SWITCHOVER, request).await?;
    wait::until(&format!("an answer to {request:?}"), LIMIT, async || {
        let last = group.status().await?.last_switchover.context("no answer")?;
        let answered = last.id == request && last.result != SwitchoverResult::InProgress;
        Ok(if answered { Ok(last) } else { Err(format!("{last:?}")) })
    })
    .await
}
