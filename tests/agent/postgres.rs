//! A PostgreSQL server of the test's own, in a directory and on a port of its own, that can be
//! stopped and started again.

use std::cell::RefCell;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::pod::free_port;

/// `nobody`: the server refuses to run as root.
const NOBODY: u32 = 65_534;
pub const USER: &str = "orders";
pub const PASSWORD: &str = "a pass=word";

pub struct Postgres {
    pub port: u16,
    programs: PathBuf,
    directory: TempDir,
    process: RefCell<Option<Child>>,
}

impl Postgres {
    pub fn start() -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().unwrap();
        let server = Self { port: free_port(), programs, directory, process: RefCell::default() };
        if is_root() {
            chown(server.directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::write(server.directory.path().join("password"), PASSWORD).unwrap();
        let mut init = server.command("initdb");
        init.args(["-D", "data", "-U", USER, "-A", "scram-sha-256", "--pwfile=password", "-N"]);
        assert!(init.status().unwrap().success(), "{}", server.log());
        server.start_on(server.port);
        server
    }

    /// Starts it again after [`Self::stop`], perhaps where nobody looks for it.
    pub fn start_on(&self, port: u16) {
        let mut command = self.command("postgres");
        command.args(["-D", "data", "-k", "", "-c", "listen_addresses=127.0.0.1"]);
        let mut process = command.args(["-p", &port.to_string()]).spawn().unwrap();
        let end = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() || try_query(port).is_none()
        {
            assert!(process.try_wait().unwrap().is_none(), "{}", self.log());
            assert!(Instant::now() < end, "{}", self.log());
            sleep(Duration::from_millis(20));
        }
        self.process.replace(Some(process));
    }

    /// As by a crash.
    pub fn stop(&self) {
        if let Some(mut process) = self.process.take() {
            let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
            kill(pid, Signal::SIGQUIT).unwrap();
            process.wait().unwrap();
        }
    }

    /// The fields of the first row.
    pub fn query(&self, statement: &str) -> Vec<String> {
        query(self.port, statement)
    }

    /// The holder, and its lease's end.
    pub fn lease(&self) -> (String, i64) {
        lease_on(self.port)
    }

    fn command(&self, program: &str) -> Command {
        let directory = self.directory.path();
        let log = directory.join("log");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(directory).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// The holder, and its lease's end, as the server on this port has them.
pub fn lease_on(port: u16) -> (String, i64) {
    let row = query(port, "SELECT COALESCE(BROKER_NAME,''), COALESCE(TIME,0) FROM ACTIVEMQ_LOCK");
    (row[0].clone(), row[1].parse().unwrap())
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Debian keeps them out of the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin"));
    found
        .filter(|path| path.join("initdb").exists())
        .max()
        .or_else(|| Some(Path::new("/usr/bin").to_owned()).filter(|p| p.join("initdb").exists()))
        .expect("these tests need a PostgreSQL server: apt-get install postgresql")
}

pub async fn connect(port: u16, name: &str, login: (&str, &str)) -> Option<Client> {
    let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let mut config = tokio_postgres::Config::new();
    config.user(login.0).password(login.1).dbname("postgres").application_name(name);
    let (client, connection) = config.connect_raw(stream, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn try_query(port: u16) -> Option<Client> {
    runtime().block_on(connect(port, "test", (USER, PASSWORD)))
}

fn query(port: u16, statement: &str) -> Vec<String> {
    runtime().block_on(async {
        let client = connect(port, "test", (USER, PASSWORD)).await.expect("the server answers");
        let rows = client.simple_query(statement).await.unwrap();
        let row = rows.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some((0..row.len()).map(|field| row.get(field).unwrap_or("").to_owned()).collect())
        });
        row.unwrap_or_default()
    })
}
