//! A program in a machine, as seen from outside.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::machine::Port;
use crate::wire::{Event, Order};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What a program printed until it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Lines of both its outputs.
    pub lines: Vec<String>,
    /// How it ended.
    pub end: End,
}

impl Output {
    /// What it printed, if it succeeded.
    pub fn text(self) -> Result<String> {
        let text = self.lines.join("\n");
        match self.end {
            End::Code(0) => Ok(text),
            End::Code(_) | End::Signal(_) => bail!("it ended with {:?}: {text}", self.end),
        }
    }
}

/// A program in a machine.
#[derive(Debug)]
pub struct Program {
    number: u32,
    name: String,
    port: Port,
    events: Receiver<Event>,
    pid: i32,
    lines: VecDeque<String>,
    end: Option<End>,
}

impl Program {
    /// Starts it, and waits until it runs.
    pub(crate) fn start(
        port: Port,
        argv: Vec<String>,
        environment: Vec<(String, String)>,
        patience: Duration,
    ) -> Result<Self> {
        let name = argv.join(" ");
        let (number, events) = port.register();
        port.send(&Order::Start { program: number, argv, environment })?;
        let event = match events.recv_timeout(patience) {
            Ok(event) => event,
            Err(error) => bail!("`{name}` does not start: {error}; {}", port.last_words()),
        };
        match event {
            Event::Started(pid) => {
                Ok(Self { number, name, port, events, pid, lines: VecDeque::new(), end: None })
            }
            Event::Failed(error) => bail!("`{name}` does not start: {error}"),
            Event::Line(_) | Event::Ended { .. } => bail!("`{name}` began with {event:?}"),
        }
    }

    /// Its process id in the machine.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A line for its standard input.
    pub fn input(&self, line: &str) -> Result<()> {
        self.port.send(&Order::Input { program: self.number, line: line.to_owned() })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.port.send(&Order::Signal { program: self.number, signal: signal as i32 })
    }

    /// The next line that it prints; none if it prints none so long, or has ended.
    pub fn line(&mut self, patience: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + patience;
        while self.lines.is_empty() && self.end.is_none() && self.take(deadline)? {}
        Ok(self.lines.pop_front())
    }

    /// How it ended; none if it runs on so long.
    pub fn end(&mut self, patience: Duration) -> Result<Option<End>> {
        let deadline = Instant::now() + patience;
        while self.end.is_none() && self.take(deadline)? {}
        Ok(self.end)
    }

    /// Waits for its end.
    pub fn output(mut self, patience: Duration) -> Result<Output> {
        match self.end(patience)? {
            Some(end) => Ok(Output { lines: self.lines.into(), end }),
            None => bail!(
                "`{}` has not ended after {} s; it printed {:?}",
                self.name,
                patience.as_secs(),
                self.lines
            ),
        }
    }

    /// Takes one event; false when there is none by then.
    fn take(&mut self, deadline: Instant) -> Result<bool> {
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(patience) {
            Ok(Event::Line(line)) => self.lines.push_back(line),
            Ok(Event::Ended { code, signal }) => {
                self.end = Some(match (code, signal) {
                    (Some(code), _) => End::Code(code),
                    (None, signal) => End::Signal(signal.unwrap_or_default()),
                });
            }
            Ok(event @ (Event::Started(_) | Event::Failed(_))) => {
                bail!("`{}` said {event:?}", self.name)
            }
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("`{}`: its machine has ended; {}", self.name, self.port.last_words())
            }
        }
        Ok(true)
    }
}
