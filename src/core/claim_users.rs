//! Which other groups use a claim. Two groups on one store are not allowed: with file locks only one of
//! them would ever serve, and with locks of two kinds both would write, which destroys the store.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::{labels, names::ClusterName};

/// The claim that a BrokerCluster uses, by its spec as it is stored: one that this version could not read
/// counts too.
fn claim_of(cluster: &Value) -> Option<String> {
    let volume = cluster.pointer("/spec/storage/sharedVolume")?;
    if let Some(named) = volume.get("claimName").and_then(Value::as_str) {
        return Some(named.to_owned());
    }
    volume.get("claim").filter(|claim| claim.is_object())?;
    let name = text(cluster, "/metadata/name")?.to_owned();
    Some(ClusterName { namespace: String::new(), name }.store())
}

fn text<'a>(object: &'a Value, at: &str) -> Option<&'a str> {
    object.pointer(at).and_then(Value::as_str)
}

fn created(object: &Value) -> Option<Timestamp> {
    text(object, "/metadata/creationTimestamp")?.parse().ok()
}

/// All other groups that use the claim, in words: BrokerClusters of the namespace that name it, and pods
/// of groups that have it mounted, whose BrokerCluster may be gone.
pub fn others(
    cluster: &ClusterName,
    claim: &str,
    clusters: &[Value],
    pods: &[Value],
) -> Vec<String> {
    named(&cluster.name, claim, clusters).chain(mounting(&cluster.name, claim, pods)).collect()
}

/// Those of them that keep this group from using the claim: BrokerClusters that are not younger, and
/// pods. Of two of the same second neither is the younger one: both wait until a person has decided,
/// because both may be worked on at the same time.
pub fn holders(
    cluster: &ClusterName,
    claim: &str,
    clusters: &[Value],
    pods: &[Value],
) -> Vec<String> {
    let of_name = |other: &&Value| text(other, "/metadata/name") == Some(&cluster.name);
    let since = clusters.iter().find(of_name).and_then(created);
    let younger = |other: &Value| created(other).zip(since).is_some_and(|(other, us)| other > us);
    let older: Vec<Value> = clusters.iter().filter(|other| !younger(other)).cloned().collect();
    others(cluster, claim, &older, pods)
}

fn named(us: &str, claim: &str, clusters: &[Value]) -> impl Iterator<Item = String> {
    clusters
        .iter()
        .filter(move |other| claim_of(other).as_deref() == Some(claim))
        .filter_map(|other| text(other, "/metadata/name"))
        .filter(move |name| *name != us)
        .map(|name| format!("BrokerCluster {name}"))
}

fn mounting(us: &str, claim: &str, pods: &[Value]) -> impl Iterator<Item = String> {
    let mounts = move |pod: &Value| {
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        volumes
            .into_iter()
            .flatten()
            .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == Some(claim))
    };
    pods.iter().filter(move |pod| mounts(pod)).filter_map(move |pod| {
        let group = pod.pointer("/metadata/labels")?.get(labels::INSTANCE)?.as_str()?;
        let name = text(pod, "/metadata/name")?;
        (group != us).then(|| format!("pod {name} of group {group}"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn cluster(name: &str, second: u32, volume: &Value) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"storage": {"sharedVolume": volume}},
        })
    }

    fn name(name: &str) -> ClusterName {
        ClusterName { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn a_claim_is_known_by_its_name_however_the_spec_names_it() {
        let made = cluster("orders", 1, &json!({"claim": {"resources": {}}}));
        let named = cluster("billing", 0, &json!({"claimName": "orders-store"}));
        let elsewhere = cluster("other", 0, &json!({"claimName": "other"}));
        let database = json!({"metadata": {"name": "x"}, "spec": {"storage": {"database": {}}}});
        let all = [made, named, elsewhere, database];
        assert_eq!(holders(&name("orders"), "orders-store", &all, &[]), ["BrokerCluster billing"]);
        assert_eq!(holders(&name("billing"), "orders-store", &all, &[]), Vec::<String>::new());
        assert_eq!(others(&name("billing"), "orders-store", &all, &[]), ["BrokerCluster orders"]);
    }

    #[test]
    fn pods_hold_what_they_mount_and_our_own_do_not_count() {
        let pod = |group: &str, claim: &str| {
            json!({
                "metadata": {"name": format!("{group}-0"), "labels": {(labels::INSTANCE): group}},
                "spec": {"volumes": [{"name": "x"}, {"persistentVolumeClaim": {"claimName": claim}}]},
            })
        };
        let us = cluster("orders", 0, &json!({"claimName": "a"}));
        let pods = [pod("orders", "a"), pod("billing", "a"), pod("other", "b")];
        let told = holders(&name("orders"), "a", &[us], &pods);
        assert_eq!(told, ["pod billing-0 of group billing"]);
    }

    proptest! {
        /// Whenever each of them looks, once both exist: never do two groups go on.
        #[test]
        fn of_groups_on_one_claim_at_most_one_goes_on(seconds in prop::collection::vec(0..4u32, 1..5)) {
            let all: Vec<Value> = seconds
                .iter()
                .enumerate()
                .map(|(n, second)| cluster(&format!("c{n}"), *second, &json!({"claimName": "a"})))
                .collect();
            let goes_on = |n: &usize| holders(&name(&format!("c{n}")), "a", &all, &[]).is_empty();
            prop_assert!((0..all.len()).filter(goes_on).count() <= 1);
            // One that is not in the list any more does nothing.
            prop_assert!(!holders(&name("gone"), "a", &all, &[]).is_empty());
        }
    }
}
