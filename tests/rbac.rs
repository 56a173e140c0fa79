//! What the operator does with the API server is what its rules allow, and its rules allow nothing
//! that it does not do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt;
use serde_json::{Value, json};
use support::{
    call::Asked,
    group::{NAMESPACE, Says},
    store::path,
    world::{DATABASE, OPERATOR, SPEC, World, operator_args},
};
use tandem::operator::{
    controller,
    election::{Candidate, PERIOD},
    reconcile::{reconcile, retry},
};

const LEASE: &str = "tandem-operator";

/// Rights that no request shows, and why they are given all the same.
const HELD: [(&str, &str, &str); 1] = [(
    // API servers with OwnerReferencesPermissionEnforcement ask for it, because children block the
    // deletion of their owner.
    "update",
    "tandem-operator.io",
    "brokerclusters/finalizers",
)];

/// One thing that may be done. The name is empty when it does not matter.
type Right = (String, String, String, String);

fn right(verb: &str, group: &str, resource: &str, name: &str) -> Right {
    (verb.into(), group.into(), resource.into(), name.into())
}

/// The rules of `deploy/tandem.yaml`, one by one: everywhere, and in the operator's namespace.
fn granted() -> (BTreeSet<Right>, BTreeSet<Right>) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/tandem.yaml");
    let text = std::fs::read_to_string(file).expect("deploy/tandem.yaml, made by `make generate`");
    let mut everywhere = BTreeSet::new();
    let mut at_home = BTreeSet::new();
    for document in text.split("\n---\n") {
        let has = |line: &str| document.lines().any(|found| found == line);
        let rights = match (has("kind: ClusterRole"), has("kind: Role")) {
            (true, _) => &mut everywhere,
            (_, true) => &mut at_home,
            _ => continue,
        };
        let role: Value = serde_saphyr::from_str(document).unwrap();
        assert!(has("kind: ClusterRole") || role["metadata"]["namespace"] == OPERATOR);
        rights.extend(rights_of(&role));
    }
    (everywhere, at_home)
}

fn rights_of(role: &Value) -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let mut names = texts(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    assert!(
                        [&group, &resource, &verb].iter().all(|text| *text != "*"),
                        "no wildcards"
                    );
                    rights.extend(names.iter().map(|name| right(&verb, &group, &resource, name)));
                }
            }
        }
    }
    rights
}

/// Everything that the operator asks for in its life.
async fn life() -> (Vec<Asked>, Value) {
    let mut asked = Vec::new();
    let mut take = |world: &World| asked.append(&mut world.state().calls);
    let world = World::with(SPEC);
    elect(&world).await;
    watch(&world).await;
    world.settle().await;
    let agents = (*world.get("roles", "orders-agent").unwrap()).clone();
    world.put("secrets", json!({"metadata": {"name": "boss"}, "data": {"username": "Ym9zcw==", "password": "cGFzcw=="}}));
    // A rollout; the generated Secret and the old configuration go.
    world.edit("/auth/adminSecret", json!({"name": "boss"}));
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    world.state().group.says.insert("orders-0".into(), Says::Silence); // the same Events again
    world.rounds(2).await;
    world.state().group.says.clear();
    world.settle().await;
    world.state().group.agents_cut_off = true; // and somebody misleads the record
    world
        .state()
        .store
        .change(&World::at("endpointslices", "orders"), |slice| slice["endpoints"] = json!([]));
    world.pass().await.unwrap().unwrap();
    world.age_disagreement(Duration::from_secs(9));
    world.settle().await;
    world.delete();
    world.settle().await;
    take(&world);
    let world = World::settled(&SPEC.replace("claim:", "retention: Delete, claim:")).await;
    world.delete();
    world.settle().await;
    take(&world);
    let world = World::with(DATABASE); // names a ConfigMap
    world.rounds(1).await;
    take(&world);
    (asked, agents)
}

async fn elect(world: &World) {
    let mut candidate = Candidate::new(world.api.client(), OPERATOR, LEASE, "a".into());
    let since = candidate.elected().await;
    drop(tokio::time::timeout(PERIOD * 2, candidate.hold(since)).await);
    candidate.release().await;
}

/// The real watches for a while; what they see is reconciled.
async fn watch(world: &World) {
    let running =
        controller(&world.api.client(), &operator_args()).run(reconcile, retry, world.context());
    let running = running.take_until(tokio::time::sleep(Duration::from_secs(20)));
    let passes = running.filter_map(async |pass| pass.ok()).count().await;
    assert!(passes > 0, "the watches led to no pass");
}

#[tokio::test(start_paused = true)]
async fn the_operator_does_what_its_rules_allow_and_its_rules_allow_no_more() {
    let (everywhere, at_home) = granted();
    let (asked, agents) = life().await;
    let mut used = BTreeSet::new();
    for call in &asked {
        let name = call.name.clone().unwrap_or_default();
        let plain = right(&call.verb, &call.group, &call.resource, "");
        let named = right(&call.verb, &call.group, &call.resource, &name);
        let found = if call.namespace == OPERATOR { &at_home } else { &everywhere };
        let allowed = [plain, named].into_iter().find(|right| found.contains(right));
        used.insert(allowed.unwrap_or_else(|| panic!("not allowed: {call:?}")));
    }
    // Nobody can give rights that he does not have: what the agents may, the operator must be allowed.
    for (verb, group, resource, _) in rights_of(&agents) {
        let right = right(&verb, &group, &resource, "");
        assert!(
            everywhere.contains(&right),
            "the agents are given {right:?}, which the operator does not have"
        );
        used.insert(right);
    }
    used.extend(HELD.map(|(verb, group, resource)| right(verb, group, resource, "")));
    let unused: Vec<_> =
        everywhere.union(&at_home).filter(|right| !used.contains(*right)).collect();
    assert_eq!(unused, Vec::<&Right>::new(), "allowed and never used");
}

#[test]
fn the_paths_of_the_fake_are_those_of_kubernetes() {
    assert_eq!(path("pods", NAMESPACE, "a"), "/api/v1/namespaces/shop/pods/a");
    assert_eq!(
        path("statefulsets", NAMESPACE, "a"),
        "/apis/apps/v1/namespaces/shop/statefulsets/a"
    );
}
