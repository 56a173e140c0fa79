//! The claim: it grows, it never shrinks, it goes only when it should, and no two groups have one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use std::time::Duration;

use kube::runtime::controller::Action;
use serde_json::{Value, json};
use support::{
    fake_api::behind,
    world::{SPEC, World},
};
use tandem::api::labels;

const SIZE: &str = "/storage/sharedVolume/claim/resources/requests/storage";

/// What the claim asks for.
fn requested(world: &World) -> Value {
    let claim = world.get("persistentvolumeclaims", "orders-store").unwrap();
    claim["spec"]["resources"]["requests"]["storage"].clone()
}

fn of_size(size: &str) -> String {
    SPEC.replace("1Gi", size)
}

fn deleting(spec: &str) -> String {
    spec.replace("claim:", "retention: Delete, claim:")
}

fn writes_of(world: &World, resource: &str) -> Vec<String> {
    world.writes().into_iter().filter(|write| write.contains(resource)).collect()
}

fn told(world: &World, prefix: &str) -> Vec<String> {
    world.events().into_iter().filter(|reason| reason.starts_with(prefix)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_claim_grows_while_brokers_run_and_the_condition_tells_how_far_it_is() {
    let world = World::settled(SPEC).await;
    assert_eq!(world.condition("VolumeSized"), "True SizeReached");
    world.state().group.no_resizer = true;
    world.edit(SIZE, json!("2Gi"));
    world.settle().await;
    assert_eq!(requested(&world), "2Gi");
    assert_eq!(world.condition("VolumeSized"), "False Resizing");
    let message = world.message("VolumeSized");
    assert!(message.contains("has 1Gi") && message.contains("to 2Gi"), "{message}");
    assert_eq!(told(&world, "Volume"), ["VolumeGrowing"]);
    let pending = json!([{
        "type": "FileSystemResizePending", "status": "True", "message": "waiting for the node",
    }]);
    world.state().store.change(&World::at("persistentvolumeclaims", "orders-store"), |claim| {
        claim["status"]["conditions"] = pending;
    });
    world.settle().await;
    let message = world.message("VolumeSized");
    assert!(message.contains("waiting for the node"), "{message}");
    assert!(message.contains("spec.hibernated"), "{message}");
    world.state().group.no_resizer = false;
    world.settle().await;
    assert_eq!(world.condition("VolumeSized"), "True SizeReached");
    assert_eq!(told(&world, "VolumeGrown"), ["VolumeGrown"]);
    assert_eq!((world.deleted(), world.record().failovers), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_growth_is_told_holds_nothing_up_and_can_be_taken_back() {
    let world = World::settled(SPEC).await;
    world.state().fixed_size = true;
    world.edit(SIZE, json!("2Gi"));
    world.edit("/broker/java/heap", json!("60%"));
    world.rounds(20).await;
    assert_eq!(world.condition("VolumeSized"), "False ExpansionRefused");
    let message = world.message("VolumeSized");
    for words in ["requests.storage: 2Gi", "must support resize", "allowVolumeExpansion: true"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(told(&world, "Volume"), ["VolumeGrowthRefused"]);
    // All else was carried out, and is well.
    assert_eq!(world.deleted(), ["orders-1", "orders-0"]);
    assert_eq!(world.condition("Progressing"), "False UpToDate");
    assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
    world.edit(SIZE, json!("1Gi"));
    world.settle().await;
    assert_eq!(world.condition("VolumeSized"), "True SizeReached");
    world.state().fixed_size = false;
    world.edit(SIZE, json!("2Gi"));
    world.settle().await;
    assert_eq!(
        (requested(&world), world.condition("VolumeSized")),
        (json!("2Gi"), "True SizeReached".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_growth_is_tried_once_in_a_pass_and_brings_no_pass_of_its_own() {
    let world = World::settled(SPEC).await;
    world.state().fixed_size = true;
    world.edit(SIZE, json!("2Gi"));
    world.rounds(3).await;
    world.forget();
    let action = world.pass().await.unwrap().unwrap();
    assert_eq!(world.writes(), ["patch persistentvolumeclaims orders-store"]);
    // Ten minutes to fifteen: the next one is at its usual time.
    let text = format!("{action:?}");
    let seconds = text.split("Some(").nth(1).and_then(|text| text.split(['.', 's']).next());
    assert!(seconds.unwrap().parse::<u64>().unwrap() >= 600, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_there_before_keeps_its_size() {
    let world = World::settled(&of_size("2Gi")).await;
    world.delete();
    world.settle().await;
    world.create(SPEC);
    world.forget();
    world.settle().await;
    assert_eq!(
        (requested(&world), world.condition("VolumeSized")),
        (json!("2Gi"), "True LargerThanAsked".into())
    );
    assert!(world.message("VolumeSized").contains("may be raised from 1Gi to 2Gi"));
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(writes_of(&world, "persistentvolumeclaims"), Vec::<String>::new());
    world.edit(SIZE, json!("3Gi"));
    world.settle().await;
    assert_eq!(
        (requested(&world), world.condition("VolumeSized")),
        (json!("3Gi"), "True SizeReached".into())
    );
}

/// As by hand, or by a provider that rounds up.
#[tokio::test(start_paused = true)]
async fn a_volume_that_is_large_enough_is_asked_for_nothing() {
    let world = World::settled(SPEC).await;
    world.state().store.change(&World::at("persistentvolumeclaims", "orders-store"), |claim| {
        claim["status"]["capacity"]["storage"] = json!("20Gi");
    });
    world.state().fixed_size = true;
    world.edit(SIZE, json!("5Gi"));
    world.forget();
    world.settle().await;
    assert_eq!(world.condition("VolumeSized"), "True SizeReached");
    assert_eq!(writes_of(&world, "persistentvolumeclaims"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn while_paused_no_claim_grows() {
    let world = World::settled(SPEC).await;
    world.edit("/paused", json!(true));
    world.edit(SIZE, json!("2Gi"));
    world.settle().await;
    assert_eq!(
        (requested(&world), world.condition("VolumeSized")),
        (json!("1Gi"), "False GrowthHeldBack".into())
    );
    world.edit("/paused", json!(false));
    world.settle().await;
    assert_eq!(
        (requested(&world), world.condition("VolumeSized")),
        (json!("2Gi"), "True SizeReached".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_somebody_s_own_has_no_condition_of_its_size() {
    let world = World::with("storage: {sharedVolume: {claimName: messages}}");
    world.rounds(1).await;
    assert_eq!(world.condition("VolumeSized"), "absent");
}

fn finalizers(world: &World) -> Value {
    world.get("brokerclusters", "orders").unwrap()["metadata"]["finalizers"].clone()
}

#[tokio::test(start_paused = true)]
async fn with_retention_delete_the_claim_goes_with_its_cluster() {
    for paused in [false, true] {
        let world = World::with(&deleting(SPEC));
        world.pass().await.unwrap().unwrap();
        assert_eq!(world.writes(), ["patch brokerclusters orders"], "the finalizer comes first");
        world.settle().await;
        assert_eq!(finalizers(&world), json!([labels::CLAIM_FINALIZER]));
        world.edit("/paused", json!(paused));
        world.settle().await;
        world.delete();
        world.pass().await.unwrap().unwrap();
        assert!(world.get("brokerclusters", "orders").is_none());
        assert!(world.get("persistentvolumeclaims", "orders-store").is_some(), "pods have it");
        world.settle().await;
        assert_eq!(world.names("persistentvolumeclaims"), Vec::<String>::new());
        assert_eq!(told(&world, "Claim"), ["ClaimDeleted"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_changes_the_retention_back_keeps_the_claim_and_others_keep_their_finalizers() {
    let world = World::settled(&deleting(SPEC)).await;
    let path = World::at("brokerclusters", "orders");
    world.state().store.change(&path, |cluster| {
        cluster["metadata"]["finalizers"] = json!(["example.com/theirs", labels::CLAIM_FINALIZER]);
    });
    world.edit("/storage/sharedVolume/retention", json!("Retain"));
    world.settle().await;
    assert_eq!(finalizers(&world), json!(["example.com/theirs"]));
    world.delete();
    world.settle().await;
    world.state().store.remove(&path);
    world.settle().await;
    assert_eq!(writes_of(&world, "delete persistentvolumeclaims"), Vec::<String>::new());
    assert_eq!(world.names("persistentvolumeclaims"), ["orders-store"]);
}

/// The operator's copy of the BrokerCluster is older than the user's last word.
#[tokio::test(start_paused = true)]
async fn the_last_word_on_the_retention_counts() {
    let world = World::settled(&deleting(SPEC)).await;
    world.delete();
    world.edit("/storage/sharedVolume/retention", json!("Retain"));
    world.state().lag = Some(behind(1, 1));
    world.pass().await.unwrap().unwrap();
    assert!(world.get("brokerclusters", "orders").is_none());
    world.settle().await;
    assert_eq!(world.names("persistentvolumeclaims"), ["orders-store"]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_not_ours_or_that_others_use_is_kept() {
    let used = |world: &World| {
        let spec = json!({"storage": {"sharedVolume": {"claimName": "orders-store"}}});
        world.put("brokerclusters", json!({"metadata": {"name": "billing"}, "spec": spec}));
    };
    let foreign = |world: &World| {
        world.state().store.change(&World::at("persistentvolumeclaims", "orders-store"), |claim| {
            claim["metadata"]["labels"] = json!({});
        });
    };
    let cases: [&dyn Fn(&World); 2] = [&used, &foreign];
    for change in cases {
        let world = World::settled(&deleting(SPEC)).await;
        change(&world);
        world.delete();
        world.settle().await;
        assert!(world.get("brokerclusters", "orders").is_none());
        assert_eq!(world.names("persistentvolumeclaims"), ["orders-store"]);
        assert_eq!(writes_of(&world, "delete persistentvolumeclaims"), Vec::<String>::new());
        assert_eq!(told(&world, "Claim"), ["ClaimKept"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_another_group_uses_is_named_and_nothing_is_made() {
    let world = World::new();
    let spec = json!({"storage": {"sharedVolume": {"claimName": "orders-store"}}});
    world.put("brokerclusters", json!({"metadata": {"name": "billing"}, "spec": spec}));
    world.create(SPEC); // in the same second
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "False ClaimTaken");
    assert!(world.message("ConfigurationValid").contains("BrokerCluster billing"));
    assert_eq!(world.names("statefulsets"), Vec::<String>::new());
    // No watch tells of the other one's end.
    let soon = Action::requeue(Duration::from_secs(10));
    assert_eq!(world.pass().await.unwrap().unwrap(), soon);
    // The older one is not held up by the younger one.
    let billing = World::at("brokerclusters", "billing");
    world.state().store.change(&billing, |cluster| {
        cluster["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:01Z");
    });
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_group_whose_cluster_is_gone_hold_its_claim_until_they_end() {
    let world = World::new();
    for node in 0..2 {
        world.node(&format!("node-{node}"), "True", &[]);
    }
    let labels = json!({
        (labels::INSTANCE): "billing", (labels::COMPONENT): "broker",
        (labels::MANAGED_BY): labels::MANAGER,
    });
    let volume = json!({"name": "store", "persistentVolumeClaim": {"claimName": "billing-store"}});
    world.put(
        "pods",
        json!({
            "metadata": {"name": "billing-0", "labels": labels},
            "spec": {"containers": [], "volumes": [volume]},
        }),
    );
    world.put(
        "persistentvolumeclaims",
        json!({"metadata": {"name": "billing-store"}, "spec": {"accessModes": ["ReadWriteMany"]}}),
    );
    world.create("storage: {sharedVolume: {claimName: billing-store}}");
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "False ClaimTaken");
    let message = world.message("ConfigurationValid");
    assert!(message.contains("pod billing-0 of group billing"), "{message}");
    assert_eq!(world.names("pods"), ["billing-0"]);
    world.state().store.remove(&World::at("pods", "billing-0"));
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.names("persistentvolumeclaims"), ["billing-store"]);
}
