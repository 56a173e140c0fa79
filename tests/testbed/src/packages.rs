//! Debian packages with the programs that are not built here.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Cache};
use crate::{progress, shell};

/// What a bed needs.
pub const NEEDED: [&str; 14] = [
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "etcd-server",
    // Its program is the server too; `glusterfs-server` adds only a daemon that manages volumes.
    "glusterfs-client",
    "iproute2",
    // Loaded into a broker whose clock is to be wrong.
    "libfaketime",
    // The server without the service, the account and the data that `mariadb-server` makes.
    "mariadb-client-core",
    "mariadb-server-core",
    "mmdebstrap",
    "nftables",
    "openssl",
    "postgresql",
    "runc",
];

/// Debian asks this program whether a package may start its services.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Made by Tandem's test bed while it installs packages.\nexit 101\n";

/// Installs the packages that are missing. Their services are not started: a bed runs its own.
pub fn ensure(cache: &Cache, packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "this machine has no apt-get: install what these Debian packages hold: {}",
            missing.join(" ")
        );
    }
    let _lock = cache.lock("packages")?;
    progress::step(&format!("installing {}", missing.join(" ")), || {
        let _guard = NoServices::begin()?;
        if install(&missing).is_err() {
            // Package lists may be missing or old.
            apt(&["update"])?;
            install(&missing)?;
        }
        Ok(())
    })
}

/// The names of the packages that the package depends on.
pub fn depends(package: &str) -> Result<Vec<String>> {
    let text = with_lists("apt-cache", &["depends", package])?;
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(names.map(str::to_owned).collect())
}

/// The file name of the package's newest version, without its ending.
pub fn file_name(package: &str) -> Result<String> {
    // 'ADDRESS' NAME SIZE DIGEST
    let text = with_lists("apt-get", &["download", "--print-uris", package])?;
    let name = text.split_whitespace().nth(1).and_then(|name| name.strip_suffix(".deb"));
    Ok(name.with_context(|| format!("no package {package}: {text}"))?.to_owned())
}

/// Fetches a package and puts its files into the directory, without installing it.
pub fn unpack(package: &str, directory: &Path) -> Result<()> {
    let fetched = directory.with_extension("fetched");
    cache::remove(&fetched)?;
    fs::create_dir_all(&fetched).with_context(|| format!("creating {}", fetched.display()))?;
    shell::run(shell::command("apt-get", &["download", package]).current_dir(&fetched))?;
    for file in fs::read_dir(&fetched).context("listing what was fetched")? {
        let mut unpack = shell::command("dpkg-deb", &["--extract"]);
        shell::run(unpack.arg(file?.path()).arg(directory))?;
    }
    cache::remove(&fetched)
}

/// Fetches the lists of packages anew.
pub fn refresh(cache: &Cache) -> Result<()> {
    let _lock = cache.lock("packages")?;
    apt(&["update"])
}

/// What the program tells of packages; the lists of packages may be missing.
fn with_lists(program: &str, arguments: &[&str]) -> Result<String> {
    if let Ok(text) = shell::output(&mut shell::command(program, arguments)) {
        return Ok(text);
    }
    apt(&["update"])?;
    shell::output(&mut shell::command(program, arguments))
}

fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut missing = Vec::new();
    for package in packages {
        let mut query = shell::command("dpkg-query", &["-W", "-f", "${db:Status-Status}", package]);
        // A package never heard of makes the query fail, as does a machine without dpkg.
        if shell::output(&mut query).unwrap_or_default() != "installed" {
            missing.push(*package);
        }
    }
    Ok(missing)
}

fn install(packages: &[&str]) -> Result<()> {
    let options = ["install", "--yes", "--no-install-recommends"];
    apt(&[&options, packages].concat())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut apt = shell::command("apt-get", arguments);
    shell::run(apt.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// While it exists, installing a package starts no service.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn begin() -> Result<NoServices> {
        let path = Path::new(POLICY);
        match fs::read_to_string(path) {
            // A machine may have a policy of its own; one of ours was left by a killed run.
            Ok(text) => return Ok(NoServices { ours: text == POLICY_TEXT }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {POLICY}")),
        }
        fs::write(path, POLICY_TEXT).with_context(|| format!("writing {POLICY}"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {POLICY} executable"))?;
        Ok(NoServices { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("could not remove {POLICY}: {error}");
        }
    }
}
