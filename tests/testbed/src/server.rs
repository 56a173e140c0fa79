//! What database and storage servers have in common: a directory with a record, by which a later
//! run finds them, and processes in a control group of their own.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::layout::{Layout, Role, ServerLayout};
use crate::{cgroup, daemon};

/// Refuses names that could not stand in paths, DNS names and databases.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.chars().all(plain),
        "a server's name has lower-case letters, digits and dashes: {name:?}"
    );
    Ok(())
}

/// All servers of this kind, with what was recorded of them.
pub(crate) fn known<R: DeserializeOwned>(
    bed: &Layout,
    role: Role,
) -> Result<Vec<(ServerLayout, R)>> {
    let mut servers = Vec::new();
    for server in all(bed, role) {
        let Ok(bytes) = fs::read(record(&server)) else { continue };
        let recorded = serde_json::from_slice(&bytes)
            .with_context(|| format!("reading {}", record(&server).display()))?;
        servers.push((server, recorded));
    }
    Ok(servers)
}

/// A place for another server.
pub(crate) fn unused(bed: &Layout, role: Role) -> Result<ServerLayout> {
    let place = all(bed, role).find(|server| !record(server).exists());
    place.with_context(|| format!("a bed has up to {} such servers", role.most()))
}

/// Records the server, whole or not at all: from then on it is known.
pub(crate) fn save<R: Serialize>(server: &ServerLayout, recorded: &R) -> Result<()> {
    let fresh = server.directory().join("server.json.new");
    fs::write(&fresh, serde_json::to_vec(recorded)?)
        .and_then(|()| fs::rename(&fresh, record(server)))
        .with_context(|| format!("recording the server {}", server.part()))
}

/// One making or removal of a server at a time.
pub(crate) fn lock(bed: &Layout, role: Role) -> Result<Flock<File>> {
    let directory = bed.servers(role);
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let file =
        File::open(&directory).with_context(|| format!("opening {}", directory.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| anyhow!(error).context(format!("locking {}", directory.display())))
}

/// Signals all processes in the server's control group. The first process is the one that starts
/// others: it comes first, and is asked for twice in case that it was starting one.
pub(crate) fn signal(server: &ServerLayout, group: &str, signal: Signal) -> Result<()> {
    let Some(first) = daemon::running(server.bed(), &server.part())? else {
        bail!("the server {} is not running; start it first", server.part())
    };
    first.signal(signal)?;
    for _ in 0..2 {
        for process in cgroup::processes(group)? {
            process.signal(signal)?;
        }
    }
    Ok(())
}

fn all(bed: &Layout, role: Role) -> impl Iterator<Item = ServerLayout> {
    (1..=role.most()).map(move |number| bed.server(role, number))
}

fn record(server: &ServerLayout) -> PathBuf {
    server.directory().join("server.json")
}
