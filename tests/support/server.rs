//! Real database servers of both kinds, each in a directory and on a port of its own.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tandem::broker::settings::DatabaseKind;
use tempfile::TempDir;
use testbed::cache::Cache;
use testbed::packages;

/// Debian's packages with the servers; only their programs are used.
const PACKAGES: [&str; 4] =
    ["mariadb-client-core", "mariadb-server-core", "openssl", "postgresql-15"];
/// `nobody`: neither server runs as root.
const NOBODY: u32 = 65_534;
/// The servers' first user.
pub const ADMIN: &str = "admin";
pub const PASSWORD: &str = "first password";

#[derive(Debug)]
pub struct Server {
    pub kind: DatabaseKind,
    pub port: u16,
    process: Mutex<Option<Child>>,
    /// With `ca.crt`, of the authority that signed its certificate, which is for `localhost`.
    pub directory: TempDir,
}

impl Server {
    /// A server of the caller's own.
    pub fn start(kind: DatabaseKind) -> Self {
        packages::ensure(&Cache::open().unwrap(), &PACKAGES).unwrap();
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        own(path);
        certificates(path);
        match kind {
            DatabaseKind::PostgreSQL => init_postgres(path),
            DatabaseKind::MySQL | DatabaseKind::MariaDB => init_mariadb(path),
        }
        let server = Self { kind, port: free_port(), process: Mutex::default(), directory };
        server.start_on(server.port);
        server
    }

    /// A PostgreSQL server that copies another one as it goes on, asynchronously.
    #[allow(dead_code, reason = "the agents' tests have no replica")]
    pub fn replica_of(primary: &Self) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        own(path);
        certificates(path);
        let from =
            format!("host=127.0.0.1 port={} user={ADMIN} password='{PASSWORD}'", primary.port);
        let mut copy = command(path, postgres_programs().join("pg_basebackup"));
        run(path, copy.args(["-D", "data", "-R", "-c", "fast", "-d", &from]));
        let kind = DatabaseKind::PostgreSQL;
        let server = Self { kind, port: free_port(), process: Mutex::default(), directory };
        server.start_on(server.port);
        server
    }

    /// Starts it again after [`Self::stop`], perhaps where nobody looks for it.
    pub fn start_on(&self, port: u16) {
        let directory = self.directory.path();
        let mut process = if self.kind == DatabaseKind::PostgreSQL {
            postgres(directory, port)
        } else {
            mariadb(directory, port)
        };
        let begun = Instant::now();
        while !self.is_ready(port) {
            let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(process.try_wait().unwrap().is_none(), "the server ended: {}", log());
            assert!(begun.elapsed() < Duration::from_mins(1), "no server: {}", log());
            sleep(Duration::from_millis(20));
        }
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// As by a crash; it need not run.
    pub fn stop(&self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut process) = process else { return };
        // PostgreSQL's immediate shutdown, with its children. MariaDB ignores it, but not the next.
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
        let signal = match self.kind {
            DatabaseKind::PostgreSQL => Signal::SIGQUIT,
            DatabaseKind::MySQL | DatabaseKind::MariaDB => Signal::SIGKILL,
        };
        kill(pid, signal).unwrap();
        process.wait().unwrap();
    }

    /// PostgreSQL accepts connections before that and refuses their logins.
    fn is_ready(&self, port: u16) -> bool {
        let postgres = self.kind == DatabaseKind::PostgreSQL;
        let pid_file = fs::read_to_string(self.directory.path().join("data/postmaster.pid"));
        let serves = !postgres || pid_file.is_ok_and(|text| text.contains("ready"));
        serves && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Bound and given back: nobody else is told it meanwhile.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn own(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn command(directory: &Path, program: impl AsRef<OsStr>) -> Command {
    let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn run(directory: &Path, command: &mut Command) {
    let status = command.status().unwrap();
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    assert!(status.success(), "{command:?}: {log}");
}

/// Debian keeps them out of the path, by version.
fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin"));
    found.filter(|path| path.join("initdb").exists()).max().expect("a PostgreSQL server")
}

fn init_postgres(directory: &Path) {
    fs::write(directory.join("password"), PASSWORD).unwrap();
    let mut init = command(directory, postgres_programs().join("initdb"));
    init.args(["-D", "data", "-U", ADMIN, "-A", "scram-sha-256", "--pwfile=password", "-N"]);
    run(directory, &mut init);
}

fn postgres(directory: &Path, port: u16) -> Child {
    // What a crash left names an earlier process.
    drop(fs::remove_file(directory.join("data/postmaster.pid")));
    let mut server = command(directory, postgres_programs().join("postgres"));
    server.args(["-D", "data", "-k", ""]).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "ssl=on",
        "ssl_cert_file=../server.crt",
        "ssl_key_file=../server.key",
        "max_connections=300",
    ] {
        server.args(["-c", setting]);
    }
    server.spawn().unwrap()
}

fn init_mariadb(directory: &Path) {
    let data = format!("--datadir={}", directory.join("data").display());
    let mut init = command(directory, "/usr/bin/mariadb-install-db");
    init.args(["--no-defaults", &data, "--auth-root-authentication-method=normal"]);
    init.args(["--skip-test-db", "--skip-name-resolve"]);
    run(directory, &mut init);
    let first = format!(
        "CREATE USER {ADMIN}@'%' IDENTIFIED BY '{PASSWORD}'; \
         GRANT ALL ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;"
    );
    fs::write(directory.join("first.sql"), first.replace("; ", ";\n")).unwrap();
}

fn mariadb(directory: &Path, port: u16) -> Child {
    let data = format!("--datadir={}", directory.join("data").display());
    let mut server = command(directory, "/usr/sbin/mariadbd");
    server.args(["--no-defaults", &data, "--bind-address=127.0.0.1", "--skip-name-resolve"]);
    server.arg(format!("--port={port}"));
    for (option, file) in [
        ("init-file", "first.sql"),
        ("socket", "socket"),
        ("pid-file", "pid"),
        ("ssl-ca", "ca.crt"),
        ("ssl-cert", "server.crt"),
        ("ssl-key", "server.key"),
    ] {
        server.arg(format!("--{option}={}", directory.join(file).display()));
    }
    server.spawn().unwrap()
}

/// An authority, and a server's certificate for `localhost`.
fn certificates(directory: &Path) {
    authority(directory, "ca");
    let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost"];
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
    certificate(directory, "server", "/CN=server", &[&signed[..], &leaf].concat());
    let key = fs::Permissions::from_mode(0o600);
    fs::set_permissions(directory.join("server.key"), key).unwrap();
}

/// `<name>.crt` and `<name>.key` of an authority.
pub fn authority(directory: &Path, name: &str) {
    certificate(directory, name, "/CN=authority", &[]);
}

/// `<name>.crt` and `<name>.key`, signed by itself unless `more` says otherwise.
fn certificate(directory: &Path, name: &str, subject: &str, more: &[&str]) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let mut openssl = command(directory, "openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "2", "-subj", subject, "-keyout", &key, "-out", &certificate]);
    run(directory, openssl.args(more));
}
