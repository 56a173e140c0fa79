//! The `tandem` binary.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tandem::agent;

#[derive(Parser)]
#[command(version, about = "A Kubernetes operator for HA groups of ActiveMQ brokers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a broker: process 1 of its container.
    Agent(agent::AgentArgs),
    /// Puts this binary on a volume, for the broker container.
    Install(agent::InstallArgs),
    /// The agent's helper process.
    #[command(hide = true)]
    Probe(agent::ProbeArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Agent(args) => agent::main(&args),
        Command::Install(args) => agent::install(&args).map(|()| ExitCode::SUCCESS),
        Command::Probe(args) => agent::probe(&args).map(|()| ExitCode::SUCCESS),
    }
}
