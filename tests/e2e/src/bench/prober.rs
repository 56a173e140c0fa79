//! Greets an address again and again from the bed's network, to see when it leads to a broker.
//!
//! A broker speaks first on an `OpenWire` connection, so a probe connects and reads. Refused
//! connections cost nobody anything; those that a broker accepts cost it a thread, so few wait at
//! once, and once an address has come back it is greeted rarely.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};
use tandem::broker::classic::greeting::{GREETING_LENGTH, is_greeting};
use tokio::{
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{group::now_millis, wait};

/// The port of `OpenWire`.
pub const PORT: u16 = 61616;

/// The pause between probes, which is how exact the times are.
const EAGER: Duration = Duration::from_millis(10);
/// The same once the address has come back.
const CALM: Duration = Duration::from_millis(100);
/// How many probes wait at once. All wait when packets vanish or a broker accepts and is silent.
const MOST: usize = 4;
/// How long a connection may take to open, on one machine.
const OPEN: Duration = Duration::from_millis(100);
/// How long it may stay silent: a starting broker is slow. A frozen one that is killed ends it.
const SILENT: Duration = Duration::from_secs(2);

/// Greets one address until it is dropped.
pub struct Prober {
    address: SocketAddr,
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What the probes have found.
#[derive(Debug, Default)]
struct Seen {
    failed: bool,
    /// When the address first greeted after it had failed.
    recovered: Option<i64>,
    greetings: Vec<i64>,
}

impl Prober {
    /// Starts; to be called right after a fault.
    pub fn start(address: SocketAddr) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(probe_forever(address, Arc::clone(&seen)));
        Self { address, task, seen }
    }

    /// Waits until the address greets after it has failed.
    ///
    /// # Errors
    /// When it does not.
    pub async fn await_recovery(&self, limit: Duration) -> Result<i64> {
        wait::until(&format!("{} leads to a broker again", self.address), limit, async || {
            Ok(self.recovered().ok_or_else(|| "no greeting".to_owned()))
        })
        .await
    }

    /// When the address first greeted after it had failed.
    pub fn recovered(&self) -> Option<i64> {
        locked(&self.seen).recovered
    }

    /// The first greeting at this moment or later.
    pub fn first_greeting(&self, from: i64) -> Option<i64> {
        locked(&self.seen).greetings.iter().copied().filter(|at| *at >= from).min()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn note(&mut self, greeting: Option<i64>) {
        let Some(at) = greeting else {
            self.failed = true;
            return;
        };
        self.greetings.push(at);
        if self.failed {
            self.recovered.get_or_insert(at);
        }
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn probe_forever(address: SocketAddr, seen: Arc<Mutex<Seen>>) {
    // Dropped with this task, and all probes under way with it.
    let mut probes = JoinSet::new();
    loop {
        while probes.try_join_next().is_some() {}
        if probes.len() < MOST {
            let noted = Arc::clone(&seen);
            probes.spawn(async move {
                let greeting = greets(address).await.then(now_millis);
                locked(&noted).note(greeting);
            });
        }
        let recovered = locked(&seen).recovered.is_some();
        sleep(if recovered { CALM } else { EAGER }).await;
    }
}

/// Whether a broker greets at this address now.
pub async fn greets(address: SocketAddr) -> bool {
    let Ok(Ok(stream)) = timeout(OPEN, TcpStream::connect(address)).await else { return false };
    matches!(timeout(SILENT, read_greeting(&stream)).await, Ok(Ok(())))
}

async fn read_greeting(stream: &TcpStream) -> Result<()> {
    let mut first = [0; GREETING_LENGTH];
    let mut filled = 0;
    while let Some(rest) = first.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        stream.readable().await?;
        match stream.try_read(rest) {
            Ok(0) => bail!("closed"),
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !is_greeting(&first) {
        bail!("no greeting");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_recovers_only_after_it_failed() {
        let mut seen = Seen::default();
        seen.note(Some(10));
        assert_eq!(seen.recovered, None);
        seen.note(None);
        seen.note(Some(30));
        seen.note(Some(40));
        assert_eq!(seen.recovered, Some(30));
    }

    /// What a listener that says this and closes is taken for.
    fn judged(first: &'static [u8]) -> bool {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = std::thread::spawn(move || {
            std::io::Write::write_all(&mut listener.accept().unwrap().0, first).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let greets = runtime.block_on(greets(address));
        broker.join().unwrap();
        greets
    }

    #[test]
    fn a_broker_is_known_by_its_first_bytes() {
        assert!(judged(b"\0\0\x01\x52\x01ActiveMQ and more"));
        assert!(!judged(b"HTTP/1.1 400 Bad Request"));
        assert!(!judged(b"\0\0"));
    }

    #[test]
    fn nobody_greets_where_nobody_listens() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(!runtime.block_on(greets(([127, 0, 0, 1], 1).into())));
    }
}
