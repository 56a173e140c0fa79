//! What files are called. Clients name them by an id of 16 bytes; the server keeps a hard link to
//! each file under its id (`.glusterfs/AB/CD/ABCD...`).

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::storage::witness::rpc::FileId;

/// Looks names up in the server's directory, once for each file.
pub(super) struct Names {
    brick: PathBuf,
    known: HashMap<FileId, String>,
}

impl Names {
    pub(super) fn new(brick: PathBuf) -> Self {
        Self { brick, known: HashMap::new() }
    }

    /// The file's path from the top of the volume; its id if it has none any more.
    pub(super) fn of(&mut self, file: &FileId) -> String {
        if let Some(name) = self.known.get(file) {
            return name.clone();
        }
        let id = in_words(file);
        let link = self.brick.join(".glusterfs").join(&id[..2]).join(&id[2..4]).join(&id);
        let found = fs::symlink_metadata(link).ok().and_then(|data| {
            let path = find(&self.brick, data.ino())?;
            Some(path.strip_prefix(&self.brick).ok()?.display().to_string())
        });
        let Some(name) = found else { return id };
        self.known.insert(*file, name.clone());
        name
    }
}

fn in_words(file: &FileId) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    [&file[..4], &file[4..6], &file[6..8], &file[8..10], &file[10..]].map(hex).join("-")
}

fn find(directory: &Path, inode: u64) -> Option<PathBuf> {
    for entry in fs::read_dir(directory).ok()?.flatten() {
        if entry.file_name() == ".glusterfs" {
            continue;
        }
        let path = entry.path();
        let Ok(data) = fs::symlink_metadata(&path) else { continue };
        if data.ino() == inode {
            return Some(path);
        }
        if data.is_dir()
            && let Some(found) = find(&path, inode)
        {
            return Some(found);
        }
    }
    None
}
