//! One database with its user for one test, and what a broker says to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tandem::broker::settings::{
    DatabaseAccess, DatabaseKind, DatabaseServer, DatabaseTls, LeaseSettings,
};
use tandem::database::Database;
use tempfile::TempDir;

use crate::client::{Client, Refusal};
use crate::locker;
use crate::server::{ADMIN, PASSWORD, Server};
use crate::shared;

pub const LEASE: u64 = 4_000;

pub struct World {
    pub server: Arc<Server>,
    pub name: String,
    pub directory: TempDir,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    /// An empty database that belongs to the user of the same name.
    pub async fn new(kind: DatabaseKind) -> Self {
        let server = tokio::task::spawn_blocking(move || shared::server(kind)).await.unwrap();
        Self::on(server).await
    }

    /// The same on a server of the test's own.
    pub async fn on(server: Arc<Server>) -> Self {
        let name = format!("w{}", WORLDS.fetch_add(1, Ordering::Relaxed));
        let world = Self { server, name, directory: TempDir::new().unwrap() };
        let (name, mut admin) = (&world.name, world.admin_of("").await);
        world.user(&mut admin, name, PASSWORD).await;
        if world.is_postgres() {
            admin.run(&format!("CREATE DATABASE {name} OWNER {name}")).await;
        } else {
            admin.run(&format!("CREATE DATABASE {name}")).await;
            admin.run(&format!("GRANT ALL ON {name}.* TO {name}")).await;
        }
        world.write_access(name, PASSWORD);
        world
    }

    pub fn is_postgres(&self) -> bool {
        self.server.kind == DatabaseKind::PostgreSQL
    }

    pub async fn user(&self, admin: &mut Client, user: &str, password: &str) {
        if self.is_postgres() {
            admin.run(&format!("CREATE USER {user} PASSWORD '{password}'")).await;
        } else {
            admin.run(&format!("CREATE USER {user} IDENTIFIED BY '{password}'")).await;
        }
    }

    /// A Secret as it is mounted.
    pub fn write_access(&self, user: &str, password: &str) {
        fs::write(self.directory.path().join("username"), user).unwrap();
        fs::write(self.directory.path().join("password"), password).unwrap();
    }

    pub fn settings(&self) -> LeaseSettings {
        settings(self.server.kind, self.server.port, &self.name, self.directory.path())
    }

    pub fn agent(&self) -> Database {
        Database::new(self.settings())
    }

    pub fn agent_with(&self, change: impl FnOnce(&mut LeaseSettings)) -> Database {
        let mut settings = self.settings();
        change(&mut settings);
        Database::new(settings)
    }

    async fn admin_of(&self, database: &str) -> Client {
        let database =
            if database.is_empty() && self.is_postgres() { "postgres" } else { database };
        Client::connect(&self.server, database, (ADMIN, PASSWORD), "admin").await
    }

    pub async fn admin(&self) -> Client {
        self.admin_of(&self.name).await
    }

    /// A session of a broker, as its pool opens it.
    pub async fn broker(&self, holder: &str) -> Broker {
        self.broker_on(&self.server, holder).await
    }

    /// The same on another server with the same database.
    pub async fn broker_on(&self, server: &Server, holder: &str) -> Broker {
        let user = (self.name.as_str(), PASSWORD);
        let mut client = Client::connect(server, &self.name, user, holder).await;
        if !self.is_postgres() {
            client.run(&format!("SET @tandem_holder='{holder}'")).await;
            client
                .run(&format!(
                    "REPLACE INTO TANDEM_SESSIONS(ID,HOLDER) VALUES (CONNECTION_ID(),'{holder}')"
                ))
                .await;
            // As the broker has it.
            client.run("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await;
        }
        Broker { client, holder: holder.to_owned(), kind: self.server.kind }
    }

    /// Waits until a replica has all that was written here.
    pub async fn await_copy(&self, replica: &Server) {
        let written = self.admin().await.value("SELECT pg_current_wal_lsn()").await.unwrap();
        let copied = format!("SELECT pg_last_wal_replay_lsn()>='{written}'::pg_lsn");
        let mut admin = Client::connect(replica, &self.name, (ADMIN, PASSWORD), "admin").await;
        while admin.value(&copied).await.as_deref() != Some("t") {
            tokio::task::yield_now().await;
        }
    }

    /// Cuts a replica off from what is written from now on.
    pub async fn stop_copying(&self, replica: &Server) {
        let mut admin = Client::connect(replica, "postgres", (ADMIN, PASSWORD), "admin").await;
        admin.run("ALTER SYSTEM SET primary_conninfo=''").await;
        admin.run("SELECT pg_reload_conf()").await;
        let copying = "SELECT COUNT(*) FROM pg_stat_wal_receiver";
        while admin.value(copying).await.as_deref() != Some("0") {
            tokio::task::yield_now().await;
        }
    }

    /// Makes a replica a primary.
    pub async fn promote(&self, replica: &Server) {
        let mut admin = Client::connect(replica, "postgres", (ADMIN, PASSWORD), "admin").await;
        assert_eq!(admin.value("SELECT pg_promote()").await.as_deref(), Some("t"));
    }

    /// Prepared, with the broker's tables and the fence.
    pub async fn prepared(kind: DatabaseKind) -> (Self, Database) {
        let world = Self::new(kind).await;
        let agent = world.agent();
        assert!(agent.prepare().await.unwrap().create_tables);
        world.broker("maker").await.make_tables().await;
        assert_eq!(agent.fence().await.unwrap(), []);
        (world, agent)
    }

    /// The lease ends now.
    pub async fn run_out(&self) {
        self.admin().await.run("UPDATE ACTIVEMQ_LOCK SET TIME=1 WHERE ID=1").await;
    }

    pub async fn messages(&self) -> String {
        self.admin().await.value("SELECT COUNT(*) FROM ACTIVEMQ_MSGS").await.unwrap()
    }
}

pub fn settings(kind: DatabaseKind, port: u16, name: &str, access: &Path) -> LeaseSettings {
    let path = |file: &str| access.join(file).to_str().unwrap().to_owned();
    LeaseSettings {
        server: DatabaseServer {
            kind,
            host: "127.0.0.1".to_owned(),
            port,
            name: name.to_owned(),
            tls: DatabaseTls::Off,
        },
        access: DatabaseAccess {
            username: path("username"),
            password: path("password"),
            properties: String::new(),
            driver_class: String::new(),
            driver_directories: Vec::new(),
            keystore: None,
        },
        schema: None,
        table_prefix: String::new(),
        group: None,
        holds_messages: true,
        poll_millis: 500,
        renew_millis: 500,
        lease_millis: LEASE,
    }
}

#[derive(Debug)]
pub struct Broker {
    pub client: Client,
    holder: String,
    kind: DatabaseKind,
}

impl Broker {
    /// Takes the lease if it is free or has run out.
    pub async fn obtain(&mut self) -> bool {
        self.obtain_if("1=1").await
    }

    /// The same, if what the agent said holds as well.
    pub async fn obtain_if(&mut self, condition: &str) -> bool {
        self.client.run(&locker::obtain(self.kind, LEASE, &self.holder, condition)).await == 1
    }

    /// Renews the lease while it runs.
    pub async fn renew(&mut self) -> bool {
        self.client.run(&locker::renew(self.kind, LEASE, &self.holder)).await == 1
    }

    /// `addMessageStatement`.
    pub async fn send(&mut self, id: u32) -> Result<u64, Refusal> {
        let statement = format!(
            "INSERT INTO ACTIVEMQ_MSGS(ID, MSGID_PROD, MSGID_SEQ, CONTAINER, EXPIRATION, PRIORITY, \
             MSG, XID) VALUES ({id}, 'p', {id}, 'queue://q', 0, 4, 'text', NULL)"
        );
        self.client.try_run(&statement).await
    }

    /// The broker's tables after all its statements.
    pub async fn make_tables(&mut self) {
        let bytes = if self.kind == DatabaseKind::PostgreSQL { "BYTEA" } else { "LONGBLOB" };
        self.client
            .run(&format!(
                "CREATE TABLE ACTIVEMQ_MSGS(ID BIGINT NOT NULL, CONTAINER VARCHAR(250) NOT NULL, \
                 MSGID_PROD VARCHAR(250), MSGID_SEQ BIGINT, EXPIRATION BIGINT, MSG {bytes}, \
                 PRIORITY BIGINT, XID VARCHAR(250), PRIMARY KEY ( ID ) )"
            ))
            .await;
        self.client
            .run(
                "CREATE TABLE ACTIVEMQ_ACKS(CONTAINER VARCHAR(250) NOT NULL, SUB_DEST VARCHAR(250), \
                 CLIENT_ID VARCHAR(250) NOT NULL, SUB_NAME VARCHAR(250) NOT NULL, SELECTOR \
                 VARCHAR(250), LAST_ACKED_ID BIGINT, PRIORITY BIGINT DEFAULT 5 NOT NULL, XID \
                 VARCHAR(250), PRIMARY KEY (CONTAINER, CLIENT_ID, SUB_NAME))",
            )
            .await;
    }
}
