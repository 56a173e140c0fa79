//! What a database refuses, in words for people; what it may lose.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tandem::broker::report::{DatabaseProblem, NoteKind, ProblemKind};
use tandem::broker::settings::{DatabaseKind, DatabaseTls};
use tandem::database::Database;

use crate::server::PASSWORD;
use crate::shared::{its_authority, other_authority};
use crate::world::{World, settings};

/// A user that is called otherwise than its database.
const USER: &str = "u5er";

fn is(problem: &DatabaseProblem, kind: ProblemKind, words: &[&str]) {
    let text = &problem.message;
    assert_eq!(problem.kind, kind, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} not in: {text}");
    for secret in [PASSWORD, "wrong secret", USER] {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
    println!("{kind:?}: {text}");
}

pub async fn a_wrong_password_is_refused(kind: DatabaseKind) {
    let world = World::new(kind).await;
    world.write_access(USER, "wrong secret");
    let problem = world.agent().look().await.unwrap_err();
    let port = world.server.port.to_string();
    is(&problem, ProblemKind::AuthenticationRefused, &[&world.name, "127.0.0.1", &port, "Secret"]);
    is(&problem, ProblemKind::AuthenticationRefused, &["refuses the user or the password"]);
    std::fs::remove_file(world.directory.path().join("password")).unwrap();
    let problem = world.agent().look().await.unwrap_err();
    is(&problem, ProblemKind::AuthenticationRefused, &["password"]);
}

pub async fn a_missing_database_is_named(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let mut admin = world.admin().await;
    if !world.is_postgres() {
        // Without rights everywhere a user is not even told that there is none.
        admin.run(&format!("GRANT SELECT ON *.* TO {}", world.name)).await;
    }
    let agent = world.agent_with(|settings| "absent".clone_into(&mut settings.server.name));
    is(&agent.prepare().await.unwrap_err(), ProblemKind::DatabaseMissing, &["absent", "create"]);
}

pub async fn a_user_without_rights_is_told_what_to_grant(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let limited = limited(&world, "SELECT").await;
    let problem = world.agent().prepare().await.unwrap_err();
    is(&problem, ProblemKind::RightsMissing, &["grant", "CREATE TABLE", "the user lacks a right"]);
    assert!(!problem.message.contains(&limited), "{}", problem.message);
}

/// `credentialsSecret` may name any Secret: a token of a service account as user name and password.
pub async fn nothing_of_a_secret_is_told_that_is_no_login(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let head = "eyJhbGciOiJSUzI1NiIsImtpZCI6Ik5rWjRZV";
    let token =
        format!("{head}.{}.{}", "eyJhdWQiOlsiaHR0cHM6Ly9r".repeat(20), "d1RsVnZ".repeat(30));
    for (user, password) in
        [(&*token, &*token), (head, head), (&token[..70], "x"), ("a'b\"c", "\\n")]
    {
        world.write_access(user, password);
        let agent = world.agent();
        let problems = [agent.look().await.unwrap_err(), agent.prepare().await.unwrap_err()];
        for text in problems.map(|problem| problem.message) {
            assert!(!text.contains("eyJhbG") && !text.contains("a'b"), "{text}");
            println!("{text}");
        }
    }
}

/// A user that may log in, and have these rights on all tables there are.
async fn limited(world: &World, rights: &str) -> String {
    let (mut admin, database) = (world.admin().await, &world.name);
    let user = format!("{database}_limited");
    world.user(&mut admin, &user, PASSWORD).await;
    if world.is_postgres() {
        admin.run(&format!("GRANT {rights} ON ALL TABLES IN SCHEMA public TO {user}")).await;
    } else {
        admin.run(&format!("GRANT {rights} ON {database}.* TO {user}")).await;
    }
    world.write_access(&user, PASSWORD);
    user
}

pub async fn tables_of_an_administrator_do_without_further_rights(kind: DatabaseKind) {
    let world = World::new(kind).await;
    // The same tables, without a fence.
    let bare = world.agent_with(|settings| settings.holds_messages = false);
    bare.prepare().await.unwrap();
    limited(&world, "SELECT").await;
    world.broker("maker").await.make_tables().await;
    let agent = world.agent();
    let problem = agent.prepare().await.unwrap_err();
    is(&problem, ProblemKind::RightsMissing, &["EXPLAIN"]);

    world.write_access(&world.name, PASSWORD);
    let mut admin = world.admin().await;
    let user = format!("{}_limited", world.name);
    let rights = "SELECT, INSERT, UPDATE, DELETE ON";
    if world.is_postgres() {
        admin.run(&format!("GRANT {rights} ALL TABLES IN SCHEMA public TO {user}")).await;
    } else {
        admin.run(&format!("GRANT {rights} {}.* TO {user}", world.name)).await;
    }
    world.write_access(&user, PASSWORD);
    let prepared = world.agent().prepare().await.unwrap();
    assert!(!prepared.create_tables);
    let fence = prepared.notes.iter().find(|note| note.kind == NoteKind::WritesNotFenced);
    let fence = fence.expect("a note");
    assert!(fence.message.contains("GRANT"), "{}", fence.message);
    println!("{}", fence.message);
    agent.look().await.unwrap();
    agent.raise_floor(3).await.unwrap();
    agent.release("nobody").await.unwrap();
}

pub async fn nobody_listens(kind: DatabaseKind) {
    let access = tempfile::tempdir().unwrap();
    for file in ["username", "password"] {
        std::fs::write(access.path().join(file), "x").unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut settings = settings(kind, port, "orders", access.path());
    let problem = Database::new(settings.clone()).look().await.unwrap_err();
    is(&problem, ProblemKind::DatabaseUnreachable, &["refused", "orders", &port.to_string()]);
    "absent.invalid".clone_into(&mut settings.server.host);
    let begun = Instant::now();
    let problem = Database::new(settings).look().await.unwrap_err();
    is(&problem, ProblemKind::DatabaseUnreachable, &["absent.invalid"]);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

pub async fn a_server_that_never_answers_is_given_up(kind: DatabaseKind) {
    let access = tempfile::tempdir().unwrap();
    for file in ["username", "password"] {
        std::fs::write(access.path().join(file), "x").unwrap();
    }
    // The kernel completes the connections.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = Database::new(settings(kind, port, "orders", access.path()));
    let begun = Instant::now();
    is(&agent.look().await.unwrap_err(), ProblemKind::DatabaseUnreachable, &["no answer"]);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Nothing of the attempt stays behind: its socket is closed.
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    std::io::copy(&mut accepted, &mut std::io::sink()).unwrap();
}

pub async fn certificates_are_verified(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let with = |host: &str, tls: DatabaseTls| {
        world.agent_with(|settings| {
            host.clone_into(&mut settings.server.host);
            settings.server.tls = tls;
        })
    };
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let verified = |ca| DatabaseTls::Verified { ca };
    let right = path(its_authority(&world.server));
    with("localhost", verified(right.clone())).prepare().await.unwrap();
    with("127.0.0.1", DatabaseTls::Encrypted).look().await.unwrap();

    let name = with("127.0.0.1", verified(right)).look().await.unwrap_err();
    is(&name, ProblemKind::TlsRefused, &["127.0.0.1", "certificate"]);
    // Written by the servers' user.
    let other = other_authority(&world.server, &world.name);
    let wrong = with("localhost", verified(path(other))).look().await.unwrap_err();
    is(&wrong, ProblemKind::TlsRefused, &["certificate", "caSecret"]);
    let absent = with("localhost", verified("/absent/ca.crt".to_owned())).look().await;
    is(&absent.unwrap_err(), ProblemKind::TlsRefused, &["/absent/ca.crt"]);

    let mut admin = world.admin().await;
    let encrypted = if world.is_postgres() {
        "SELECT COUNT(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
         WHERE s.ssl AND a.usename='{}'"
    } else {
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='{}'"
    };
    let agent = with("localhost", DatabaseTls::Encrypted);
    agent.look().await.unwrap();
    let sessions = admin.value(&encrypted.replace("{}", &world.name)).await;
    assert_ne!(sessions.as_deref(), Some("0"));
}

pub async fn tables_of_another_version_are_refused(kind: DatabaseKind) {
    let (world, agent) = World::prepared(kind).await;
    let mut broker = world.broker("a").await;
    assert!(broker.obtain().await);
    broker.send(1).await.unwrap();
    world.admin().await.run("ALTER TABLE ACTIVEMQ_MSGS DROP COLUMN XID").await;
    let problem = agent.prepare().await.unwrap_err();
    is(&problem, ProblemKind::TablesMismatch, &["ACTIVEMQ_MSGS", "XID", "tablePrefix"]);
    world.admin().await.run("ALTER TABLE ACTIVEMQ_LOCK DROP COLUMN TIME").await;
    let problem = agent.prepare().await.unwrap_err();
    is(&problem, ProblemKind::TablesMismatch, &["ACTIVEMQ_LOCK", "TIME"]);
    is(&agent.look().await.unwrap_err(), ProblemKind::TablesMismatch, &[]);
}

pub async fn tables_of_a_broker_killed_in_between_are_completed(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let agent = world.agent();
    agent.prepare().await.unwrap();
    let half = "CREATE TABLE ACTIVEMQ_MSGS(ID BIGINT NOT NULL, PRIMARY KEY ( ID ) )";
    world.broker("a").await.client.run(half).await;
    assert!(agent.prepare().await.unwrap().create_tables);
}

pub async fn commits_that_may_be_lost_are_noted(kind: DatabaseKind) {
    let world = World::new(kind).await;
    let (mut admin, name) = (world.admin().await, &world.name);
    let (weaken, setting) = if world.is_postgres() {
        (format!("ALTER DATABASE {name} SET synchronous_commit=off"), "synchronous_commit")
    } else {
        let name = "innodb_flush_log_at_trx_commit";
        (format!("SET GLOBAL {name}=2"), name)
    };
    admin.run(&weaken).await;
    let prepared = world.agent().prepare().await.unwrap();
    if !world.is_postgres() {
        admin.run("SET GLOBAL innodb_flush_log_at_trx_commit=1").await;
    }
    let note = prepared.notes.iter().find(|note| note.message.contains(setting)).expect("a note");
    assert_eq!(note.kind, NoteKind::CommitsMayBeLost);
}

pub async fn a_server_that_takes_no_writes_is_refused(kind: DatabaseKind) {
    let world = World::new(kind).await;
    if !world.is_postgres() {
        // A variable of the whole server, which other tests write to at the same time.
        return;
    }
    let statement = "ALTER DATABASE {} SET default_transaction_read_only=on";
    world.admin().await.run(&statement.replace("{}", &world.name)).await;
    is(&world.agent().prepare().await.unwrap_err(), ProblemKind::ReadOnly, &["primary"]);
}
