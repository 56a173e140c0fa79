//! Every admission rule, without a cluster: the rules are evaluated by a CEL interpreter.

use kube::CustomResourceExt;

use super::*;

fn cluster(name: &str, spec: &str) -> BrokerCluster {
    BrokerCluster::new(name, serde_saphyr::from_str(spec).unwrap())
}

fn refusal(name: &str, spec: &str) -> String {
    let errors = cluster(name, spec).validate_cel().expect_err("must be refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refusal_of_change(before: &str, after: &str) -> String {
    let (old, new) = (cluster("orders", before), cluster("orders", after));
    let errors = new.validate_cel_update(&old).expect_err("must be refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const CLAIM: &str = "storage: {sharedVolume: {claim: {resources: {requests: {storage: 1Gi}}}}}";

#[test]
fn the_smallest_cluster_is_accepted_and_gets_the_defaults() {
    let cluster = cluster("orders", CLAIM);
    cluster.validate_cel().unwrap();
    let spec = cluster.spec;
    assert_eq!(spec.replicas, 2);
    assert_eq!(spec.broker.version, DEFAULT_VERSION);
    assert_eq!(spec.listeners, defaults::listeners());
    assert_eq!(
        serde_json::to_value(&spec.storage.shared_volume.unwrap().lock.file).unwrap()["keepAlive"],
        "250ms"
    );
}

use super::super::DEFAULT_VERSION;

#[test]
fn names_that_do_not_fit_into_a_dns_label_with_a_suffix_are_refused() {
    for name in ["a".repeat(53), "1orders".into(), "orders.eu".into(), "orders-".into()] {
        assert!(refusal(&name, CLAIM).contains("metadata.name"), "{name}");
    }
    cluster(&"a".repeat(52), CLAIM).validate_cel().unwrap();
}

#[test]
fn exactly_one_kind_of_claim_is_needed() {
    for volume in ["{}", "{claimName: a, claim: {resources: {requests: {storage: 1Gi}}}}"] {
        assert!(
            refusal("orders", &format!("storage: {{sharedVolume: {volume}}}"))
                .contains("exactly one of claimName")
        );
    }
}

#[test]
fn more_than_one_pod_needs_a_claim_that_many_nodes_can_mount() {
    let claim = "storage: {sharedVolume: {claim: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}";
    assert!(refusal("orders", claim).contains("must contain ReadWriteMany"));
    cluster("orders", &format!("{claim}\nreplicas: 1")).validate_cel().unwrap();
}

#[test]
fn listeners_must_differ_in_name_and_port_and_leave_our_ports_alone() {
    let of = |listeners: &str| refusal("orders", &format!("{CLAIM}\nlisteners: {listeners}"));
    let two =
        |a: &str, b: &str| of(&format!("[{{protocol: OpenWire, {a}}}, {{protocol: AMQP, {b}}}]"));
    assert!(two("name: a, port: 5000", "name: a, port: 5001").contains("every name"));
    assert!(two("name: a, port: 5000", "name: b, port: 5000").contains("every port"));
    assert!(of("[{name: a, protocol: OpenWire, port: 61610}]").contains("used by Tandem itself"));
}

#[test]
fn lock_timing_is_bounded_and_a_keep_alive_of_zero_is_refused() {
    let of = |lock: &str| {
        refusal(
            "orders",
            &format!("storage: {{sharedVolume: {{claimName: a, lock: {{file: {lock}}}}}}}"),
        )
    };
    assert!(of("{keepAlive: 0s}").contains("two masters"));
    assert!(of("{keepAlive: 2m}").contains("from 200ms to 1m"));
    assert!(of("{fenceAfter: 1s}").contains("fenceAfter must be from 2s to 10m"));
    assert!(of("{fenceAfter: 11m}").contains("fenceAfter must be from 2s to 10m"));
    assert!(of("{poll: 10ms}").contains("from 50ms to 10s"));
}

#[test]
fn the_hang_timeout_is_bounded() {
    for value in ["1s", "11m"] {
        let spec = format!("{CLAIM}\nfailover: {{hangTimeout: {value}}}");
        assert!(refusal("orders", &spec).contains("from 2s to 10m"), "{value}");
    }
}

#[test]
fn the_store_of_a_cluster_cannot_be_exchanged() {
    let named = |name: &str| format!("storage: {{sharedVolume: {{claimName: {name}}}}}");
    assert!(refusal_of_change(&named("a"), &named("b")).contains("two volumes"));
    assert!(refusal_of_change(CLAIM, &named("b")).contains("two volumes"));
    assert!(refusal_of_change(&named("b"), CLAIM).contains("two volumes"));
    let claim = |extra: &str| {
        format!(
            "storage: {{sharedVolume: {{claim: {{{extra}, resources: {{requests: {{storage: 1Gi}}}}}}}}}}"
        )
    };
    assert!(
        refusal_of_change(&claim("storageClassName: a"), &claim("storageClassName: b"))
            .contains("storageClassName")
    );
    let modes = |modes: &str| claim(&format!("accessModes: [{modes}]"));
    assert!(
        refusal_of_change(&modes("ReadWriteMany"), &modes("ReadWriteMany, ReadOnlyMany"))
            .contains("accessModes")
    );
}

fn of_size(size: &str) -> BrokerCluster {
    cluster("orders", &CLAIM.replace("1Gi", size))
}

#[test]
fn a_claim_may_become_larger_and_not_smaller() {
    for (before, after) in [("1Gi", "2Gi"), ("1Gi", "1024Mi"), ("1Gi", "2000000000"), ("5", "6")] {
        of_size(after).validate_cel_update(&of_size(before)).unwrap();
    }
    for (before, after) in [("2Gi", "1Gi"), ("1Gi", "1023Mi"), ("1Ti", "5"), ("6", "5")] {
        let errors = of_size(after).validate_cel_update(&of_size(before)).expect_err(after);
        assert!(format!("{errors:?}").contains("put the old size back"), "{before} {after}");
    }
    let named = "storage: {sharedVolume: {claimName: a}}";
    cluster("orders", named).validate_cel_update(&cluster("orders", named)).unwrap();
}

#[test]
fn a_growth_that_was_refused_can_be_taken_back() {
    use crate::api::conditions::{Reason, Type, Verdict, merge};
    for (reason, may) in [(Reason::ExpansionRefused, true), (Reason::Resizing, false)] {
        let verdicts = [Verdict::new(Type::VolumeSized, false, reason, "")];
        let conditions = merge(&[], &verdicts, Some(1), jiff::Timestamp::UNIX_EPOCH);
        let mut before = of_size("2Gi");
        before.status = Some(BrokerClusterStatus { conditions, ..Default::default() });
        let after = BrokerCluster { status: before.status.clone(), ..of_size("1Gi") };
        assert_eq!(after.validate_cel_update(&before).is_ok(), may, "{reason:?}");
    }
}

#[test]
fn only_a_claim_of_tandem_s_own_may_go_with_its_cluster() {
    let delete =
        |volume: &str| format!("storage: {{sharedVolume: {{{volume}, retention: Delete}}}}");
    assert!(
        refusal("orders", &delete("claimName: a")).contains("only for a claim that Tandem makes")
    );
    let made = "claim: {resources: {requests: {storage: 1Gi}}}";
    cluster("orders", &delete(made)).validate_cel().unwrap();
    let default = cluster("orders", CLAIM).spec.storage.shared_volume.unwrap().retention;
    assert_eq!(default, crate::api::v1alpha1::Retention::Retain);
}

#[test]
fn every_rule_of_the_schema_carries_a_message() {
    fn walk(value: &serde_json::Value, rules: &mut usize) {
        if let Some(list) = value.get("x-kubernetes-validations").and_then(|v| v.as_array()) {
            for rule in list {
                assert!(rule.get("message").is_some(), "{rule}");
                *rules += 1;
            }
        }
        match value {
            serde_json::Value::Object(map) => map.values().for_each(|v| walk(v, rules)),
            serde_json::Value::Array(list) => list.iter().for_each(|v| walk(v, rules)),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {}
        }
    }
    let mut rules = 0;
    walk(&serde_json::to_value(BrokerCluster::crd()).unwrap(), &mut rules);
    assert!(rules >= 13, "found {rules}");
}
