//! An OCI image archive: layers that are plain tar files, and three JSON documents about them.
//!
//! Written here rather than by an image tool because layers stay uncompressed this way: packing
//! and unpacking is most of what such a tool costs, and nothing here travels.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layers::Layer;
use crate::{cache, shell};

/// The archive's name in its cache entry.
pub const ARCHIVE: &str = "image.tar";

/// What a container of an image starts with.
#[derive(Default)]
pub struct Config {
    pub user: &'static str,
    pub env: Vec<String>,
    pub entrypoint: Vec<&'static str>,
    pub command: Vec<&'static str>,
    pub working_directory: &'static str,
}

/// The image's configuration document.
pub fn config(layers: &[Layer], config: &Config) -> Result<String> {
    let ids: Vec<String> = layers.iter().map(Layer::digest).collect::<Result<_>>()?;
    let document = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "User": config.user,
            "Env": config.env,
            "Entrypoint": config.entrypoint,
            "Cmd": config.command,
            "WorkingDir": config.working_directory,
        },
        "rootfs": {"type": "layers", "diff_ids": ids},
    });
    Ok(document.to_string())
}

/// Writes the image's archive into the new directory `to`.
pub fn write_archive(to: &Path, name: &str, layers: &[Layer], config: &str) -> Result<()> {
    let root = to.join("oci");
    let blobs = root.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("creating {}", blobs.display()))?;

    let mut described = Vec::new();
    for layer in layers {
        let digest = layer.digest()?;
        let file = blobs.join(hex(&digest));
        fs::hard_link(layer.tar(), &file)
            .with_context(|| format!("linking {}", layer.tar().display()))?;
        let size = fs::metadata(&file).context("reading a layer's size")?.len();
        described.push(descriptor("application/vnd.oci.image.layer.v1.tar", &digest, size));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(&blobs, "application/vnd.oci.image.config.v1+json", config)?,
        "layers": described,
    });
    let mut entry =
        blob(&blobs, "application/vnd.oci.image.manifest.v1+json", &manifest.to_string())?;
    entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
    entry["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(root.join("index.json"), index.to_string()).context("writing index.json")?;
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .context("writing oci-layout")?;

    let mut tar = shell::command("tar", &["--create", "--file"]);
    tar.arg(to.join(ARCHIVE)).arg("--directory").arg(&root);
    shell::run(tar.args(["oci-layout", "index.json", "blobs"]))?;
    cache::remove(&root)
}

/// Stores a document and describes it.
fn blob(blobs: &Path, media_type: &str, text: &str) -> Result<Value> {
    let hash = Sha256::digest(text);
    let digest: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(blobs.join(&digest), text).context("writing a document of the image")?;
    Ok(descriptor(media_type, &format!("sha256:{digest}"), text.len() as u64))
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// This machine's architecture by its name in images.
fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
