//! Progress lines on stderr, with the time each step took.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How often a long step says that it is still going.
const REMINDER: Duration = Duration::from_secs(30);

/// Does the work, printing `name ...` before and `name: 12.3 s` after it; a long step also prints
/// how long it has been going.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{name} ...");
    let started = Instant::now();
    let reminder = Reminder::start(name.to_owned(), started);
    let result = work();
    reminder.stop();
    let outcome = if result.is_ok() { "" } else { " (failed)" };
    eprintln!("{name}: {:.1} s{outcome}", started.elapsed().as_secs_f32());
    result
}

/// A single line about something that takes no time.
pub fn note(text: &str) {
    eprintln!("{text}");
}

struct Reminder {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Reminder {
    fn start(name: String, started: Instant) -> Reminder {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(REMINDER) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name} ... {} s", started.elapsed().as_secs());
            }
        });
        Reminder { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        // The thread only prints; that it panicked (a closed stderr) does not concern the step.
        let _ = self.thread.join();
    }
}
