//! The broker process: started without a shell, waited for by its own handle, its output passed on.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::agent::event::{ChildNews, Event, Events};
use crate::agent::machine::LogSign;
use crate::agent::reap::{Kept, end_descendants};
use crate::broker::settings::ChildSettings;
use crate::telemetry::output::{Output, Stream};

/// A process that has not ended so long after `SIGKILL` waits for a device.
const KILL_DEADLINE: Duration = Duration::from_secs(5);
/// Longer lines are passed on in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// `LockableServiceSupport`'s last words before it stops the broker politely.
const LOCK_LOST: &[u8] = b"no longer able to keep the exclusive lock";
/// `SharedFileLocker`, once, when it finds the lock held.
const WAITS: &[u8] = b"in slave mode waiting a lock to be acquired";

/// `LeaseDatabaseLocker`, once, before its first try.
const TRIES: &[u8] = b"attempting to acquire exclusive lease to become the master";
/// `LeaseDatabaseLocker`, when it has got the lease.
const TAKES: &[u8] = b"becoming master with lease expiry";

/// A broker that takes a storage error for harmless, or is about to end politely because of one
/// (`DefaultIOExceptionHandler`, 6.3.1).
const STORAGE_FAILED: [&[u8]; 3] =
    [b"Ignoring IO exception, ", b"Ignoring no space left exception, ", b"] due to exception, "];

/// What a broker process needs from its agent.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where to tell what becomes of it.
    pub events: Events,
    /// Where its output goes.
    pub output: Output,
    /// Where to note that it is waited for.
    pub kept: Kept,
}

/// A broker process.
#[derive(Debug)]
pub struct Broker {
    /// Process number.
    pub pid: i32,
    signals: mpsc::UnboundedSender<Signal>,
}

impl Broker {
    /// Starts it.
    pub fn start(
        settings: &ChildSettings,
        generation: u32,
        around: Surroundings,
    ) -> io::Result<Self> {
        // A process group of its own: a terminal's Ctrl-C reaches the agent only, which decides.
        let mut child = Command::new(program(&settings.program))
            .args(&settings.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let id = child.id();
        around.kept.keep(id);
        let pid = id.and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        let logged = Logged { generation, around: around.clone() };
        if let Some(out) = child.stdout.take() {
            tokio::spawn(pass_on(out, Stream::Out, logged.clone()));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(pass_on(err, Stream::Err, logged));
        }
        let (signals, queue) = mpsc::unbounded_channel();
        tokio::spawn(wait(Waited { child, pid, generation }, queue, around));
        Ok(Self { pid, signals })
    }

    /// Whether it is about to end by itself, or has ended and is not reaped yet. The kernel frees a
    /// process's locks before its parent can learn of the end.
    pub fn is_ending(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.map_or(true, |stat| tells_end(&stat))
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.signals.send(signal).is_err() {
            tracing::debug!("process {} has ended before {signal}", self.pid);
        }
    }
}

/// The kernel's flag of a process that ends (`PF_EXITING`, linux/sched.h).
const EXITING: u64 = 4;

/// What `/proc/<pid>/stat` says: after the name, which may hold anything, state is the first field and
/// flags are the seventh.
fn tells_end(stat: &str) -> bool {
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let dead = matches!(fields.next(), Some("Z" | "X"));
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    dead || flags.is_some_and(|flags| flags & EXITING != 0)
}

/// A bare name is looked up in `$JAVA_HOME/bin` first; `exec` itself looks in `$PATH`.
pub(super) fn program(name: &str) -> PathBuf {
    let home = env::var_os("JAVA_HOME").filter(|_| !name.contains('/'));
    home.map(|home| PathBuf::from(home).join("bin").join(name))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

struct Waited {
    child: Child,
    pid: i32,
    generation: u32,
}

async fn wait(
    mut waited: Waited,
    mut signals: mpsc::UnboundedReceiver<Signal>,
    around: Surroundings,
) {
    let generation = waited.generation;
    let tell = async |news| drop(around.events.send(Event::Child { generation, news }).await);
    let mut killed = false;
    let status = loop {
        tokio::select! {
            biased;
            status = waited.child.wait() => break status,
            Some(signal) = signals.recv() => {
                // Not reaped yet, so the number is still its own.
                send(waited.pid, signal);
                killed |= signal == Signal::SIGKILL;
            }
            () = sleep(KILL_DEADLINE), if killed => {
                killed = false;
                tell(ChildNews::Stuck).await;
            }
        }
    };
    tell(ChildNews::Exited(status.map_or_else(|error| error.to_string(), in_words))).await;
    around.kept.forget(u32::try_from(waited.pid).ok());
    end_descendants(waited.pid, &around.kept).await;
    tell(ChildNews::Gone).await;
}

fn send(pid: i32, signal: Signal) {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::error!("cannot send {signal} to process {pid}: {error}"),
    }
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => Signal::try_from(number)
            .map_or_else(|_| format!("signal {number}"), |signal| format!("signal {signal}")),
        (None, None) => "unknown".to_owned(),
    }
}

#[derive(Clone)]
struct Logged {
    generation: u32,
    around: Surroundings,
}

/// Passes lines on until the pipe closes. Never slower than the broker: what cannot be written is
/// dropped there.
async fn pass_on(pipe: impl AsyncRead + Unpin, stream: Stream, logged: Logged) {
    let mut reader = BufReader::with_capacity(LONGEST_LINE / 4, pipe);
    let mut line = Vec::new();
    loop {
        let Ok(bytes) = reader.fill_buf().await else { return };
        if bytes.is_empty() {
            if !line.is_empty() {
                logged.pass(stream, std::mem::take(&mut line)).await;
            }
            return;
        }
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|position| position + 1);
        let taken = end.unwrap_or(bytes.len());
        line.extend(bytes.iter().take(taken));
        reader.consume(taken);
        if end.is_some() || line.len() >= LONGEST_LINE {
            logged.pass(stream, std::mem::take(&mut line)).await;
        }
    }
}

impl Logged {
    async fn pass(&self, stream: Stream, line: Vec<u8>) {
        let sign = sign(&line);
        self.around.output.line(stream, line);
        if let Some(sign) = sign {
            let event = Event::Log { generation: self.generation, sign };
            drop(self.around.events.send(event).await);
        }
    }
}

fn sign(line: &[u8]) -> Option<LogSign> {
    let has = |words: &[u8]| line.windows(words.len()).any(|window| window == words);
    if has(LOCK_LOST) {
        Some(LogSign::LockLost)
    } else if has(WAITS) || has(TRIES) {
        Some(LogSign::Waits)
    } else if has(TAKES) {
        Some(LogSign::Takes)
    } else if STORAGE_FAILED.into_iter().any(has) {
        Some(LogSign::StorageFailed)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
