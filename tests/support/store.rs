//! The objects of the fake API server, with versions, uids, owners and their history.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{fields::Owners, kinds};

/// An object of one version; its text is made once, for all who read it.
#[derive(Debug)]
pub struct Stored {
    value: Value,
    text: OnceLock<String>,
}

impl Stored {
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| self.value.to_string())
    }
}

impl Deref for Stored {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

pub type Objects = BTreeMap<String, Arc<Stored>>;

/// An answer other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

pub fn refusal(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, reason, message: message.into() }
}

/// Where an object is: `<collection path>/<name>`.
pub fn path(resource: &str, namespace: &str, name: &str) -> String {
    let kind = kinds::of(resource);
    let root = if kind.api_version.contains('/') { "apis" } else { "api" };
    let within = match namespace {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    format!("/{root}/{}/{within}{resource}/{name}", kind.api_version)
}

#[derive(Clone, Default)]
pub struct Store {
    objects: Arc<Objects>,
    history: Vec<Arc<Objects>>,
    owners: BTreeMap<String, Owners>,
    uids: u64,
    /// Tells watches that there is a new version.
    news: watch::Sender<usize>,
}

impl Store {
    pub fn get(&self, path: &str) -> Option<Arc<Stored>> {
        self.objects.get(path).cloned()
    }

    pub fn now(&self) -> Arc<Objects> {
        Arc::clone(&self.objects)
    }

    /// All objects as they were so many writes ago.
    pub fn before(&self, writes: usize) -> Arc<Objects> {
        let index = self.history.len().checked_sub(writes + 1);
        index.map(|index| Arc::clone(&self.history[index])).unwrap_or_default()
    }

    /// Objects of a collection, in name order.
    pub fn list(&self, resource: &str) -> Vec<(String, Arc<Stored>)> {
        self.objects
            .iter()
            .filter(|(path, _)| path.rsplit('/').nth(1) == Some(resource))
            .map(|(p, o)| (p.clone(), Arc::clone(o)))
            .collect()
    }

    pub fn version(&self) -> usize {
        self.history.len()
    }

    /// A new object.
    pub fn create(
        &mut self,
        path: &str,
        manager: &str,
        mut object: Value,
    ) -> Result<Arc<Stored>, Refusal> {
        if self.objects.contains_key(path) {
            return Err(refusal(409, "AlreadyExists", format!("{path} already exists")));
        }
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty())
        {
            return Err(refusal(
                500,
                "",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let mut owners = Owners::default();
        if kinds::is_owned(path) {
            owners.updated(kinds::of_path(path).name, manager, &json!({}), &unversioned(&object));
        }
        self.adopt(path, &mut object)?;
        self.owners.insert(path.to_owned(), owners);
        Ok(self.commit(path, object))
    }

    /// What a new object gets from the server.
    fn adopt(&mut self, path: &str, object: &mut Value) -> Result<(), Refusal> {
        self.uids += 1;
        kinds::defaults(path, object, self.uids);
        kinds::check(path, object)?;
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("uid".into(), json!(format!("uid-{}", self.uids)));
        metadata.insert("generation".into(), json!(1));
        metadata.insert("creationTimestamp".into(), json!("2026-01-01T00:00:00Z"));
        Ok(())
    }

    /// An existing object's new content; nothing happens if it is the old one.
    pub fn replace(
        &mut self,
        path: &str,
        manager: &str,
        mut object: Value,
    ) -> Result<Arc<Stored>, Refusal> {
        let Some(old) = self.get(path) else {
            return Err(refusal(404, "NotFound", format!("{path} not found")));
        };
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        if !version.is_empty() && old["metadata"]["resourceVersion"] != version {
            return Err(refusal(409, "Conflict", "the object has been modified"));
        }
        kinds::defaults(path, &mut object, 0);
        kinds::check(path, &object)?;
        kinds::check_update(path, &old, &object)?;
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
            object["metadata"][field] = old["metadata"][field].clone();
        }
        if object == **old {
            return Ok(old);
        }
        if kinds::is_owned(path) {
            let owners = self.owners.entry(path.to_owned()).or_default();
            owners.updated(
                kinds::of_path(path).name,
                manager,
                &unversioned(&old),
                &unversioned(&object),
            );
        }
        if kinds::spec_of(&object) != kinds::spec_of(&old) {
            object["metadata"]["generation"] =
                json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        Ok(self.commit(path, object))
    }

    /// Server-side apply: the object, and whether it is new.
    pub fn apply(
        &mut self,
        path: &str,
        by: (&str, bool),
        config: &Value,
    ) -> Result<(Arc<Stored>, bool), Refusal> {
        let (manager, force) = by;
        let kind = kinds::of_path(path).name;
        let old = self.get(path);
        let live = old.as_ref().map_or_else(|| json!({"metadata": {}}), |old| old.value.clone());
        for field in ["uid", "resourceVersion"] {
            let given = config["metadata"][field].as_str();
            if given.is_some_and(|given| live["metadata"][field] != given) {
                return Err(match (old.is_some(), field) {
                    (true, "uid") => {
                        refusal(422, "Invalid", "metadata.uid: Invalid value: field is immutable")
                    }
                    _ => refusal(409, "Conflict", "the object has been modified"),
                });
            }
        }
        let mut owners = self.owners.get(path).cloned().unwrap_or_default();
        let config = unversioned(config);
        if !force && owners.conflicts(kind, manager, &unversioned(&live), &config) {
            return Err(refusal(
                409,
                "Conflict",
                "another manager owns a field with another value",
            ));
        }
        let mut object = owners.apply(kind, manager, &unversioned(&live), &config);
        let is_new = old.is_none();
        if let Some(old) = old {
            kinds::defaults(path, &mut object, 0);
            kinds::check(path, &object)?;
            kinds::check_update(path, &old, &object)?;
            for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
                object["metadata"][field] = old["metadata"][field].clone();
            }
            if object == **old {
                self.owners.insert(path.to_owned(), owners);
                return Ok((old, false));
            }
            if kinds::spec_of(&object) != kinds::spec_of(&old) {
                object["metadata"]["generation"] =
                    json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
        } else {
            self.adopt(path, &mut object)?;
        }
        self.owners.insert(path.to_owned(), owners);
        Ok((self.commit(path, object), is_new))
    }

    /// A change by a part of Kubernetes that shares no field with the operator.
    pub fn change(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        let Some(old) = self.get(path) else { return };
        let mut object = (*old).clone();
        change(&mut object);
        if object != **old {
            if kinds::spec_of(&object) != kinds::spec_of(&old) {
                object["metadata"]["generation"] =
                    json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
            self.commit(path, object);
        }
    }

    pub fn remove(&mut self, path: &str) -> Option<Arc<Stored>> {
        let old = Arc::make_mut(&mut self.objects).remove(path)?;
        self.owners.remove(path);
        self.record();
        Some(old)
    }

    fn commit(&mut self, path: &str, mut object: Value) -> Arc<Stored> {
        object["metadata"]["resourceVersion"] = json!((self.history.len() + 1).to_string());
        let object = Arc::new(Stored { value: object, text: OnceLock::new() });
        Arc::make_mut(&mut self.objects).insert(path.to_owned(), Arc::clone(&object));
        self.record();
        object
    }

    fn record(&mut self) {
        self.history.push(Arc::clone(&self.objects));
        self.news.send_replace(self.history.len());
    }

    /// The number of the newest version, now and whenever it changes.
    pub fn news(&self) -> watch::Receiver<usize> {
        self.news.subscribe()
    }

    /// What became of the objects between two versions: `ADDED`, `MODIFIED` or `DELETED`.
    pub fn events(&self, from: usize, to: usize) -> Vec<(&'static str, String, Arc<Stored>)> {
        let none = Arc::default();
        let at = |version: usize| match version {
            0 => &none,
            version => &self.history[version - 1],
        };
        let mut events = Vec::new();
        for version in from + 1..=to {
            let (before, after) = (at(version - 1), at(version));
            for (path, object) in after.iter() {
                match before.get(path) {
                    None => events.push(("ADDED", path.clone(), Arc::clone(object))),
                    Some(old) if !Arc::ptr_eq(old, object) => {
                        events.push(("MODIFIED", path.clone(), Arc::clone(object)));
                    }
                    Some(_) => {}
                }
            }
            let gone = before.iter().filter(|(path, _)| !after.contains_key(*path));
            events.extend(gone.map(|(path, old)| ("DELETED", path.clone(), Arc::clone(old))));
        }
        events
    }

    /// Objects all of whose owners are gone.
    pub fn orphans(&self) -> Vec<String> {
        let uids: Vec<&Value> =
            self.objects.values().map(|object| &object["metadata"]["uid"]).collect();
        let orphaned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"]
                .as_array()
                .filter(|owners| !owners.is_empty());
            owners.is_some_and(|owners| !owners.iter().any(|owner| uids.contains(&&owner["uid"])))
        };
        self.objects
            .iter()
            .filter(|(_, object)| orphaned(object))
            .map(|(path, _)| path.clone())
            .collect()
    }
}

/// Without what the server sets.
fn unversioned(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"]
        {
            metadata.remove(field);
        }
    }
    object
}

/// Marks an object as being deleted.
pub fn end(store: &mut Store, path: &str) {
    store.change(path, |object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
}

/// Whether finalizers keep an object that is deleted.
pub fn is_kept(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
}

/// Whether an object is a claim that a pod has.
pub fn mounted(store: &Store, object: &Value) -> bool {
    let mounts = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array();
        volumes.into_iter().flatten().any(|volume| {
            volume["persistentVolumeClaim"]["claimName"] == object["metadata"]["name"]
        })
    };
    object["kind"] == "PersistentVolumeClaim"
        && store.list("pods").iter().any(|(_, pod)| mounts(pod))
}
