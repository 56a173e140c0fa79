//! Databases that fail: restarted, cut off from one or from all, slow.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use e2e::{Address, Group, Lab, Server, Store, TestClient, group::now_millis, proxy::Proxy, wait};
use serde_json::json;

use crate::{
    Outcome,
    databases::await_renewals,
    faults::{CEILING, outages, outages_until},
    nodes,
};

/// The server ends at once and comes back.
pub async fn restarted(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-db-restart");
    let group = Group::up_on(lab, &namespace, store, Server::Own).await?;
    let clients = TestClient::start_both(&group).await?;
    let (_, epoch) = group.await_master(0).await?;
    let at = now_millis();
    group.database()?.server.restart()?;
    let away = now_millis() - at;
    let text = outages(&clients, at).await?;
    for client in &clients {
        client.await_flow().await?;
    }
    group.await_complete().await?;
    let (_, now) = group.await_master(0).await?;
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{restarts} container restarts");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("away for {away} ms: {text}, {} failover(s); {account}", now - epoch))
}

/// The master alone loses the database: it ends before its lease does, and the standby takes over.
pub async fn cut_from_master(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-db-cut");
    let group = Group::up_on(lab, &namespace, store, Server::Own).await?;
    let (master, epoch) = group.await_master(0).await?;
    let clients = nodes::clients_beside_the_standby(&group, &master).await?;
    let broker = group.process(&master, "java").await?;
    let server = &group.database()?.server;
    let at = now_millis();
    server.cut_from(&[group.node_of(&master).await?])?;
    let (next, _) = group.await_master(epoch).await?;
    ensure!(next == group.other(&master), "{next} took over from {master}");
    ensure!(!broker.process.is_alive()?, "the old master was left alive");
    // With messages on a volume it served until it was killed.
    let text = outages_until(&clients, at, now_millis()).await?;
    let exit = group.last_exit(&master).await?;
    group.await_condition("StorageLockVerified", "False", "DatabaseUnreachable").await?;
    server.heal()?;
    group.await_complete().await?;
    group.await_condition("StorageLockVerified", "True", "").await?;
    ensure!(group.master().await? == next, "the mastership moved on without a reason");
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{restarts} container restarts");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("{exit}: {text}; {account}"))
}

/// Everybody loses the database: nobody is master, and somebody is when it is back.
pub async fn cut_from_all(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-db-gone");
    let group = Group::up_on(lab, &namespace, store, Server::Own).await?;
    let clients = TestClient::start_both(&group).await?;
    let (master, epoch) = group.await_master(0).await?;
    let broker = group.process(&master, "java").await?;
    let server = &group.database()?.server;
    let at = now_millis();
    server.cut()?;
    wait::until("the master ends", CEILING, async || {
        Ok(if broker.process.is_alive()? { Err("it runs".to_owned()) } else { Ok(()) })
    })
    .await?;
    let ended = now_millis() - at;
    group.await_condition("StorageLockVerified", "False", "DatabaseUnreachable").await?;
    let told = now_millis() - at;
    ensure!(told <= 30_000, "told after {told} ms");
    server.heal()?;
    let healed = now_millis();
    group.await_master(epoch).await?;
    let text = outages(&clients, healed).await?;
    group.await_complete().await?;
    group.await_condition("StorageLockVerified", "True", "").await?;
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{restarts} container restarts");
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!(
        "master ended after {ended} ms, told after {told} ms; since the return: {text}; {account}"
    ))
}

/// Every query arrives a second late: no reason for a failover. Then none arrives any more: nobody
/// may be master until they do.
pub async fn slow(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-db-slow");
    let group = Group::prepare_on(lab, &namespace, store, Server::Shared).await?;
    let database = group.database()?;
    let server = &database.server;
    let proxy =
        Proxy::start(SocketAddr::new(server.address().parse()?, server.kind().port())).await?;
    let by_proxy = json!({
        "host": proxy.address.ip().to_string(),
        "port": proxy.address.port(),
        // The server's certificate is not for the proxy.
        "tls": {"mode": "Disable", "caConfigMap": null}
    });
    group.start(&json!({"storage": {"database": by_proxy}})).await?;
    let client = TestClient::start(&group, Address::Service).await?;
    let (master, epoch) = group.await_master(0).await?;
    let broker = group.process(&master, "java").await?;
    proxy.delay(Duration::from_secs(1));
    await_renewals(database, Duration::from_secs(20)).await?;
    client.await_flow().await?;
    let now = group.await_master(0).await?;
    ensure!(now == (master.clone(), epoch), "a false failover: {now:?}");
    ensure!(broker.process.is_alive()?, "the broker was restarted");
    proxy.delay(Duration::ZERO);

    let at = now_millis();
    proxy.stall(true);
    wait::until("the master ends", CEILING, async || {
        Ok(if broker.process.is_alive()? { Err("it runs".to_owned()) } else { Ok(()) })
    })
    .await?;
    let ended = now_millis() - at;
    proxy.stall(false);
    group.await_master(epoch).await?;
    group.await_complete().await?;
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{restarts} container restarts");
    let account = group.settle(&[client]).await?;
    group.remove().await?;
    Ok(format!(
        "no failover in 20 s of slowness; stalled: master ended after {ended} ms; {account}"
    ))
}
