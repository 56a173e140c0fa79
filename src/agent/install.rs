//! The init container's job: puts this binary where the broker container finds it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::broker::classic::{paths, warm_up};

/// The running binary.
const SELF: &str = "/proc/self/exe";

/// Arguments of `tandem install`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// Directory on a volume that the broker container mounts too.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Copies this binary to `<to>/tandem`, and puts the list of a standby's classes beside it. Whatever is
/// there is replaced: after the loss of a node the container runs again on the same volume. The copy is
/// made by the kernel, so it takes no memory of the container's small share.
pub fn install(args: &InstallArgs) -> anyhow::Result<()> {
    let target = args.to.join("tandem");
    copy(Path::new(SELF), &target)
        .with_context(|| format!("cannot install {}", target.display()))?;
    let list = args.to.join(paths::WARM_UP_FILE);
    fs::write(&list, warm_up::CLASSES).with_context(|| format!("cannot write {}", list.display()))
}

fn copy(source: &Path, target: &Path) -> io::Result<()> {
    // A file that is executed cannot be written, but it can be replaced.
    let scratch = target.with_extension("new");
    drop(fs::remove_file(&scratch));
    fs::copy(source, &scratch)?;
    fs::set_permissions(&scratch, Permissions::from_mode(0o555))?;
    File::open(&scratch)?.sync_all()?;
    fs::rename(&scratch, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_the_same_and_executable_by_anybody() {
        let directory = tempfile::tempdir().unwrap();
        let (source, target) = (directory.path().join("a"), directory.path().join("tandem"));
        fs::write(&source, "first").unwrap();
        copy(&source, &target).unwrap();
        fs::write(&source, "second").unwrap();
        copy(&source, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o555);
    }
}
