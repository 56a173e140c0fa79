//! Whether there is anything in the way of a broker that is to write a store: rights, or no room.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, StatxFlags, accessat, statvfs, statx};
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

/// A part of the store that is mounted from elsewhere.
#[derive(Debug, Error)]
#[error(
    "{} is not on the volume that is mounted at {}: something is mounted over it, and the brokers would each \
     lock a file of their own. Remove that mount",
    .part.display(), .members.display()
)]
pub struct Elsewhere {
    part: PathBuf,
    members: PathBuf,
}

/// Sees that the store and its lock file, as far as they exist, are on the file system and the mount on which the
/// agents try locks.
///
/// # Errors
/// [`Elsewhere`], or when that cannot be told.
pub fn one_mount(members: &Path, store: &Path) -> io::Result<()> {
    let tried = mount_of(members)?;
    for part in [store.to_owned(), store.join("lock")] {
        match mount_of(&part) {
            Ok(place) if place == tried => {}
            Ok(_) => {
                return Err(io::Error::other(Elsewhere { part, members: members.to_owned() }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The device, and the mount where the kernel tells it (Linux 5.8): a directory of the same device that is mounted
/// over another one is another mount.
fn mount_of(path: &Path) -> io::Result<(u32, u32, Option<u64>)> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    let told = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok((found.stx_dev_major, found.stx_dev_minor, told.then_some(found.stx_mnt_id)))
}

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
