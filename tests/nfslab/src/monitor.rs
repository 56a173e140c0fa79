//! The emulator's monitor: it unplugs a machine's cable and pulls its plug.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to one emulator's monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor's socket.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting the monitor's patience")?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        // It greets first.
        monitor.line()?;
        monitor.execute(&json!({"execute": "qmp_capabilities"}))?;
        Ok(monitor)
    }

    /// Executes a command.
    pub fn execute(&mut self, command: &Value) -> Result<()> {
        writeln!(self.stream.get_mut(), "{command}").context("writing to the monitor")?;
        loop {
            let answer = self.line()?;
            if answer.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = answer.get("error") {
                bail!("the emulator refuses {command}: {error}");
            }
            // Anything else is an event.
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).context("reading from the monitor")?;
        ensure!(read > 0, "the emulator has ended");
        serde_json::from_str(&line).with_context(|| format!("from the monitor: {line}"))
    }
}
