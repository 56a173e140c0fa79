//! The mount that pods have tried and found good: a file beside the store.

use std::io::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::lock::foreign;
use crate::lock::mount::Mount;

/// Notes the mount that pods have tried and found good.
pub(super) fn remember(path: &Path, mount: &Mount) -> io::Result<()> {
    let scratch = path.with_extension("new");
    foreign::create_anew(&scratch)?.write_all(&serde_json::to_vec(mount)?)?;
    fs::rename(scratch, path)
}

/// Whether a mount like this one was found good before.
pub(super) fn remembers(path: &Path, mount: &Mount) -> bool {
    let text = foreign::read(path).ok();
    let known = text.and_then(|text| serde_json::from_str::<Mount>(&text).ok());
    known.is_some_and(|known| known.is_like(mount))
}
