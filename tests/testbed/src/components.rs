//! The components written in Go: Kubernetes, CoreDNS and Helm, built once per version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::{Cache, digest_files, digest_texts};
use crate::{progress, shell};

/// The last minor version whose kubelet runs on cgroup v1 without complaint.
pub const KUBERNETES_VERSION: &str = "1.34.4";
/// The Helm whose libraries are of the same Kubernetes minor version.
pub const HELM_VERSION: &str = "3.19.5";

const SOURCES: [&str; 4] = ["go.mod", "go.sum", "kubernetes/main.go", "coredns/main.go"];

/// The names the one Kubernetes binary answers to.
pub const KUBERNETES_NAMES: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
];

/// The directory with the binaries `kubernetes`, `coredns` and `helm`, built if need be.
pub fn ensure(cache: &Cache, project: &Path) -> Result<PathBuf> {
    let module = project.join("tests/testbed/components");
    let sources: Vec<PathBuf> = SOURCES.iter().map(|name| module.join(name)).collect();
    let digest = digest_texts(&[digest_files(&sources)?, link_flags()]);
    cache.entry(&format!("kubernetes-{KUBERNETES_VERSION}-{digest}"), |out| {
        progress::step(
            &format!("building Kubernetes {KUBERNETES_VERSION}, CoreDNS and Helm (8 min, once)"),
            || build(&module, out, &cache.root().join("kubernetes-build.log")),
        )
    })
}

/// Puts the binaries under each component's name into `directory`. They are linked, so that a bed
/// does not depend on the cache staying as it is.
pub fn install(built: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    for name in KUBERNETES_NAMES {
        place(&built.join("kubernetes"), &directory.join(name))?;
    }
    for name in ["coredns", "helm"] {
        place(&built.join(name), &directory.join(name))?;
    }
    Ok(())
}

/// Links `from` as `to`, or copies it where a link cannot be (another file system).
fn place(from: &Path, to: &Path) -> Result<()> {
    // Renaming a link onto another link to the same file would do nothing and leave both.
    crate::cache::remove(to)?;
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => copy(from, to),
    }
}

/// Copies a program; one already there is replaced as a whole, because a running program's file
/// cannot be written to.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh)
        .with_context(|| format!("copying {} to {}", from.display(), fresh.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("placing {}", to.display()))
}

fn build(module: &Path, out: &Path, log: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let mut go = shell::command("go", &["build", "-trimpath", "-buildvcs=false", "-ldflags"]);
    go.arg(link_flags())
        .arg("-o")
        .arg(format!("{}/", out.display()))
        .args(["./kubernetes", "./coredns", "helm.sh/helm/v3/cmd/helm"])
        .current_dir(module)
        .env("CGO_ENABLED", "0");
    shell::run_logged(&mut go, log)
        .context("Go 1.24 or newer is needed in PATH (https://go.dev/dl)")
}

/// Without these the API server calls itself v0.0.0 and Helm assumes another Kubernetes.
fn link_flags() -> String {
    let minor = KUBERNETES_VERSION.split('.').nth(1).unwrap_or_default();
    let mut flags = "-s -w".to_owned();
    let mut set = |variable: &str, value: &str| {
        flags.push_str(&format!(" -X {variable}={value}"));
    };
    let version = format!("v{KUBERNETES_VERSION}");
    set("k8s.io/component-base/version.gitVersion", &version);
    set("k8s.io/component-base/version.gitMajor", "1");
    set("k8s.io/component-base/version.gitMinor", minor);
    set("k8s.io/client-go/pkg/version.gitVersion", &version);
    set("helm.sh/helm/v3/internal/version.version", &format!("v{HELM_VERSION}"));
    for package in ["chartutil", "lint/rules"] {
        set(&format!("helm.sh/helm/v3/pkg/{package}.k8sVersionMajor"), "1");
        set(&format!("helm.sh/helm/v3/pkg/{package}.k8sVersionMinor"), minor);
    }
    flags
}
