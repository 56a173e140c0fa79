//! Whether the broker's user may write to a store that others have made.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use thiserror::Error;

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
