//! A program that locks, waits, greets and gives up its lock as `ActiveMQ` Classic does.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::exit;
use std::thread::{sleep, spawn};
use std::time::{Duration, SystemTime};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tandem::broker::signs::LogSign;

use crate::lease_broker;

pub const LOCK: &str = "FAKE_BROKER_LOCK";
pub const PORT: &str = "FAKE_BROKER_PORT";
/// The agent's pipe for signs.
pub const SIGNS: &str = "FAKE_BROKER_SIGNS";
/// Half of the keep-alive period is the poll period.
pub const KEEP_ALIVE: &str = "FAKE_BROKER_KEEP_ALIVE";

/// Where it keeps its journal, if it does.
pub const STORE: &str = "FAKE_BROKER_STORE";
/// Set for a broker that logs without end.
pub const NOISE: &str = "FAKE_BROKER_NOISE";

/// Set for a broker that tries the lock and never takes it.
pub const SHY: &str = "FAKE_BROKER_SHY";
/// Set for a broker whose main thread waits for ever once it has the lock, while another one ticks.
pub const DEADLOCKED: &str = "FAKE_BROKER_DEADLOCKED";
/// Set for a broker that never looks at its lock.
pub const LOCKLESS: &str = "FAKE_BROKER_LOCKLESS";

pub fn main() {
    if env::var_os(NOISE).is_some() {
        spawn(|| {
            loop {
                println!("{}", "noise ".repeat(200));
            }
        });
    }
    if env::var_os(lease_broker::DATABASE).is_some() {
        return lease_broker::main();
    }
    let path = env::var(LOCK).unwrap();
    let port: u16 = env::var(PORT).unwrap().parse().unwrap();
    let keep_alive = Duration::from_millis(env::var(KEEP_ALIVE).unwrap().parse().unwrap());

    if env::var_os(LOCKLESS).is_some() {
        serve(port);
        sleep(Duration::from_mins(10));
        return;
    }
    let (lock, modified) = acquire(Path::new(&path), keep_alive);
    if let Some(store) = env::var_os(STORE) {
        std::fs::create_dir_all(&store).unwrap();
        File::create(Path::new(&store).join("db-1.log")).unwrap();
    }
    if env::var_os(DEADLOCKED).is_some() {
        spawn(|| {
            loop {
                sleep(Duration::from_millis(50));
            }
        });
        loop {
            std::thread::park();
        }
    }
    serve(port);
    println!("Connector openwire started");
    loop {
        sleep(keep_alive);
        if std::fs::metadata(&path).map(|data| time(&data)).ok() != Some(modified) {
            say(LogSign::LockLost);
            // The polite stop that writes to the store.
            sleep(Duration::from_millis(300));
            drop(lock);
            exit(0);
        }
    }
}

fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            drop(stream.unwrap().write_all(b"\0\0\x01\x52\x01ActiveMQ\0\0\0\x0c"));
        }
    });
}

/// What the log's configuration makes of a message of the broker.
pub fn say(sign: LogSign) {
    let mut pipe = OpenOptions::new().write(true).open(env::var(SIGNS).unwrap()).unwrap();
    writeln!(pipe, "{}", sign.as_str()).unwrap();
}

fn acquire(path: &Path, keep_alive: Duration) -> (File, (i64, i64)) {
    let mut waited = false;
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .unwrap();
        let length = file.metadata().unwrap().len().max(1);
        if env::var_os(SHY).is_none() && set_lock(&file, length) {
            file.rewind().unwrap();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let millis = u64::try_from(now.as_millis()).unwrap();
            // The JVM may be slow between lock and write.
            sleep(Duration::from_millis(30));
            file.write_all(&millis.to_be_bytes()).unwrap();
            file.sync_all().unwrap();
            let modified = time(&file.metadata().unwrap());
            if waited {
                sleep(keep_alive);
            }
            return (file, modified);
        }
        if !waited {
            say(LogSign::Waits);
            waited = true;
        }
        sleep(keep_alive / 2);
    }
}

fn time(data: &std::fs::Metadata) -> (i64, i64) {
    (data.mtime(), data.mtime_nsec())
}

fn set_lock(file: &File, length: u64) -> bool {
    let lock = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
        l_start: 0,
        l_len: i64::try_from(length).unwrap(),
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&lock)).is_ok()
}
