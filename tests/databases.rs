//! Groups with a database: what is named, what is told, and what a changed password does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on ends")]

mod support;

use serde_json::json;
use support::{
    group::NAMESPACE,
    world::{DATABASE, World},
};
use tandem::{
    broker::report::{DatabaseNote, DatabaseProblem, DatabaseReport, NoteKind, ProblemKind},
    operator::listen,
};

fn secret(world: &World) {
    world.put(
        "secrets",
        json!({"metadata": {"name": "db"}, "data": {"username": "bXE=", "password": "b25l"}}),
    );
}

fn authority(world: &World) {
    world.put("configmaps", json!({"metadata": {"name": "ca"}, "data": {"ca.crt": "PEM"}}));
}

fn says(world: &World, report: &DatabaseReport) {
    world.state().group.database = Some(report.clone());
}

fn fine() -> DatabaseReport {
    DatabaseReport { server: Some("PostgreSQL 15.1".into()), ..DatabaseReport::default() }
}

async fn settled() -> World {
    let world = World::with(DATABASE);
    secret(&world);
    authority(&world);
    says(&world, &fine());
    world.settle().await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named_and_no_pod_is_made_before_the_credentials_exist() {
    let world = World::with(DATABASE);
    world.rounds(2).await;
    assert_eq!(world.condition("ConfigurationValid"), "False SecretMissing");
    let message = world.message("ConfigurationValid");
    assert!(message.contains("spec.storage.database.credentialsSecret: Secret db"), "{message}");
    assert!(message.contains("spec.storage.database.tls.caConfigMap: ConfigMap ca"), "{message}");
    assert_eq!(world.names("statefulsets"), Vec::<String>::new());
    world.put("secrets", json!({"metadata": {"name": "db"}, "data": {"username": "bXE="}}));
    world.rounds(1).await;
    assert!(world.message("ConfigurationValid").contains("no key password"));
    world.state().store.remove(&World::at("secrets", "db"));
    secret(&world);
    authority(&world);
    says(&world, &fine());
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.condition("StorageLockVerified"), "True LeaseVerified");
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(world.names("persistentvolumeclaims"), Vec::<String>::new());
    let lock = world.status().lock.unwrap();
    assert_eq!(lock.path, "postgresql://db:5432/mq table ACTIVEMQ_LOCK");
}

#[tokio::test(start_paused = true)]
async fn another_password_replaces_the_pods_standby_first_and_a_lost_secret_replaces_none() {
    let world = settled().await;
    world.state().store.change(&World::at("secrets", "db"), |secret| {
        secret["data"]["password"] = json!("dHdv");
    });
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-0"]);
    assert_eq!(world.condition("Ready"), "True Serving");
    world.forget();
    world.state().store.change(&World::at("secrets", "db"), |secret| {
        secret["data"]["unrelated"] = json!("dHdv");
    });
    world.settle().await;
    let lost = world.state().store.remove(&World::at("secrets", "db"));
    world.settle().await;
    assert!(lost.is_some() && world.deleted().is_empty());
    assert_eq!(world.condition("ConfigurationValid"), "False SecretMissing");
    assert_eq!(world.condition("Ready"), "True Serving");
}

#[tokio::test(start_paused = true)]
async fn a_database_s_troubles_are_told_and_change_nothing_else() {
    let world = settled().await;
    world.forget();
    let problem = DatabaseProblem {
        kind: ProblemKind::AuthenticationRefused,
        message: "the password is refused".into(),
    };
    says(&world, &DatabaseReport { problem: Some(problem), ..fine() });
    world.settle().await;
    assert_eq!(world.condition("StorageLockVerified"), "False AuthenticationRefused");
    assert_eq!(world.condition("Ready"), "True Serving");
    let note =
        DatabaseNote { kind: NoteKind::CommitsMayBeLost, message: "a commit is lost".into() };
    says(&world, &DatabaseReport { notes: vec![note], ..fine() });
    world.settle().await;
    assert_eq!(world.condition("StorageLockVerified"), "True CommitsMayBeLost");
    for reason in ["AuthenticationRefused", "StorageRecovered", "CommitsMayBeLost"] {
        assert!(world.events().contains(&reason.to_owned()), "{:?}", world.events());
    }
    assert_eq!(world.deleted(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_settled_group_writes_nothing() {
    let world = settled().await;
    world.forget();
    world.rounds(5).await;
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn agents_of_a_settled_group_are_asked_without_the_api_server_and_news_is_told_once() {
    let world = settled().await;
    let context = world.context();
    world.forget();
    assert_eq!(context.listener.news(&context.reports).await, []);
    let problem =
        DatabaseProblem { kind: ProblemKind::DatabaseUnreachable, message: "no answer".into() };
    says(&world, &DatabaseReport { problem: Some(problem), ..fine() });
    let news = context.listener.news(&context.reports).await;
    assert_eq!(news, [listen::name(NAMESPACE, "orders")]);
    assert_eq!(context.listener.news(&context.reports).await, []);
    assert!(world.state().calls.is_empty(), "the API server was asked");
    world.settle().await;
    assert_eq!(world.condition("StorageLockVerified"), "False DatabaseUnreachable");
    // Measured times change all the time, and are no news.
    says(&world, &DatabaseReport { clock_offset_millis: Some(7), ..fine() });
    assert_eq!(context.listener.news(&context.reports).await.len(), 1);
    world.settle().await;
    says(&world, &DatabaseReport { clock_offset_millis: Some(8), ..fine() });
    assert_eq!(context.listener.news(&context.reports).await, []);
}
