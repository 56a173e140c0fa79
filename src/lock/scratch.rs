//! Locks on files of the agents' own, to try the volume with. The broker's lock is never tried.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::lock::file::{holder, is_refused};
pub(super) use crate::lock::foreign::open_or_create as create;
use crate::lock::trial::Attempt;

/// Whether the lock on this file was granted.
pub(super) fn lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(errno) if is_refused(errno) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Tries to lock another pod's scratch file; what was granted is given back at once.
pub(super) fn attempt(path: &Path) -> io::Result<Attempt> {
    let file = create(path)?;
    if lock(&file)? {
        fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_UNLCK)))?;
        return Ok(Attempt::Granted);
    }
    Ok(if holder(&file)?.is_some() { Attempt::Refused } else { Attempt::RefusedUnseen })
}

/// Starts a process that locks this file, and waits until it has.
pub(super) fn hold(program: &Path, path: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("hold").arg(path).env_clear();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    if line.is_empty() {
        child.wait()?;
        return Err(io::Error::other(format!("{} could not be locked", path.display())));
    }
    Ok(child)
}

/// The process that [`hold`] starts: locks the file, says so, and waits for its end.
pub fn hold_for_ever(path: &Path) -> io::Result<()> {
    let file = create(path)?;
    if !lock(&file)? {
        return Ok(());
    }
    println!("held");
    loop {
        std::thread::park();
    }
}
