//! A process in a machine that makes system calls as it is told, one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::program::Program;
use crate::wire::{Call, Reply, Value};

/// For calls that are expected to be answered, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long the call took, by the machine's clock.
    pub took: Duration,
    /// What it gave.
    pub result: Result<Value, Errno>,
}

/// A process in a machine that makes system calls as it is told.
#[derive(Debug)]
pub struct Actor {
    program: Program,
}

impl Actor {
    pub(crate) fn new(program: Program) -> Self {
        Self { program }
    }

    /// Its process id in the machine.
    pub fn pid(&self) -> i32 {
        self.program.pid()
    }

    /// Begins a call, which may hang.
    pub fn begin(&self, call: &Call) -> Result<()> {
        self.program.input(&serde_json::to_string(call)?)
    }

    /// The answer to the oldest call that is not answered; none if there is none so long.
    pub fn answer(&mut self, patience: Duration) -> Result<Option<Answer>> {
        let Some(line) = self.program.line(patience)? else { return Ok(None) };
        let reply: Reply =
            serde_json::from_str(&line).with_context(|| format!("an actor said: {line}"))?;
        let took = Duration::from_millis(reply.took_millis);
        Ok(Some(Answer { took, result: reply.result.map_err(Errno::from_raw) }))
    }

    /// Makes a call and waits for its answer.
    pub fn call(&mut self, call: &Call) -> Result<Answer> {
        self.begin(call)?;
        match self.answer(PATIENCE)? {
            Some(answer) => Ok(answer),
            None => bail!("{call:?} hangs"),
        }
    }

    /// Makes a call that has to succeed.
    pub fn done(&mut self, call: &Call) -> Result<Value> {
        self.call(call)?.result.with_context(|| format!("{call:?}"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.program.signal(signal)
    }

    /// Whether it ended, and was reaped, within this time.
    pub fn is_gone(&mut self, patience: Duration) -> Result<bool> {
        Ok(self.program.end(patience)?.is_some())
    }

    /// Kills it, and waits until it was reaped.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        ensure!(self.is_gone(PATIENCE)?, "the killed actor {} is still there", self.pid());
        Ok(())
    }
}
