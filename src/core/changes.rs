//! Which of the wanted children differ from what lives.

use serde_json::Value;

use super::{observed::Observed, validate::short_hash};
use crate::{
    api::labels,
    resources::{Kind, Manifest},
};

/// Only what differs from what lives is applied: a pass over a settled group writes nothing.
pub(super) fn changed(observed: &Observed, wanted: Vec<Manifest>) -> Vec<Manifest> {
    wanted
        .into_iter()
        .map(stamped)
        .filter(|manifest| {
            observed
                .child(manifest.kind, &manifest.name)
                .is_none_or(|live| !covers(live, &manifest.object))
        })
        .collect()
}

/// A template that is kept is written on the version that it was read from: an apply that comes late
/// must not bring an old template back.
pub(super) fn pinned(
    observed: &Observed,
    mut apply: Vec<Manifest>,
    keeps_template: bool,
) -> Vec<Manifest> {
    for manifest in
        apply.iter_mut().filter(|manifest| keeps_template && manifest.kind == Kind::StatefulSet)
    {
        let live = observed.child(manifest.kind, &manifest.name);
        let version = live.and_then(|live| live.pointer("/metadata/resourceVersion")).cloned();
        if let Some(metadata) = manifest.object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.extend(version.map(|version| ("resourceVersion".to_owned(), version)));
        }
    }
    apply
}

/// Adds the hash of what is applied: it tells that a field was dropped, which a comparison of the
/// remaining fields cannot see.
fn stamped(mut manifest: Manifest) -> Manifest {
    let hash = short_hash(manifest.object.to_string().as_bytes());
    manifest.annotate(labels::APPLIED_HASH, &hash);
    manifest
}

/// Whether the live object already has everything that is wanted. The API server adds defaults and
/// writes quantities in its own way, so equality would never be reached.
pub(super) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| live.get(key).is_some_and(|live| covers(live, value)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (Value::String(live), Value::String(wanted)) => {
            live == wanted || same_quantity(live, wanted)
        }
        _ => live == wanted,
    }
}

fn same_quantity(live: &str, wanted: &str) -> bool {
    let amount = crate::api::v1alpha1::amount;
    amount(live)
        .zip(amount(wanted))
        .is_some_and(|(live, wanted)| (live - wanted).abs() <= f64::EPSILON * live.abs())
}
