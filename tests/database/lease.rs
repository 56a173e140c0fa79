//! The lease's row.

use std::time::Instant;

use tandem::broker::report::{Evidence, LockView, ProblemKind};
use tandem::broker::settings::DatabaseKind;
use tandem::lock::lease::{Nobody, REPAIR, judge};

use crate::world::{LEASE, World};

pub async fn a_look_tells_free_held_and_run_out(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    let free = agent.look().await.unwrap();
    assert_eq!(judge(&free, Some("a")), LockView::Free);

    let mut broker = world.broker("a").await;
    assert!(broker.obtain().await);
    let held = agent.look().await.unwrap();
    assert_eq!(judge(&held, Some("a")), LockView::Mine(Evidence::Lease));
    assert_eq!(judge(&held, Some("b")), LockView::Other);
    assert!(held.left_millis > 0 && held.left_millis <= i64::try_from(LEASE).unwrap(), "{held:?}");
    assert!(held.clock_offset_millis.abs() < 1_000, "{held:?}");
    assert!(!world.broker("b").await.obtain().await);
    assert!(broker.renew().await);

    world.run_out().await;
    let run_out = agent.look().await.unwrap();
    assert_eq!(judge(&run_out, Some("a")), LockView::Free);
    assert!(world.broker("b").await.obtain().await);
    assert_eq!(judge(&agent.look().await.unwrap(), Some("a")), LockView::Other);

    let begun = Instant::now();
    for _ in 0..100 {
        agent.look().await.unwrap();
    }
    println!("{kind:?}: a look takes {:?}", begun.elapsed() / 100);
}

pub async fn a_missing_row_is_put_back_as_a_lease_of_nobody(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    let mut broker = world.broker("a").await;
    assert!(broker.obtain().await);
    world.admin().await.run("DELETE FROM ACTIVEMQ_LOCK").await;
    let other = world.agent();
    let (row, same) = tokio::join!(agent.look(), other.look());
    for row in [row.unwrap(), same.unwrap()] {
        assert_eq!(row.holder.as_deref(), Some(REPAIR));
        assert!(
            row.nobody == Some(Nobody::RowMissing) && judge(&row, Some("a")) == LockView::Other
        );
    }
    assert!(!broker.renew().await, "the old master has lost it");
    assert!(!world.broker("b").await.obtain().await, "and nobody has it at once");
    world.run_out().await;
    assert_eq!(agent.look().await.unwrap().nobody, None);
    assert!(world.broker("b").await.obtain().await);
}

pub async fn two_agents_prepare_at_the_same_time(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let agents = [world.agent(), world.agent(), world.agent()];
    let (a, b, c) = tokio::join!(agents[0].prepare(), agents[1].prepare(), agents[2].prepare());
    let product = if world.is_postgres() { "PostgreSQL 15" } else { "MariaDB 10" };
    for prepared in [a, b, c].map(Result::unwrap) {
        assert!(prepared.create_tables);
        assert!(prepared.server.as_ref().is_some_and(|it| it.starts_with(product)), "{prepared:?}");
        assert_eq!(prepared.notes, []);
    }
    world.broker("a").await.make_tables().await;
    let (a, b, c) = tokio::join!(agents[0].prepare(), agents[1].fence(), agents[2].prepare());
    let fenced = |prepared: tandem::database::Prepared| {
        assert!(!prepared.create_tables);
        let text = format!("{:?}", prepared.notes);
        assert!(!text.contains("WritesNotFenced"), "{text}");
    };
    fenced(a.unwrap());
    assert_eq!(b.unwrap(), []);
    fenced(c.unwrap());
}

pub async fn the_floor_never_falls(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let agent = world.agent();
    agent.prepare().await.unwrap();
    assert_eq!(agent.floor().await.unwrap(), 0);
    let other = world.agent();
    let (a, b) = tokio::join!(agent.raise_floor(7), other.raise_floor(5));
    a.unwrap();
    b.unwrap();
    assert_eq!(agent.floor().await.unwrap(), 7);
    agent.raise_floor(3).await.unwrap();
    assert_eq!(other.floor().await.unwrap(), 7);
    world.admin().await.run("DELETE FROM TANDEM_GROUP").await;
    agent.raise_floor(8).await.unwrap();
    assert_eq!(agent.floor().await.unwrap(), 8);
}

pub async fn a_session_that_breaks_is_replaced_and_a_new_password_is_read(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    agent.look().await.unwrap();
    let (mut admin, user) = (world.admin().await, &world.name);
    if world.is_postgres() {
        admin.run(&format!("ALTER USER {user} PASSWORD 'second'")).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='{}'";
        admin.run(&end.replace("{}", user)).await;
    } else {
        admin.run(&format!("SET PASSWORD FOR {user} = PASSWORD('second')")).await;
        admin.run(&format!("KILL USER {user}")).await;
    }
    agent.look().await.unwrap_err();
    let refused = agent.look().await.unwrap_err();
    assert!(refused.message.contains(user.as_str()), "{}", refused.message);
    world.write_access(user, "second\n");
    agent.look().await.unwrap();
}

pub async fn the_first_row_is_free_and_a_later_one_is_not(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    assert!(world.broker("a").await.obtain().await);
    world.admin().await.run("DROP TABLE ACTIVEMQ_LOCK").await;
    let lost = agent.look().await.unwrap_err();
    // The server's own words name the user, who is called as the database is.
    assert_eq!(lost.kind, ProblemKind::TablesMismatch, "{}", lost.message);
    // An old master may still run and not know it.
    agent.prepare().await.unwrap();
    assert_eq!(agent.look().await.unwrap().nobody, Some(Nobody::RowMissing));
    assert!(!world.broker("b").await.obtain().await);
    let mut former = world.broker("a").await;
    former.send(1).await.unwrap_err();
}

/// Brokers whose agents ended with them leave their sessions registered. `PostgreSQL` itself knows a
/// session's holder.
#[tokio::test]
async fn mariadb_s_ended_sessions_are_forgotten_and_living_ones_are_not() {
    let (world, agent) = World::prepared(DatabaseKind::MariaDB).await;
    let registered = async || {
        let count = "SELECT COUNT(*) FROM TANDEM_SESSIONS WHERE HOLDER IN ('a','b')";
        world.admin().await.value(count).await.unwrap()
    };
    let (living, ended) = (world.broker("a").await, world.broker("b").await);
    assert_eq!(registered().await, "2");
    drop(ended);
    let mut left = String::new();
    let begun = Instant::now();
    // The server notices the end of a connection a moment later.
    while left != "1" && begun.elapsed().as_secs() < 20 {
        agent.prepare().await.unwrap();
        left = registered().await;
    }
    assert_eq!(left, "1");
    drop(living);
}
