//! Whoever answers in the server's place: `PgBouncer` in all its modes, and a relay that makes up its own
//! number of a session, as MySQL's proxies do.

use std::fs;
use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tandem::broker::report::{NoteKind, ProblemKind};
use tandem::broker::settings::DatabaseKind;
use tandem::database::Database;
use testbed::cache::Cache;
use testbed::packages;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::server::{PASSWORD, free_port};
use crate::world::World;

const NOBODY: u32 = 65_534;

struct PgBouncer {
    process: Child,
    port: u16,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl PgBouncer {
    fn start(world: &World, mode: &str, pool: &str) -> Self {
        packages::ensure(&Cache::open().unwrap(), &["pgbouncer"]).unwrap();
        let (directory, port) = (world.directory.path(), free_port());
        let users = directory.join("users");
        fs::write(&users, format!("\"{}\" \"{PASSWORD}\"\n", world.name)).unwrap();
        let settings = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr=127.0.0.1\n\
             listen_port={port}\nunix_socket_dir=\nauth_type=scram-sha-256\nauth_file={}\n\
             pool_mode={mode}\n{pool}\n",
            world.server.port,
            users.display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        command.arg(&settings).stdin(Stdio::null());
        let log = fs::File::create(directory.join("pgbouncer.log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        if nix::unistd::geteuid().is_root() {
            for path in [directory, &users, &settings] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut process = command.spawn().unwrap();
        let begun = Instant::now();
        while StdStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || fs::read_to_string(directory.join("pgbouncer.log")).unwrap();
            assert!(process.try_wait().unwrap().is_none(), "{}", log());
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, port }
    }
}

fn through(world: &World, port: u16) -> Database {
    world.agent_with(|settings| settings.server.port = port)
}

/// A client of the same pooler, as another application has it.
async fn other_client(world: &World, port: u16) -> Client {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let mut config = tokio_postgres::Config::new();
    config.user(&world.name).password(PASSWORD).dbname(&world.name);
    let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    Client::Postgres(client)
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_told_before_anything_is_set_or_locked() {
    let world = World::new(DatabaseKind::PostgreSQL).await;
    for (mode, pool) in [
        ("transaction", ""),
        ("transaction", "server_round_robin=1\nmin_pool_size=3"),
        ("transaction", "default_pool_size=1"),
        ("statement", ""),
    ] {
        let pooler = PgBouncer::start(&world, mode, pool);
        let agent = through(&world, pooler.port);
        for problem in [agent.look().await.unwrap_err(), agent.prepare().await.unwrap_err()] {
            assert_eq!(problem.kind, ProblemKind::PoolerBetween, "{mode} {pool}: {problem:?}");
            assert!(problem.message.contains("session mode"), "{}", problem.message);
        }
        let mut other = other_client(&world, pooler.port).await;
        for setting in ["statement_timeout", "lock_timeout"] {
            let value = other.value(&format!("SHOW {setting}")).await;
            assert_eq!(value.as_deref(), Some("0"), "{mode} {pool}: {setting} stayed behind");
        }
        let locks = "SELECT COUNT(*) FROM pg_locks WHERE locktype='advisory'";
        assert_eq!(other.value(locks).await.as_deref(), Some("0"));
        let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname='public'";
        assert_eq!(other.value(tables).await.as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_told_while_others_use_it() {
    let world = World::new(DatabaseKind::PostgreSQL).await;
    let pooler = PgBouncer::start(&world, "transaction", "default_pool_size=4");
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut client = other_client(&world, pooler.port).await;
        busy.push(tokio::spawn(async move {
            loop {
                client.run("SELECT pg_sleep(0.005)").await;
            }
        }));
    }
    let mut told = 0;
    for _ in 0..20 {
        let agent = through(&world, pooler.port);
        told += u32::from(agent.look().await.unwrap_err().kind == ProblemKind::PoolerBetween);
    }
    busy.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(told, 20);
}

#[tokio::test]
async fn a_pooler_that_keeps_a_session_for_each_client_is_as_good_as_none() {
    let world = World::new(DatabaseKind::PostgreSQL).await;
    let pooler = PgBouncer::start(&world, "session", "");
    let agent = through(&world, pooler.port);
    let prepared = agent.prepare().await.unwrap();
    assert!(prepared.notes.iter().all(|note| note.kind != NoteKind::SessionsNotProven));
    agent.look().await.unwrap();
}

/// The second client waits for ever for a session.
#[tokio::test]
async fn a_pooler_of_which_nothing_is_found_out_is_noted() {
    let world = World::new(DatabaseKind::PostgreSQL).await;
    let pooler = PgBouncer::start(&world, "session", "default_pool_size=1");
    let prepared = through(&world, pooler.port).prepare().await.unwrap();
    let note = prepared.notes.iter().find(|note| note.kind == NoteKind::SessionsNotProven);
    assert!(note.expect("a note").message.contains("pooler"));
}

/// A relay whose handshake has another number than the server's session.
#[tokio::test]
async fn a_relay_that_makes_up_numbers_and_shares_nothing_is_as_good_as_none() {
    let world = World::new(DatabaseKind::MariaDB).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (port, server) = (listener.local_addr().unwrap().port(), world.server.port);
    let relay = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                // Length (3), sequence (1), protocol (1), version to its 0, number (4), ...
                let mut header = [0; 4];
                server.read_exact(&mut header).await.unwrap();
                let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
                let mut greeting = vec![0; usize::try_from(length).unwrap()];
                server.read_exact(&mut greeting).await.unwrap();
                let number = greeting.iter().position(|byte| *byte == 0).unwrap() + 1;
                greeting[number] ^= 0x55;
                client.write_all(&header).await.unwrap();
                client.write_all(&greeting).await.unwrap();
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    let agent = through(&world, port);
    let prepared = agent.prepare().await.unwrap();
    assert!(prepared.notes.iter().all(|note| note.kind != NoteKind::SessionsNotProven));
    agent.look().await.unwrap();
    relay.abort();
}
