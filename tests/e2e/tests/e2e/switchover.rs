//! Planned changes of master.

use anyhow::{Context, Result, ensure};
use e2e::{Address, Group, Lab, Server, Store, TestClient, group::LIMIT, group::now_millis, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use tandem::{
    api::{
        labels,
        v1alpha1::{SwitchoverResult, SwitchoverStatus},
    },
    broker::report::MotionView,
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

/// A standby whose JVM is stopped is none: no switchover begins towards it, and it is replaced.
pub async fn frozen_standby(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-standby-frozen").await?;
    let client = TestClient::start(&group, Address::Service).await?;
    let (master, epoch) = group.await_steady().await?;
    let standby = group.other(&master);
    let at = group.signal_broker(&standby, Signal::SIGSTOP).await?;
    wait::until("the standby is seen to stand still", LIMIT, async || {
        let motion = group.report(&standby).await?.motion;
        Ok(if motion == Some(MotionView::Still) { Ok(()) } else { Err(format!("{motion:?}")) })
    })
    .await?;
    let seen = now_millis() - at;
    let refused = answer(&group, "to a frozen standby").await?;
    ensure!(
        refused.result == SwitchoverResult::Refused && refused.message.contains("stands still"),
        "{refused:?}"
    );
    wait::until("the standby's broker is killed", LIMIT, async || {
        let exit = group.last_exit(&standby).await?;
        Ok(if exit == "BrokerHung" { Ok(()) } else { Err(exit) })
    })
    .await?;
    group.await_complete().await?;
    ensure!(group.await_steady().await? == (master, epoch), "the mastership moved");
    let account = group.settle(&[client]).await?;
    group.remove().await?;
    Ok(format!("seen after {seen} ms; {account}"))
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
