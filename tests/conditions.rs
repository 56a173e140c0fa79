//! What the status and the Events say, and when.

mod support;

use serde_json::json;
use support::{
    fake_api::{Fault, How, Refuse, State, When, behind},
    group::Says,
    world::{SPEC, World},
};

const NAMED: &str = "storage: {sharedVolume: {claimName: messages}}";

fn claim(world: &World, mode: &str, phase: &str) {
    world.put("persistentvolumeclaims", json!({
        "metadata": {"name": "messages"}, "spec": {"accessModes": [mode]}, "status": {"phase": phase},
    }));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_serve_is_named() {
    let world = World::with(NAMED);
    world.rounds(1).await;
    assert_eq!(world.condition("ConfigurationValid"), "False ClaimMissing");
    claim(&world, "ReadWriteMany", "Pending");
    world.rounds(1).await;
    assert_eq!(world.condition("ConfigurationValid"), "False ClaimPending");
    world.state().store.remove(&World::at("persistentvolumeclaims", "messages"));
    claim(&world, "ReadWriteOnce", "Bound");
    world.rounds(1).await;
    assert_eq!(world.condition("ConfigurationValid"), "False ClaimNotShared");
    world.edit("/replicas", json!(1));
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
    assert_eq!(world.condition("StandbyReady"), "False SinglePod");
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_or_key_is_named() {
    let world = World::with(&format!(
        "{SPEC}\nauth: {{usersSecret: {{name: people}}, adminSecret: {{name: boss}}}}"
    ));
    world.rounds(1).await;
    assert_eq!(world.condition("ConfigurationValid"), "False SecretMissing");
    assert!(
        world.message("ConfigurationValid").contains("people")
            && world.message("ConfigurationValid").contains("boss")
    );
    world.put("secrets", json!({"metadata": {"name": "people"}}));
    world.put("secrets", json!({"metadata": {"name": "boss"}, "data": {"username": "Ym9zcw=="}}));
    world.rounds(1).await;
    assert!(world.message("ConfigurationValid").contains("no key password"));
    world.state().store.change(&World::at("secrets", "boss"), |secret| {
        secret["data"]["password"] = json!("cGFzcw==");
    });
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
    assert_eq!(world.names("secrets"), ["boss", "people"], "none is generated");
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_is_told_and_goes_on_once_it_does_not() {
    for (code, resource) in [(422, "statefulsets"), (403, "services")] {
        let world = World::with(SPEC);
        world.state().refuse = Some(Refuse { resource, code, message: "exceeded quota" });
        for _ in 0..2 {
            assert!(world.pass().await.unwrap().is_err());
        }
        assert_eq!(world.condition("ConfigurationValid"), "False ApplyRefused");
        assert!(world.message("ConfigurationValid").contains("exceeded quota"));
        world.state().refuse = None;
        world.settle().await;
        assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
        assert_eq!(world.condition("Ready"), "True Serving");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_spec_leaves_the_running_group_as_it_is() {
    let world = World::settled(SPEC).await;
    world.edit("/broker/version", json!("1.2.3"));
    world.forget();
    world.settle().await;
    assert_eq!(world.condition("ConfigurationValid"), "False InvalidSpec");
    assert_eq!(world.condition("Ready"), "True Serving");
    let writes = world.writes();
    assert_eq!(
        writes.iter().filter(|write| !write.starts_with("create events")).count(),
        1,
        "{writes:?}"
    );
    world.edit("/broker/version", json!("6.3.1"));
    world.settle().await;
    assert_eq!(
        (world.condition("ConfigurationValid"), world.deleted()),
        ("True Accepted".into(), Vec::new())
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_is_told_step_by_step() {
    let world = World::with(SPEC);
    let mut seen = Vec::new();
    for _ in 0..9 {
        world.pass().await.unwrap().unwrap();
        let now = ["MasterElected", "StandbyReady", "ServiceConverged", "Ready", "Progressing"]
            .map(|type_| world.condition(type_));
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        world.tick();
    }
    insta::assert_debug_snapshot!(seen);
}

#[tokio::test(start_paused = true)]
async fn another_slice_of_the_service_is_told() {
    let world = World::settled(SPEC).await;
    world.put(
        "endpointslices",
        json!({
            "metadata": {"name": "orders-x", "labels": {"kubernetes.io/service-name": "orders"}},
            "addressType": "IPv4", "endpoints": [],
        }),
    );
    world.settle().await;
    assert_eq!(world.condition("ServiceConverged"), "False ForeignSlice");
    assert_eq!(world.names("endpointslices"), ["orders", "orders-x"], "it is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_lost_standby_is_announced_once() {
    let world = World::settled(SPEC).await;
    world.forget();
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    world.rounds(3).await;
    world.state().group.says.clear();
    world.settle().await;
    let told: Vec<String> =
        world.writes().into_iter().filter(|write| write.contains(" events ")).collect();
    // Lost is new; the return of the standby was told before, at the start of the group, so that its
    // Event is counted up. No pod was replaced, so no update finished.
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|write| write.starts_with("create")).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_is_announced_once_at_its_start_and_once_at_its_end() {
    let world = World::settled(SPEC).await;
    let of_updates = || -> Vec<String> {
        world.events().into_iter().filter(|reason| reason.starts_with("Update")).collect()
    };
    assert_eq!(of_updates(), Vec::<String>::new(), "a first start is no update");
    world.edit("/broker/java/heap", json!("60%"));
    world.pass().await.unwrap().unwrap();
    while world.condition("Progressing") != "False UpToDate" {
        assert_eq!(of_updates(), ["UpdateStarted"]);
        assert_eq!(world.condition("Progressing"), "True RollingUpdate");
        world.rounds(1).await;
    }
    assert_eq!(of_updates().len(), 2);
    assert!(of_updates().contains(&"UpdateFinished".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_earlier_stateful_set_count_and_are_told_to_be_leaving() {
    for earlier in ["orders-0", "orders-1"] {
        let world = World::settled(SPEC).await;
        world.state().store.change(&World::at("pods", earlier), |pod| {
            pod["metadata"]["ownerReferences"][0]["uid"] = json!("an-earlier-one");
        });
        world.pass().await.unwrap().unwrap();
        assert_eq!(world.message("Progressing"), format!("{earlier} is ending"));
        world.edit("/broker/java/heap", json!("60%"));
        for _ in 0..3 {
            world.pass().await.unwrap().unwrap();
            // The master serves, whoever made it; while a pod leaves, no other is taken away.
            assert_eq!(world.condition("MasterElected"), "True LockHeld", "{earlier}");
            let message = world.message("Progressing");
            assert!(message.contains("is ending"), "{earlier}: {message}");
            assert_eq!(world.deleted(), Vec::<String>::new(), "{earlier}");
        }
        world.settle().await;
        assert_eq!(world.condition("Progressing"), "False UpToDate", "{earlier}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_on_an_outdated_cache_announces_nothing_twice_and_overwrites_no_newer_status() {
    let world = World::settled(SPEC).await;
    world.edit("/replicas", json!(3));
    world.settle().await;
    let (events, status) = (world.events(), world.status());
    for changes in 1..30 {
        // Only the cluster itself is read from the cache.
        world.state().lag = Some(behind(changes, 1));
        world.pass().await.unwrap().unwrap();
        assert_eq!(world.events(), events, "{changes} behind");
        assert_eq!(world.status(), status, "{changes} behind");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_status_does_not_reach_the_next_cluster_of_the_same_name() {
    let world = World::settled(SPEC).await;
    world.delete();
    world.create(SPEC);
    world.state().lag = Some(behind(2, 1));
    world.pass().await.unwrap().unwrap();
    assert_eq!(world.status().conditions, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_replaced_between_the_look_and_its_label_is_no_error() {
    let world = World::settled(SPEC).await;
    {
        let State { store, group, lag, .. } = &mut *world.state();
        let pod = World::at("pods", "orders-1");
        store.change(&pod, |pod| {
            pod["metadata"]["labels"]["tandem-operator.io/role"] = json!("master");
        });
        let then = store.version();
        group.end(store, &pod);
        for _ in 0..4 {
            group.tick(store);
        }
        *lag = Some(behind(store.version() - then, 2));
    }
    world.forget();
    world.pass().await.unwrap().unwrap();
    assert!(world.writes().contains(&"patch pods orders-1".to_owned()), "it was tried");
    assert_eq!(world.condition("ConfigurationValid"), "True Accepted");
    world.settle().await;
    assert_eq!(
        world.get("pods", "orders-1").unwrap()["metadata"]["labels"]["tandem-operator.io/role"],
        "standby"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_server_ends_a_pass_at_its_deadline() {
    let world = World::settled(SPEC).await;
    world.state().hangs = true;
    let started = tokio::time::Instant::now();
    assert!(world.pass().await.unwrap().is_err());
    assert!(started.elapsed() <= std::time::Duration::from_secs(11));
    world.state().hangs = false;
    world.settle().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_written_fails_no_pass() {
    let world = World::settled(SPEC).await;
    world.state().refuse = Some(Refuse { resource: "events", code: 403, message: "no" });
    world.edit("/broker/java/heap", json!("60%"));
    world.settle().await;
    assert_eq!(world.condition("Ready"), "True Serving");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_is_written_by_the_next_pass() {
    for how in [How::Error, How::Dropped, How::Hang] {
        let world = World::settled(SPEC).await;
        world.state().group.says.insert("orders-1".into(), Says::Silence);
        let write = world.state().writes + 1;
        world.state().fault = Some(Fault { write, when: When::Before, how });
        assert!(world.pass().await.unwrap().is_err());
        world.pass().await.unwrap().unwrap();
        assert_eq!(world.condition("StandbyReady"), "False StandbyMissing");
        assert!(world.events().contains(&"StandbyLost".to_owned()));
    }
}
