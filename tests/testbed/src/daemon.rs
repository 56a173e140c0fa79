//! Long-running processes of the control plane, which outlive the program that starts them.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cgroup;
use crate::layout::Layout;
use crate::process::Process;
use crate::shell;

/// Starts `command` apart from this program: own session, output in the log of that name, in the
/// control group, recorded under the name.
pub fn start(layout: &Layout, name: &str, cgroup: &str, command: &Command) -> Result<Process> {
    let log = layout.log(name);
    let record = layout.process_record(name);
    for directory in [log.parent(), record.parent()].into_iter().flatten() {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    let mut apart = apart(command, &log)?;
    let child = apart.spawn().with_context(|| format!("starting {name}"))?;
    let pid = i32::try_from(child.id()).context("a process id out of range")?;
    let Some(process) = Process::find(pid)? else { bail!("{name} ended at once") };
    process.save(&record)?;
    cgroup::join(cgroup, child.id()).with_context(|| {
        format!("{name} ended at once; see {}{}", log.display(), shell::log_tail(&log))
    })?;
    Ok(process)
}

/// `setsid` makes a session and then becomes the program, keeping the process id.
fn apart(command: &Command, log: &Path) -> Result<Command> {
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;
    let mut apart = Command::new("setsid");
    apart.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            apart.env(name, value);
        }
    }
    apart
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(output.try_clone().context("sharing the log file")?)
        .stdout(output);
    Ok(apart)
}

/// The recorded process of that name, if it has not ended.
pub fn running(layout: &Layout, name: &str) -> Result<Option<Process>> {
    Process::load(&layout.process_record(name))
}

/// Asks the process of that name to end, and ends it if it does not; it need not run.
pub fn stop(layout: &Layout, name: &str) -> Result<()> {
    if let Some(process) = running(layout, name)? {
        process.terminate(Duration::from_secs(3)).with_context(|| format!("stopping {name}"))?;
    }
    crate::cache::remove(&layout.process_record(name))
}
