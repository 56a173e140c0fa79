//! The init container's job for JDBC drivers: copies jars out of their image to where the broker's
//! container finds them. It runs in the drivers' image, which may hold nothing else.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

/// Arguments of `tandem install-drivers`.
#[derive(Args, Clone, Debug)]
pub struct InstallDriversArgs {
    /// Directory with the jars.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Directory on a volume that the broker container mounts too.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Copies every jar. Jars that are there from an earlier run and not in the image any more go: two
/// versions of a driver would be a matter of luck.
pub fn install_drivers(args: &InstallDriversArgs) -> anyhow::Result<()> {
    let jars = jars(&args.from).with_context(|| {
        format!("cannot read {}: is it the directory with the drivers of this image? It is set by database.driver.path, by default /drivers", args.from.display())
    })?;
    ensure!(
        !jars.is_empty(),
        "there is no *.jar in {} of this image: put the JDBC driver there, or set database.driver.path",
        args.from.display()
    );
    for old in jars_or_none(&args.to) {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    for jar in jars {
        let target = args.to.join(jar.file_name().unwrap_or_default());
        fs::copy(&jar, &target)
            .and_then(|_| fs::set_permissions(&target, Permissions::from_mode(0o444)))
            .with_context(|| format!("cannot copy {} to {}", jar.display(), target.display()))?;
        println!("copied {}", target.display());
    }
    Ok(())
}

fn jars(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut jars = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("jar")) && path.is_file() {
            jars.push(path);
        }
    }
    jars.sort();
    Ok(jars)
}

fn jars_or_none(directory: &Path) -> Vec<PathBuf> {
    jars(directory).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> (tempfile::TempDir, InstallDriversArgs) {
        let directory = tempfile::tempdir().unwrap();
        let args =
            InstallDriversArgs { from: directory.path().join("a"), to: directory.path().join("b") };
        fs::create_dir(&args.from).unwrap();
        fs::create_dir(&args.to).unwrap();
        (directory, args)
    }

    #[test]
    fn jars_are_copied_and_older_ones_go() {
        let (_directory, args) = args();
        for (path, text) in [
            (args.from.join("new.jar"), "new"),
            (args.from.join("LICENSE"), "text"),
            (args.to.join("old.jar"), "old"),
        ] {
            fs::write(path, text).unwrap();
        }
        for _ in 0..2 {
            install_drivers(&args).unwrap();
            assert_eq!(jars(&args.to).unwrap(), [args.to.join("new.jar")]);
            assert_eq!(fs::read_to_string(args.to.join("new.jar")).unwrap(), "new");
            assert!(!args.to.join("LICENSE").exists());
        }
    }

    #[test]
    fn a_missing_directory_and_one_without_jars_are_told() {
        let (_directory, mut args) = args();
        let told = |args: &InstallDriversArgs| format!("{:#}", install_drivers(args).unwrap_err());
        assert!(told(&args).contains("no *.jar"));
        args.from = args.from.join("none");
        assert!(told(&args).contains("database.driver.path"));
    }
}
