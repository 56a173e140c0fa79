//! Whether there is anything in the way of a broker that is to write a store: rights, or no room.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use thiserror::Error;

/// Bytes that a broker writes as it starts, at most: pages of its index, twice, and the end of its journal.
/// It is killed if it cannot, so a start with less is in vain.
const NEEDED: u64 = 1 << 20;

/// Whether a volume has no room for a broker to start.
///
/// # Errors
/// When the volume does not say.
pub fn is_full(directory: &Path) -> io::Result<bool> {
    let volume = statvfs(directory)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize) < NEEDED)
}

/// A part of the store that this process may not write to.
#[derive(Debug, Error)]
#[error(
    "may not write to {}: give the store to that user, or set spec.pod.securityContext to the user \
     whose it is",
    .0.display()
)]
pub struct NotOurs(PathBuf);

/// Looks at the store's directory and its lock file, as far as they exist. A broker takes a lock file that
/// it cannot open for one that is locked, and waits for ever (`SharedFileLocker`, 6.3.1).
///
/// # Errors
/// [`NotOurs`], or when that cannot be told.
pub fn check(store: &Path) -> io::Result<()> {
    let needs = [
        (store.to_owned(), Access::WRITE_OK | Access::EXEC_OK),
        (store.join("lock"), Access::READ_OK | Access::WRITE_OK),
    ];
    for (path, access) in needs {
        match accessat(CWD, &path, access, AtFlags::EACCESS).map_err(io::Error::from) {
            Ok(()) => {}
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT) => {}
                Some(Errno::EACCES | Errno::EPERM) => return Err(io::Error::other(NotOurs(path))),
                _ => return Err(error),
            },
        }
    }
    Ok(())
}
