//! PostgreSQL, from the distribution's package.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout::ServerLayout;
use crate::{cache, shell};

/// Where the package puts each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root; this account comes with the package.
const ACCOUNT: &str = "postgres";
/// No user's configuration, no chatter, rows and nothing but rows, an end at the first error.
pub(super) const TERSE: [&str; 4] = ["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"];

pub(super) fn make(server: &ServerLayout) -> Result<()> {
    let directory = server.directory();
    own(&directory)?;
    let mut initdb = as_account(&newest()?.join("initdb"));
    initdb.arg("--pgdata").arg(server.data()).args([
        "--username=postgres",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]);
    shell::run(&mut initdb)?;
    let hba = server.data().join("pg_hba.conf");
    OpenOptions::new()
        .append(true)
        .open(&hba)
        .and_then(|mut file| file.write_all(b"host all all all scram-sha-256\n"))
        .with_context(|| format!("writing {}", hba.display()))
}

/// The private key must belong to the account and be readable by nobody else.
fn own(directory: &Path) -> Result<()> {
    shell::run(shell::command("chmod", &["600"]).arg(directory.join("server.key")))?;
    let owner = format!("{ACCOUNT}:{ACCOUNT}");
    shell::run(shell::command("chown", &["--recursive", &owner]).arg(directory))
}

pub(super) fn server(server: &ServerLayout) -> Result<Command> {
    let directory = server.directory();
    let mut postgres = as_account(&newest()?.join("postgres"));
    postgres.arg("-D").arg(server.data());
    for setting in [
        "listen_addresses=*".to_owned(),
        format!("unix_socket_directories={}", directory.display()),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", directory.join("server.crt").display()),
        format!("ssl_key_file={}", directory.join("server.key").display()),
        // Several groups of brokers, each with two pools.
        "max_connections=400".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "log_line_prefix=%m [%p] %a %d ".to_owned(),
        "log_connections=on".to_owned(),
    ] {
        postgres.args(["-c", &setting]);
    }
    Ok(postgres)
}

/// The server refuses to start while the process id in its files exists, which it does until someone
/// asks for the status of the one that was killed.
pub(super) fn forget_process(server: &ServerLayout) -> Result<()> {
    cache::remove(&server.data().join("postmaster.pid"))?;
    cache::remove(&server.directory().join(".s.PGSQL.5432.lock"))
}

pub(super) fn client(server: &ServerLayout, database: &str) -> Command {
    let mut psql = shell::command("psql", &["--username=postgres", "--host"]);
    psql.arg(server.directory()).arg("--dbname").arg(database);
    psql
}

/// One statement each: a database is made outside of transactions.
pub(super) fn create(database: &str, password: &str) -> Vec<String> {
    let password = password.replace('\'', "''");
    vec![
        format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
        format!("DROP ROLE IF EXISTS {database}"),
        format!("CREATE ROLE {database} LOGIN PASSWORD '{password}'"),
        format!("CREATE DATABASE {database} OWNER {database}"),
    ]
}

fn as_account(program: &Path) -> Command {
    let account = format!("--reuid={ACCOUNT}");
    let group = format!("--regid={ACCOUNT}");
    let mut command = shell::command("setpriv", &[&account, &group, "--clear-groups"]);
    command.arg(program).current_dir("/");
    command
}

/// The programs of the newest version.
fn newest() -> Result<PathBuf> {
    let entries = fs::read_dir(VERSIONS)
        .with_context(|| format!("reading {VERSIONS} (is PostgreSQL installed?)"))?;
    let versions = entries.flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("postgres").exists().then_some((version, programs))
    });
    let newest = versions.max_by_key(|(version, _)| *version);
    newest.map(|(_, programs)| programs).with_context(|| format!("no server in {VERSIONS}"))
}
