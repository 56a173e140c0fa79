//! The test bed's command.

mod database_command;
mod storage_command;

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use database_command::DatabaseAction;
use storage_command::StorageAction;
use testbed::layout::{Layout, Role};
use testbed::{Bed, COMPONENTS, Component, DEFAULT_NAME, From, Options, State};

/// A real Kubernetes on this machine, for Tandem's end-to-end tests.
///
/// Everything runs in network, mount and process namespaces made for it; the machine's own network
/// is not touched. Needs Linux and root. What takes long to make is kept in $TANDEM_CACHE, else
/// $XDG_CACHE_HOME/tandem-testbed, else ~/.cache/tandem-testbed.
#[derive(Parser)]
#[command(name = "testbed", version)]
struct Arguments {
    /// The bed's name: beds of different names stand side by side.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring the bed into its normal state, whatever state it is in: install missing packages,
    /// build what is not in the cache, start what does not run, power on, thaw, heal.
    Up {
        /// How many nodes, fixed when the bed is made [default: those it has; 2 for a new one].
        #[arg(long)]
        nodes: Option<u8>,
        /// The operator's static binary, for its image.
        #[arg(long, value_name = "PATH")]
        tandem: Option<PathBuf>,
    },
    /// Take the bed down and leave nothing of it; also what a killed run left.
    Down,
    /// Show what runs, what is frozen, off or cut off.
    Status,
    /// Run kubectl as the cluster's administrator.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Passed to kubectl as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run Helm as the cluster's administrator.
    #[command(disable_help_flag = true)]
    Helm {
        /// Passed to Helm as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Power a node off or on, cut it off or heal it.
    #[command(subcommand)]
    Node(NodeAction),
    /// Stop, start, freeze or thaw a part of the control plane.
    #[command(subcommand)]
    Component(ComponentAction),
    /// Make, stop, start, freeze, thaw or cut off a database server.
    #[command(subcommand)]
    Database(DatabaseAction),
    /// Make, stop, start, freeze, thaw, fill or cut off a storage server.
    #[command(subcommand)]
    Storage(StorageAction),
    /// Make what is missing of the images and import them on every node that is on.
    Images {
        /// The operator's static binary, for its image.
        #[arg(long, value_name = "PATH")]
        tandem: Option<PathBuf>,
    },
    /// What a node's first process is.
    #[command(name = testbed::INIT_COMMAND, hide = true)]
    NodeInit { number: u8 },
    /// What watches a storage server.
    #[command(name = testbed::WITNESS_COMMAND, hide = true)]
    StorageWitness { number: u8 },
    /// How a process of the control plane or a node's outer process starts.
    #[command(name = testbed::START_IN_COMMAND, hide = true)]
    StartIn {
        cgroup: String,
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Subcommand)]
enum NodeAction {
    /// Take the node's power: its network goes dead, then everything on it ends at once.
    PowerOff { number: u8 },
    /// Give the node its power back; it starts with the disk it had.
    PowerOn { number: u8 },
    /// Drop the node's packets, its pods' included, until it is healed.
    Cut {
        number: u8,
        /// What to cut it off from.
        #[arg(long, value_enum, default_value = "all")]
        from: From,
    },
    /// Undo every cut.
    Heal { number: u8 },
}

#[derive(Subcommand)]
enum ComponentAction {
    /// End the component.
    Stop { component: Component },
    /// Start the component and wait until it serves.
    Start { component: Component },
    /// Stop the component's process in its tracks; its connections stay open.
    Freeze { component: Component },
    /// Let a frozen component go on.
    Thaw { component: Component },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { name, action }: Arguments) -> Result<()> {
    match action {
        Action::Up { nodes, tandem } => {
            Bed::up(&Options { name, nodes, tandem, ..Options::default() }).map(|_| ())
        }
        Action::Down => Bed::remove(&name),
        Action::Status => {
            print!("{}", status(&Bed::open(&name)?)?);
            Ok(())
        }
        Action::Kubectl { arguments } => become_it(Bed::open(&name)?.kubectl_command(), arguments),
        Action::Helm { arguments } => become_it(Bed::open(&name)?.helm_command(), arguments),
        Action::Node(action) => change_node(&Bed::open(&name)?, &action),
        Action::Component(action) => change_component(&Bed::open(&name)?, &action),
        Action::Database(action) => database_command::carry_out(&Bed::open(&name)?, action),
        Action::Storage(action) => storage_command::carry_out(&Bed::open(&name)?, action),
        Action::Images { tandem } => {
            for image in Bed::open(&name)?.refresh_images(tandem.as_deref())? {
                println!("{}", image.name);
            }
            Ok(())
        }
        Action::NodeInit { number } => testbed::run_node(&Layout::new(&name)?.node(number)),
        Action::StorageWitness { number } => {
            testbed::run_witness(&Layout::new(&name)?.server(Role::Storage, number))
        }
        Action::StartIn { cgroup, program, arguments } => {
            testbed::start_in(&cgroup, &program, &arguments)
        }
    }
}

/// Replaces this process, so that input, output and exit status are the program's own.
fn become_it(mut command: Command, arguments: Vec<String>) -> Result<()> {
    let error = command.args(arguments).exec();
    Err(error).context("starting nsenter")
}

fn change_node(bed: &Bed, action: &NodeAction) -> Result<()> {
    match *action {
        NodeAction::PowerOff { number } => bed.node(number)?.power_off(),
        NodeAction::PowerOn { number } => bed.node(number)?.power_on(),
        NodeAction::Cut { number, from } => bed.node(number)?.cut(from),
        NodeAction::Heal { number } => bed.node(number)?.heal(),
    }
}

fn change_component(bed: &Bed, action: &ComponentAction) -> Result<()> {
    match *action {
        ComponentAction::Stop { component } => bed.component(component).stop(),
        ComponentAction::Start { component } => bed.component(component).start(),
        ComponentAction::Freeze { component } => bed.component(component).freeze(),
        ComponentAction::Thaw { component } => bed.component(component).thaw(),
    }
}

fn status(bed: &Bed) -> Result<String> {
    let mut text = format!("bed {}\n", bed.name());
    for component in COMPONENTS {
        let state = in_words(bed.component(component).state()?);
        writeln!(text, "  {:<20}{state}", component.name())?;
    }
    for server in bed.databases()? {
        let state = in_words(server.state()?);
        let cut = if server.is_cut()? { ", cut off" } else { "" };
        let kind = server.kind().name();
        writeln!(text, "  database {:<11}{kind}, {state}{cut}", server.name())?;
    }
    for server in bed.storages()? {
        let state = in_words(server.state()?);
        let cut = if server.is_cut()? { ", cut off" } else { "" };
        writeln!(text, "  storage {:<12}{state}{cut}", server.name())?;
    }
    let ready_nodes = bed.ready_nodes().unwrap_or_default();
    for node in bed.nodes() {
        if !node.is_on()? {
            writeln!(text, "  node {:<15}off", node.name())?;
            continue;
        }
        let ready = if ready_nodes.contains(&node.name()) { "Ready" } else { "not Ready" };
        let cuts: Vec<String> =
            node.cuts()?.iter().map(|from| format!("{from:?}").to_lowercase()).collect();
        let cuts = if cuts.is_empty() {
            String::new()
        } else {
            format!(", cut off from {}", cuts.join(", "))
        };
        writeln!(text, "  node {:<15}on, {ready}{cuts}", node.name())?;
    }
    Ok(text)
}

fn in_words(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Frozen => "frozen",
        State::Gone => "stopped",
    }
}
