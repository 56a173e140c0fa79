//! Whose tables they are, and on which server the lease may be obtained.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem::broker::report::{DatabaseProblem, LockView, NoteKind, ProblemKind};
use tandem::broker::settings::{DatabaseKind, GroupIdentity};
use tandem::database::Database;
use tandem::lock::lease::{Nobody, judge};

use crate::server::Server;
use crate::world::{Broker, LEASE, World};

fn group(name: &str, uid: &str) -> GroupIdentity {
    GroupIdentity { namespace: "shop".into(), name: name.into(), uid: uid.into() }
}

/// An agent of this group.
fn of(world: &World, name: &str, uid: &str) -> Database {
    world.agent_with(|settings| settings.group = Some(Box::new(group(name, uid))))
}

fn in_use(problem: &DatabaseProblem, words: &str) {
    assert_eq!(problem.kind, ProblemKind::DatabaseInUse, "{problem:?}");
    assert!(problem.message.contains(words), "{}", problem.message);
}

pub async fn another_group_on_the_same_tables_is_refused(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let ours = of(&world, "orders", "1").prepare().await.unwrap();
    let problem = of(&world, "bills", "2").prepare().await.unwrap_err();
    in_use(&problem, "shop/orders/1");
    assert!(problem.message.contains("tablePrefix"), "{}", problem.message);
    of(&world, "orders", "1").prepare().await.unwrap();
    // Another prefix, other tables.
    let other = world.agent_with(|settings| {
        settings.group = Some(Box::new(group("bills", "2")));
        settings.table_prefix = "B_".into();
    });
    other.prepare().await.unwrap();
    // A person gave the tables away. The former group's brokers obtain nothing from then on.
    let mut former = world.broker("orders-0.11111111.00000001").await;
    assert!(former.obtain_if(&ours.obtain_if).await);
    of(&world, "orders", "1").release("orders-0.11111111.00000001").await.unwrap();
    world.admin().await.run("DELETE FROM TANDEM_STORE WHERE NAME='group'").await;
    let theirs = of(&world, "bills", "2").prepare().await.unwrap();
    let mut former = world.broker("orders-1.11111111.00000001").await;
    assert!(!former.obtain_if(&ours.obtain_if).await);
    assert!(world.broker("bills-0.22222222.00000001").await.obtain_if(&theirs.obtain_if).await);
}

pub async fn a_group_made_again_waits_for_the_former_one_s_brokers(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let former = of(&world, "orders", "1");
    let old = former.prepare().await.unwrap();
    let mut broker = world.broker("orders-0.11111111.00000001").await;
    assert!(broker.obtain_if(&old.obtain_if).await);
    let newcomer = of(&world, "orders", "2");
    in_use(&newcomer.prepare().await.unwrap_err(), "shop/orders/1");
    world.run_out().await;
    // It runs, and may obtain the lease again.
    in_use(&newcomer.prepare().await.unwrap_err(), "sessions are open");
    drop(broker);
    let begun = Instant::now();
    let new = loop {
        match newcomer.prepare().await {
            Ok(prepared) => break prepared,
            Err(problem) => in_use(&problem, "shop/orders/1"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the session does not end");
    };
    let mut late = world.broker("orders-1.11111111.00000002").await;
    assert!(!late.obtain_if(&old.obtain_if).await, "a broker of the former group");
    drop(late);
    assert!(world.broker("orders-0.22222222.00000001").await.obtain_if(&new.obtain_if).await);
    in_use(&former.prepare().await.unwrap_err(), "shop/orders/2");
}

/// MySQL and MariaDB are told apart by a number that can be changed while they run.
pub async fn another_server_is_not_believed_for_one_lease(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let agent = of(&world, "orders", "1");
    let condition = agent.prepare().await.unwrap().obtain_if;
    let mut broker = world.broker("orders-0.11111111.00000001").await;
    assert!(broker.obtain_if(&condition).await);
    agent.look().await.unwrap();
    let changed = Instant::now();
    // As if this were a server with the rows of another one.
    world.admin().await.run("UPDATE TANDEM_STORE SET VALUE='another' WHERE NAME='history'").await;
    let held = agent.look().await.unwrap();
    assert_eq!(held.nobody, None, "a lease that runs is its holder's on any server");
    assert!(broker.renew().await);
    world.run_out().await;
    // Its own session is ended by the next look: its lease has run out.
    let other = world.broker("orders-1.22222222.00000001").await;
    nobody_obtains_before(&agent, other, &condition, changed).await;
}

/// Waits for the broker to obtain the lease; the lease must have been nobody's until then.
async fn nobody_obtains_before(
    agent: &Database,
    mut broker: Broker,
    condition: &str,
    changed: Instant,
) {
    assert!(!broker.obtain_if(condition).await);
    let row = agent.look().await.unwrap();
    assert_eq!(row.nobody, Some(Nobody::NewHistory));
    assert_eq!(judge(&row, None), LockView::Other, "no broker is to be killed for not taking it");
    while !broker.obtain_if(condition).await {
        agent.look().await.unwrap();
        assert!(changed.elapsed() < Duration::from_millis(3 * LEASE), "nobody obtains it at all");
    }
    assert!(changed.elapsed() >= Duration::from_millis(LEASE), "{:?}", changed.elapsed());
    assert_eq!(agent.look().await.unwrap().nobody, None);
}

/// Asynchronous replication that lags, a primary that is killed, a replica that is promoted.
#[tokio::test]
async fn a_promoted_replica_gives_the_lease_to_nobody_while_the_former_holder_is_entitled() {
    let (primary, replica) = tokio::task::spawn_blocking(|| {
        let primary = Arc::new(Server::start(DatabaseKind::PostgreSQL));
        let replica = Server::replica_of(&primary);
        (primary, replica)
    })
    .await
    .unwrap();
    let world = World::on(primary).await;
    let lease_only = |port: u16| {
        world.agent_with(|settings| {
            settings.group = Some(Box::new(group("orders", "1")));
            settings.holds_messages = false;
            settings.server.port = port;
        })
    };
    let agent = lease_only(world.server.port);
    let prepared = agent.prepare().await.unwrap();
    let note = prepared.notes.iter().find(|note| note.kind == NoteKind::CommitsMayBeLost);
    let note = &note.expect("a note: replicas are attached, none is synchronous").message;
    assert!(note.contains("write to the journal"), "{note}");
    world.run_out().await;
    world.await_copy(&replica).await;

    // From here on the replica hears nothing, and its row says: run out.
    world.stop_copying(&replica).await;
    let mut a = world.broker("orders-0.11111111.00000001").await;
    assert!(a.obtain_if(&prepared.obtain_if).await);
    assert!(a.renew().await);
    let renewed = Instant::now();
    world.server.stop();
    world.promote(&replica).await;

    let agent = lease_only(replica.port);
    let mut b = world.broker_on(&replica, "orders-1.22222222.00000001").await;
    // What the row says, and what a broker would do that believed it.
    b.client.run("BEGIN").await;
    assert!(b.obtain().await);
    b.client.run("ROLLBACK").await;
    // Whether an agent looks or not.
    assert!(!b.obtain_if(&prepared.obtain_if).await);
    let promoted = Instant::now();
    println!("promoted {:?} after the last renewal", renewed.elapsed());
    assert!(
        renewed.elapsed() < Duration::from_millis(LEASE),
        "the test is too slow to show anything"
    );
    nobody_obtains_before(&agent, b, &prepared.obtain_if, promoted).await;
    assert!(renewed.elapsed() >= Duration::from_millis(LEASE));
}
