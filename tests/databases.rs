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

/// The mark of the credentials in the pods' template.
fn mark(world: &World) -> String {
    let set = world.get("statefulsets", "orders").unwrap();
    let annotations = &set["spec"]["template"]["metadata"]["annotations"];
    let revision = annotations["tandem-operator.io/template-hash"].as_str().unwrap();
    revision.split_once('-').unwrap().1.to_owned()
}

/// The credentials without a key, as versions before the first seal had them on pods.
fn plain() -> String {
    tandem::core::validate::short_hash(b"bXE=\0b25l")
}

/// Gives StatefulSet and pods this mark, as if they had been made with it.
fn mark_with(world: &World, mark: &str) {
    let revise = |annotations: &mut serde_json::Value| {
        let revision = &mut annotations["tandem-operator.io/template-hash"];
        let spec = revision.as_str().unwrap().split_once('-').unwrap().0.to_owned();
        *revision = json!(format!("{spec}-{mark}"));
    };
    let mut state = world.state();
    state.store.change(&World::at("statefulsets", "orders"), |set| {
        revise(&mut set["spec"]["template"]["metadata"]["annotations"]);
    });
    for pod in ["orders-0", "orders-1"] {
        state
            .store
            .change(&World::at("pods", pod), |pod| revise(&mut pod["metadata"]["annotations"]));
    }
}

/// Neither as it stands, nor encoded, nor as a hash that anybody can make: whoever may read everything but
/// Secrets learns nothing of them, and has nothing to try a dictionary on.
#[tokio::test(start_paused = true)]
async fn nothing_of_a_secret_is_in_any_other_object() {
    let world = World::with(
        "storage: {database: {type: PostgreSQL, host: nowhere.invalid, name: x, driver: {class: a.B}, \
         credentialsSecret: {name: victim, usernameKey: token, passwordKey: token}}}\n\
         auth: {adminSecret: {name: victim}, usersSecret: {name: victim}}",
    );
    let data = json!({"token": "c2VjcmV0LXRva2Vu", "username": "c2VjcmV0LXVzZXI=", "password": "c2VjcmV0LXB3"});
    world.put("secrets", json!({"metadata": {"name": "victim"}, "data": data}));
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
    let told = ["secret-token", "secret-user", "secret-pw", "c2VjcmV0LX"].map(str::to_owned);
    let hash = tandem::core::validate::short_hash(b"c2VjcmV0LXRva2Vu\0c2VjcmV0LXRva2Vu");
    let objects = world.state().store.now();
    let (mut looked, mut marked) = (0, 0);
    for (path, object) in objects.iter().filter(|(path, _)| !path.contains("/secrets/")) {
        let text = object.text();
        looked += 1;
        marked += usize::from(text.contains("template-hash"));
        assert!(told.iter().chain([&hash]).all(|secret| !text.contains(secret)), "{path}: {text}");
    }
    assert!(looked > 10 && marked > 2, "{looked} {marked}");
}

#[tokio::test(start_paused = true)]
async fn an_update_of_the_operator_keeps_the_plain_hash_of_running_pods_until_they_change() {
    let world = settled().await;
    assert_ne!(mark(&world), plain());
    mark_with(&world, &plain());
    world.state().store.remove(&World::at("secrets", "orders-seal"));
    world.forget();
    world.settle().await;
    assert_eq!((mark(&world), world.deleted()), (plain(), Vec::new()));
    // The next change of the spec restarts pods anyway, and takes it away.
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_ne!(mark(&world), plain());
    assert_eq!(world.deleted().len(), 2);
    world.forget();
    world.settle().await;
    assert_eq!(world.deleted(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lost_seal_replaces_no_pod_and_another_password_after_it_does() {
    let world = settled().await;
    let before = mark(&world);
    world.state().store.remove(&World::at("secrets", "orders-seal"));
    world.forget();
    world.settle().await;
    assert_eq!((mark(&world), world.deleted()), (before.clone(), Vec::new()));
    assert!(world.get("secrets", "orders-seal").is_some());
    world.state().store.change(&World::at("secrets", "db"), |secret| {
        secret["data"]["password"] = json!("dHdv");
    });
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-0"]);
    assert_ne!(mark(&world), before);
}
