//! A program in a broker's place for the agent: it locks, waits, greets and gives up its lock as
//! `ActiveMQ` Classic does, and writes a journal all the while. Its arguments are lock file, port,
//! keep-alive period in milliseconds, journal and the agent's pipe for signs.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::thread::{sleep, spawn};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use nfslab::wire::tick_line;

use crate::actor::{try_lock, wait_for_lock};

/// The first bytes of `OpenWire`.
const GREETING: &[u8] = b"\0\0\x01\x52\x01ActiveMQ\0\0\0\x0c";

/// Words of `tandem::broker::signs`, which this small program does without.
const WAITS: &str = "waits";
const LOCK_LOST: &str = "lock-lost";

/// How often it writes a line.
const TICK: Duration = Duration::from_millis(100);

/// Serves while the lock file is as it left it.
pub fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(2).collect();
    let [lock, port, keep_alive, journal, signs] = arguments.as_slice() else {
        bail!("a broker needs lock file, port, keep-alive period, journal and pipe");
    };
    let keep_alive = Duration::from_millis(keep_alive.parse().context("the keep-alive period")?);
    let file = acquire(lock, keep_alive, signs).context("the lock")?;
    let modified = file.metadata().context("the lock file")?.modified()?;

    let address = (Ipv4Addr::LOCALHOST, port.parse().context("the port")?);
    let listener = TcpListener::bind(address).context("listening")?;
    spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever asked may be gone.
            drop(stream.write_all(GREETING));
        }
    });
    let journal = open(journal).context("the journal")?;
    spawn(move || write_lines(&journal));
    println!("Connector openwire started");
    loop {
        sleep(keep_alive);
        let now = fs::metadata(lock).and_then(|data| data.modified());
        if now.is_ok_and(|now| now == modified) {
            continue;
        }
        say(signs, LOCK_LOST)?;
        bail!("the lock file was changed");
    }
}

/// What the log's configuration makes of a message of a broker.
fn say(signs: &str, sign: &str) -> Result<()> {
    let mut pipe = File::options().write(true).open(signs).context("the pipe")?;
    Ok(writeln!(pipe, "{sign}")?)
}

fn acquire(path: &str, keep_alive: Duration, signs: &str) -> Result<File> {
    let file = open(path)?;
    let waits = !try_lock(&file)?;
    if waits {
        say(signs, WAITS)?;
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

fn open(path: &str) -> Result<File> {
    Ok(File::options().read(true).write(true).create(true).truncate(false).open(path)?)
}

/// Goes on where another one ended, and goes on after an error, as a broker's threads may.
fn write_lines(journal: &File) {
    let length = tick_line(0).len() as u64;
    let first = journal.metadata().map(|data| data.len() / length).unwrap_or_default();
    for number in u32::try_from(first).unwrap_or_default().. {
        // What is not taken is missing, which a reader sees.
        drop(journal.write_all_at(tick_line(number).as_bytes(), u64::from(number) * length));
        sleep(TICK);
    }
}
