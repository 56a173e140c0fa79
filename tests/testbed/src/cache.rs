//! A directory outside the checkout for what is made once and used often.
//!
//! An entry is made under another name and renamed when it is complete, so an entry that exists is
//! whole. A file lock per entry keeps two runs from making the same thing at once.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

/// The directory of things made once.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache at `$TANDEM_CACHE`, else `$XDG_CACHE_HOME/tandem-testbed`, else
    /// `~/.cache/tandem-testbed`.
    pub fn open() -> Result<Cache> {
        let under = |name: &str, rest: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(|at| PathBuf::from(at).join(rest))
        };
        under("TANDEM_CACHE", "")
            .or_else(|| under("XDG_CACHE_HOME", "tandem-testbed"))
            .or_else(|| under("HOME", ".cache/tandem-testbed"))
            .map(Cache::at)
            .ok_or_else(|| anyhow!("set TANDEM_CACHE: neither it nor HOME names a directory"))
    }

    /// The cache in this directory.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the entry `key`, made by `make` if it is not there yet. `make` gets the path to
    /// create, as a file or as a directory; a failed or interrupted attempt leaves no entry.
    /// Keys carry the version of what they name, for example `kubernetes-1.34.4-3f2a`.
    pub fn entry(&self, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.root.join(key);
        if path.exists() {
            return Ok(path);
        }
        let _lock = self.lock(key)?;
        if path.exists() {
            return Ok(path);
        }
        // Whoever left this behind is gone: the lock is ours.
        let unfinished = self.root.join(format!("{key}.unfinished"));
        remove(&unfinished)?;
        make(&unfinished).with_context(|| format!("making {key} for the cache"))?;
        fs::rename(&unfinished, &path)
            .with_context(|| format!("moving {} into place", unfinished.display()))?;
        Ok(path)
    }

    /// Waits for the exclusive right to change the entry `key`, held until the lock is dropped or
    /// this process ends.
    pub fn lock(&self, key: &str) -> Result<Flock<File>> {
        let directory = self.root.join("locks");
        fs::create_dir_all(&directory).with_context(|| {
            format!("creating the cache {} (set TANDEM_CACHE for another)", self.root.display())
        })?;
        let path = directory.join(key);
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(lock),
            Err((file, _)) => {
                eprintln!("waiting for another run that is making {key} ...");
                Flock::lock(file, FlockArg::LockExclusive)
                    .map_err(|(_, error)| anyhow!(error).context(format!("locking {key}")))
            }
        }
    }
}

/// A short hexadecimal digest of files' contents, to tell versions of an entry apart.
pub fn digest_files<P: AsRef<Path>>(files: &[P]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files.iter().map(AsRef::as_ref) {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(short(hash))
}

/// A short hexadecimal digest of texts, to tell versions of an entry apart.
pub fn digest_texts<T: AsRef<[u8]>>(texts: &[T]) -> String {
    let mut hash = Sha256::new();
    for text in texts.iter().map(AsRef::as_ref) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    short(hash)
}

fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a file or directory tree; it need not exist.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Cache {
        let root = env::temp_dir().join(format!("tandem-cache-{name}-{}", std::process::id()));
        remove(&root).unwrap();
        Cache::at(root)
    }

    #[test]
    fn an_entry_is_made_once() {
        let cache = scratch("once");
        let mut made = 0;
        for _ in 0..2 {
            let path = cache
                .entry("thing-1", |path| {
                    made += 1;
                    Ok(fs::write(path, "x")?)
                })
                .unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), "x");
        }
        assert_eq!(made, 1);
        remove(cache.root()).unwrap();
    }

    #[test]
    fn a_failed_attempt_leaves_no_entry() {
        let cache = scratch("failed");
        let failing = cache.entry("thing-1", |path| {
            fs::create_dir_all(path)?;
            Err(anyhow!("no"))
        });
        assert!(failing.is_err());
        let path = cache.entry("thing-1", |path| Ok(fs::create_dir(path)?)).unwrap();
        assert!(path.is_dir());
        remove(cache.root()).unwrap();
    }

    #[test]
    fn digests_tell_where_a_text_ends() {
        assert_ne!(digest_texts(&["ab", "c"]), digest_texts(&["a", "bc"]));
    }
}
