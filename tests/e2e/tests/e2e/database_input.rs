//! What users get wrong about databases: named in a condition, with nothing restarted.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Group, Lab, Server, Store,
    group::now_millis,
    store::{GroupDatabase, Product},
    wait,
};
use serde_json::{Value, json};

use crate::{Outcome, rollout};

/// How soon a condition must tell.
const SOON: i64 = 30_000;

/// Every mistake in a group of its own, side by side, and then one at a running group.
pub async fn bad(lab: &Lab, store: Store) -> Outcome {
    let namespace = store.namespace("e2e-db-input");
    let group = Group::prepare_on(lab, &namespace, store, Server::Own).await?;
    // MariaDB tells nobody without rights on a database whether it exists.
    let unknown = match group.database()?.product() {
        Product::PostgreSql | Product::Other => "DatabaseMissing",
        Product::MariaDb | Product::MySql => "RightsMissing",
    };
    let mistakes = [
        ("password", "AuthenticationRefused", json!({})),
        ("nowhere", "DatabaseUnreachable", json!({"host": "172.30.0.250"})),
        ("unknown", unknown, json!({"name": "no_such_database"})),
        ("rights", "RightsMissing", json!({})),
        (
            "driver",
            "DriverMissing",
            json!({"driver": {"image": null, "imagePullPolicy": null, "path": "/opt/no-drivers"}}),
        ),
        ("tables", "TablesMismatch", json!({})),
        ("tls", "TlsRefused", json!({"host": group.database()?.server.address()})),
    ];
    let told = mistakes.iter().map(|(name, reason, change)| one(&group, name, reason, change));
    let told = futures::future::try_join_all(told).await?;
    let running = running(&group).await?;
    group.remove().await?;
    Ok(format!("{}; {running}", told.join(", ")))
}

/// One mistake: the condition tells of it in time, and no container is restarted for it.
async fn one(all: &Group<'_>, name: &str, reason: &str, change: &Value) -> Result<String> {
    let database = all.database()?.beside(&format!("bad_{name}"))?;
    spoil(&database, name)?;
    let group = all.namesake(name, Some(database.clone()));
    group.add_database_objects().await?;
    if name == "password" {
        group.write_credentials(&database.name, "wrong").await?;
    }
    if name == "tls" {
        // Some other authority.
        group.write_authority(OTHER_AUTHORITY).await?;
    }
    let begun = now_millis();
    group.apply(&json!({"replicas": 1, "storage": {"database": change}})).await?;
    let message = group.await_condition("StorageLockVerified", "False", reason).await?;
    let told = now_millis() - begun;
    ensure!(told <= SOON, "{reason} after {told} ms");
    ensure!(!message.contains(&database.password), "{reason}: a password in {message}");
    let pod = format!("{name}-0");
    // Were it started in vain again and again, there would be a broker process, or an exit.
    let report = group.report(&pod).await?;
    ensure!(report.last_exit.is_none(), "{reason}: a broker was started: {:?}", report.last_exit);
    let restarts = group.restarts().await?;
    ensure!(restarts == 0, "{reason}: {restarts} restarts");
    Ok(format!("{reason} {told} ms"))
}

/// Puts the database into the state that the mistake is about.
fn spoil(database: &GroupDatabase, mistake: &str) -> Result<()> {
    let user = &database.name;
    let postgresql = database.product() == Product::PostgreSql;
    let statements: Vec<String> = match (mistake, postgresql) {
        ("rights", true) => vec![format!("ALTER DATABASE {user} OWNER TO postgres")],
        ("rights", false) => vec![
            format!("REVOKE ALL ON {user}.* FROM {user}"),
            format!("GRANT SELECT ON {user}.* TO {user}"),
        ],
        // The lock's table of brokers before 5.7, without a holder.
        ("tables", true) => vec![
            "CREATE TABLE activemq_lock (id BIGINT PRIMARY KEY, broker VARCHAR(20))".to_owned(),
            format!("ALTER TABLE activemq_lock OWNER TO {user}"),
        ],
        ("tables", false) => {
            vec![
                "CREATE TABLE ACTIVEMQ_LOCK (ID BIGINT PRIMARY KEY, BROKER VARCHAR(20))".to_owned(),
            ]
        }
        _ => Vec::new(),
    };
    statements.iter().try_for_each(|statement| database.sql(statement).map(drop))
}

/// A wrong password given to a running group stops at the standby.
async fn running(group: &Group<'_>) -> Result<String> {
    group.start(&json!({})).await?;
    let (master, epoch) = group.await_master(0).await?;
    let (uid, broker) =
        (rollout::uid(group, &master).await?, group.process(&master, "java").await?);
    let database = group.database()?;
    group.write_credentials(&database.name, "wrong").await?;
    group.await_condition("StorageLockVerified", "False", "AuthenticationRefused").await?;
    group.await_condition("Ready", "True", "").await?;
    wait::until("the master goes on", Duration::from_secs(30), async || {
        let now = (rollout::uid(group, &master).await?, group.await_master(0).await?);
        let same = now == (uid.clone(), (master.clone(), epoch)) && broker.process.is_alive()?;
        Ok(if same { Ok(()) } else { Err(format!("{now:?}")) })
    })
    .await?;
    group.write_credentials(&database.name, &database.password).await?;
    group.await_complete().await?;
    group.await_condition("StorageLockVerified", "True", "").await?;
    ensure!(group.await_master(0).await? == (master, epoch), "the correction cost a failover");
    Ok("a running master was not disturbed".to_owned())
}

/// An authority that signed nothing here (made with openssl for this test).
const OTHER_AUTHORITY: &str = include_str!("other-authority.crt");
