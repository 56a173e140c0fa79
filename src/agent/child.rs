//! The broker process: started without a shell, waited for by its own handle, its output passed on
//! unread.

use std::env;
use std::fs;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::agent::ending::Ended;
use crate::agent::event::{ChildNews, Event, Events};
use crate::agent::reap::{Kept, end_descendants};
use crate::agent::signs::Signs;
use crate::broker::environment;
use crate::broker::settings::ChildSettings;
use crate::broker::signs::LogSign;
use crate::telemetry::output::{Output, Stream};

/// A process that has not ended so long after `SIGKILL` waits for a device.
const KILL_DEADLINE: Duration = Duration::from_secs(5);
/// Longer lines are passed on in pieces.
const LONGEST_LINE: usize = 64 << 10;

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

type Signals = mpsc::UnboundedReceiver<Signal>;

impl Broker {
    /// Starts it.
    ///
    /// # Errors
    /// Why it cannot be started, in words.
    pub fn start(
        settings: &ChildSettings,
        generation: u32,
        around: Surroundings,
    ) -> Result<Self, String> {
        // Before the broker, which opens it too.
        let open = |path: &String| {
            Signs::open(Path::new(path)).map_err(|error| format!("cannot make {path}: {error}"))
        };
        let signs = settings.signs.as_ref().map(open).transpose()?;
        Self::spawn(settings, Told { generation, signs, around }).map_err(|error| {
            format!("cannot start {}: {error}; is it in the image?", settings.program)
        })
    }

    fn spawn(settings: &ChildSettings, told: Told) -> io::Result<Self> {
        let around = &told.around;
        // A process group of its own: a terminal's Ctrl-C reaches the agent only, which decides.
        let mut command = Command::new(program(&settings.program));
        let removed = refused_variables();
        if !removed.is_empty() {
            tracing::warn!("the broker is not given the variables {}", removed.join(", "));
        }
        for name in removed {
            command.env_remove(name);
        }
        let mut child = command
            .args(&settings.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let id = child.id();
        around.kept.keep(id);
        let pid = id.and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        if let Some(out) = child.stdout.take() {
            tokio::spawn(pass_on(out, Stream::Out, around.output.clone()));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(pass_on(err, Stream::Err, around.output.clone()));
        }
        let (signals, queue) = mpsc::unbounded_channel();
        tokio::spawn(wait(child, pid, queue, told));
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

/// What the image, or whoever changed the pod, sets and a broker must not be given. The spec cannot
/// set them.
fn refused_variables() -> Vec<String> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| environment::refusal(name).is_some()).collect()
}

/// A bare name is looked up in `$JAVA_HOME/bin` first; `exec` itself looks in `$PATH`.
pub(super) fn program(name: &str) -> PathBuf {
    let home = env::var_os("JAVA_HOME").filter(|_| !name.contains('/'));
    home.map(|home| PathBuf::from(home).join("bin").join(name))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// Where news of a broker process goes.
struct Told {
    generation: u32,
    signs: Option<Signs>,
    around: Surroundings,
}

impl Told {
    async fn news(&self, news: ChildNews) {
        let event = Event::Child { generation: self.generation, news };
        drop(self.around.events.send(event).await);
    }

    async fn sign(&self, sign: LogSign) {
        let event = Event::Log { generation: self.generation, sign };
        drop(self.around.events.send(event).await);
    }
}

async fn wait(mut child: Child, pid: i32, mut signals: Signals, mut told: Told) {
    let mut killed = None;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status,
            Some(signal) = signals.recv() => {
                // Not reaped yet, so the number is still its own.
                send(pid, signal);
                if signal == Signal::SIGKILL {
                    killed = Some(Instant::now());
                }
            }
            sign = next(&mut told.signs) => told.sign(sign).await,
            () = passed(killed) => {
                killed = None;
                told.news(ChildNews::Stuck).await;
            }
        }
    };
    // Its last words come before its end.
    while let Some(sign) = told.signs.as_mut().and_then(Signs::take) {
        told.sign(sign).await;
    }
    told.news(ChildNews::Exited(Ended::of(status))).await;
    told.around.kept.forget(u32::try_from(pid).ok());
    end_descendants(pid, &told.around.kept).await;
    told.news(ChildNews::Gone).await;
}

async fn next(signs: &mut Option<Signs>) -> LogSign {
    match signs {
        Some(signs) => signs.next().await,
        None => pending().await,
    }
}

async fn passed(killed: Option<Instant>) {
    match killed {
        Some(killed) => sleep_until(killed + KILL_DEADLINE).await,
        None => pending().await,
    }
}

fn send(pid: i32, signal: Signal) {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::error!("cannot send {signal} to process {pid}: {error}"),
    }
}

/// Passes lines on until the pipe closes. Never slower than the broker: what cannot be written is
/// dropped there.
async fn pass_on(pipe: impl AsyncRead + Unpin, stream: Stream, output: Output) {
    let mut reader = BufReader::with_capacity(LONGEST_LINE / 4, pipe);
    let mut line = Vec::new();
    loop {
        let Ok(bytes) = reader.fill_buf().await else { return };
        if bytes.is_empty() {
            if !line.is_empty() {
                output.line(stream, std::mem::take(&mut line));
            }
            return;
        }
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|position| position + 1);
        let taken = end.unwrap_or(bytes.len());
        line.extend(bytes.iter().take(taken));
        reader.consume(taken);
        if end.is_some() || line.len() >= LONGEST_LINE {
            output.line(stream, std::mem::take(&mut line));
        }
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
