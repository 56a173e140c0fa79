//! Certificates, tokens and client configurations of the control plane.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::layout::{APISERVER, DOMAIN, Layout};
use crate::{cache, shell};

/// The user for people and tests.
pub const ADMIN: &str = "admin";
/// The controller manager's user.
pub const CONTROLLER_MANAGER: &str = "controller-manager";
/// The scheduler's user.
pub const SCHEDULER: &str = "scheduler";
/// The service proxies' user.
pub const PROXY: &str = "proxy";
/// CoreDNS's user.
pub const DNS: &str = "dns";

/// The first address of the services' range is the API server's own service.
const NAMES: [&str; 6] = [
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
    "IP:10.96.0.1",
    "IP:127.0.0.1",
];

/// Makes what is missing: pods verify the API server with the authority they find in their service
/// account, so its certificate must be a proper one.
pub fn ensure(layout: &Layout, nodes: u8) -> Result<()> {
    let complete = layout.certificates();
    if complete.exists() {
        return Ok(());
    }
    let fresh = complete.with_extension("new");
    cache::remove(&fresh)?;
    fs::create_dir_all(&fresh).with_context(|| format!("creating {}", fresh.display()))?;
    service_account_keys(&fresh)?;
    authority(&fresh)?;
    server_certificate(&fresh)?;
    write_users(layout, nodes, &fresh)?;
    fs::rename(&fresh, &complete).with_context(|| format!("placing {}", complete.display()))
}

fn key(path: &Path) -> Result<()> {
    shell::run(
        shell::command("openssl", &["genpkey", "-algorithm", "EC"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
            .arg(path),
    )
}

/// The API server verifies tokens with a public key; it takes one from a private key's file only in
/// formats that openssl no longer writes.
fn service_account_keys(directory: &Path) -> Result<()> {
    let private = directory.join("service-accounts.key");
    key(&private)?;
    shell::run(
        shell::command("openssl", &["pkey", "-pubout", "-in"])
            .arg(&private)
            .arg("-out")
            .arg(directory.join("service-accounts.pub")),
    )
}

fn authority(directory: &Path) -> Result<()> {
    let extensions = "basicConstraints = critical, CA:TRUE\n\
        keyUsage = critical, keyCertSign, cRLSign, digitalSignature\n\
        subjectKeyIdentifier = hash";
    certificate(directory, "ca", "tandem-testbed", extensions, &[])
}

fn server_certificate(directory: &Path) -> Result<()> {
    let names = format!("{},IP:{APISERVER}", NAMES.join(","));
    let authority = ["-CA", "ca.crt", "-CAkey", "ca.key"];
    certificate(directory, "apiserver", "kube-apiserver", &for_server(&names), &authority)
}

/// Makes `server.key` and `server.crt` in the directory, signed by the bed's authority, for a server
/// of these names (as `IP:...` and `DNS:...`).
pub(crate) fn server(layout: &Layout, directory: &Path, names: &[String]) -> Result<()> {
    let file = |name: &str| layout.certificates().join(name).display().to_string();
    let authority = ["-CA", &file("ca.crt"), "-CAkey", &file("ca.key")];
    certificate(directory, "server", "database", &for_server(&names.join(",")), &authority)
}

fn for_server(names: &str) -> String {
    format!(
        "basicConstraints = critical, CA:FALSE\n\
        keyUsage = critical, digitalSignature\n\
        extendedKeyUsage = serverAuth\n\
        subjectAltName = {names}"
    )
}

/// Openssl's own configuration would mark every certificate as an authority's.
fn certificate(
    directory: &Path,
    name: &str,
    subject: &str,
    extensions: &str,
    issuer: &[&str],
) -> Result<()> {
    key(&directory.join(format!("{name}.key")))?;
    let configuration = format!(
        "[req]\ndistinguished_name = subject\nprompt = no\nx509_extensions = extensions\n\
        [subject]\nCN = {subject}\n[extensions]\n{extensions}\n"
    );
    fs::write(directory.join(format!("{name}.cnf")), configuration)?;
    let (settings, key, out) =
        (format!("{name}.cnf"), format!("{name}.key"), format!("{name}.crt"));
    shell::run(
        shell::command("openssl", &["req", "-x509", "-new", "-days", "3650"])
            .args(["-config", &settings, "-key", &key, "-out", &out])
            .args(issuer)
            .current_dir(directory),
    )
}

/// The API server knows its users by a table of tokens.
fn write_users(layout: &Layout, nodes: u8, directory: &Path) -> Result<()> {
    let mut users = vec![
        (ADMIN.to_owned(), "admin".to_owned(), "system:masters"),
        (CONTROLLER_MANAGER.to_owned(), "system:kube-controller-manager".to_owned(), ""),
        (SCHEDULER.to_owned(), "system:kube-scheduler".to_owned(), ""),
        (PROXY.to_owned(), "system:kube-proxy".to_owned(), ""),
        (DNS.to_owned(), "system:coredns".to_owned(), ""),
    ];
    for name in (1..=nodes).map(|number| layout.node(number).name()) {
        users.push((name.clone(), format!("system:node:{name}"), "system:nodes"));
    }
    let mut table = String::new();
    for (file, user, groups) in users {
        let token = random_token()?;
        table.push_str(&format!("{token},{user},{user},\"{groups}\"\n"));
        write_kubeconfig(layout, &file, &token)?;
    }
    fs::write(directory.join("tokens.csv"), table).context("writing the users' tokens")
}

fn write_kubeconfig(layout: &Layout, user: &str, token: &str) -> Result<()> {
    let authority = layout.certificates().join("ca.crt");
    let configuration = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name(), "cluster": {
            "server": format!("https://{APISERVER}:6443"),
            "certificate-authority": authority,
        }}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": user, "context": {"cluster": layout.name(), "user": user}}],
        "current-context": user,
    });
    let path = layout.kubeconfig(user);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&path, serde_json::to_vec_pretty(&configuration)?)
        .with_context(|| format!("writing {}", path.display()))
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The issuer that the API server writes into service account tokens.
pub fn token_issuer() -> String {
    format!("https://kubernetes.default.svc.{DOMAIN}")
}
