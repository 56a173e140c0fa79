//! Long-running processes of the control plane, which outlive the program that starts them.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cgroup;
use crate::layout::Layout;
use crate::process::Process;

/// The hidden command by which a process marks itself as the bed's before it becomes a program.
pub const START_IN_COMMAND: &str = "start-in";

/// What a started process knows; the caller's environment (a proxy for HTTP, for example) is not
/// for it.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts `command` apart from this program: own session, output in the log of that name, in the
/// control group, recorded under the name.
pub fn start(layout: &Layout, name: &str, cgroup: &str, command: &Command) -> Result<Process> {
    let log = layout.log(name);
    let record = layout.process_record(name);
    for directory in [log.parent(), record.parent()].into_iter().flatten() {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    let child = apart(layout, cgroup, command, &log)?
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let pid = i32::try_from(child.id()).context("a process id out of range")?;
    let Some(process) = Process::find(pid)? else { bail!("{name} ended at once") };
    process.save(&record)?;
    Ok(process)
}

/// Every step becomes the next one and keeps the process id: `setsid` makes a session, this
/// program joins the control group. The process joins by itself, so that it is in the group even
/// if the run that starts it is killed at this moment.
fn apart(layout: &Layout, cgroup: &str, command: &Command, log: &Path) -> Result<Command> {
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;
    let inner = in_group(layout, cgroup, command);
    let mut apart = Command::new("setsid");
    alone(apart.arg(inner.get_program()).args(inner.get_args()))
        .stdin(Stdio::null())
        .stderr(output.try_clone().context("sharing the log file")?)
        .stdout(output);
    Ok(apart)
}

/// The command, to be run in the control group; arguments can be added.
pub fn in_group(layout: &Layout, cgroup: &str, command: &Command) -> Command {
    let mut inner = Command::new(layout.program());
    inner.args([START_IN_COMMAND, cgroup]).arg(command.get_program()).args(command.get_args());
    alone(&mut inner);
    inner
}

/// Nothing of the caller's surroundings is for it.
fn alone(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", SEARCH_PATH).current_dir("/")
}

/// Joins the control group and becomes the program; returns only with an error.
pub fn start_in(cgroup: &str, program: &str, arguments: &[String]) -> Result<()> {
    cgroup::join(cgroup, std::process::id())?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {program}"))
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
