//! The `tandem` binary: operator, agent, and what brings the agent into broker pods.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tandem::operator;

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
    /// Print the CustomResourceDefinition as YAML.
    Crd,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Operator(args) => operator::main(args),
        Command::Crd => {
            print!("{}", serde_saphyr::to_string(&tandem::api::v1alpha1::crd()?)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
