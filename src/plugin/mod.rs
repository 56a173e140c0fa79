//! `kubectl tandem`: what people ask of a group, and what they are told.
//!
//! Requests are fields and annotations of the `BrokerCluster`, nothing else: the operator carries them out,
//! and the plugin waits for what the status says about them. It reads objects as plain JSON, so it gets
//! along with the status of a newer operator.
//!
//! `gather` and `commands` do the input and output; `cluster`, `requests`, `goal`, `redact` and `render`
//! are pure.

pub mod args;
pub mod cluster;
pub mod commands;
pub mod gather;
pub mod goal;
pub mod redact;
pub mod render;
pub mod requests;
pub mod screen;

use std::{io, process::ExitCode};

use clap::Parser;

pub use args::Cli;

/// Runs the plugin with the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut screen = screen::Screen::of_process(cli.connection.no_color);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(commands::run(cli, &mut screen)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // As with `| head`: whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            screen.complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
