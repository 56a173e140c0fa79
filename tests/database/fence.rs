//! Takeovers: writes of a broker without the lease never land.

use std::time::Duration;

use tandem::broker::settings::DatabaseKind;
use tokio::time::timeout;

use crate::world::World;

/// Long enough for what does not wait, on a busy machine.
const A_WHILE: Duration = Duration::from_millis(400);
const SOON: Duration = Duration::from_secs(10);

pub async fn only_the_holder_writes(kind: DatabaseKind) {
    let (world, _agent) = World::prepared(kind).await;
    let (mut a, mut b) = (world.broker("a").await, world.broker("b").await);
    let (_, nobody) = a.send(1).await.unwrap_err();
    assert!(nobody.contains("tandem"), "{nobody}");
    assert!(a.obtain().await);
    a.send(1).await.unwrap();
    b.send(2).await.unwrap_err();
    let ack = "INSERT INTO ACTIVEMQ_ACKS(CONTAINER,CLIENT_ID,SUB_NAME) VALUES ('t','c','s')";
    b.client.try_run(ack).await.unwrap_err();
    a.client.run(ack).await;
    b.client.try_run("DELETE FROM ACTIVEMQ_MSGS WHERE ID=1").await.unwrap_err();
    b.client.try_run("UPDATE ACTIVEMQ_ACKS SET LAST_ACKED_ID=9").await.unwrap_err();

    world.run_out().await;
    assert!(b.obtain().await);
    a.send(3).await.unwrap_err();
    b.send(3).await.unwrap();
    assert_eq!(world.messages().await, "2");
}

/// What the other tests show is the fence's doing: without it the same write lands.
pub async fn without_the_fence_anybody_writes(kind: DatabaseKind) {
    let world = World::new(kind).await;
    world.agent().prepare().await.unwrap();
    let (mut a, mut b) = (world.broker("a").await, world.broker("b").await);
    a.make_tables().await;
    assert!(a.obtain().await);
    b.send(1).await.unwrap();
    assert_eq!(world.messages().await, "1");
}

pub async fn renewals_do_not_wait_for_message_transactions(kind: DatabaseKind) {
    let (world, _agent) = World::prepared(kind).await;
    let (mut locker, mut store) = (world.broker("a").await, world.broker("a").await);
    assert!(locker.obtain().await);
    store.client.run("BEGIN").await;
    store.send(1).await.unwrap();
    assert!(timeout(A_WHILE, locker.renew()).await.expect("a renewal waits"));
    store.client.run("COMMIT").await;
}

pub async fn a_takeover_waits_for_a_message_transaction_in_flight(kind: DatabaseKind) {
    let (world, _agent) = World::prepared(kind).await;
    let (mut a, mut b) = (world.broker("a").await, world.broker("b").await);
    assert!(a.obtain().await);
    a.client.run("BEGIN").await;
    a.send(1).await.unwrap();
    world.run_out().await;
    let mut takeover = tokio::spawn(async move { (b.obtain().await, b) });
    timeout(A_WHILE, &mut takeover).await.expect_err("the takeover does not wait");
    // Still the holder: what it has begun is whole.
    a.send(2).await.unwrap();
    a.client.run("COMMIT").await;
    let (obtained, mut b) = timeout(SOON, takeover).await.unwrap().unwrap();
    assert!(obtained);
    assert_eq!(world.messages().await, "2");
    a.send(3).await.unwrap_err();
    b.send(3).await.unwrap();
}

pub async fn a_look_ends_the_sessions_of_a_holder_whose_lease_has_run_out(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    let (mut frozen, mut b) = (world.broker("a").await, world.broker("b").await);
    assert!(frozen.obtain().await);
    frozen.client.run("BEGIN").await;
    frozen.send(1).await.unwrap();
    agent.look().await.unwrap();
    frozen.send(2).await.unwrap();
    world.run_out().await;
    let mut takeover = tokio::spawn(async move { (b.obtain().await, b) });
    timeout(A_WHILE, &mut takeover).await.expect_err("the takeover does not wait");
    agent.look().await.unwrap();
    let (obtained, mut b) = timeout(SOON, takeover).await.unwrap().unwrap();
    assert!(obtained);
    frozen.client.try_run("COMMIT").await.unwrap_err();
    assert_eq!(world.messages().await, "0");
    b.send(1).await.unwrap();
}

pub async fn a_release_ends_sessions_also_one_that_is_blocked(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    let (mut one, mut two) = (world.broker("a").await, world.broker("a").await);
    assert!(one.obtain().await);
    one.client.run("BEGIN").await;
    one.send(1).await.unwrap();
    // In flight: waits for the other transaction to decide about the same key.
    let blocked = tokio::spawn(async move { two.send(1).await });
    while blocked_sessions(&world).await == "0" {
        tokio::task::yield_now().await;
    }
    timeout(SOON, agent.release("a")).await.unwrap().unwrap();
    let mut b = world.broker("b").await;
    assert!(b.obtain().await);
    // The end of the one may have let the other through, but only while the lease was still theirs.
    let landed = world.messages().await;
    let answer = timeout(SOON, blocked).await.unwrap().unwrap();
    one.client.try_run("COMMIT").await.unwrap_err();
    assert_eq!(world.messages().await, landed);
    assert!(answer.is_err() || landed == "1", "{answer:?}");
    b.send(2).await.unwrap();
    // Again, and of somebody who never was.
    agent.release("a").await.unwrap();
    agent.release("nobody").await.unwrap();
}

async fn blocked_sessions(world: &World) -> String {
    let statement = if world.is_postgres() {
        format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type='Lock' AND datname='{}'",
            world.name
        )
    } else {
        format!(
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX t \
             JOIN information_schema.PROCESSLIST p ON p.ID=t.trx_mysql_thread_id \
             WHERE t.trx_state='LOCK WAIT' AND p.DB='{}'",
            world.name
        )
    };
    world.admin().await.value(&statement).await.unwrap()
}

pub async fn a_release_of_a_standby_leaves_the_master_alone(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    let (mut a, mut b) = (world.broker("a").await, world.broker("b").await);
    assert!(a.obtain().await);
    agent.release("b").await.unwrap();
    assert!(a.renew().await);
    a.send(1).await.unwrap();
    b.client.try_run("SELECT 1").await.unwrap_err();
    agent.release("x'y").await.unwrap_err();
}
