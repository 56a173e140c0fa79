//! The newest installed JDK, and a runtime image of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::shell;

/// The brokers need this version.
const OLDEST: u32 = 17;
/// Since this version a JDK without its `jmods` can link a runtime from itself.
const LINKS_ITSELF: u32 = 24;

/// What a broker or a client may load: Java SE, and of the JDK what monitors and secures it.
const MODULES: [&str; 12] = [
    "java.se",
    "jdk.crypto.ec",
    "jdk.httpserver",
    "jdk.jcmd",
    "jdk.jfr",
    "jdk.management",
    "jdk.management.agent",
    "jdk.naming.dns",
    "jdk.net",
    "jdk.security.auth",
    "jdk.unsupported",
    "jdk.zipfs",
];

/// An installed JDK.
#[derive(Clone, Debug)]
pub struct Jdk {
    /// Its directory.
    pub home: PathBuf,
    /// Its `release` file: what tells one build from another.
    pub release: String,
}

/// The newest JDK with `jlink`, of `$JAVA_HOME` and those under `/usr/lib/jvm`.
pub fn find() -> Result<Jdk> {
    let mut homes: Vec<PathBuf> = env::var_os("JAVA_HOME").map(PathBuf::from).into_iter().collect();
    if let Ok(entries) = fs::read_dir("/usr/lib/jvm") {
        homes.extend(entries.flatten().map(|entry| entry.path()));
    }
    homes
        .into_iter()
        .filter_map(usable)
        .max_by(|a, b| (&a.0, &a.1.home).cmp(&(&b.0, &b.1.home)))
        .map(|(_, jdk)| jdk)
        .ok_or_else(|| {
            anyhow!("no JDK {OLDEST} or newer with jlink found; install openjdk-17-jdk-headless or set JAVA_HOME")
        })
}

fn usable(home: PathBuf) -> Option<(Vec<u32>, Jdk)> {
    let release = fs::read_to_string(home.join("release")).ok()?;
    let version = version(&release)?;
    let major = *version.first()?;
    let has_modules = home.join("jmods/java.base.jmod").exists() || major >= LINKS_ITSELF;
    let usable = major >= OLDEST && has_modules && home.join("bin/jlink").exists();
    usable.then_some((version, Jdk { home, release }))
}

/// `JAVA_VERSION="17.0.15"` as 17, 0, 15.
fn version(release: &str) -> Option<Vec<u32>> {
    let text = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    let numbers = text.trim_matches('"').split(['.', '-', '+', '_']);
    Some(numbers.map_while(|number| number.parse().ok()).collect())
}

impl Jdk {
    /// Everything the runtime made by [`Jdk::link`] depends on.
    pub fn inputs(&self) -> Vec<&str> {
        let mut inputs = vec![self.release.as_str()];
        inputs.extend(MODULES);
        inputs
    }

    /// Makes a runtime with its archive of preloaded classes in the directory `to`.
    pub fn link(&self, to: &Path) -> Result<()> {
        let known = shell::output(&mut shell::command(self.tool("java"), &["--list-modules"]))?;
        let known: Vec<&str> = known.lines().filter_map(|line| line.split('@').next()).collect();
        let modules: Vec<&str> = MODULES.into_iter().filter(|name| known.contains(name)).collect();
        let mut link = shell::command(
            self.tool("jlink"),
            &["--strip-java-debug-attributes", "--no-header-files", "--no-man-pages"],
        );
        link.arg("--add-modules").arg(modules.join(",")).arg("--output").arg(to);
        shell::run(&mut link)?;
        // jlink would add a second archive, for heaps of more than 32 GiB.
        let java = to.join("bin/java");
        shell::run(&mut shell::command(java, &["-XX:+UseG1GC", "-Xshare:dump"]))
            .context("preloading the runtime's classes")
    }

    /// The path of one of its programs.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.home.join("bin").join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let of = |version_line: &str| version(version_line).unwrap();
        assert!(of("JAVA_VERSION=\"25\"") > of("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.15\""));
        assert!(of("JAVA_VERSION=\"17.0.15\"") > of("JAVA_VERSION=\"17.0.9\""));
        assert_eq!(of("JAVA_VERSION=\"26-ea\""), [26]);
    }
}
