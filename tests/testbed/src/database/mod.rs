//! Real database servers on the bed's network, each in a network namespace of its own, started when
//! somebody asks for one. What they keep goes with the next `up` of the bed.

mod mariadb;
mod postgresql;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::layout::{Layout, NodeLayout, Role, ServerLayout};
use crate::node::kill_all_in;
use crate::process::State;
use crate::{cache, cgroup, credentials, daemon, fault, network, progress, server, shell, wait};

/// Products a server can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// PostgreSQL.
    Postgresql,
    /// MariaDB.
    Mariadb,
}

impl DatabaseKind {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            DatabaseKind::Postgresql => "postgresql",
            DatabaseKind::Mariadb => "mariadb",
        }
    }

    /// The port its servers listen on.
    pub fn port(self) -> u16 {
        match self {
            DatabaseKind::Postgresql => 5432,
            DatabaseKind::Mariadb => 3306,
        }
    }
}

/// What a later run must know of a server.
#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    kind: DatabaseKind,
}

/// A database server of one bed.
#[derive(Clone, Debug)]
pub struct Database {
    layout: ServerLayout,
    name: String,
    kind: DatabaseKind,
    nodes: u8,
}

impl Database {
    /// The server of that name, made, started and healed as far as need be.
    pub(crate) fn ensure(bed: &Layout, nodes: u8, kind: DatabaseKind, name: &str) -> Result<Self> {
        server::check_name(name)?;
        let _lock = server::lock(bed, Role::Database)?;
        let known = Self::all(bed, nodes)?.into_iter().find(|server| server.name == name);
        let server = match known {
            Some(server) => server,
            None => Self::make(bed, nodes, kind, name)?,
        };
        ensure!(server.kind == kind, "the server {name} is a {}", server.kind.name());
        network::ensure_server(&server.layout, nodes)?;
        server.heal()?;
        server.start()?;
        Ok(server)
    }

    /// All servers of the bed.
    pub(crate) fn all(bed: &Layout, nodes: u8) -> Result<Vec<Self>> {
        let servers = server::known(bed, Role::Database)?.into_iter();
        Ok(servers
            .map(|(layout, Record { name, kind })| Self { layout, name, kind, nodes })
            .collect())
    }

    fn make(bed: &Layout, nodes: u8, kind: DatabaseKind, name: &str) -> Result<Self> {
        let layout = server::unused(bed, Role::Database)?;
        let server = Self { layout, name: name.to_owned(), kind, nodes };
        progress::step(&format!("making the {} server {name}", kind.name()), || {
            let directory = server.layout.directory();
            cache::remove(&directory)?;
            fs::create_dir_all(&directory)
                .with_context(|| format!("creating {}", directory.display()))?;
            credentials::server(bed, &directory, &server.names())?;
            match kind {
                DatabaseKind::Postgresql => postgresql::make(&server.layout),
                DatabaseKind::Mariadb => mariadb::make(&server.layout),
            }?;
            server::save(&server.layout, &Record { name: name.to_owned(), kind })
        })?;
        Ok(server)
    }

    /// What its certificate is for: its address, and a name that a Service without a selector can
    /// give it.
    fn names(&self) -> Vec<String> {
        let service = format!("{}.databases.svc", self.name);
        vec![
            format!("IP:{}", self.address()),
            format!("DNS:{service}"),
            format!("DNS:{service}.{}", crate::layout::DOMAIN),
        ]
    }

    /// Its name on the bed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which product it is.
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The address that it listens on, reachable from nodes, pods and the control plane.
    pub fn address(&self) -> String {
        self.layout.address()
    }

    /// The certificate of the authority that signed the server's.
    pub fn authority(&self) -> PathBuf {
        self.layout.bed().certificates().join("ca.crt")
    }

    /// The file with everything it logs.
    pub fn log(&self) -> PathBuf {
        self.layout.bed().log(&self.layout.part())
    }

    /// Makes a database with a user of the same name who owns it; what there was of both goes first.
    pub fn create(&self, database: &str, password: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(
            !database.is_empty() && database.chars().all(plain),
            "a database's name has lower-case letters, digits and underscores: {database:?}"
        );
        match self.kind {
            DatabaseKind::Postgresql => postgresql::create(database, password),
            DatabaseKind::Mariadb => mariadb::create(database, password),
        }
        .iter()
        .try_for_each(|statement| self.sql(self.main_database(), statement).map(drop))
    }

    /// Runs SQL as the administrator and returns the rows, a line each. It goes through a Unix
    /// socket: a cut server answers too.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut client = self.client(database);
        match self.kind {
            DatabaseKind::Postgresql => client.args(postgresql::TERSE).args(["-c", sql]),
            DatabaseKind::Mariadb => client.args(mariadb::TERSE).args(["-e", sql]),
        };
        shell::output(&mut client).with_context(|| format!("the server {}", self.name))
    }

    /// The product's own client as the administrator, to which arguments can be added.
    pub fn client(&self, database: &str) -> Command {
        match self.kind {
            DatabaseKind::Postgresql => postgresql::client(&self.layout, database),
            DatabaseKind::Mariadb => mariadb::client(&self.layout, database),
        }
    }

    /// The database that is always there.
    pub fn main_database(&self) -> &'static str {
        match self.kind {
            DatabaseKind::Postgresql => "postgres",
            DatabaseKind::Mariadb => "mysql",
        }
    }

    /// What the server is doing.
    pub fn state(&self) -> Result<State> {
        daemon::running(self.layout.bed(), &self.layout.part())?
            .map_or(Ok(State::Gone), |process| process.state())
    }

    /// Whether the server is cut off from a node.
    pub fn is_cut(&self) -> Result<bool> {
        fault::is_server_cut(&self.layout)
    }

    /// Starts the server with the data it had and waits until it serves; it may run already, or be
    /// frozen.
    pub fn start(&self) -> Result<()> {
        match self.state()? {
            State::Running => {}
            State::Frozen => self.thaw()?,
            State::Gone => self.launch()?,
        }
        let log = self.log();
        wait::until(&format!("{} to serve", self.name), Duration::from_secs(60), || {
            if self.state()? == State::Gone {
                bail!("it ended")
            }
            Ok(self.sql(self.main_database(), "SELECT 1").ok())
        })
        .map(drop)
        .with_context(|| format!("see {}{}", log.display(), shell::log_tail(&log)))
    }

    fn launch(&self) -> Result<()> {
        let group = self.layout.cgroup();
        cgroup::create(&group)?;
        // A killed server's children may outlive it.
        kill_all_in(&group)?;
        if self.kind == DatabaseKind::Postgresql {
            postgresql::forget_process(&self.layout)?;
        }
        let program = match self.kind {
            DatabaseKind::Postgresql => postgresql::server(&self.layout)?,
            DatabaseKind::Mariadb => mariadb::server(&self.layout),
        };
        let mut command = network::command(&self.layout.network(), program.get_program());
        command.args(program.get_args());
        daemon::start(self.layout.bed(), &self.layout.part(), &group, &command).map(drop)
    }

    /// Ends the server at once, as a crash would; it need not run.
    pub fn stop(&self) -> Result<()> {
        kill_all_in(&self.layout.cgroup())?;
        cache::remove(&self.layout.bed().process_record(&self.layout.part()))
    }

    /// Ends the server at once, starts it again and waits until it serves.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Stops all of the server's processes in their tracks; connections stay open.
    pub fn freeze(&self) -> Result<()> {
        server::signal(&self.layout, &self.layout.cgroup(), Signal::SIGSTOP)
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) -> Result<()> {
        server::signal(&self.layout, &self.layout.cgroup(), Signal::SIGCONT)
    }

    /// Cuts the server off from these nodes and their pods, and from nobody else: its packets are
    /// dropped, so that connections fall silent. It lasts until [`Database::heal`].
    pub fn cut_from(&self, nodes: &[u8]) -> Result<()> {
        let nodes: Vec<NodeLayout> =
            nodes.iter().map(|number| self.layout.bed().node(*number)).collect();
        fault::cut_server(&self.layout, &nodes)
    }

    /// Cuts the server off from all nodes.
    pub fn cut(&self) -> Result<()> {
        self.cut_from(&(1..=self.nodes).collect::<Vec<u8>>())
    }

    /// Undoes every cut.
    pub fn heal(&self) -> Result<()> {
        fault::heal_server(&self.layout)
    }

    /// Ends the server and removes all of it.
    pub fn remove(self) -> Result<()> {
        let _lock = server::lock(self.layout.bed(), Role::Database)?;
        self.stop()?;
        cgroup::remove(&self.layout.cgroup())?;
        network::remove(&self.layout.network())?;
        cache::remove(&self.layout.directory())
    }
}

/// Removes all servers of the bed.
pub(crate) fn remove_all(bed: &Layout) -> Result<()> {
    Database::all(bed, 0)?.into_iter().try_for_each(Database::remove)
}
