//! A program that gets, keeps and loses a lease as `ActiveMQ` Classic does with Tandem's statements.

use std::collections::BTreeMap;
use std::env;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::exit;
use std::time::Duration;

use tandem::broker::settings::DatabaseKind;
use tandem::broker::signs::LogSign;
use tokio::time::sleep;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::{connect, runtime};
use crate::{broker, locker};

const KIND: DatabaseKind = DatabaseKind::PostgreSQL;

/// Port of the database server.
pub const DATABASE: &str = "FAKE_BROKER_DATABASE";
/// The file that the agent writes before each start.
pub const PROPERTIES: &str = "FAKE_BROKER_PROPERTIES";
/// Milliseconds of a lease.
pub const LEASE: &str = "FAKE_BROKER_LEASE";

struct Lease {
    port: u16,
    properties: BTreeMap<String, String>,
    length: u64,
    client: Option<Client>,
}

pub fn main() {
    runtime().block_on(run());
}

async fn run() {
    let number = |name| env::var(name).unwrap().parse::<u64>().unwrap();
    let period = Duration::from_millis(number(broker::KEEP_ALIVE));
    let mut lease = Lease {
        port: u16::try_from(number(DATABASE)).unwrap(),
        properties: read(&env::var(PROPERTIES).unwrap()),
        length: number(LEASE),
        client: None,
    };
    let holder = lease.properties["holder"].clone();
    broker::say(LogSign::Waits);
    loop {
        match lease.obtain().await {
            Some(true) => break,
            Some(false) => sleep(period).await,
            None => {
                println!("WARN {holder} failed to acquire lease");
                sleep(period).await;
            }
        }
    }
    broker::say(LogSign::Takes);
    if lease.properties["createTables"] == "true" {
        lease.make_tables().await;
    }
    let port = u16::try_from(number(broker::PORT)).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream.unwrap().write_all(b"\0\0\x01\x52\x01ActiveMQ\0\0\0\x0c"));
        }
    });
    loop {
        sleep(period).await;
        match lease.renew().await {
            Some(true) => {}
            Some(false) => {
                broker::say(LogSign::LockLost);
                sleep(Duration::from_millis(300)).await;
                exit(0);
            }
            None => println!("WARN {holder} failed to update lease"),
        }
    }
}

impl Lease {
    /// Takes the lease if it is free or has run out.
    async fn obtain(&mut self) -> Option<bool> {
        let (holder, obtain_if) = (&self.properties["holder"], &self.properties["obtainIf"]);
        // Where the agent cannot ask the database, the broker has its own statement, without a condition.
        let obtain_if = if obtain_if.is_empty() { "TRUE" } else { obtain_if };
        self.change(&locker::obtain(KIND, self.length, holder, obtain_if)).await
    }

    /// Renews the lease while it runs.
    async fn renew(&mut self) -> Option<bool> {
        self.change(&locker::renew(KIND, self.length, &self.properties["holder"])).await
    }

    async fn make_tables(&mut self) {
        for statement in [
            "CREATE TABLE IF NOT EXISTS ACTIVEMQ_MSGS(ID BIGINT NOT NULL, CONTAINER VARCHAR(250) NOT NULL, \
             MSGID_PROD VARCHAR(250), MSGID_SEQ BIGINT, EXPIRATION BIGINT, MSG BYTEA, \
             PRIORITY BIGINT, XID VARCHAR(250), PRIMARY KEY ( ID ) )",
            "CREATE TABLE IF NOT EXISTS ACTIVEMQ_ACKS(CONTAINER VARCHAR(250) NOT NULL, SUB_DEST VARCHAR(250), \
             CLIENT_ID VARCHAR(250) NOT NULL, SUB_NAME VARCHAR(250) NOT NULL, \
             SELECTOR VARCHAR(250), LAST_ACKED_ID BIGINT, PRIORITY BIGINT DEFAULT 5 NOT NULL, \
             XID VARCHAR(250), PRIMARY KEY (CONTAINER, CLIENT_ID, SUB_NAME))",
        ] {
            assert!(self.change(statement).await.is_some());
        }
    }

    /// Whether it changed a row; nothing if the database did not answer.
    async fn change(&mut self, statement: &str) -> Option<bool> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let login = (&*self.properties["username"], &*self.properties["password"]);
            self.client = connect(self.port, &self.properties["holder"], login).await;
        }
        let done = self.client.as_ref()?.simple_query(statement).await.ok()?;
        Some(done.iter().any(|message| matches!(message, SimpleQueryMessage::CommandComplete(1..))))
    }
}

/// The properties, without escapes that the tests' values do not need.
fn read(path: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.replace('\\', ""))).collect()
}
