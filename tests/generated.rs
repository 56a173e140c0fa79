//! Files that are made from code and chart are as code and chart make them, and the examples are
//! valid. `make generate` writes the files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unnecessary_debug_formatting,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking; paths are shown as they are"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use serde_json::Value;
use tandem::{
    api::v1alpha1::{BrokerCluster, crd},
    core::validate::validate,
};

/// Set by `make generate`: write what a test would compare.
const WRITE: &str = "TANDEM_GENERATE";
/// A Helm binary to use instead of the test bed's.
const HELM: &str = "TANDEM_HELM";

/// What stands before the rendered chart: a chart does not make its own namespace.
const DEPLOY_HEAD: &str = "\
# Tandem's operator as plain YAML, made from charts/tandem by `make generate`. Do not edit.
#
#   kubectl apply --server-side -f deploy/tandem.yaml
---
apiVersion: v1
kind: Namespace
metadata:
  name: tandem-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file with what it should be, or writes it.
fn compare(file: &str, expected: &str) {
    let path = root().join(file);
    if env::var_os(WRITE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if let Some(line) = first_difference(&found, expected) {
        panic!(
            "{file} is out of date from line {line} on: run make generate and commit the result"
        );
    }
}

fn first_difference(found: &str, expected: &str) -> Option<usize> {
    if found == expected {
        return None;
    }
    let same = found.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

fn definition() -> String {
    serde_saphyr::to_string(&crd().unwrap()).unwrap()
}

#[test]
fn the_definition_is_the_codes_and_the_plain_yaml_is_the_charts() {
    // One test, in this order: the plain YAML is rendered from the chart's copy.
    compare("crds/brokerclusters.yaml", &definition());
    compare("charts/tandem/files/brokerclusters.yaml", &definition());
    let Some(helm) = helm() else {
        assert!(
            env::var_os("CI").is_none() && env::var_os(WRITE).is_none(),
            "no helm: set {HELM}, or bring the test bed up, which builds one"
        );
        eprintln!("deploy/tandem.yaml is not compared: there is no helm on this machine");
        return;
    };
    compare("deploy/tandem.yaml", &format!("{DEPLOY_HEAD}{}", render(&helm)));
}

fn render(helm: &Path) -> String {
    let output = Command::new(helm)
        .args(["template", "tandem", "charts/tandem", "--namespace", "tandem-system"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The binary of `$TANDEM_HELM`, else the test bed's, whose version is known, else any.
fn helm() -> Option<PathBuf> {
    if let Some(named) = env::var_os(HELM) {
        return Some(PathBuf::from(named));
    }
    let cache = env::var_os("TANDEM_CACHE").map(PathBuf::from).or_else(|| {
        let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
        Some(base.or_else(home)?.join("tandem-testbed"))
    });
    let mut built: Vec<PathBuf> = cache
        .and_then(|cache| fs::read_dir(cache).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubernetes-"))
        })
        .map(|path| path.join("helm"))
        .filter(|path| path.is_file())
        .collect();
    built.sort();
    let in_path = || {
        env::split_paths(&env::var_os("PATH")?)
            .map(|dir| dir.join("helm"))
            .find(|path| path.is_file())
    };
    built.pop().or_else(in_path)
}

#[test]
fn every_example_is_valid() {
    let mut clusters = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for document in text.split("\n---\n").filter(|text| !text.trim().is_empty()) {
            clusters += usize::from(check_document(&path, document));
        }
    }
    assert!(clusters >= 5, "found {clusters}");
}

/// What the docs show as part of a spec is a spec.
#[test]
fn every_piece_of_yaml_in_the_docs_is_valid() {
    let guides = fs::read_dir(root().join("docs/guides")).unwrap();
    let mut paths: Vec<PathBuf> = guides.map(|entry| entry.unwrap().path()).collect();
    paths.push(root().join("README.md"));
    let mut clusters = 0;
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if block.starts_with("spec:") {
                let mut cluster: Value = serde_saphyr::from_str(PART).unwrap();
                merge(&mut cluster, serde_saphyr::from_str(block).unwrap());
                clusters += usize::from(check_document(&path, &cluster.to_string()));
            } else if block.contains("kind: BrokerCluster") {
                clusters += usize::from(check_document(&path, block));
            }
        }
    }
    assert!(clusters >= 3, "found {clusters}");
}

/// What a piece of a spec in the docs leaves out.
const PART: &str = "
apiVersion: tandem-operator.io/v1alpha1
kind: BrokerCluster
metadata: {name: orders}
spec: {storage: {sharedVolume: {claimName: orders}}}
";

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Checks one document; whether it is a `BrokerCluster`.
fn check_document(path: &Path, text: &str) -> bool {
    let written: Value =
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let kind = written.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = match kind.as_str() {
        "BrokerCluster" => {
            let cluster: BrokerCluster = serde_json::from_value(written.clone()).unwrap();
            validate(&cluster).unwrap_or_else(|problems| panic!("{path:?}: {problems:?}"));
            serde_json::to_value(&cluster)
        }
        "Secret" => {
            serde_json::to_value(serde_json::from_value::<Secret>(written.clone()).unwrap())
        }
        "PersistentVolumeClaim" => serde_json::to_value(
            serde_json::from_value::<PersistentVolumeClaim>(written.clone()).unwrap(),
        ),
        _ => panic!("{path:?}: this test does not know the kind {kind:?}"),
    };
    if let Some(unknown) = first_unknown(&written, &read.unwrap(), String::new()) {
        panic!("{path:?}: there is no field {unknown}");
    }
    kind == "BrokerCluster"
}

/// The first field that was written and is not in what was read.
fn first_unknown(written: &Value, read: &Value, at: String) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(key, value)| {
            let at = format!("{at}.{key}");
            read.get(key)
                .map_or_else(|| Some(at.clone()), |read| first_unknown(value, read, at.clone()))
        }),
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(n, (written, read))| first_unknown(written, read, format!("{at}[{n}]"))),
        _ => None,
    }
}
