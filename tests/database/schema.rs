//! A schema of PostgreSQL's: broker and agent use the same tables.

use tandem::broker::report::ProblemKind;
use tandem::broker::settings::DatabaseKind;
use tandem::lock::lease::judge;

use crate::world::{Broker, World};

/// As `currentSchema` in the driver's URL has it.
async fn broker(world: &World, holder: &str, schema: &str) -> Broker {
    let mut broker = world.broker(holder).await;
    broker.client.run(&format!("SET search_path TO {schema}")).await;
    broker
}

async fn with_schemas(names: &[&str]) -> World {
    let world = World::new(DatabaseKind::PostgreSQL).await;
    let mut admin = world.admin().await;
    for name in names {
        admin.run(&format!("CREATE SCHEMA {name} AUTHORIZATION {}", world.name)).await;
    }
    world
}

#[tokio::test]
async fn broker_and_agent_share_a_schema_and_another_group_has_its_own() {
    let world = with_schemas(&["mq", "shop"]).await;
    let agent = |schema: &str| world.agent_with(|settings| settings.schema = Some(schema.into()));
    let (mq, shop) = (agent("mq"), agent("shop"));
    for (agent, schema) in [(&mq, "mq"), (&shop, "shop")] {
        assert!(agent.prepare().await.unwrap().create_tables);
        broker(&world, "maker", schema).await.make_tables().await;
        assert_eq!(agent.fence().await.unwrap(), []);
    }
    let count = "SELECT COUNT(*) FROM pg_tables WHERE schemaname='public'";
    assert_eq!(world.admin().await.value(count).await.as_deref(), Some("0"));

    let mut a = broker(&world, "a", "mq").await;
    let mut b = broker(&world, "b", "shop").await;
    assert!(a.obtain().await && b.obtain().await, "each group has its own lease");
    assert_eq!(mq.look().await.unwrap().holder.as_deref(), Some("a"));
    assert_eq!(shop.look().await.unwrap().holder.as_deref(), Some("b"));
    a.send(1).await.unwrap();
    b.send(1).await.unwrap();

    // Whatever path a session has, the table's own lease judges it.
    let write = |schema| {
        format!(
            "INSERT INTO {schema}.ACTIVEMQ_ACKS(CONTAINER,CLIENT_ID,SUB_NAME) VALUES ('t','c','s')"
        )
    };
    b.client.try_run(&write("mq")).await.unwrap_err();
    a.client.try_run(&write("shop")).await.unwrap_err();
    a.client.run("SET search_path TO public").await;
    a.client.run(&write("mq")).await;
    mq.release("a").await.unwrap();
    assert_eq!(judge(&mq.look().await.unwrap(), None), tandem::broker::report::LockView::Free);
    assert_eq!(shop.look().await.unwrap().holder.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_named() {
    let world = with_schemas(&[]).await;
    let agent = world.agent_with(|settings| settings.schema = Some("absent".into()));
    let problem = agent.prepare().await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::DatabaseMissing);
    assert!(problem.message.contains("\"absent\""), "{}", problem.message);
}
