//! `kubectl tandem` against the fake API server with the real operator, and its pages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod krew;
mod operations;
mod pages;
#[path = "../support/mod.rs"]
mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser;
use support::{group::NAMESPACE, world::World};
use tandem::plugin::{Cli, args::Command, commands, gather::Session, screen::Screen};

/// What was written, for the test to read.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came of a command.
struct Outcome {
    /// Standard output.
    out: String,
    /// Progress.
    notes: String,
    /// Why it failed, if it did.
    error: Option<String>,
}

impl Outcome {
    /// The output of a command that must not fail.
    fn expect_ok(self) -> Self {
        assert_eq!(self.error, None, "{}{}", self.out, self.notes);
        self
    }

    fn expect_error(self) -> String {
        self.error.unwrap_or_else(|| panic!("it worked: {}{}", self.out, self.notes))
    }
}

/// Runs a command line while operator and group go on.
async fn run(world: &World, line: &str) -> Outcome {
    let (out, notes) = (Written::default(), Written::default());
    let mut screen = Screen::to(Box::new(out.clone()), Box::new(notes.clone()));
    let words = std::iter::once("kubectl-tandem").chain(line.split(' '));
    let Command::Ask(operation) = Cli::try_parse_from(words).unwrap().command else {
        panic!("{line} asks nothing");
    };
    let session = Session { client: world.api.client(), namespace: NAMESPACE.into() };
    let work = commands::execute(&session, operation, &mut screen);
    let result = tokio::select! {
        // Held by every test that awaits this: it is large.
        result = Box::pin(work) => result,
        () = live(world) => unreachable!("a world never ends"),
    };
    let error = result.err().map(|error| format!("{error:#}"));
    Outcome { out: out.text(), notes: notes.text(), error }
}

/// A pass and a tick, again and again.
async fn live(world: &World) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(result) = world.pass().await {
            result.expect("a pass");
        }
        world.tick();
    }
}
