//! What the promotion record must say next; written by agents, and by the operator as a repair. Pure; an `EndpointSlice` is read
//! and written as untyped JSON, so that fields unknown to this version survive.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{split_brain::Mark, switchover::StepDown};
use crate::api::labels;
use crate::broker::report::StoreId;
use crate::broker::settings::RecordPort;

/// A higher epoch is nobody's count of promotions: it was written by mistake or in malice.
const HIGHEST_EPOCH: u64 = 1 << 53;
/// The value of [`labels::APP_NAME`].
const APP: &str = "activemq";
/// The value of [`labels::COMPONENT`].
const COMPONENT: &str = "broker";

/// Why a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Part of the object has the wrong type.
    #[error("the record's {0} is malformed")]
    Malformed(&'static str),
    /// Without one a write would be unconditional.
    #[error("the record has no resourceVersion")]
    NoVersion,
    /// The pod has no address of the record's family.
    #[error("the record is for {0} addresses, and the pod has none")]
    NoAddress(String),
    /// The broker runs on another store than the one that the group serves from, and nobody accepted it.
    #[error("the group serves from store {recorded}, and this broker runs on store {found}")]
    OtherStore {
        /// The store on record.
        recorded: StoreId,
        /// The broker's.
        found: StoreId,
    },
}

/// A broker's pod, as it stands in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Its addresses: one, or one of each family.
    pub ips: Vec<IpAddr>,
    /// Its node.
    pub node: String,
}

/// Who is promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The pod.
    pub pod: Pod,
    /// The group's name; also the record's.
    pub cluster: String,
    /// Ports for a record that has none.
    pub ports: Vec<RecordPort>,
}

/// What a promotion is based on, besides the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The highest epoch seen anywhere: other versions of the record, the floor beside the store.
    pub floor: u64,
    /// The epoch that this agent wrote, or tried to write, for the running broker process.
    pub tried: Option<u64>,
    /// From the lock taken to now, in milliseconds.
    pub takeover_millis: u64,
    /// The store that the broker was started on; nothing if that is not known.
    pub store: Option<StoreId>,
    /// Now.
    pub now: Timestamp,
}

/// What is to be done about the record.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It names this broker process already.
    Ours {
        /// By this epoch.
        epoch: u64,
    },
    /// Write this.
    Write {
        /// The whole object, with the `resourceVersion` that was read.
        record: Value,
        /// Its epoch.
        epoch: u64,
    },
}

/// The record's epoch; `None` when it has none or a malformed one.
pub fn epoch(record: &Value) -> Option<u64> {
    annotation(record, labels::EPOCH)?.parse().ok().filter(|&epoch| epoch <= HIGHEST_EPOCH)
}

/// Whether the record is the one that was written by this epoch for the author's broker process.
pub fn is_ours(record: &Value, author: &Author, tried: Option<u64>) -> bool {
    tried.is_some()
        && epoch(record) == tried
        && names(record, author)
        && annotation(record, labels::DISPUTED).is_none()
}

/// Whether the record names another pod by a higher epoch.
pub fn is_newer(record: &Value, author: &Author, tried: Option<u64>) -> bool {
    let other = annotation(record, labels::MASTER_UID).is_some_and(|uid| *uid != author.pod.uid);
    other && epoch(record) > tried
}

/// Whether the record leads clients to the author's pod, and to it alone.
pub fn names(record: &Value, author: &Author) -> bool {
    let Ok(address) = address(record, author) else { return false };
    let wanted = endpoint(author, address);
    let same = |key: &str, at: &str| {
        record.pointer(&format!("/endpoints/0{at}/{key}")) == wanted.pointer(&format!("{at}/{key}"))
    };
    annotation(record, labels::MASTER_UID) == Some(&author.pod.uid)
        && record.pointer("/endpoints").and_then(Value::as_array).map(Vec::len) == Some(1)
        && same("addresses", "")
        && same("ready", "/conditions")
        && same("uid", "/targetRef")
}

/// Whether the record leads clients to another pod.
pub fn leads_elsewhere(record: &Value, author: &Author) -> bool {
    let endpoints = record.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let uid = |endpoint: &Value| endpoint.pointer("/targetRef/uid").cloned();
    endpoints.into_iter().any(|endpoint| uid(endpoint) != Some(author.pod.uid.as_str().into()))
}

/// What a promotion makes of the record. It is also the end of a dispute: the caller has proven that.
pub fn next(record: &Value, author: &Author, claim: &Claim) -> Result<Next, RecordError> {
    version(record)?;
    let address = address(record, author)?;
    if is_ours(record, author, claim.tried) {
        return Ok(Next::Ours { epoch: claim.tried.unwrap_or_default() });
    }
    let store = store_to_record(record, claim.store.as_ref())?;
    let known = [epoch(record).unwrap_or_default(), claim.floor, claim.tried.unwrap_or_default()];
    let epoch = known.into_iter().max().unwrap_or_default() + 1;

    let mut record = record.clone();
    let before = annotation(&record, labels::MASTER).filter(|name| !name.is_empty()).cloned();
    let failovers = annotation(&record, labels::FAILOVERS)
        .and_then(|count| count.parse::<u64>().ok())
        .unwrap_or_default();
    let moved = before.as_ref().is_some_and(|name| *name != author.pod.name);
    let notes = annotations(&mut record)?;
    let mut note = |key: &str, value: String| drop(notes.insert(key.to_owned(), value.into()));
    note(labels::EPOCH, epoch.to_string());
    note(labels::MASTER, author.pod.name.clone());
    note(labels::MASTER_UID, author.pod.uid.clone());
    note(labels::SINCE, in_millis(claim.now));
    note(labels::TAKEOVER_MILLIS, claim.takeover_millis.to_string());
    note(labels::FAILOVERS, failovers.saturating_add(u64::from(moved)).to_string());
    if let Some(name) = before.filter(|_| moved) {
        note(labels::PREVIOUS_MASTER, name);
    }
    if let Some(store) = store {
        note(labels::STORE, store.to_string());
    }
    notes.remove(labels::DISPUTED);
    set_endpoints(&mut record, author, address)?;
    Ok(Next::Write { record, epoch })
}

/// The store that a promotion puts on record, if the record does not name it yet. A broker on a store that is
/// neither on record nor accepted is not promoted: clients are not led to other messages.
fn store_to_record(
    record: &Value,
    found: Option<&StoreId>,
) -> Result<Option<StoreId>, RecordError> {
    let read = |key| annotation(record, key).map(String::as_str).and_then(StoreId::read);
    let Some(found) = found else { return Ok(None) };
    match read(labels::STORE) {
        Some(recorded) if recorded == *found => Ok(None),
        Some(recorded) if read(labels::ACCEPTED_STORE).as_ref() != Some(found) => {
            Err(RecordError::OtherStore { recorded, found: found.clone() })
        }
        Some(_) | None => Ok(Some(found.clone())),
    }
}

/// The second family's slice, following the record as just written.
pub fn following(slice: &Value, record: &Value, author: &Author) -> Result<Value, RecordError> {
    version(slice)?;
    let address = address(slice, author)?;
    let mut slice = slice.clone();
    let notes = annotations(&mut slice)?;
    for key in [labels::EPOCH, labels::MASTER, labels::MASTER_UID, labels::SINCE] {
        if let Some(value) = annotation(record, key) {
            notes.insert(key.to_owned(), value.clone().into());
        }
    }
    set_endpoints(&mut slice, author, address)?;
    Ok(slice)
}

/// The record without its endpoint, if it names the author's pod.
pub fn emptied(record: &Value, author: &Author) -> Result<Option<Value>, RecordError> {
    version(record)?;
    let ours = annotation(record, labels::MASTER_UID) == Some(&author.pod.uid);
    let empty = record.get("endpoints").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if !ours || empty {
        return Ok(None);
    }
    without_endpoint(record).map(Some)
}

/// The record leading clients nowhere; its annotations stay, because the next promotion counts on from
/// them.
pub fn without_endpoint(record: &Value) -> Result<Value, RecordError> {
    version(record)?;
    let mut record = record.clone();
    object(&mut record)?.insert("endpoints".to_owned(), json!([]));
    Ok(record)
}

/// The record leading clients nowhere, because several brokers hold the lock.
pub fn disputed(record: &Value, mark: &Mark) -> Result<Value, RecordError> {
    let mut record = without_endpoint(record)?;
    let text = serde_json::to_string(mark).map_err(|_| RecordError::Malformed("mark"))?;
    annotations(&mut record)?.insert(labels::DISPUTED.to_owned(), text.into());
    Ok(record)
}

/// The record after the end of a dispute; it leads clients where it did.
pub fn undisputed(record: &Value) -> Result<Value, RecordError> {
    version(record)?;
    let mut record = record.clone();
    annotations(&mut record)?.remove(labels::DISPUTED);
    Ok(record)
}

/// The record with a request for a switchover; it leads clients where it did.
pub fn requested(record: &Value, request: &StepDown) -> Result<Value, RecordError> {
    version(record)?;
    let mut record = record.clone();
    let text = serde_json::to_string(request).map_err(|_| RecordError::Malformed("request"))?;
    annotations(&mut record)?.insert(labels::STEP_DOWN.to_owned(), text.into());
    Ok(record)
}

/// The record with the pods whose brokers are kept down; it leads clients where it did.
pub fn holding(record: &Value, pods: &[String]) -> Result<Value, RecordError> {
    version(record)?;
    let mut record = record.clone();
    let notes = annotations(&mut record)?;
    if pods.is_empty() {
        notes.remove(labels::FENCED);
    } else {
        notes.insert(labels::FENCED.to_owned(), json!(pods).to_string().into());
    }
    Ok(record)
}

/// The record with the store that a person accepted; it leads clients where it did.
pub fn accepting(record: &Value, store: Option<&StoreId>) -> Result<Value, RecordError> {
    version(record)?;
    let mut record = record.clone();
    let notes = annotations(&mut record)?;
    match store {
        Some(store) => drop(notes.insert(labels::ACCEPTED_STORE.to_owned(), store.as_str().into())),
        None => drop(notes.remove(labels::ACCEPTED_STORE)),
    }
    Ok(record)
}

/// A record that was deleted, without an endpoint: that comes by the conditional write after it.
pub fn shell(author: &Author) -> Value {
    let family = author.pod.ips.first().map_or("IPv4", family);
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": author.cluster,
            "namespace": author.pod.namespace,
            "labels": {
                labels::SERVICE_NAME: author.cluster,
                labels::SLICE_MANAGED_BY: labels::GROUP,
                labels::APP_NAME: APP,
                labels::INSTANCE: author.cluster,
                labels::COMPONENT: COMPONENT,
                labels::MANAGED_BY: labels::MANAGER,
            },
        },
        "addressType": family,
        "ports": ports(author),
    })
}

/// The name of the slice that follows the record: of the family that the record has not.
pub fn follower_name(record: &Value, author: &Author) -> Option<String> {
    let first = address_type(record);
    let second = author.pod.ips.iter().map(family).find(|family| Some(*family) != first)?;
    let suffix = if second == "IPv6" { "v6" } else { "v4" };
    Some(format!("{}-{suffix}", author.cluster))
}

/// RFC 3339 with milliseconds.
fn in_millis(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&time)
}

fn annotation<'record>(record: &'record Value, key: &str) -> Option<&'record String> {
    let value = record.get("metadata")?.get("annotations")?.get(key)?;
    if let Value::String(text) = value { Some(text) } else { None }
}

fn version(record: &Value) -> Result<&str, RecordError> {
    record
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .filter(|version| !version.is_empty() && *version != "0")
        .ok_or(RecordError::NoVersion)
}

fn object(value: &mut Value) -> Result<&mut Map<String, Value>, RecordError> {
    value.as_object_mut().ok_or(RecordError::Malformed("body"))
}

fn annotations(record: &mut Value) -> Result<&mut Map<String, Value>, RecordError> {
    let metadata = object(record)?.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.ok_or(RecordError::Malformed("metadata"))?;
    let notes = metadata.entry("annotations").or_insert_with(|| json!({}));
    if notes.is_null() {
        *notes = json!({});
    }
    notes.as_object_mut().ok_or(RecordError::Malformed("annotations"))
}

fn set_endpoints(record: &mut Value, author: &Author, ip: IpAddr) -> Result<(), RecordError> {
    let fields = object(record)?;
    fields.insert("endpoints".to_owned(), json!([endpoint(author, ip)]));
    if fields.get("ports").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        fields.insert("ports".to_owned(), ports(author));
    }
    Ok(())
}

fn endpoint(author: &Author, ip: IpAddr) -> Value {
    json!({
        "addresses": [ip.to_string()],
        "nodeName": author.pod.node,
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {
            "kind": "Pod",
            "namespace": author.pod.namespace,
            "name": author.pod.name,
            "uid": author.pod.uid,
        },
    })
}

fn ports(author: &Author) -> Value {
    let port = |port: &RecordPort| json!({"name": port.name, "port": port.port, "protocol": "TCP", "appProtocol": "tcp"});
    author.ports.iter().map(port).collect()
}

fn address_type(record: &Value) -> Option<&str> {
    record.get("addressType").and_then(Value::as_str)
}

fn address(record: &Value, author: &Author) -> Result<IpAddr, RecordError> {
    let wanted = address_type(record).ok_or(RecordError::Malformed("addressType"))?;
    let found = author.pod.ips.iter().find(|ip| family(ip) == wanted);
    found.copied().ok_or_else(|| RecordError::NoAddress(wanted.to_owned()))
}

fn family(ip: &IpAddr) -> &'static str {
    if ip.is_ipv6() { "IPv6" } else { "IPv4" }
}

#[cfg(test)]
#[path = "promotion_tests.rs"]
pub(crate) mod tests;
