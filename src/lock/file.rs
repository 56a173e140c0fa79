//! The POSIX record lock of `ActiveMQ` Classic's `SharedFileLocker` (`<kahadb>/lock`).
//!
//! `F_GETLK` on a read-only descriptor tells held or free without disturbing anything; whose the
//! lock is, the kernel shows in the holder's `/proc/<pid>/fdinfo`, except on FUSE. `F_SETLK` is never
//! used: it would take the lock for a moment, and a standby that tries just then would lose its turn.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{AtFlags, StatxFlags, makedev, statx};

use crate::broker::report::LockView;
use crate::lock::{FileIdentity, Observation, Probe, fs_type};

/// Looks at one lock file.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    /// Where the child's lock was last found: a broker has hundreds of descriptors.
    found: Option<(i32, String)>,
}

impl FileLock {
    /// The lock file may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), found: None }
    }

    fn try_look(&mut self, child: Option<i32>) -> io::Result<Observation> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let local = fs_type::is_local(&self.path)?;
                return Ok(Observation { view: LockView::Free, file: None, local, error: None });
            }
            Err(error) => return Err(error),
        };
        let identity = identity(&file)?;
        let local = fs_type::is_local(&self.path)?;
        let holder = holder(&file)?;
        let mut error = None;
        let view = match (holder, child) {
            (None, _) => LockView::Free,
            (Some(pid), Some(child)) if pid == child => {
                if self.child_has_lock(child, identity.inode) || fs_type::hides_locks(&self.path)? {
                    LockView::Mine(fs_type::evidence(local))
                } else {
                    error = Some(format!("process {child} is said to hold the lock, but does not"));
                    LockView::Unknown
                }
            }
            // 0: another process number namespace or machine; less: a remote holder.
            (Some(_), _) => LockView::Other,
        };
        Ok(Observation { view, file: Some(identity), local, error })
    }

    fn child_has_lock(&mut self, child: i32, inode: u64) -> bool {
        let directory = PathBuf::from(format!("/proc/{child}/fdinfo"));
        if let Some((pid, name)) = &self.found
            && *pid == child
            && shows_lock(&directory.join(name), inode)
        {
            return true;
        }
        self.found = find_lock(&directory, inode).map(|name| (child, name));
        self.found.is_some()
    }
}

impl Probe for FileLock {
    fn look(&mut self, child: Option<i32>) -> Observation {
        self.try_look(child).unwrap_or_else(|error| Observation {
            view: LockView::Unknown,
            file: None,
            local: false,
            error: Some(format!("cannot look at lock file {}: {error}", self.path.display())),
        })
    }
}

/// Asked of the server each time: attributes that a client has cached say nothing of what others do, nor
/// whether the server is there (statx(2), `AT_STATX_FORCE_SYNC`).
fn identity(file: &File) -> io::Result<FileIdentity> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    let data = statx(file, "", flags, StatxFlags::BASIC_STATS)?;
    Ok(FileIdentity {
        device: makedev(data.stx_dev_major, data.stx_dev_minor),
        inode: data.stx_ino,
        modified_seconds: data.stx_mtime.tv_sec,
        modified_nanos: data.stx_mtime.tv_nsec.into(),
    })
}

/// The process that holds a lock on any byte of the file: Java locks byte 0 of a new file, bytes 0
/// to 7 of an old one.
pub(super) fn holder(file: &File) -> io::Result<Option<i32>> {
    let mut lock = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    let held = i32::from(lock.l_type) != libc::F_UNLCK;
    Ok(held.then_some(lock.l_pid))
}

/// Whether somebody else has the lock (fcntl(2) knows two words for it).
pub(super) fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EACCES)
}

fn find_lock(directory: &Path, inode: u64) -> Option<String> {
    fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| shows_lock(&entry.path(), inode))
        .and_then(|entry| entry.file_name().into_string().ok())
}

fn shows_lock(fdinfo: &Path, inode: u64) -> bool {
    fs::read_to_string(fdinfo).is_ok_and(|text| text.lines().any(|line| is_write_lock(line, inode)))
}

/// A line such as `lock: 1: POSIX  ADVISORY  WRITE 4242 fe:01:131075 0 7`. The device is not
/// compared: on btrfs and overlayfs it differs from what stat(2) says.
fn is_write_lock(line: &str, inode: u64) -> bool {
    let Some(rest) = line.strip_prefix("lock:") else { return false };
    let mut words = rest.split_whitespace().skip(1);
    let kind = (words.next(), words.next(), words.next());
    let place = words.nth(1).and_then(|place| place.rsplit(':').next());
    kind == (Some("POSIX"), Some("ADVISORY"), Some("WRITE"))
        && place.and_then(|number| number.parse().ok()) == Some(inode)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
