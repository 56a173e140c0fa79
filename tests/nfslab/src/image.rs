//! The machines' root file system: busybox, modules, the daemons that NFSv3's locks need, and the
//! programs under test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use testbed::cache::{self, Cache};
use testbed::shell;

use crate::archive::Archive;
use crate::kernel::Kernel;

/// Debian's packages with the programs in a machine; the libraries come with them.
pub(crate) const PACKAGES: [&str; 4] =
    ["busybox-static", "ca-certificates", "nfs-common", "rpcbind"];
/// One program for the shell, `ip`, `mount` and so on.
const BUSYBOX: &str = "/bin/busybox";
/// An NFSv3 client takes no lock without them; with what the libraries read.
const DAEMONS: [&str; 3] = ["/usr/sbin/rpcbind", "/usr/sbin/rpc.statd", "/etc/netconfig"];

/// Without any the agent's API client does not start, not even to speak plain HTTP.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the daemons look up: without these they do not start.
const TEXTS: [(&str, &str); 4] = [
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/passwd", "root:x:0:0::/:\n_rpc:x:101:0::/run:\nstatd:x:102:0::/run:\n"),
    ("etc/protocols", "tcp 6 TCP\nudp 17 UDP\n"),
    ("etc/services", "sunrpc 111/tcp portmapper\nsunrpc 111/udp portmapper\n"),
];

/// Writes the root file system. What stays the same is kept in the cache, by its content.
pub(crate) fn write(
    cache: &Cache,
    kernel: &Kernel,
    programs: &[(&str, &Path)],
    to: &Path,
) -> Result<()> {
    let mut files = with_libraries()?;
    files.extend([BUSYBOX, CERTIFICATES].map(PathBuf::from));
    let inputs: Vec<PathBuf> = files.iter().chain(&kernel.modules).cloned().collect();
    let texts = cache::digest_texts(&TEXTS.map(|(_, text)| text));
    let key = format!("nfslab-root-{}-{texts}", cache::digest_files(&inputs)?);
    let base = cache.entry(&key, |path| {
        let bytes = base(kernel, &files)?;
        fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    })?;
    let mut bytes = read(&base)?;
    let mut archive = Archive::default();
    for (name, path) in programs {
        archive.file(&format!("bin/{name}"), &read(path)?);
    }
    bytes.extend(archive.finish());
    fs::write(to, bytes).with_context(|| format!("writing {}", to.display()))
}

fn base(kernel: &Kernel, files: &BTreeSet<PathBuf>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    // Before anything is mounted there, process 1 needs these two.
    archive.device("dev/console", (5, 1));
    archive.device("dev/null", (1, 3));
    for directory in ["proc", "sys", "run", "mnt", "tmp", "var/lib/nfs/sm", "var/lib/nfs/sm.bak"] {
        archive.directory(directory);
    }
    for (path, text) in TEXTS {
        archive.file(path, text.as_bytes());
    }
    for path in files {
        archive.file(path.to_string_lossy().trim_start_matches('/'), &read(path)?);
    }
    for module in &kernel.modules {
        let name = module.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        archive.file(&format!("modules/{name}"), &read(module)?);
    }
    Ok(archive.finish())
}

fn with_libraries() -> Result<BTreeSet<PathBuf>> {
    let mut files: BTreeSet<PathBuf> = DAEMONS.iter().map(PathBuf::from).collect();
    for program in DAEMONS.iter().filter(|path| path.contains("/sbin/")) {
        // Lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)`.
        let text = shell::output(&mut shell::command("ldd", &[program]))?;
        files.extend(text.split_whitespace().filter(|word| word.starts_with('/')).map(Into::into));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
