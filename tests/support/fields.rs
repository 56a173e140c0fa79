//! Fields of objects as server-side apply knows them: which lists are merged by key, and who owns
//! what. A list that is not in the table fails the test: a guess would make the fake lie.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One step of a path to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of a map.
    Field(String),
    /// An item of a keyed list: its key fields as JSON.
    Item(String),
}

pub type Path = Vec<Step>;

enum Shape {
    Atomic,
    Keyed(&'static [&'static str]),
}

/// Lists merged by key, as `kind:path`; a pod template's fields are written as a pod's.
const KEYED: [(&str, &[&str]); 12] = [
    ("*:metadata.ownerReferences", &["uid"]),
    ("Pod:spec.containers", &["name"]),
    ("Pod:spec.initContainers", &["name"]),
    ("Pod:spec.containers[].env", &["name"]),
    ("Pod:spec.containers[].ports", &["containerPort", "protocol"]),
    ("Pod:spec.containers[].volumeMounts", &["mountPath"]),
    ("Pod:spec.initContainers[].volumeMounts", &["mountPath"]),
    ("Pod:spec.volumes", &["name"]),
    ("Pod:spec.topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("Service:spec.ports", &["port", "protocol"]),
    ("BrokerCluster:status.conditions", &["type"]),
    ("PersistentVolumeClaim:status.conditions", &["type"]),
];

/// Lists that are replaced as a whole.
const ATOMIC: [&str; 20] = [
    "Pod:spec.tolerations",
    "Pod:spec.volumes[].secret.items",
    "Pod:spec.volumes[].configMap.items",
    "Pod:spec.containers[].command",
    "Pod:spec.initContainers[].command",
    "Pod:spec.containers[].securityContext.capabilities.drop",
    "Pod:spec.initContainers[].securityContext.capabilities.drop",
    "Pod:spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
    "Service:spec.clusterIPs",
    "Service:spec.ipFamilies",
    "EndpointSlice:endpoints",
    "EndpointSlice:ports",
    "Role:rules",
    "RoleBinding:subjects",
    "NetworkPolicy:spec.ingress",
    "NetworkPolicy:spec.policyTypes",
    "PersistentVolumeClaim:spec.accessModes",
    "BrokerCluster:metadata.finalizers", // really a set, but nobody applies it
    "BrokerCluster:status.standbys",
    "BrokerCluster:status.endpoints",
];

fn shape(kind: &str, path: &[Step]) -> Shape {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Item(_) => text.push_str("[]"),
        }
    }
    let full = match text.strip_prefix("spec.template.") {
        Some(rest) if kind == "StatefulSet" => format!("Pod:{rest}"),
        _ => format!("{kind}:{text}"),
    };
    let any = format!("*:{text}");
    if let Some((_, keys)) = KEYED.iter().find(|(known, _)| *known == full || *known == any) {
        return Shape::Keyed(keys);
    }
    // Nobody applies a spec here: users replace the object.
    let is_spec = full.starts_with("BrokerCluster:spec.");
    assert!(
        is_spec || ATOMIC.contains(&full.as_str()),
        "the fake API server does not know how the list {full} is merged"
    );
    Shape::Atomic
}

fn key(keys: &[&str], item: &Value) -> Step {
    let fields: BTreeMap<&str, &Value> = keys.iter().map(|key| (*key, &item[*key])).collect();
    Step::Item(serde_json::to_string(&fields).unwrap())
}

fn child(path: &[Step], step: Step) -> Path {
    path.iter().cloned().chain([step]).collect()
}

/// All leaves of an object: scalars, atomic lists, empty maps, and the items of keyed lists.
pub fn leaves(kind: &str, object: &Value) -> BTreeMap<Path, Value> {
    let mut all = BTreeMap::new();
    collect(kind, &Vec::new(), object, &mut all);
    all
}

fn collect(kind: &str, path: &Path, value: &Value, all: &mut BTreeMap<Path, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                collect(kind, &child(path, Step::Field(name.clone())), value, all);
            }
        }
        Value::Array(items) => match shape(kind, path) {
            Shape::Atomic => drop(all.insert(path.clone(), value.clone())),
            Shape::Keyed(keys) => {
                for item in items {
                    let path = child(path, key(keys, item));
                    all.insert(path.clone(), Value::Null);
                    collect(kind, &path, item, all);
                }
            }
        },
        _ => drop(all.insert(path.clone(), value.clone())),
    }
}

/// Puts the configuration's fields into the object.
pub fn merge(kind: &str, path: &Path, live: &mut Value, config: &Value) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            for (name, value) in config {
                let path = child(path, Step::Field(name.clone()));
                merge(kind, &path, live.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (live, Value::Array(items)) => match shape(kind, path) {
            Shape::Atomic => *live = Value::Array(items.clone()),
            Shape::Keyed(keys) => merge_list(kind, path, live, items, keys),
        },
        (live, Value::Object(config)) => {
            *live = Value::Object(serde_json::Map::new());
            merge(kind, path, live, &Value::Object(config.clone()));
        }
        (live, config) => *live = config.clone(),
    }
}

fn merge_list(kind: &str, path: &Path, live: &mut Value, items: &[Value], keys: &[&str]) {
    if !live.is_array() {
        *live = Value::Array(Vec::new());
    }
    let list = live.as_array_mut().unwrap();
    let mut merged = Vec::new();
    for item in items {
        let step = key(keys, item);
        let path = child(path, step.clone());
        let mut next = match list.iter().position(|live| key(keys, live) == step) {
            Some(index) => list.remove(index),
            None => Value::Null,
        };
        merge(kind, &path, &mut next, item);
        merged.push(next);
    }
    // The order that is applied wins (tried on 1.34); items of others come after it.
    merged.append(list);
    *list = merged;
}

/// Takes a field out; maps that become empty by that go too.
pub fn remove(kind: &str, object: &mut Value, path: &[Step]) {
    remove_below(kind, &Path::new(), object, path);
}

fn remove_below(kind: &str, done: &Path, value: &mut Value, rest: &[Step]) {
    let Some((first, rest)) = rest.split_first() else { return };
    let at = child(done, first.clone());
    match (first, value) {
        (Step::Field(name), Value::Object(map)) => {
            if let Some(value) = map.get_mut(name).filter(|_| !rest.is_empty()) {
                remove_below(kind, &at, value, rest);
            }
            if rest.is_empty() || map.get(name).is_some_and(is_empty) {
                map.remove(name);
            }
        }
        (Step::Item(_), Value::Array(items)) => {
            let Shape::Keyed(keys) = shape(kind, done) else { panic!("{done:?} has no items") };
            let Some(index) = items.iter().position(|item| key(keys, item) == *first) else {
                return;
            };
            if rest.is_empty() {
                items.remove(index);
            } else {
                remove_below(kind, &at, &mut items[index], rest);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// Who owns which leaves of one object.
#[derive(Clone, Debug, Default)]
pub struct Owners(BTreeMap<String, BTreeSet<Path>>);

impl Owners {
    /// A forced apply: the object as it is then. Fields that this manager applied before, has
    /// dropped now and shares with nobody are removed.
    pub fn apply(&mut self, kind: &str, manager: &str, live: &Value, config: &Value) -> Value {
        let config_leaves = leaves(kind, config);
        let old_leaves = leaves(kind, live);
        let mut object = live.clone();
        merge(kind, &Vec::new(), &mut object, config);
        let dropped: Vec<Path> =
            self.0
                .get(manager)
                .into_iter()
                .flatten()
                .filter(|path| !config_leaves.contains_key(*path))
                .filter(|path| {
                    !self.0.iter().any(|(name, set)| {
                        name != manager && set.iter().any(|p| p.starts_with(path))
                    })
                })
                .cloned()
                .collect();
        for path in &dropped {
            remove(kind, &mut object, path);
        }
        for (path, value) in &config_leaves {
            if old_leaves.get(path) != Some(value) {
                for set in self.0.values_mut() {
                    set.remove(path);
                }
            }
        }
        self.0.insert(manager.to_owned(), config_leaves.into_keys().collect());
        object
    }

    /// Whether an unforced apply would meet somebody else's value.
    pub fn conflicts(&self, kind: &str, manager: &str, live: &Value, config: &Value) -> bool {
        let old = leaves(kind, live);
        leaves(kind, config).iter().any(|(path, value)| {
            old.get(path) != Some(value)
                && self.0.iter().any(|(name, set)| name != manager && set.contains(path))
        })
    }

    /// A replace or patch by this manager: what it changed is its own now.
    pub fn updated(&mut self, kind: &str, manager: &str, old: &Value, new: &Value) {
        let (old, new) = (leaves(kind, old), leaves(kind, new));
        let changed: BTreeSet<Path> = new
            .iter()
            .filter(|(path, value)| old.get(*path) != Some(value))
            .map(|(path, _)| path.clone())
            .collect();
        for set in self.0.values_mut() {
            set.retain(|path| new.contains_key(path) && !changed.contains(path));
        }
        self.0.entry(format!("{manager} (update)")).or_default().extend(changed);
    }
}
