//! What the operator does, and mostly leaves, when the record, the lock or a pod is not as it should
//! be: it acts on fresh proof only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{
    fake_api::behind,
    group::Says,
    world::{SPEC, World},
};
use tandem::broker::report::{Evidence, LockView};

#[tokio::test(start_paused = true)]
async fn failover_goes_on_while_paused() {
    let world = World::settled(&format!("{SPEC}\npaused: false")).await;
    world.edit("/paused", json!(true));
    world.settle().await;
    let support::fake_api::State { store, group, .. } = &mut *world.state();
    group.end(store, &World::at("pods", "orders-0"));
    for _ in 0..6 {
        group.tick(store);
    }
    assert_eq!(group.promotions, ["orders-0", "orders-1"]);
}

/// The agents cannot reach the API server, and somebody pointed the record at the standby.
async fn misled() -> World {
    let world = World::settled(SPEC).await;
    let standby = world.uid("pods", "orders-1");
    let mut state = world.state();
    state.group.agents_cut_off = true;
    state.store.change(&World::at("endpointslices", "orders"), |slice| {
        slice["endpoints"][0]["targetRef"] =
            json!({"kind": "Pod", "name": "orders-1", "uid": standby});
        slice["endpoints"][0]["addresses"] = json!(["10.0.0.2"]);
    });
    drop(state);
    world.forget();
    world
}

#[tokio::test(start_paused = true)]
async fn a_wrong_record_is_repaired_after_two_seconds_with_a_higher_epoch() {
    let world = misled().await;
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.condition("ServiceConverged"), "False RecordStale");
    // The test itself may take a while between the two looks.
    world.age_disagreement(Duration::from_secs(1));
    world.pass().await.unwrap().unwrap();
    assert_eq!(
        (world.record().epoch, world.record().target.unwrap().pod.as_deref()),
        (1, Some("orders-1")),
        "its agent goes first"
    );
    world.age_disagreement(Duration::from_secs(1));
    world.settle().await;
    assert_eq!(world.record().epoch, 2);
    assert_eq!(world.record().target.unwrap().uid, Some(world.uid("pods", "orders-0")));
    assert_eq!(world.condition("ServiceConverged"), "True RecordMatches");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_record_is_not_repaired_without_fresh_proof() {
    let world = misled().await;
    world.pass().await.unwrap().unwrap();
    world.age_disagreement(Duration::from_mins(1));
    world.forget();
    // Both pods answer when the pass looks, and none when the proof is asked for.
    world.state().group.answers_left = Some(2);
    world.pass().await.unwrap().unwrap();
    assert!(
        world.state().calls.iter().any(|call| call.verb == "get" && call.resource == "pods"),
        "it was about to"
    );
    world.state().group.answers_left = None;
    for said in [Says::Silence, Says::View(LockView::Unknown), Says::View(LockView::Other)] {
        world.state().group.says.insert("orders-0".into(), said);
        world.age_disagreement(Duration::from_mins(1));
        world.pass().await.unwrap().unwrap();
    }
    assert_eq!(world.record().epoch, 1);
    assert!(!world.writes().iter().any(|write| write.contains("endpointslices")));
}

#[tokio::test(start_paused = true)]
async fn a_repair_never_overwrites_a_promotion_that_came_in_between() {
    let world = misled().await;
    world.pass().await.unwrap().unwrap();
    world.age_disagreement(Duration::from_mins(1));
    world.state().group.agents_cut_off = false;
    // The write of the operator happens to come after the agent's.
    let fresh = world.get("endpointslices", "orders").unwrap();
    world.tick();
    let after = world.record();
    assert_eq!(after.epoch, 2);
    let changes = world.state().store.version()
        - fresh["metadata"]["resourceVersion"].as_str().unwrap().parse::<usize>().unwrap();
    world.state().lag = Some(behind(changes, 40));
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.record(), after);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_pod_that_is_gone_is_emptied_while_nobody_serves() {
    let world = misled().await;
    world.state().store.change(&World::at("endpointslices", "orders"), |slice| {
        slice["endpoints"][0]["targetRef"]["uid"] = json!("uid-gone");
    });
    for pod in ["orders-0", "orders-1"] {
        world.state().group.says.insert(pod.into(), Says::Silence);
    }
    world.pass().await.unwrap().unwrap();
    assert_eq!((world.record().target, world.record().epoch), (None, 1));
    assert_eq!(world.condition("ServiceConverged"), "False NoMaster");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_pod_that_lives_is_left_while_nobody_is_heard() {
    let world = World::settled(SPEC).await;
    let before = world.record();
    for pod in ["orders-0", "orders-1"] {
        world.state().group.says.insert(pod.into(), Says::Silence);
    }
    world.rounds(3).await;
    assert_eq!(world.record(), before);
}

#[tokio::test(start_paused = true)]
async fn with_a_disputed_or_unknown_lock_no_pod_is_deleted_and_no_template_changed() {
    let mine = Says::View(LockView::Mine(Evidence::Kernel));
    let unknown = Says::View(LockView::Unknown);
    for (said, condition) in [
        ([None, Some(mine)], "Unknown LockDisputed"),
        ([Some(unknown), Some(unknown)], "Unknown LockUnknown"),
        ([Some(Says::Silence), Some(Says::Silence)], "Unknown LockUnknown"),
        ([Some(Says::Silence), None], "Unknown LockUnknown"),
    ] {
        let world = World::settled(SPEC).await;
        let template = world.get("statefulsets", "orders").unwrap()["spec"]["template"].clone();
        for (pod, said) in ["orders-0", "orders-1"].iter().zip(said) {
            said.map(|said| world.state().group.says.insert((*pod).into(), said));
        }
        world.edit("/broker/java/heap", json!("60%"));
        world.rounds(5).await;
        assert_eq!(world.deleted(), Vec::<String>::new(), "{condition}");
        assert_eq!(world.get("statefulsets", "orders").unwrap()["spec"]["template"], template);
        assert_eq!(world.condition("MasterElected"), condition);
        assert_eq!(world.condition("Progressing"), "False RolloutWaiting");
        world.state().group.says.clear();
        world.state().group.restarted.insert("orders-1".into());
        world.settle().await;
        assert_eq!(
            (world.deleted().len(), world.record().failovers),
            (2, 1),
            "it goes on by itself"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_standby_is_not_replaced_and_neither_is_its_master() {
    let world = World::settled(SPEC).await;
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    world.edit("/broker/java/heap", json!("60%"));
    world.rounds(5).await;
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(world.condition("Ready"), "True Serving");
}

/// The kubelet reports late, and not at all from a node that lost the API server.
#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_runs_whatever_the_pods_status_says() {
    for state in [
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        json!({"terminated": {"exitCode": 137}}),
    ] {
        let world = World::settled(SPEC).await;
        world.state().store.change(&World::at("pods", "orders-0"), |pod| {
            pod["status"]["containerStatuses"][0]["state"] = state;
        });
        world.edit("/broker/java/heap", json!("60%"));
        world.settle().await;
        assert_eq!(world.deleted(), ["orders-1", "orders-0"], "the master goes last");
        assert_eq!(world.record().failovers, 1);
    }
}

/// Both agents say that their brokers hold the lock.
async fn disputed() -> World {
    let world = World::settled(SPEC).await;
    let mine = Says::View(LockView::Mine(Evidence::Kernel));
    world.state().group.says.insert("orders-1".into(), mine);
    world.forget();
    world
}

#[tokio::test(start_paused = true)]
async fn of_two_masters_clients_are_led_to_none_until_one_is_left() {
    let world = disputed().await;
    world.pass().await.unwrap().unwrap();
    let record = world.record();
    assert_eq!((record.endpoints, record.epoch), (0, 1));
    let mark = record.disputed.unwrap();
    assert_eq!(mark.stays, world.uid("pods", "orders-0"), "clients were led there");
    let named: Vec<_> = mark.brokers.iter().map(|broker| broker.pod.as_str()).collect();
    assert_eq!((named, mark.epoch), (vec!["orders-0", "orders-1"], 1));
    assert_eq!(world.condition("SplitBrain"), "True SeveralHoldTheLock");
    assert_eq!(world.condition("Ready"), "Unknown LockDisputed");
    let message = world.message("SplitBrain");
    assert!(message.starts_with("orders-0 (it serves) and orders-1 hold"), "{message}");

    world.rounds(3).await;
    let writes = world.writes();
    let of = |what: &str| writes.iter().filter(|write| write.contains(what)).count();
    assert_eq!((of("endpointslices"), of("status")), (1, 1), "{writes:?}");

    world.state().group.says.clear();
    world.rounds(3).await;
    assert_eq!(world.condition("SplitBrain"), "Unknown NotProvenOver");
    assert!(world.message("SplitBrain").contains("the broker of orders-1 still runs"));
    assert_eq!(world.record().endpoints, 0);

    world.state().group.restarted.insert("orders-1".into());
    world.settle().await;
    let record = world.record();
    assert_eq!((record.disputed, record.epoch, record.endpoints), (None, 2, 1));
    assert_eq!(world.condition("SplitBrain"), "False OneAtMost");
    assert_eq!(world.condition("Ready"), "True Serving");
    let told = world.events();
    let told: Vec<_> = told.iter().filter(|event| event.starts_with("SplitBrain")).collect();
    assert_eq!(told, ["SplitBrainDetected", "SplitBrainOver"]);
}

#[tokio::test(start_paused = true)]
async fn a_dispute_is_not_over_while_an_agent_is_silent() {
    let world = disputed().await;
    world.pass().await.unwrap().unwrap();
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    world.edit("/broker/java/heap", json!("60%"));
    world.rounds(5).await;
    assert_eq!(world.condition("SplitBrain"), "Unknown NotProvenOver");
    assert_eq!((world.record().endpoints, world.deleted()), (0, Vec::new()));
    world.state().group.says.clear();
    world.state().group.restarted.insert("orders-1".into());
    world.settle().await;
    assert_eq!(world.condition("SplitBrain"), "False OneAtMost");
    assert_eq!(world.deleted().len(), 2, "it goes on by itself");
}

#[tokio::test(start_paused = true)]
async fn two_claims_that_are_not_seen_again_are_no_split_brain() {
    let world = disputed().await;
    // Both answer when the pass looks, and none when it looks again.
    world.state().group.answers_left = Some(2);
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.condition("SplitBrain"), "Unknown LockDisputed");
    assert_eq!((world.record().endpoints, world.record().disputed), (1, None));
    assert!(!world.events().iter().any(|event| event.starts_with("SplitBrain")));
}

#[tokio::test(start_paused = true)]
async fn a_dispute_that_ends_before_the_record_is_written_changes_nothing() {
    let world = disputed().await;
    // The pass asks both, and then each of them twice or thrice until it is sure.
    world.state().group.answers_left = Some(7);
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.condition("SplitBrain"), "True SeveralHoldTheLock");
    assert_eq!((world.record().endpoints, world.record().disputed), (1, None));
}

#[tokio::test(start_paused = true)]
async fn while_paused_a_split_brain_is_told_and_the_record_is_left() {
    let world = disputed().await;
    world.edit("/paused", json!(true));
    world.rounds(2).await;
    assert_eq!(world.condition("SplitBrain"), "True SeveralHoldTheLock");
    assert_eq!((world.record().endpoints, world.record().disputed), (1, None));
}
