//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::core::Duration as GoDuration;

/// Look at, and operate, HA groups of ActiveMQ brokers that Tandem runs.
///
/// The plugin works with your kubeconfig and your rights. It changes nothing by itself: it writes
/// fields and annotations of a BrokerCluster, the operator carries them out, and the plugin waits
/// for what the status says about them. NAME may be left out where the namespace has exactly one
/// BrokerCluster.
#[derive(Parser, Debug)]
#[command(
    verbatim_doc_comment,
    name = "kubectl-tandem",
    bin_name = "kubectl tandem",
    version,
    after_help = "Examples:
  kubectl tandem status orders -n shop        # one page on a group
  kubectl tandem switchover orders            # another pod becomes master
  kubectl tandem lock orders                  # who holds the lock, and how that is known
  kubectl tandem report orders                # a support bundle"
)]
pub struct Cli {
    /// Which cluster, which namespace.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const FENCE: &str =
    "The pods stay, so that you can look into them; their brokers take no part in elections. A master is
switched over first, and stays master as long as no other pod waits for the lock.

Examples:
  kubectl tandem fence orders-1
  kubectl exec orders-1 -c broker -- ls -l /store/kahadb
  kubectl tandem unfence orders-1";

/// Which cluster, which namespace.
#[derive(Args, Clone, Debug, Default)]
pub struct Connection {
    /// The namespace. Default: that of the context
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig. Default: the current one
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The kubeconfig. Default: $KUBECONFIG, or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// No colours. The variable `NO_COLOR` does the same
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Something that asks the API server.
    #[command(flatten)]
    Ask(Operation),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Completes a command line for kubectl.
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

/// What asks the API server.
#[derive(Subcommand, Debug)]
pub enum Operation {
    /// Show a group on one page: master, standbys, lock, record, clients' addresses, conditions
    Status(StatusArgs),
    /// Make another pod master, and wait until it is
    Switchover(SwitchoverArgs),
    /// Keep the brokers of pods down, to look into them while another one serves
    #[command(after_help = FENCE)]
    Fence(FenceArgs),
    /// Let the brokers of fenced pods run again
    #[command(after_help = "Example:\n  kubectl tandem unfence orders-1")]
    Unfence(FenceArgs),
    /// Have the operator change nothing; failover goes on working
    #[command(after_help = "Example:\n  kubectl tandem pause orders")]
    Pause(EditArgs),
    /// Have the operator go on
    #[command(after_help = "Example:\n  kubectl tandem resume orders")]
    Resume(EditArgs),
    /// Stop all brokers of a group and keep its store
    Hibernate(HibernateArgs),
    /// Start the brokers of a hibernated group
    #[command(after_help = "Example:\n  kubectl tandem wake orders")]
    Wake(EditArgs),
    /// Restart all brokers, standbys first, then one switchover
    #[command(after_help = "Pods are replaced as after a change of the spec.\n\nExample:\n  \
                            kubectl tandem restart orders")]
    Restart(EditArgs),
    /// Show who holds the lock, and by which evidence
    Lock(LockArgs),
    /// Show the logs of the brokers, each line with its pod and role
    Logs(LogsArgs),
    /// Write a support bundle, without Secrets
    Report(ReportArgs),
    /// Show the versions of plugin, operator and agents
    Version(VersionArgs),
}

/// Of `status`.
#[derive(Args, Debug, Default)]
#[command(after_help = "With -o, the output is an object with
  brokerCluster  the BrokerCluster as the API server has it (its API is stable, see kubectl explain)
  record         the promotion record: epoch, master, since, leadsTo (pod and address), agrees with the
                 status or not; null if there is none, or it could not be read
  unread         what could not be read, and why

Examples:
  kubectl tandem status                       # the only group of the namespace
  kubectl tandem status orders -n shop --watch
  kubectl tandem status orders -o json | jq .brokerCluster.status.master.pod")]
pub struct StatusArgs {
    /// The BrokerCluster
    pub name: Option<String>,
    /// As data
    #[arg(short, long, value_enum, conflicts_with = "watch")]
    pub output: Option<Output>,
    /// Show it again whenever it changes; in a pipe, one page after the other
    #[arg(short, long)]
    pub watch: bool,
}

/// Machine-readable forms.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How long to wait for what was asked.
#[derive(Args, Clone, Debug)]
pub struct Waiting {
    /// How long to wait, such as 90s or 5m. What was asked stands also after that
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Ask, and do not wait
    #[arg(long)]
    pub no_wait: bool,
}

/// Of `switchover`.
#[derive(Args, Debug)]
#[command(
    after_help = "The exit code is 0 when another pod is master, and 1 when the request was refused or handed back, or
when nothing is known after --timeout (60s). A refused request is not carried out later.

Examples:
  kubectl tandem switchover orders
  kubectl tandem switchover orders --to orders-1"
)]
pub struct SwitchoverArgs {
    /// The BrokerCluster
    pub name: Option<String>,
    /// The pod that shall be master; without it, any standby
    #[arg(long, value_name = "POD")]
    pub to: Option<String>,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Of `fence` and `unfence`.
#[derive(Args, Debug)]
pub struct FenceArgs {
    /// The pods, of one group
    #[arg(required = true, value_name = "POD")]
    pub pods: Vec<String>,
    /// How long to wait (10m).
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Of `pause`, `resume`, `wake` and `restart`.
#[derive(Args, Debug)]
pub struct EditArgs {
    /// The BrokerCluster
    pub name: Option<String>,
    /// How long to wait (1m; for wake and restart 10m).
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Of `hibernate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Clients cannot connect until `kubectl tandem wake`. The messages stay in the store.

Examples:
  kubectl tandem hibernate orders
  kubectl tandem hibernate orders --yes       # in a script"
)]
pub struct HibernateArgs {
    /// The BrokerCluster
    pub name: Option<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait (10m).
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Of `lock`.
#[derive(Args, Debug)]
#[command(
    after_help = "The agents' reports are read through the API server, which takes the right `get` on `pods/proxy`, and a
network in which it reaches the pods.

Example:
  kubectl tandem lock orders"
)]
pub struct LockArgs {
    /// The BrokerCluster
    pub name: Option<String>,
}

/// Of `logs`.
#[derive(Args, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "Examples:
  kubectl tandem logs orders --since 10m
  kubectl tandem logs orders -f               # goes on over failovers and new pods
  kubectl tandem logs orders --master --tail 100
  kubectl tandem logs orders --pod orders-0 --previous")]
pub struct LogsArgs {
    /// The BrokerCluster
    pub name: Option<String>,
    /// Only of the master
    #[arg(long, conflicts_with_all = ["standby", "pod"])]
    pub master: bool,
    /// Only of standbys
    #[arg(long, conflicts_with = "pod")]
    pub standby: bool,
    /// Only of this pod
    #[arg(long, value_name = "POD")]
    pub pod: Option<String>,
    /// Go on with what is logged from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only what was logged in this time, such as 90s or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only the last lines of each pod
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Of the container before the present one
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
}

/// Of `report`.
#[derive(Args, Debug)]
#[command(
    after_help = "The bundle holds the BrokerCluster, its children, pods, nodes, Events, the agents' reports and the end of
the logs. It holds no Secret; values of environment variables, and whatever follows the word \"password\",
are taken out. What could not be read is listed in it.

Examples:
  kubectl tandem report orders
  kubectl tandem report orders -f incident-42.tar.gz --log-lines 10000"
)]
pub struct ReportArgs {
    /// The BrokerCluster
    pub name: Option<String>,
    /// The file. Default: tandem-report-NAMESPACE-NAME-TIME.tar.gz
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write over a file that exists
    #[arg(long)]
    pub force: bool,
    /// How many lines of each log
    #[arg(long, value_name = "LINES", default_value_t = 2000)]
    pub log_lines: u32,
    /// The operator's namespace. Default: looked for in all namespaces
    #[arg(long, value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,
}

/// Of `completion`.
#[derive(Args, Debug)]
#[command(
    after_help = "For `kubectl tandem <TAB>`, kubectl (1.26 and newer, with its own completion set up) runs a program
named kubectl_complete-tandem. Put it beside kubectl-tandem, as an executable file with these lines:

  #!/bin/sh
  exec kubectl-tandem __complete \"$@\"

For `kubectl-tandem <TAB>`:

  source <(kubectl-tandem completion bash)                                  # bash
  kubectl-tandem completion zsh > \"${fpath[1]}/_kubectl-tandem\"             # zsh
  kubectl-tandem completion fish > ~/.config/fish/completions/kubectl-tandem.fish"
)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells for which there are scripts.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Of `version`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl tandem version
  kubectl tandem version --operator-namespace tandem-system   # without rights in all namespaces")]
pub struct VersionArgs {
    /// The operator's namespace. Default: looked for in all namespaces
    #[arg(long, value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,
}

/// Of `__complete`.
#[derive(Args, Debug)]
pub struct CompleteArgs {
    /// The words so far, the last one unfinished.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// As kubectl takes them: `90s`, `5m`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let example = || format!("{text:?} is no duration: write it as 90s, 5m or 1h30m");
    let parsed: GoDuration = text.parse().map_err(|_| example())?;
    let parsed = Duration::from(parsed);
    if parsed.is_zero() || text.starts_with('-') { Err(example()) } else { Ok(parsed) }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
