//! Who may import whom, as `src/lib.rs` says, and how long a file may be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A source file without its tests: its path below `src`, its text, and the paths it names.
struct Source {
    file: String,
    text: String,
    paths: BTreeSet<String>,
}

impl Source {
    /// The top-level module, `main` or `lib`.
    fn module(&self) -> &str {
        self.file.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Whether it is a program of its own, or says what the crate is made of.
    fn is_root(&self) -> bool {
        matches!(self.module(), "main" | "lib" | "bin")
    }

    fn is_in(&self, modules: &[&str]) -> bool {
        modules.iter().any(|module| {
            self.file.starts_with(&format!("{module}/")) || self.file == format!("{module}.rs")
        })
    }

    fn names(&self, path: &str) -> bool {
        self.paths.iter().any(|named| named == path || named.starts_with(&format!("{path}::")))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let is_test = |file: &Path| file.to_str().is_some_and(|name| name.ends_with("tests.rs"));
    files.retain(|file| !is_test(file));
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).unwrap();
            // Tests are at the end of a file.
            let text = text.split("\n#[cfg(test)]\n").next().unwrap().to_owned();
            let file = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            Source { file, paths: paths(&text), text }
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// All `a::b::c` of a text, with `use` trees spelled out. Comments count only where they link.
fn paths(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = BTreeSet::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("::") {
        let start = rest[..at].rfind(|c: char| !is_name(c)).map_or(0, |index| index + 1);
        let used = expand(&rest[start..], "", &mut found);
        rest = &rest[start + used.max(at - start + 2)..];
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads one use tree or path; says how much of the text it took.
fn expand(text: &str, prefix: &str, found: &mut BTreeSet<String>) -> usize {
    let end = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    let after = &text[end..];
    if let Some(list) = after.strip_prefix("::{") {
        let mut used = end + 3;
        let mut rest = list;
        loop {
            let blank = rest.len() - rest.trim_start_matches([' ', '\n', ',']).len();
            rest = &rest[blank..];
            used += blank;
            if rest.is_empty() || rest.starts_with('}') {
                return used + 1;
            }
            let item = expand(rest, &format!("{path}::"), found);
            // A new name (`as x`) is of no interest.
            let next = rest[item..].find([',', '}']).map_or(rest.len(), |index| item + index);
            used += next;
            rest = &rest[next..];
        }
    }
    if after.starts_with("::") && after[2..].starts_with(is_name) {
        return end + 2 + expand(&after[2..], &format!("{path}::"), found);
    }
    found.insert(path);
    end
}

#[test]
fn use_trees_are_spelled_out() {
    let found = paths("use a::{b, c::{d, e as f}, self};\nlet x = g::h::I::new();\n// j::k\n");
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["a::b", "a::c::d", "a::c::e", "a::self", "g::h::I::new"]);
}

#[test]
fn nothing_climbs_out_of_its_module_but_by_crate() {
    for source in sources() {
        let allowed = source.file.matches('/').count();
        let climbs = if source.file.ends_with("/mod.rs") { allowed } else { allowed + 1 };
        let climb = vec!["super"; climbs].join("::");
        assert!(allowed == 0 || !source.names(&climb), "{} names {climb}", source.file);
    }
}

#[test]
fn the_api_imports_nothing_of_the_crate_but_itself() {
    for source in sources().iter().filter(|source| source.is_in(&["api"])) {
        let others = source
            .paths
            .iter()
            .filter(|path| path.starts_with("crate::") && !path.starts_with("crate::api"));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new(), "{}", source.file);
    }
}

#[test]
fn decisions_builders_and_the_agents_machine_do_no_input_or_output() {
    let pure = ["api", "core", "resources", "broker", "agent/machine"];
    let banned = [
        "tokio",
        "hyper",
        "axum",
        "std::fs",
        "std::process",
        "std::thread",
        "std::time::Instant",
        "std::time::SystemTime",
        "kube::Client",
        "kube::Api",
        "kube::runtime",
        "kube::client",
        "kube::api",
        "crate::operator",
        "crate::kube_ext",
        "crate::telemetry",
        "crate::clock",
    ];
    let sources = sources();
    assert!(sources.iter().filter(|source| source.is_in(&pure)).count() > 30);
    for source in sources.iter().filter(|source| source.is_in(&pure)) {
        for path in banned {
            assert!(!source.names(path), "{} names {path}", source.file);
        }
        assert!(!source.text.contains("async fn"), "{} is asynchronous", source.file);
        let is_machine = source.is_in(&["agent/machine"]);
        assert!(is_machine || !source.names("crate::agent"), "{} names the agent", source.file);
    }
}

#[test]
fn nobody_imports_the_operator_the_agent_or_the_plugin() {
    for source in sources().iter().filter(|source| !source.is_root()) {
        for module in ["operator", "agent", "plugin"] {
            let path = format!("crate::{module}");
            assert!(
                source.module() == module || !source.names(&path),
                "{} names {path}",
                source.file
            );
        }
    }
}

/// So link-time optimization leaves nothing of it in the operator's released binary.
#[test]
fn only_the_plugins_own_program_names_it() {
    let sources = sources();
    let main = sources.iter().find(|source| source.file == "main.rs").unwrap();
    assert!(!main.text.contains("plugin"));
    for source in sources.iter().filter(|source| source.module() != "plugin") {
        for path in ["clap_complete", "flate2", "tar", "rustix::termios"] {
            assert!(!source.names(path), "{} names {path}", source.file);
        }
    }
}

/// What it needs to know of the outside comes as arguments.
#[test]
fn the_plugins_pages_and_goals_do_no_input_or_output() {
    let pure =
        ["plugin/render", "plugin/goal", "plugin/cluster", "plugin/requests", "plugin/redact"];
    let sources = sources();
    let sources: Vec<_> = sources.iter().filter(|source| source.is_in(&pure)).collect();
    assert!(sources.len() > 9);
    for source in sources {
        for path in
            ["tokio", "kube", "std::fs", "std::io", "std::env", "crate::clock", "crate::kube_ext"]
        {
            assert!(!source.names(path), "{} names {path}", source.file);
        }
        assert!(!source.text.contains("async fn"), "{} is asynchronous", source.file);
    }
}

#[test]
fn only_the_agent_speaks_to_databases() {
    let others = ["agent", "database"];
    let sources = sources();
    let sources = sources.iter().filter(|source| !source.is_root());
    for source in sources.filter(|source| !others.contains(&source.module())) {
        for path in ["crate::database", "tokio_postgres", "mysql_async"] {
            assert!(!source.names(path), "{} names {path}", source.file);
        }
    }
}

#[test]
fn no_file_is_longer_than_400_lines_without_its_tests() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", source.file);
    }
}
