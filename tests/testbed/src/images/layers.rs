//! The layers of the images, each made once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::jdk::Jdk;
use super::{CLASSIC_ENTRY, CLASSIC_HOME, JAVA_HOME};
use crate::cache::{self, Cache, digest_files, digest_texts};
use crate::progress::step;
use crate::shell;

/// Where the broker's images come from, in the checkout.
const CLASSIC_SOURCES: &str = "tests/testbed/images/classic";

const TAR: &str = "layer.tar";
const DIGEST: &str = "digest";

/// How long versions that are no longer made stay: another checkout may be using them.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The Debian release of the base layer where this machine is not a Debian itself.
const RELEASE: &str = "trixie";
/// What a JVM of Temurin or Debian links to, and a shell with the usual tools for whoever looks
/// into a pod.
const PACKAGES: &str = "base-files,bash,coreutils,dash,libc6,libgcc-s1,libstdc++6,zlib1g";
/// Nobody reads manuals in a test bed.
const LEFT_OUT: [&str; 5] = [
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/lib/*/gconv/*",
];
/// Without maintainer scripts there are no accounts: these are the official image's.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
activemq:x:999:999::/opt/apache-activemq:/bin/sh
";
const GROUP: &str = "root:x:0:
nogroup:x:65534:
activemq:x:999:
";

/// A layer in the cache: a directory with the tar file and its digest.
#[derive(Clone, Debug)]
pub struct Layer {
    entry: PathBuf,
}

impl Layer {
    /// The layer itself, not compressed.
    pub fn tar(&self) -> PathBuf {
        self.entry.join(TAR)
    }

    /// The tar file's digest, as `sha256:...`.
    pub fn digest(&self) -> Result<String> {
        let path = self.entry.join(DIGEST);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// A small Debian.
pub fn base(cache: &Cache) -> Result<Layer> {
    let release = debian_release(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let mut inputs = vec![release.as_str(), PACKAGES, PASSWD, GROUP];
    inputs.extend(LEFT_OUT);
    layer(cache, "base", &digest_texts(&inputs), "the images' base", |root| {
        let mut debian = shell::command("mmdebstrap", &["--variant=extract", "--quiet"]);
        debian.arg(format!("--include={PACKAGES}"));
        debian.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
        debian.arg(&release).arg(root);
        shell::run(&mut debian)?;
        // Devices and this machine's name are the container runtime's to provide.
        for path in ["dev", "etc/hostname", "etc/resolv.conf"] {
            cache::remove(&root.join(path))?;
        }
        write(&root.join("etc/passwd"), PASSWD)?;
        write(&root.join("etc/group"), GROUP)
    })
}

/// This machine's own release, if it is a Debian: its JDK needs a C library no older than here.
fn debian_release(os_release: &str) -> String {
    let value = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|text| text.trim_matches('"').to_owned())
    };
    match (value("ID").as_deref(), value("VERSION_CODENAME")) {
        (Some("debian"), Some(codename)) => codename,
        _ => RELEASE.to_owned(),
    }
}

/// The Java runtime.
pub fn jre(cache: &Cache, jdk: &Jdk) -> Result<Layer> {
    let digest = digest_texts(&jdk.inputs());
    layer(cache, "jre", &digest, "the images' Java runtime", |root| {
        let home = inside(root, JAVA_HOME);
        // jlink wants to create the directory itself.
        create(home.parent().unwrap_or(root))?;
        jdk.link(&home)
    })
}

/// ActiveMQ Classic.
pub fn classic(cache: &Cache, project: &Path, jdk: &Jdk, version: &str) -> Result<Layer> {
    let sources = project.join(CLASSIC_SOURCES);
    let (pom, entrypoint) = (sources.join("pom.xml"), sources.join("entrypoint.sh"));
    let mut files = vec![pom.clone(), entrypoint.clone()];
    collect(&sources.join("home"), &mut files)?;
    files.sort();
    let digest = digest_files(&files)?;
    layer(cache, "classic", &digest, "ActiveMQ Classic from Maven Central", |root| {
        let home = classic_jars(&pom, root, jdk, version)?;
        // What the official image has and a broker with default paths writes to.
        for directory in ["data", "tmp"] {
            create(&home.join(directory))?;
        }
        let mut ours = shell::command("cp", &["--recursive", "--preserve=mode"]);
        shell::run(ours.arg(sources.join("home/.")).arg(&home))?;
        let entry = inside(root, CLASSIC_ENTRY);
        create(entry.parent().unwrap_or(root))?;
        copy(&entrypoint, &entry)
    })
}

/// The jars of an older version, and the launcher.
pub fn older_classic(cache: &Cache, project: &Path, jdk: &Jdk, version: &str) -> Result<Layer> {
    let pom = project.join(CLASSIC_SOURCES).join("pom.xml");
    let title = format!("ActiveMQ Classic {version} from Maven Central");
    layer(cache, &format!("classic-{version}"), &digest_files(&[&pom])?, &title, |root| {
        classic_jars(&pom, root, jdk, version).map(drop)
    })
}

/// Puts a version's jars and launcher into its directory, which is returned.
fn classic_jars(pom: &Path, root: &Path, jdk: &Jdk, version: &str) -> Result<PathBuf> {
    let home = inside(root, CLASSIC_HOME);
    let out = root.with_extension("maven");
    maven(pom, &out, jdk, Some(version))?;
    create(home.parent().unwrap_or(root))?;
    fs::rename(out.join("home"), &home).context("moving the broker's files")?;
    cache::remove(&out)?;
    Ok(home)
}

/// The test clients.
pub fn client(cache: &Cache, project: &Path, jdk: &Jdk) -> Result<Layer> {
    let sources = project.join("tests/clients");
    let mut files = vec![sources.join("pom.xml")];
    collect(&sources.join("src"), &mut files)?;
    files.sort();
    layer(cache, "client", &digest_files(&files)?, "the test clients", |root| {
        let out = root.with_extension("maven");
        maven(&sources.join("pom.xml"), &out, jdk, None)?;
        let home = inside(root, "/opt/tandem-client");
        create(&home)?;
        fs::rename(out.join("lib"), home.join("lib")).context("moving the clients' jars")?;
        cache::remove(&out)
    })
}

/// The databases' JDBC drivers, in `/drivers`.
pub fn drivers(cache: &Cache, project: &Path, jdk: &Jdk) -> Result<Layer> {
    let pom = project.join("tests/testbed/images/drivers/pom.xml");
    layer(cache, "drivers", &digest_files(&[&pom])?, "JDBC drivers from Maven Central", |root| {
        let out = root.with_extension("maven");
        maven(&pom, &out, jdk, None)?;
        create(root)?;
        fs::rename(out.join("drivers"), root.join("drivers")).context("moving the drivers")?;
        cache::remove(&out)
    })
}

/// What holds a pod's namespaces.
pub fn pause(cache: &Cache, project: &Path) -> Result<Layer> {
    let source = project.join("tests/testbed/images/pause/pause.c");
    layer(cache, "pause", &digest_files(&[&source])?, "the pause program", |root| {
        create(root)?;
        let mut gcc = shell::command("gcc", &["-static", "-Os", "-s", "-o"]);
        shell::run(gcc.arg(root.join("pause")).arg(&source))
    })
}

/// The operator's binary.
pub fn operator(cache: &Cache, binary: &Path) -> Result<Layer> {
    layer(cache, "tandem", &sha256(binary)?, "the operator's image", |root| {
        create(root)?;
        copy(binary, &root.join("tandem"))?;
        let mut chmod = shell::command("chmod", &["755"]);
        shell::run(chmod.arg(root.join("tandem")))
    })
}

/// The cache's entry for this version of a kind of thing. Making a new version drops those that
/// are more than a day old: a binary changes with every build, and each is tens of megabytes.
pub fn entry(
    cache: &Cache,
    kind: &str,
    version: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    cache.entry(&format!("{kind}-{version}"), |path| {
        make(path)?;
        drop_old(cache.root(), kind)
    })
}

fn drop_old(root: &Path, kind: &str) -> Result<()> {
    let reading = || format!("reading {}", root.display());
    for entry in fs::read_dir(root).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let same_kind = name.rsplit_once('-').is_some_and(|(of, _)| of == kind);
        // Another run may just have moved it. A clock set back makes an entry young.
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if same_kind && age > KEPT {
            cache::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn layer(
    cache: &Cache,
    kind: &str,
    version: &str,
    title: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<Layer> {
    let entry = entry(cache, &format!("layer-{kind}"), version, |entry| {
        step(title, || {
            create(entry)?;
            let root = entry.join("root");
            fill(&root)?;
            pack(&root, &entry.join(TAR))?;
            write(&entry.join(DIGEST), &format!("sha256:{}", sha256(&entry.join(TAR))?))?;
            cache::remove(&root)
        })
    })?;
    Ok(Layer { entry })
}

/// The same files give the same tar file, readable by every user: pods choose theirs.
fn pack(root: &Path, tar: &Path) -> Result<()> {
    let options = [
        "--create",
        "--sort=name",
        "--mtime=2026-01-01 00:00Z",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=a+rX,u+w",
        "--file",
    ];
    let mut command = shell::command("tar", &options);
    shell::run(command.arg(tar).arg("--directory").arg(root).arg("."))
}

/// Builds what a project file says, in a profile of it if there are some.
fn maven(pom: &Path, out: &Path, jdk: &Jdk, profile: Option<&str>) -> Result<()> {
    let mut maven = shell::command("mvn", &["--quiet", "--batch-mode"]);
    maven.args(profile.map(|profile| format!("--activate-profiles={profile}")));
    maven.arg("--file").arg(pom).arg(format!("-Dout={}", out.display())).arg("package");
    shell::run(maven.env("JAVA_HOME", &jdk.home))
}

/// By the tool rather than in this program, whose debug build takes seconds for a layer.
fn sha256(file: &Path) -> Result<String> {
    let line = shell::output(shell::command("sha256sum", &["--"]).arg(file))?;
    // A name with special characters makes the tool put a backslash before the digest.
    let digest = line.trim_start_matches('\\').split(' ').next().unwrap_or_default();
    Ok(digest.to_owned())
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

/// All files below a directory.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let reading = || format!("reading {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_no_older_than_this_machine() {
        assert_eq!(debian_release("ID=debian\nVERSION_CODENAME=bookworm\n"), "bookworm");
        assert_eq!(debian_release("VERSION_CODENAME=noble\nID=ubuntu\n"), RELEASE);
        assert_eq!(debian_release(""), RELEASE);
    }
}
