//! The machines' kernel: Debian's for virtual machines, with the modules that an NFS client needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use testbed::cache::{self, Cache};
use testbed::{packages, progress, shell};

/// Depends on the newest kernel's own package.
const PACKAGE: &str = "linux-image-cloud-amd64";
/// What a machine needs; those that these need are found by themselves.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_net", "virtio_console", "nfsv3", "nfsv4"];

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// What the emulator boots.
    pub image: PathBuf,
    /// The modules, in the order in which they are to be loaded.
    pub modules: Vec<PathBuf>,
}

/// The newest kernel that is known of, fetched once.
pub(crate) fn ensure(cache: &Cache) -> Result<Kernel> {
    newest(cache).or_else(|_| {
        // The lists of packages name one that is no longer offered.
        packages::refresh(cache)?;
        newest(cache)
    })
}

fn newest(cache: &Cache) -> Result<Kernel> {
    let package = packages::depends(PACKAGE)?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{PACKAGE} depends on no kernel"))?;
    let version = packages::file_name(&package)?;
    let entry = cache.entry(&format!("nfslab-kernel-{version}"), |path| {
        progress::step(&format!("fetching {package}"), || pick(&package, path))
    })?;
    let mut modules: Vec<PathBuf> = fs::read_dir(entry.join("modules"))
        .context("listing the kernel's modules")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    modules.sort();
    Ok(Kernel { image: entry.join("vmlinuz"), modules })
}

/// Keeps what is needed of the package, which is not installed.
fn pick(package: &str, path: &Path) -> Result<()> {
    let whole = path.with_extension("whole");
    cache::remove(&whole)?;
    packages::unpack(package, &whole)?;
    let mut found = BTreeMap::new();
    collect(&whole, &mut found)?;
    let modules = path.join("modules");
    fs::create_dir_all(&modules).with_context(|| format!("creating {}", modules.display()))?;
    let mut ordered = Vec::new();
    for name in MODULES {
        add(name, &found, &mut ordered)?;
    }
    for (number, (name, content)) in ordered.iter().enumerate() {
        let to = modules.join(format!("{number:02}-{name}.ko"));
        fs::write(&to, content).with_context(|| format!("writing {}", to.display()))?;
    }
    let Some(image) = found.get("vmlinuz") else { bail!("{package} holds no kernel") };
    fs::copy(image, path.join("vmlinuz")).context("keeping the kernel")?;
    cache::remove(&whole)
}

/// Modules by their name, and the kernel as `vmlinuz`.
fn collect(directory: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            collect(&path, found)?;
        } else if let Some((module, "ko" | "ko.xz")) = name.split_once('.') {
            found.insert(module.to_owned(), path);
        } else if name.starts_with("vmlinuz-") {
            found.insert("vmlinuz".to_owned(), path);
        }
    }
    Ok(())
}

/// Adds the module after those that it needs. What has no file is built into the kernel.
fn add(
    name: &str,
    found: &BTreeMap<String, PathBuf>,
    ordered: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let Some(path) = found.get(name) else { return Ok(()) };
    if ordered.iter().any(|(done, _)| done == name) {
        return Ok(());
    }
    let content = if path.extension().is_some_and(|extension| extension == "xz") {
        let plain = path.with_extension("");
        shell::run(shell::command("xz", &["-dk"]).arg(path))?;
        fs::read(plain)
    } else {
        fs::read(path)
    };
    let content = content.with_context(|| format!("reading module {name}"))?;
    for needed in needs(&content) {
        add(&needed, found, ordered)?;
    }
    ordered.push((name.to_owned(), content));
    Ok(())
}

/// A module says itself what it needs: `depends=a,b` between two zero bytes.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let rest = module.iter().skip(start + KEY.len());
    let text: Vec<u8> = rest.copied().take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_tells_what_it_needs() {
        assert_eq!(needs(b"xx\0depends=nfs,lockd\0name=nfsv3\0"), ["nfs", "lockd"]);
        assert!(needs(b"\0depends=\0").is_empty());
        assert!(needs(b"no module").is_empty());
    }
}
