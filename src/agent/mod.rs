//! The agent: PID 1 of the broker container.
//!
//! ```text
//! signals, lock looks, greetings, log lines, child, record, deadlines
//!                |
//!             Event ---> Input ---> machine::step ---> Act ---> child, record, deadlines
//! ```
//!
//! [`machine`] decides and does nothing; everything else in here does and decides nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;

use crate::broker::settings::{AGENT_PORT, AgentSettings, SETTINGS_FILE, SETTINGS_SCHEMA};
use crate::telemetry::output::Output;
use crate::telemetry::tracing::{LogFormat, init_to};

mod acts;
mod api;
pub mod asked;
mod child;
mod credentials;
mod database_acts;
mod driver;
mod ending;
mod event;
mod greeter;
mod helper;
mod install;
mod install_drivers;
mod lease_watch;
mod lock_watch;
pub mod machine;
pub mod motion;
mod peers;
mod pod;
mod preflight;
mod prepare;
mod probe;
mod promote;
mod proof;
mod reap;
mod record;
mod run;
mod serve;
mod signs;
mod sources;
mod start;
mod store_gate;
mod timers;
pub mod timing;
mod view;
mod volume_acts;
mod volume_watch;
mod watch;

pub use install::{InstallArgs, install};
pub use install_drivers::{InstallDriversArgs, install_drivers};
pub use probe::{HoldArgs, ProbeArgs, hold, probe};

/// How long the last log lines may take.
const FLUSH: std::time::Duration = std::time::Duration::from_millis(200);

/// Arguments of `tandem agent`.
#[derive(Args, Clone, Debug)]
pub struct AgentArgs {
    /// Directory with agent.json, as mounted from the group's `ConfigMap`.
    #[arg(long, default_value = "/etc/tandem", value_name = "DIR")]
    pub config: PathBuf,
    /// Format of the agent's own log; the broker's lines are passed on as they are.
    #[arg(long, value_enum, default_value_t, env = "TANDEM_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What the agent logs, such as `info` or `tandem=debug`. The API client is kept silent: what it
    /// would repeat with each attempt, the agent says once.
    #[arg(long, default_value = "info,kube_client=off", env = "TANDEM_LOG")]
    pub log: String,
    /// Port of /livez, /readyz, /v1/report and /metrics.
    #[arg(long, default_value_t = AGENT_PORT)]
    pub port: u16,
    /// For tests: run as another process than PID 1.
    #[arg(long, hide = true)]
    pub allow_any_pid: bool,
}

/// Runs the agent until it is told to end.
pub fn main(args: &AgentArgs) -> anyhow::Result<ExitCode> {
    check_pid(args.allow_any_pid)?;
    let output = Output::start().context("cannot start the output thread")?;
    init_to(args.log_format, &args.log, output.clone())?;
    let outcome = start(args, output.clone());
    if let Err(error) = &outcome {
        tracing::error!("{error:#}");
    }
    output.flush(FLUSH);
    outcome.map(|()| ExitCode::SUCCESS)
}

fn start(args: &AgentArgs, output: Output) -> anyhow::Result<()> {
    let settings = read_settings(&args.config)?;
    let pod = pod::from_env()?;
    // One thread is enough, and its memory is taken from the broker's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run::run(settings, pod, args.port, output))
}

/// Only PID 1's end surely ends the broker: then "the container is gone" implies "the JVM is gone".
fn check_pid(allow_any: bool) -> anyhow::Result<()> {
    if allow_any {
        nix::sys::prctl::set_child_subreaper(true)?;
        return Ok(());
    }
    ensure!(
        std::process::id() == 1,
        "tandem agent must be process 1 of its container: make it the container's command, and do \
         not set shareProcessNamespace"
    );
    Ok(())
}

fn read_settings(directory: &std::path::Path) -> anyhow::Result<AgentSettings> {
    let path = directory.join(SETTINGS_FILE);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let settings: Value =
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    // First of all: another version's fields would only be called unknown.
    let schema = settings.get("schema").and_then(Value::as_u64);
    ensure!(
        schema == Some(SETTINGS_SCHEMA.into()),
        "{} has schema {schema:?}, and this agent knows schema {SETTINGS_SCHEMA}: operator and \
         agent differ in version",
        path.display(),
    );
    serde_json::from_value(settings).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_another_version_are_refused_by_their_version() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(SETTINGS_FILE);
        for (text, reason) in [
            (r#"{"schema": 2, "novelty": true}"#, "schema Some(2)"),
            (r#"{"schema": 1, "novelty": true}"#, "unknown field `novelty`"),
            ("{", "EOF"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read_settings(directory.path()).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }
}
