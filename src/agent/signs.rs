//! The pipe through which the broker's log tells the agent about the lock.

use std::collections::VecDeque;
use std::fs;
use std::future::pending;
use std::io;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

use crate::broker::signs::LogSign;

/// No word is as long, in bytes.
const LONGEST_LINE: usize = 64;

/// The reading end, for one broker process.
#[derive(Debug)]
pub struct Signs {
    /// `None` after an error, which is logged.
    pipe: Option<Receiver>,
    lines: Lines,
    read: VecDeque<LogSign>,
}

impl Signs {
    /// Makes the pipe anew, so that nothing of an earlier broker process is read: what it left in the
    /// old pipe is gone, and what its descendants still write goes there.
    ///
    /// # Errors
    /// The directory cannot be written to, or something other than a file or a pipe has the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Open for writing too: a pipe without a writer counts as ended (fifo(7)), and a JVM that
        // opens one without a reader would wait.
        let pipe = OpenOptions::new().read_write(true).open_receiver(path)?;
        Ok(Self { pipe: Some(pipe), lines: Lines::default(), read: VecDeque::new() })
    }

    /// The next sign. Nothing is lost when the wait for it is given up.
    pub async fn next(&mut self) -> LogSign {
        loop {
            if let Some(sign) = self.take() {
                return sign;
            }
            let ready = match &self.pipe {
                Some(pipe) => pipe.readable().await,
                None => pending().await,
            };
            if let Err(error) = ready {
                self.give_up(&error);
            }
        }
    }

    /// The next sign among those that the broker has written by now.
    pub fn take(&mut self) -> Option<LogSign> {
        let mut bytes = [0; 1024];
        while self.read.is_empty() {
            let length = match self.pipe.as_ref()?.try_read(&mut bytes) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                result => result,
            };
            match length {
                Ok(length) => self.read.extend(self.lines.feed(bytes.get(..length)?)),
                Err(error) => self.give_up(&error),
            }
        }
        self.read.pop_front()
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::error!("the broker's log cannot be followed: {error}");
        self.pipe = None;
    }
}

/// Makes lines of the bytes that come, and signs of the lines.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// The line is longer than any word: the rest of it is skipped.
    too_long: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Vec<LogSign> {
        bytes.iter().filter_map(|&byte| self.push(byte)).collect()
    }

    fn push(&mut self, byte: u8) -> Option<LogSign> {
        if byte != b'\n' {
            self.too_long |= self.line.len() >= LONGEST_LINE;
            if !self.too_long {
                self.line.push(byte);
            }
            return None;
        }
        let line = std::mem::take(&mut self.line);
        let sign = if std::mem::take(&mut self.too_long) { None } else { LogSign::parse(&line) };
        if sign.is_none() {
            tracing::warn!("{:?} is not a sign of a broker's log", String::from_utf8_lossy(&line));
        }
        sign
    }
}

#[cfg(test)]
#[path = "signs_tests.rs"]
mod tests;
