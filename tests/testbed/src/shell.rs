//! Running other programs: capture what they print, and say it when they fail.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// How much of a failed program's messages an error repeats.
const TAIL_LINES: usize = 15;

/// A command of a program and its arguments.
pub fn command<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Runs the command to its end and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = captured(command)?;
    if !output.status.success() {
        bail!("{} failed ({}){}", line(command), output.status, said(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the command to its end, showing nothing unless it fails.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

/// Runs the command to its end and tells whether it succeeded; its messages are dropped.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(captured(command)?.status.success())
}

/// Runs the command to its end with everything it prints in the file `log`.
pub fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let errors = file.try_clone().context("sharing the log file")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .with_context(|| format!("starting {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status}); see {}{}", line(command), log.display(), log_tail(log));
    }
    Ok(())
}

/// The last lines of a log file, for an error message; nothing when it cannot be read.
pub fn log_tail(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(bytes) => tail(&bytes),
        Err(_) => String::new(),
    }
}

fn captured(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {} (is it installed?)", line(command)))
}

/// Programs differ in where they explain a failure: stderr first, else stdout.
fn said(output: &Output) -> String {
    let stderr = tail(&output.stderr);
    if stderr.is_empty() { tail(&output.stdout) } else { stderr }
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].iter().map(|line| format!("\n  {line}")).collect()
}

/// The command as one would type it, shortened.
fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    let text = words.join(" ");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_what_the_program_said() {
        let error = run(&mut command("sh", &["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no such thing") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut command("no-such-program", &["x"])).unwrap_err();
        assert!(format!("{error:#}").contains("`no-such-program x`"));
    }

    #[test]
    fn output_is_returned() {
        assert_eq!(output(&mut command("echo", &["one"])).unwrap(), "one\n");
    }
}
