//! Standard output and error that never block whoever writes.
//!
//! A container runtime that reads slowly fills the pipe behind a container's output. A broker that
//! logs would then wait for the log, and its clients for the broker. Here lines are dropped instead
//! and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// So many bytes wait for a slow reader before lines are dropped.
const CAPACITY: usize = 1 << 20;
/// What a waiting line costs besides its bytes.
const OVERHEAD: usize = 64;
/// The writing thread needs little.
const STACK: usize = 128 << 10;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

enum Item {
    Line(Stream, Vec<u8>),
    Flush(Sender<()>),
}

/// A queue in front of standard output and error. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output {
    items: Sender<Item>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    dropped_ever: AtomicU64,
}

impl Output {
    /// Starts the thread that writes.
    pub fn start() -> io::Result<Self> {
        Self::start_to(io::stdout(), io::stderr())
    }

    fn start_to(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (items, queue) = channel();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::Builder::new()
            .name("output".to_owned())
            .stack_size(STACK)
            .spawn(move || write_all(&queue, &shared, out, err))?;
        Ok(Self { items, counts })
    }

    /// Queues a line, which brings its own line feed, or drops it if too much waits.
    pub fn line(&self, stream: Stream, line: Vec<u8>) {
        let weight = line.len() + OVERHEAD;
        let waiting = self.counts.waiting.fetch_add(weight, Ordering::Relaxed);
        if waiting.saturating_add(weight) > CAPACITY {
            self.counts.waiting.fetch_sub(weight, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            self.counts.dropped_ever.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The thread ends only with the process.
        drop(self.items.send(Item::Line(stream, line)));
    }

    /// How many lines were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped_ever.load(Ordering::Relaxed)
    }

    /// Waits until what was queued is written, but no longer than `deadline`.
    pub fn flush(&self, deadline: Duration) {
        let (done, written) = channel();
        drop(self.items.send(Item::Flush(done)));
        if written.recv_timeout(deadline).is_err() {
            // Nowhere left to say that the last lines are lost.
        }
    }
}

fn write_all(queue: &Receiver<Item>, counts: &Counts, mut out: impl Write, mut err: impl Write) {
    for item in queue {
        match item {
            Item::Line(stream, line) => {
                let writer: &mut dyn Write = match stream {
                    Stream::Out => &mut out,
                    Stream::Err => &mut err,
                };
                // A closed output is no reason to end a broker, and there is nowhere to say it.
                drop(writer.write_all(&line).and_then(|()| writer.flush()));
                counts.waiting.fetch_sub(line.len() + OVERHEAD, Ordering::Relaxed);
                let dropped = counts.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    drop(writeln!(err, "{dropped} lines dropped: the output is read too slowly"));
                }
            }
            Item::Flush(done) => drop(done.send(())),
        }
    }
}

/// Collects one log event; queued as a line when dropped.
#[derive(Debug)]
pub struct Event {
    output: Output,
    text: Vec<u8>,
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.output.line(Stream::Err, std::mem::take(&mut self.text));
    }
}

impl<'writer> MakeWriter<'writer> for Output {
    type Writer = Event;

    fn make_writer(&'writer self) -> Event {
        Event { output: self.clone(), text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::SyncSender;

    /// A reader that takes one line for each permit.
    struct Slow {
        permits: Receiver<()>,
        lines: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(io::Error::other)?;
            drop(self.lines.send(bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Output, SyncSender<()>, Receiver<Vec<u8>>) {
        let (permit, permits) = std::sync::mpsc::sync_channel(100);
        let (lines, written) = channel();
        let output = Output::start_to(Slow { permits, lines }, io::sink()).unwrap();
        (output, permit, written)
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_but_never_blocks() {
        let (output, permit, written) = slow();
        for _ in 0..20 {
            output.line(Stream::Out, vec![b'x'; CAPACITY / 10]);
        }
        assert!(output.dropped() >= 9, "{}", output.dropped());
        for _ in 0..11 {
            permit.send(()).unwrap();
        }
        assert_eq!(written.recv().unwrap().len(), CAPACITY / 10);
    }

    #[test]
    fn lines_arrive_in_order() {
        let (output, permit, written) = slow();
        output.line(Stream::Out, b"one\n".to_vec());
        output.line(Stream::Out, b"two\n".to_vec());
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"one\n");
        assert_eq!(written.recv().unwrap(), b"two\n");
    }
}
