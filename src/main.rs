//! The `tandem` binary: operator, agent, and what brings the agent into broker pods.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tandem::{agent, api::v1alpha1::crd, operator};

/// Tandem runs HA groups of ActiveMQ brokers on Kubernetes.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator: keeps every BrokerCluster as its spec says.
    Operator(operator::OperatorArgs),
    /// Run a broker: process 1 of its container.
    Agent(agent::AgentArgs),
    /// Put this binary on a volume, for the broker's container.
    Install(agent::InstallArgs),
    /// Put the JDBC drivers of an image on a volume, for the broker's container.
    InstallDrivers(agent::InstallDriversArgs),
    /// Print the CustomResourceDefinition as YAML.
    Crd,
    /// The agent's helper process.
    #[command(hide = true)]
    Probe(agent::ProbeArgs),
    /// Locks a file, for a trial of the volume.
    #[command(hide = true)]
    Hold(agent::HoldArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Operator(args) => operator::main(args),
        Command::Agent(args) => agent::main(&args),
        Command::Install(args) => agent::install(&args).map(|()| ExitCode::SUCCESS),
        Command::InstallDrivers(args) => agent::install_drivers(&args).map(|()| ExitCode::SUCCESS),
        Command::Probe(args) => agent::probe(&args).map(|()| ExitCode::SUCCESS),
        Command::Hold(args) => agent::hold(&args).map(|()| ExitCode::SUCCESS),
        Command::Crd => {
            print!("{}", serde_saphyr::to_string(&crd()?)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
