//! What keeps a pod from beating on its volume, in words.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use crate::broker::report::{StoreProblem, StoreProblemKind};
use crate::lock::owner::{Elsewhere, NotOurs};

/// The problem behind an error that a beat in this directory ended with.
pub(super) fn explain(directory: &Path, error: &io::Error) -> StoreProblem {
    let user = nix::unistd::Uid::effective();
    if let Some(denied) = error.get_ref().and_then(|inner| inner.downcast_ref::<NotOurs>()) {
        let message = format!("user {user} {denied}");
        return StoreProblem { kind: StoreProblemKind::NotWritable, message };
    }
    if let Some(elsewhere) = error.get_ref().and_then(|inner| inner.downcast_ref::<Elsewhere>()) {
        let message = elsewhere.to_string();
        return StoreProblem { kind: StoreProblemKind::DifferentStores, message };
    }
    let place = directory.display();
    let (kind, what) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EROFS) => (StoreProblemKind::ReadOnly, "the volume is read-only".to_owned()),
        Some(Errno::EACCES | Errno::EPERM) => (
            StoreProblemKind::NotWritable,
            format!(
                "user {user} may not write to the volume: most ReadWriteMany volumes ignore \
                 fsGroup; give the volume's directory to that user, or set \
                 spec.pod.securityContext"
            ),
        ),
        Some(Errno::ENOSPC | Errno::EDQUOT) => {
            (StoreProblemKind::Full, "the volume is full: make it larger".to_owned())
        }
        Some(Errno::ENOLCK | Errno::ENOTSUP | Errno::ENOSYS | Errno::EINVAL) => (
            StoreProblemKind::LocksUnsupported,
            "the volume's file system grants no locks (fcntl)".to_owned(),
        ),
        _ => (StoreProblemKind::Failed, "the volume does not work".to_owned()),
    };
    StoreProblem { kind, message: format!("{what} ({place}: {error})") }
}
