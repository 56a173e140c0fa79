//! Files of pods that are long gone.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use crate::lock::scratch::{create, lock};

/// Files of pods that have not been heard of for so long are removed.
const FORGOTTEN: Duration = Duration::from_hours(24);

/// Removes what nobody has locked and nobody has written for long. `own` is this pod's uid: closing a file of its
/// own would drop the lock on it.
pub(super) fn remove(directory: &Path, own: &str) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let kind = path.extension().and_then(|kind| kind.to_str());
        let is_own = path.file_stem().is_some_and(|stem| stem == own);
        if !matches!(kind, Some("beat" | "scratch" | "mark")) || is_own {
            continue;
        }
        if is_forgotten(&path).unwrap_or(false)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::debug!("{} is left: {error}", path.display());
        }
    }
}

fn is_forgotten(path: &Path) -> io::Result<bool> {
    let age = path.metadata()?.modified()?.elapsed().unwrap_or_default();
    Ok(age > FORGOTTEN && lock(&create(path)?)?)
}
