//! Krew's manifest of a release is made of the archive that it speaks of.

use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[test]
fn the_manifest_speaks_of_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/krew/package"))
        .args([env!("CARGO_BIN_EXE_kubectl-tandem"), "https://example.com/a.tar.gz"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(directory.path().join("tandem.yaml")).unwrap();
    let manifest: Value = serde_saphyr::from_str(&text).unwrap();
    let archive =
        std::fs::read(directory.path().join("kubectl-tandem-linux-amd64.tar.gz")).unwrap();
    let sum: Vec<String> =
        Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(manifest["spec"]["version"], concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        manifest["spec"]["platforms"],
        json!([{
            "selector": {"matchLabels": {"os": "linux", "arch": "amd64"}},
            "bin": "kubectl-tandem",
            "uri": "https://example.com/a.tar.gz",
            "sha256": sum.concat(),
        }])
    );
    let mut held = Vec::new();
    let mut unpacked = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    for entry in unpacked.entries().unwrap() {
        held.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(held, ["kubectl-tandem", "LICENSE"]);
}
