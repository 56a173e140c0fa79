//! Which changes of the spec need a restart: what shapes a pod, as a hash. It is made of the spec, not of
//! the built manifests, so a newer operator that builds them differently restarts no broker.

use super::validate::short_hash;
use crate::api::v1alpha1::{BrokerClusterSpec, Lock, Preflight};

/// Hash of the parts of the spec that shape a pod, and of people's last request for a restart. `replicas`,
/// `paused` and the claim's size do not shape one.
pub(super) fn revision(spec: &BrokerClusterSpec, restart: Option<&str>) -> String {
    let volume = spec.storage.shared_volume.as_ref();
    let mut shape = serde_json::json!({
        "broker": spec.broker,
        "claim": volume.and_then(|volume| volume.claim_name.as_ref()),
        "lock": volume.map(|volume| lock_shape(&volume.lock)),
        "listeners": spec.listeners,
        "auth": spec.auth,
        "failover": {"hangTimeout": spec.failover.hang_timeout},
        "pod": spec.pod,
    });
    // Only where there is one: other pods keep the revision that they have.
    if let (Some(database), Some(shape)) = (&spec.storage.database, shape.as_object_mut()) {
        shape.insert("database".to_owned(), serde_json::json!(database));
    }
    let preflight = volume.map(|volume| volume.preflight).unwrap_or_default();
    if let (Preflight::Warn, Some(shape)) = (preflight, shape.as_object_mut()) {
        shape.insert("preflight".to_owned(), serde_json::json!(preflight));
    }
    if let (Some(restart), Some(shape)) = (restart, shape.as_object_mut()) {
        shape.insert("restart".to_owned(), serde_json::json!(restart));
    }
    short_hash(shape.to_string().as_bytes())
}

fn lock_shape(lock: &Lock) -> serde_json::Value {
    match &lock.database {
        Some(database) => serde_json::json!({"database": database}),
        None => serde_json::json!({"file": lock.file.clone().unwrap_or_default()}),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::v1alpha1::crd;

    const BASE: &str = "{storage: {sharedVolume: {claimName: a}}}";

    /// What a change of a field leads to.
    #[derive(Debug, PartialEq, Eq)]
    enum Effect {
        Restart,
        Nothing,
        /// Admission refuses it.
        Refused,
    }
    use Effect::{Nothing, Refused, Restart};

    /// Every field, a spec that differs from [`BASE`] in it, and what the change leads to.
    const FIELDS: [(&str, &str, Effect); 20] = [
        ("broker", "{broker: {java: {heap: 60%}}}", Restart),
        ("replicas", "{replicas: 3}", Nothing),
        (
            "storage.database",
            "{storage: {sharedVolume: null, database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: {name: a}}}}",
            Refused,
        ),
        ("storage.sharedVolume.claimName", "{storage: {sharedVolume: {claimName: b}}}", Refused),
        (
            "storage.sharedVolume.claim",
            "{storage: {sharedVolume: {claimName: null, claim: {resources: {requests: {storage: 1Gi}}}}}}",
            Refused,
        ),
        (
            "storage.sharedVolume.lock",
            "{storage: {sharedVolume: {lock: {file: {keepAlive: 1s}}}}}",
            Restart,
        ),
        ("storage.sharedVolume.preflight", "{storage: {sharedVolume: {preflight: Warn}}}", Restart),
        ("listeners", "{listeners: [{name: a, protocol: AMQP, port: 5672}]}", Restart),
        ("auth", "{auth: {usersSecret: {name: users}}}", Restart),
        ("failover.hangTimeout", "{failover: {hangTimeout: 20s}}", Restart),
        (
            "failover.unreachableNode",
            "{failover: {unreachableNode: {forceDeleteAfter: 2m}}}",
            Nothing,
        ),
        ("update.strategy", "{update: {strategy: OnDelete}}", Nothing),
        ("update.switchoverOnCordon", "{update: {switchoverOnCordon: false}}", Nothing),
        ("update.windows", "{update: {windows: [{start: '01:00', duration: 1h}]}}", Nothing),
        ("update.haltAfter", "{update: {haltAfter: 1h}}", Nothing),
        ("pod", "{pod: {priorityClassName: high}}", Restart),
        ("fencedPods", "{fencedPods: [orders-1]}", Nothing),
        ("hibernated", "{hibernated: true}", Nothing),
        ("paused", "{paused: true}", Nothing),
        (
            "storage.sharedVolume.retention",
            "{storage: {sharedVolume: {retention: Delete}}}",
            Nothing,
        ),
    ];

    fn spec(change: &str) -> BrokerClusterSpec {
        let mut spec: Value = serde_saphyr::from_str(BASE).unwrap();
        merge(&mut spec, &serde_saphyr::from_str(change).unwrap());
        serde_json::from_value(spec).unwrap()
    }

    fn merge(into: &mut Value, change: &Value) {
        match (into, change) {
            (Value::Object(into), Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, change) => *into = change.clone(),
        }
    }

    /// The fields of the schema, those of these objects one by one.
    fn fields(schema: &Value, path: &str) -> BTreeSet<String> {
        let each = schema["properties"].as_object().into_iter().flatten();
        each.flat_map(|(name, inner)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match path.as_str() {
                "storage" | "storage.sharedVolume" | "failover" | "update" => fields(inner, &path),
                _ => BTreeSet::from([path]),
            }
        })
        .collect()
    }

    #[test]
    fn every_field_is_in_the_table_of_what_needs_a_restart() {
        let definition = serde_json::to_value(crd().unwrap()).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let known: BTreeSet<String> =
            FIELDS.iter().map(|(field, ..)| (*field).to_owned()).collect();
        assert_eq!(fields(&schema["properties"]["spec"], ""), known);
        let guide = include_str!("../../docs/guides/operations.md");
        let (_, guide) = guide.split_once("## Changing the spec").unwrap();
        for (field, change, effect) in FIELDS {
            let restarts = revision(&spec(change), None) != revision(&spec("{}"), None);
            if effect != Refused {
                assert_eq!(restarts, effect == Restart, "{field}");
            }
            let words = if effect == Refused {
                "refused:"
            } else if restarts {
                "pods are replaced"
            } else {
                "restart"
            };
            let names = [field, field.split('.').next().unwrap()].map(|name| format!("`{name}`"));
            let last = field.rsplit('.').next().unwrap();
            let told = guide.lines().any(|row| {
                let has_name = names.iter().any(|name| row.contains(name)) || row.contains(last);
                row.starts_with('|') && has_name && row.contains(words)
            });
            assert!(
                told,
                "docs/guides/operations.md does not say what a change of {field} leads to"
            );
        }
    }

    #[test]
    fn a_new_request_for_a_restart_is_a_new_revision() {
        let spec = spec("{}");
        let of = |restart: Option<&str>| revision(&spec, restart);
        assert_eq!(of(Some("a")), of(Some("a")));
        assert!(of(None) != of(Some("a")) && of(Some("a")) != of(Some("b")));
    }
}
