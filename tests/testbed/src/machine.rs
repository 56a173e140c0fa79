//! What a bed asks of the machine and of the checkout it was built from.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::layout::STATE;

/// Says what is missing before anything is touched.
pub(crate) fn check() -> Result<()> {
    if !cfg!(target_os = "linux") || !nix::unistd::geteuid().is_root() {
        bail!("the test bed needs Linux and root, for namespaces and control groups");
    }
    Ok(())
}

/// The checkout this program was built from: the sources of components and images are there.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `testbed` program: the one given, or this one, or one near it.
pub(crate) fn program(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(program) = given {
        return Ok(program.to_owned());
    }
    let this = std::env::current_exe().context("finding this program's own file")?;
    this.ancestors()
        .take(3)
        .map(|path| path.with_file_name("testbed"))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("there is no `testbed` near {}: run `cargo build -p tandem-testbed` with the same target directory", this.display()))
}

/// One change of beds at a time.
pub(crate) fn lock() -> Result<Flock<File>> {
    loop {
        fs::create_dir_all(STATE).with_context(|| format!("creating {STATE}"))?;
        let directory = File::open(STATE).with_context(|| format!("opening {STATE}"))?;
        let lock = Flock::lock(directory, FlockArg::LockExclusive)
            .map_err(|(_, error)| anyhow!(error).context(format!("locking {STATE}")))?;
        // The last bed takes the directory with it: the lock waited for may be on a removed one.
        let locked = lock.metadata().context("looking at the lock")?.ino();
        if fs::metadata(STATE).is_ok_and(|current| current.ino() == locked) {
            return Ok(lock);
        }
    }
}
