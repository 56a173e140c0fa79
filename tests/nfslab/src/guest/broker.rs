//! A program in a broker's place for the agent: it locks, waits, greets and gives up its lock as
//! `ActiveMQ` Classic does. Its arguments are lock file, port and keep-alive period in milliseconds.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::thread::{sleep, spawn};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};

use crate::actor::{try_lock, wait_for_lock};

/// The first bytes of `OpenWire`.
const GREETING: &[u8] = b"\0\0\x01\x52\x01ActiveMQ\0\0\0\x0c";

/// Serves while the lock file is as it left it.
pub fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(2).collect();
    let [lock, port, keep_alive] = arguments.as_slice() else {
        anyhow::bail!("a broker needs lock file, port and keep-alive period");
    };
    let keep_alive = Duration::from_millis(keep_alive.parse().context("the keep-alive period")?);
    let file = acquire(lock, keep_alive).context("the lock")?;
    let modified = file.metadata().context("the lock file")?.modified()?;

    let address = (Ipv4Addr::LOCALHOST, port.parse().context("the port")?);
    let listener = TcpListener::bind(address).context("listening")?;
    spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever asked may be gone.
            drop(stream.write_all(GREETING));
        }
    });
    println!("Connector openwire started");
    loop {
        sleep(keep_alive);
        let now = fs::metadata(lock).and_then(|data| data.modified());
        ensure!(
            now.is_ok_and(|now| now == modified),
            "no longer able to keep the exclusive lock so giving up"
        );
    }
}

fn acquire(path: &str, keep_alive: Duration) -> Result<File> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    let waits = !try_lock(&file)?;
    if waits {
        println!(
            "INFO Database {path} is locked by another server. This broker is now in slave mode \
             waiting a lock to be acquired"
        );
        wait_for_lock(&file)?;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    file.write_all_at(&u64::try_from(now.as_millis())?.to_be_bytes(), 0)?;
    file.sync_all()?;
    if waits {
        sleep(keep_alive);
    }
    Ok(file)
}
