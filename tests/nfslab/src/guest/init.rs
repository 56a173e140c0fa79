//! Brings the machine up: file systems, modules, name, network.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::unistd::sethostname;

/// On the kernel's command line; parameters with a dot are nobody else's.
const HOST: &str = "nfslab.host=";
/// What the emulator's user network has for its guest.
const ADDRESS: &str = "10.0.2.15/24";

/// Makes the machine ready for programs.
pub fn run() -> Result<()> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {at}"))?;
    }
    let mut modules: Vec<PathBuf> = fs::read_dir("/modules")
        .context("listing the modules")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    modules.sort();
    modules.iter().try_for_each(|module| load(module))?;
    let line = fs::read_to_string("/proc/cmdline").context("reading the command line")?;
    let host = line.split_whitespace().find_map(|word| word.strip_prefix(HOST));
    sethostname(host.context("a machine without a name")?).context("setting the host name")?;
    for arguments in [
        ["link", "set", "lo", "up", "", ""],
        ["link", "set", "eth0", "up", "", ""],
        ["addr", "add", ADDRESS, "dev", "eth0", ""],
    ] {
        let arguments = arguments.iter().filter(|word| !word.is_empty());
        let status = Command::new("/bin/busybox").arg("ip").args(arguments.clone()).status();
        ensure!(status.context("starting ip")?.success(), "ip {arguments:?} failed");
    }
    Ok(())
}

fn load(module: &Path) -> Result<()> {
    let name = module.display();
    let file = File::open(module).with_context(|| format!("opening {name}"))?;
    finit_module(&file, c"", ModuleInitFlags::empty()).with_context(|| format!("loading {name}"))
}
