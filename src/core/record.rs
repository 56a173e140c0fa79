//! The promotion record as read: an EndpointSlice's JSON to plain values.

use serde_json::Value;

use super::{split_brain::Mark, switchover::StepDown};
use crate::{api::labels, broker::report::StoreId};

/// The promotion record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordView {
    /// For a conditional write.
    pub resource_version: String,
    /// Its epoch; 0 if it has none that can be read.
    pub epoch: u64,
    /// The promoted pod, as annotated.
    pub master: Option<String>,
    /// The promoted pod's uid, as annotated.
    pub master_uid: Option<String>,
    /// When it was promoted.
    pub since: Option<String>,
    /// The master before.
    pub previous: Option<String>,
    /// Milliseconds from the lock taken to the record written.
    pub takeover_millis: Option<i64>,
    /// How often the mastership went from one pod to another.
    pub failovers: i64,
    /// Several brokers held the lock at the same time, and nobody was promoted since.
    pub disputed: Option<Mark>,
    /// The last request for a switchover.
    pub step_down: Option<StepDown>,
    /// Pods whose brokers are kept down.
    pub held: Vec<String>,
    /// The store that the group serves from.
    pub store: Option<StoreId>,
    /// The store that a person accepted in its place.
    pub accepted_store: Option<StoreId>,
    /// Where traffic goes; nowhere when withdrawn.
    pub target: Option<Target>,
    /// How many endpoints there are: more than one is never Tandem's doing.
    pub endpoints: usize,
}

/// Where the record sends traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The pod.
    pub pod: Option<String>,
    /// Its uid.
    pub uid: Option<String>,
    /// The address.
    pub address: Option<String>,
}

impl RecordView {
    /// Reads an EndpointSlice. What is missing or malformed is absent, never an error.
    pub fn read(slice: &Value) -> Self {
        let annotation = |key: &str| {
            slice
                .pointer("/metadata/annotations")
                .and_then(|map| map.get(key))
                .and_then(Value::as_str)
        };
        let number = |key: &str| annotation(key).and_then(|text| text.parse::<i64>().ok());
        let endpoints = slice.get("endpoints").and_then(Value::as_array);
        Self {
            resource_version: text(slice, "/metadata/resourceVersion").unwrap_or_default(),
            epoch: annotation(labels::EPOCH).and_then(|text| text.parse().ok()).unwrap_or_default(),
            master: annotation(labels::MASTER).map(str::to_owned),
            master_uid: annotation(labels::MASTER_UID).map(str::to_owned),
            since: annotation(labels::SINCE).map(str::to_owned),
            previous: annotation(labels::PREVIOUS_MASTER).map(str::to_owned),
            takeover_millis: number(labels::TAKEOVER_MILLIS),
            failovers: number(labels::FAILOVERS).unwrap_or_default(),
            disputed: Mark::of(slice),
            step_down: StepDown::of(slice),
            held: annotation(labels::FENCED)
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            store: annotation(labels::STORE).and_then(StoreId::read),
            accepted_store: annotation(labels::ACCEPTED_STORE).and_then(StoreId::read),
            target: endpoints.and_then(|list| list.first()).map(|endpoint| Target {
                pod: text(endpoint, "/targetRef/name"),
                uid: text(endpoint, "/targetRef/uid"),
                address: text(endpoint, "/addresses/0"),
            }),
            endpoints: endpoints.map_or(0, Vec::len),
        }
    }

    /// Whether traffic goes to exactly this pod, at one of its own addresses.
    pub fn leads_to(&self, pod: &super::observed::PodView) -> bool {
        let Some(target) = &self.target else { return false };
        self.endpoints == 1
            && target.uid.as_ref() == Some(&pod.uid)
            && self.master_uid.as_ref() == Some(&pod.uid)
            && target.address.as_ref().is_some_and(|address| pod.addresses.contains(address))
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}
