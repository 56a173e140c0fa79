//! Passes of the operator over a fake API server with a simulated group: what it makes, what it
//! replaces, and what it leaves alone.

mod support;

use serde_json::{Value, json};
use support::{
    group::Phase,
    world::{SPEC, World},
};

#[tokio::test(start_paused = true)]
async fn a_fresh_cluster_gets_all_its_children_and_a_master_within_few_passes() {
    let world = World::with(SPEC);
    let rounds = world.settle().await;
    assert!(rounds <= 10, "{rounds}");
    for (resource, names) in [
        ("serviceaccounts", vec!["orders-agent"]),
        ("roles", vec!["orders-agent"]),
        ("rolebindings", vec!["orders-agent"]),
        ("secrets", vec!["orders-admin"]),
        ("persistentvolumeclaims", vec!["orders-store"]),
        ("services", vec!["orders", "orders-pods"]),
        ("endpointslices", vec!["orders"]),
        ("poddisruptionbudgets", vec!["orders"]),
        ("networkpolicies", vec!["orders"]),
        ("statefulsets", vec!["orders"]),
        ("pods", vec!["orders-0", "orders-1"]),
    ] {
        assert_eq!(world.names(resource), names, "{resource}");
    }
    assert_eq!(world.names("configmaps").len(), 1);
    assert_eq!((world.record().epoch, world.record().failovers), (1, 0));
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(
        world.get("pods", "orders-0").unwrap()["metadata"]["labels"]["tandem-operator.io/role"],
        "master"
    );
    assert_eq!(
        world.get("pods", "orders-1").unwrap()["metadata"]["labels"]["tandem-operator.io/role"],
        "standby"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pass_over_a_settled_group_writes_nothing_at_all() {
    for spec in [
        SPEC,
        "storage: {sharedVolume: {claim: {resources: {requests: {storage: 0.5Ti}}}}}\nreplicas: 3",
        LARGE,
    ] {
        let world = World::settled(spec).await;
        let version = world.state().store.version();
        world.forget();
        world.restart(); // nothing of it depends on memory
        for _ in 0..3 {
            world.pass().await.unwrap().unwrap();
        }
        assert_eq!(world.writes(), Vec::<String>::new());
        assert_eq!(world.state().store.version(), version);
    }
}

/// A spec that says much, to meet more of what an API server makes of it.
const LARGE: &str = r"
storage: {sharedVolume: {claim: {storageClassName: nfs, resources: {requests: {storage: 20Gi}}}, lock: {file: {poll: 500ms, keepAlive: 2s}}}}
listeners: [{name: openwire, protocol: OpenWire, port: 61616}, {name: amqp, protocol: AMQP, port: 5672}]
pod:
  resources: {requests: {cpu: 500m, memory: 4096Mi}, limits: {memory: 4Gi}}
  annotations: {example.com/team: finance}
  nodeSelector: {disk: fast}
  tolerations: [{key: dedicated, operator: Exists}]
  env: [{name: TZ, value: Europe/Vienna}]
  volumes: [{name: extra, configMap: {name: extra}}]
  volumeMounts: [{name: extra, mountPath: /extra}]
";

#[tokio::test(start_paused = true)]
async fn an_edit_rolls_the_standby_first_then_the_master_and_costs_one_failover() {
    let world = World::settled(SPEC).await;
    let before: Vec<String> = ["orders-0", "orders-1"].map(|pod| world.uid("pods", pod)).into();
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-0"]);
    assert_eq!((world.record().epoch, world.record().failovers), (2, 1));
    assert_eq!(world.record().master.as_deref(), Some("orders-1"));
    let after: Vec<String> = ["orders-0", "orders-1"].map(|pod| world.uid("pods", pod)).into();
    assert!(before.iter().all(|uid| !after.contains(uid)));
    assert_eq!(world.names("configmaps").len(), 1, "the old configuration is gone");
    assert!(world.events().contains(&"FailedOver".to_owned()));
    assert_eq!(world.status().last_failover.unwrap().to, "orders-1");
}

#[tokio::test(start_paused = true)]
async fn of_three_pods_the_master_goes_last() {
    let world = World::settled(&format!("{SPEC}\nreplicas: 3")).await;
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-2", "orders-0"]);
    assert_eq!((world.record().epoch, world.record().failovers), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_edit_during_a_rollout_ends_at_the_last_spec_with_one_failover() {
    let world = World::settled(SPEC).await;
    world.edit("/broker/java/heap", json!("60%"));
    world.rounds(3).await;
    world.edit("/broker/java/heap", json!("70%"));
    world.settle().await;
    assert_eq!(world.record().failovers, 1);
    let settings = world.state().store.list("configmaps")[0].1.to_string();
    assert!(settings.contains("MaxRAMPercentage=70"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_cannot_run_stops_at_the_standby_and_its_correction_goes_on() {
    for (field, bad, good) in [
        (
            "/broker/image",
            json!("registry.example/no-such-image:1"),
            json!("registry.example/activemq:6.3.1"),
        ),
        (
            "/pod/env",
            json!([{"name": "CRASHES", "value": "1"}]),
            json!([{"name": "RUNS", "value": "1"}]),
        ),
    ] {
        let world = World::settled(SPEC).await;
        world.edit(field, bad);
        world.settle().await;
        assert_eq!(world.deleted(), ["orders-1"]);
        assert_eq!(world.condition("Progressing"), "False RolloutStuck");
        assert_eq!(world.condition("StandbyReady"), "False StandbyMissing");
        assert_eq!(world.condition("Ready"), "True Serving", "the master is left alone");
        assert_eq!(world.phase("orders-0"), Some(Phase::Master));
        world.edit(field, good);
        world.settle().await;
        assert_eq!(world.deleted(), ["orders-1", "orders-1", "orders-0"]);
        assert_eq!(
            (world.record().failovers, world.condition("Progressing")),
            (1, "False UpToDate".into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn going_back_from_a_bad_edit_costs_no_failover() {
    let world = World::settled(SPEC).await;
    world.edit("/broker/image", json!("registry.example/no-such-image:1"));
    world.settle().await;
    world.edit("/broker/image", Value::Null);
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-1", "orders-1"]);
    assert_eq!(
        (world.record().failovers, world.condition("Progressing")),
        (0, "False UpToDate".into())
    );
}

#[tokio::test(start_paused = true)]
async fn scaling_changes_the_number_of_pods_and_nothing_else() {
    let world = World::settled(SPEC).await;
    let kept = world.uid("pods", "orders-0");
    for (replicas, pods) in [
        (3, vec!["orders-0", "orders-1", "orders-2"]),
        (1, vec!["orders-0"]),
        (2, vec!["orders-0", "orders-1"]),
    ] {
        world.edit("/replicas", json!(replicas));
        world.settle().await;
        assert_eq!(world.names("pods"), pods);
        assert_eq!(world.condition("Ready"), "True Serving");
    }
    assert_eq!((world.deleted(), world.record().failovers), (Vec::new(), 0));
    assert_eq!(world.uid("pods", "orders-0"), kept);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_one_is_replaced_and_comes_back() {
    let world = World::settled(&format!("{SPEC}\nreplicas: 1")).await;
    assert_eq!(world.condition("StandbyReady"), "False SinglePod");
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.deleted(), ["orders-0"]);
    assert_eq!((world.record().epoch, world.condition("Ready")), (2, "True Serving".into()));
}

#[tokio::test(start_paused = true)]
async fn while_paused_nothing_is_written_but_the_status() {
    let world = World::settled(SPEC).await;
    world.edit("/paused", json!(true));
    world.edit("/broker/java/heap", json!("60%"));
    world.edit("/replicas", json!(3));
    world
        .state()
        .store
        .change(&World::at("services", "orders"), |service| service["spec"]["ports"] = json!([]));
    world.forget();
    world.settle().await;
    let writes = world.writes();
    assert!(
        writes.iter().all(|write| write.starts_with("patch brokerclusters/status")
            || write.starts_with("create events")),
        "{writes:?}"
    );
    assert_eq!(world.condition("Paused"), "True SpecPaused");
    world.edit("/paused", json!(false));
    world.settle().await;
    assert_eq!((world.names("pods").len(), world.record().failovers), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_is_put_right() {
    let world = World::settled(SPEC).await;
    world
        .state()
        .store
        .change(&World::at("services", "orders"), |service| service["spec"]["ports"] = json!([]));
    world.state().store.remove(&World::at("roles", "orders-agent"));
    world.settle().await;
    assert_eq!(world.get("services", "orders").unwrap()["spec"]["ports"][0]["port"], 61616);
    assert_eq!(world.names("roles"), ["orders-agent"]);
    assert_eq!(world.record().epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_the_spec_drops_goes_from_the_children() {
    let world = World::settled(LARGE).await;
    world.edit("/listeners", json!([{"name": "amqp", "protocol": "AMQP", "port": 5672}]));
    world.edit("/pod/env", json!([]));
    world.edit("/pod/nodeSelector", json!({}));
    world.settle().await;
    let service = world.get("services", "orders").unwrap();
    assert_eq!(service["spec"]["ports"].as_array().unwrap().len(), 1);
    let template = world.get("statefulsets", "orders").unwrap()["spec"]["template"]["spec"].clone();
    assert_eq!(template["nodeSelector"], Value::Null);
    assert!(!template.to_string().contains("Europe/Vienna"));
    assert_eq!(
        world.record().target.unwrap().pod.as_deref(),
        Some("orders-1"),
        "the record's endpoint is not the operator's"
    );
    assert_eq!(world.get("endpointslices", "orders").unwrap()["ports"][0]["port"], 5672);
}

#[tokio::test(start_paused = true)]
async fn objects_of_somebody_else_are_left_alone_and_named() {
    for (resource, name, object) in [
        ("services", "orders", json!({"spec": {"selector": {"app": "x"}, "ports": [{"port": 1}]}})),
        ("services", "orders-pods", json!({"spec": {"ports": [{"port": 1}]}})),
        ("endpointslices", "orders", json!({"addressType": "IPv4", "endpoints": []})),
        ("secrets", "orders-admin", json!({"data": {}})),
        (
            "persistentvolumeclaims",
            "orders-store",
            json!({"spec": {"accessModes": ["ReadWriteMany"]}}),
        ),
        (
            "statefulsets",
            "orders",
            json!({"spec": {"serviceName": "x", "replicas": 0, "selector": {}, "template": {}}}),
        ),
        ("roles", "orders-agent", json!({"rules": []})),
    ] {
        let world = World::new();
        let mut object = object;
        object["metadata"] = json!({"name": name});
        world.put(resource, object);
        world.create(SPEC);
        world.settle().await;
        let theirs = world.get(resource, name).unwrap();
        assert_eq!(theirs["metadata"]["ownerReferences"], Value::Null);
        let writes = world.writes();
        assert!(
            writes.iter().all(|write| write.starts_with("patch brokerclusters/status")
                || write.starts_with("create events")),
            "{writes:?}"
        );
        assert_eq!(world.condition("ConfigurationValid"), "False NameTaken", "{resource} {name}");
        assert!(world.message("ConfigurationValid").contains(name));
        world.state().store.remove(&World::at(resource, name));
        world.settle().await;
        assert_eq!(world.condition("Ready"), "True Serving", "{resource} {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_claim_outlives_the_cluster_and_is_found_again() {
    let world = World::settled(SPEC).await;
    let claim = world.uid("persistentvolumeclaims", "orders-store");
    world.delete();
    world.settle().await;
    for resource in [
        "statefulsets",
        "pods",
        "services",
        "endpointslices",
        "configmaps",
        "secrets",
        "roles",
        "networkpolicies",
    ] {
        assert_eq!(world.names(resource), Vec::<String>::new(), "{resource}");
    }
    assert_eq!(world.uid("persistentvolumeclaims", "orders-store"), claim);
    world.create(SPEC);
    world.settle().await;
    assert_eq!(world.uid("persistentvolumeclaims", "orders-store"), claim);
    assert_eq!(world.condition("Ready"), "True Serving");
}

#[tokio::test(start_paused = true)]
async fn children_of_a_deleted_cluster_are_not_taken_over_by_the_next_of_its_name() {
    let world = World::settled(SPEC).await;
    world.state().group.garbage_stays = true;
    world.delete();
    world.create(SPEC);
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "False NameTaken");
    assert_eq!((world.deleted(), world.phase("orders-0")), (Vec::new(), Some(Phase::Master)));
    world.state().group.garbage_stays = false;
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
}

#[tokio::test(start_paused = true)]
async fn the_generated_password_is_made_once() {
    let world = World::settled(SPEC).await;
    let secret = world.get("secrets", "orders-admin").unwrap();
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    world.restart();
    world.settle().await;
    assert_eq!(world.get("secrets", "orders-admin").unwrap(), secret);
    // A user's own password stays too.
    world.state().store.change(&World::at("secrets", "orders-admin"), |secret| {
        secret["data"]["password"] = json!("cGFzcw==");
    });
    world.forget();
    world.settle().await;
    assert_eq!(world.writes(), Vec::<String>::new());
}
