//! Every command against the fake API server.

use serde_json::{Value, json};

use crate::{
    run,
    support::{
        group::Says,
        store::path,
        world::{SPEC, World},
    },
};

fn spec(world: &World) -> Value {
    world.get("brokerclusters", "orders").unwrap()["spec"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_switchover_is_waited_for_and_its_result_told() {
    let world = World::settled(SPEC).await;
    let outcome = run(&world, "switchover orders").await.expect_ok();
    assert!(outcome.out.contains("orders-1 is master after orders-0"), "{}", outcome.out);
    assert!(outcome.notes.contains("asked: a switchover of orders"), "{}", outcome.notes);
    assert_eq!(world.state().group.promotions, ["orders-0", "orders-1"]);
    let outcome = run(&world, "switchover --to orders-0").await.expect_ok();
    assert!(outcome.out.contains("orders-0 is master after orders-1"), "{}", outcome.out);
}

#[tokio::test(start_paused = true)]
async fn a_refused_switchover_says_why_and_what_to_do() {
    let world = World::settled(SPEC).await;
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    let error = run(&world, "switchover orders").await.expect_error();
    assert!(error.starts_with("refused, OtherWork: ") && error.contains("orders-1"), "{error}");
    assert!(error.contains("then ask again"), "{error}");
    world.state().group.says.clear();
    let error = run(&world, "switchover orders --to orders-7").await.expect_error();
    assert!(
        error.starts_with("refused, NoSuchPod: ") && error.contains("Name another pod"),
        "{error}"
    );
    assert_eq!(world.state().group.promotions, ["orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_switchover_that_takes_too_long_says_what_is_known() {
    let world = World::settled(SPEC).await;
    world.state().group.deaf = true;
    let error = run(&world, "switchover orders --timeout 5s").await.expect_error();
    assert!(error.starts_with("not so after 5 s"), "{error}");
    assert!(error.contains("orders-0 was asked to step down"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn pausing_and_resuming_are_waited_for() {
    let world = World::settled(SPEC).await;
    let outcome = run(&world, "pause orders").await.expect_ok();
    assert!(outcome.out.contains("orders is paused"), "{}", outcome.out);
    assert_eq!(world.condition("Paused"), "True SpecPaused");
    let again = run(&world, "pause orders").await.expect_ok();
    assert!(again.notes.contains("was asked before"), "{}", again.notes);
    let error = run(&world, "switchover orders").await.expect_error();
    assert!(error.contains("Paused") && error.contains("kubectl tandem resume orders"), "{error}");
    let error = run(&world, "fence orders-1").await.expect_error();
    assert!(error.contains("kubectl tandem resume orders"), "{error}");
    let outcome = run(&world, "resume").await.expect_ok();
    assert!(outcome.out.contains("no longer paused"), "{}", outcome.out);
}

#[tokio::test(start_paused = true)]
async fn fenced_pods_are_a_list_that_others_may_edit_too() {
    let world = World::settled(SPEC).await;
    run(&world, "fence orders-1 --no-wait").await.expect_ok();
    assert_eq!(spec(&world)["fencedPods"], json!(["orders-1"]));
    let again = run(&world, "fence orders-1 --no-wait").await.expect_ok();
    assert!(again.notes.contains("was asked before"), "{}", again.notes);
    // The write rests on what another one changes meanwhile: it is made anew.
    world.forget();
    world.state().lag = Some(crate::support::fake_api::behind(1, 1));
    world.edit("/fencedPods", json!(["orders-0", "orders-1"]));
    run(&world, "unfence orders-1 --no-wait").await.expect_ok();
    assert_eq!(spec(&world)["fencedPods"], json!(["orders-0"]));
    let error = run(&world, "fence orders-7").await.expect_error();
    assert!(error.contains("its pods are orders-0, orders-1"), "{error}");
    let error = run(&world, "fence orders-0 audit-0").await.expect_error();
    assert!(error.contains("one group at a time"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn hibernating_wants_a_yes() {
    let world = World::settled(SPEC).await;
    let error = run(&world, "hibernate orders").await.expect_error();
    assert!(error.contains("--yes"), "{error}");
    assert_ne!(spec(&world)["hibernated"], json!(true));
    run(&world, "hibernate orders --yes --no-wait").await.expect_ok();
    assert_eq!(spec(&world)["hibernated"], json!(true));
    let error = run(&world, "restart orders").await.expect_error();
    assert!(error.contains("kubectl tandem wake orders"), "{error}");
    run(&world, "wake orders --no-wait").await.expect_ok();
    assert_eq!(spec(&world)["hibernated"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_a_new_value_each_time() {
    let world = World::settled(SPEC).await;
    let value = || {
        let cluster = world.get("brokerclusters", "orders").unwrap();
        cluster["metadata"]["annotations"]["tandem-operator.io/restart"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    run(&world, "restart orders --no-wait").await.expect_ok();
    let first = value();
    run(&world, "restart orders --no-wait").await.expect_ok();
    assert_ne!(first, value());
}

#[tokio::test(start_paused = true)]
async fn the_status_is_a_page_or_data() {
    let world = World::settled(SPEC).await;
    let page = run(&world, "status").await.expect_ok().out;
    for part in
        ["shop/orders", "yes, Serving", "orders-0 on ", "1/1 wait", "agrees with the status"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    let json: Value =
        serde_json::from_str(&run(&world, "status orders -o json").await.expect_ok().out).unwrap();
    assert_eq!(json["brokerCluster"]["metadata"]["name"], "orders");
    assert_eq!(json["record"]["leadsTo"]["pod"], "orders-0");
    assert_eq!(json["record"]["agrees"], true);
    let yaml = run(&world, "status orders -o yaml").await.expect_ok().out;
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), json);
}

#[tokio::test(start_paused = true)]
async fn a_watched_status_is_shown_again_after_a_change_until_it_is_deleted() {
    let world = World::settled(SPEC).await;
    let change = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.ask("now");
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        world.delete();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = run(&world, "status orders --watch") => outcome,
        () = change => unreachable!(),
    };
    let pages: Vec<&str> = outcome.out.split("\n--- ").collect();
    assert!(pages.len() > 2, "{}", outcome.out);
    assert!(pages[0].contains("Master         orders-0"), "{}", pages[0]);
    assert!(pages.last().unwrap().contains("Master         orders-1"), "{}", outcome.out);
    assert_eq!(outcome.error.as_deref(), Some("orders was deleted"));
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_judged_by_what_agents_say_through_the_api_server() {
    let world = World::settled(SPEC).await;
    let page = run(&world, "lock orders").await.expect_ok().out;
    assert!(page.contains("orders-0 holds it, by the kernel's table"), "{page}");
    assert!(page.contains("held by another"), "{page}");
    world.state().group.says.insert("orders-1".into(), Says::Silence);
    let page = run(&world, "lock orders").await.expect_ok().out;
    assert!(page.contains("orders-0 holds it"), "one claim is believed: {page}");
    assert!(page.contains("i/o timeout") && page.contains("NetworkPolicy"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_and_the_status_stands_in() {
    let world = World::settled(SPEC).await;
    world.state().forbidden = vec!["pods/proxy"];
    let page = run(&world, "lock orders").await.expect_ok().out;
    assert!(page.contains("the right `get` on `pods/proxy` in namespace shop"), "{page}");
    assert!(page.contains("the operator says that orders-0 holds it"), "{page}");
    world.state().forbidden = vec!["brokerclusters"];
    let error = run(&world, "status orders").await.expect_error();
    assert!(
        error.contains("`get` on `brokerclusters.tandem-operator.io` in namespace shop"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_there_is_answered_with_those_that_are() {
    let world = World::settled(SPEC).await;
    let error = run(&world, "status order").await.expect_error();
    assert_eq!(error, "namespace shop has no BrokerCluster order. It has orders");
    let error = run(&World::new(), "status").await.expect_error();
    assert!(error.contains("namespace shop has no BrokerCluster."), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_told() {
    let world = World::settled(SPEC).await;
    world.state().hangs = true;
    let session =
        tandem::plugin::gather::Session { client: world.api.client(), namespace: "shop".into() };
    let error = tandem::plugin::gather::find::find(&session, Some("orders")).await.unwrap_err();
    assert!(error.to_string().contains("did not answer within 10 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn logs_bear_pod_and_role() {
    let world = World::settled(SPEC).await;
    let all = run(&world, "logs orders").await.expect_ok().out;
    assert!(all.contains("[orders-0 master] orders-0 begins\n"), "{all}");
    assert!(all.contains("[orders-1 standby] orders-1 goes on\n"), "{all}");
    let one = run(&world, "logs orders --standby").await.expect_ok().out;
    assert!(one.contains("[orders-1") && !one.contains("[orders-0"), "{one}");
    let error = run(&world, "logs orders --pod orders-7").await.expect_error();
    assert!(error.contains("its pods are orders-0, orders-1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_goes_on_with_new_pods() {
    let world = World::settled(SPEC).await;
    let followed = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        let disturb = async {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            world.edit("/broker/java/heap", json!("60%"));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = run(&world, "logs orders -f") => outcome,
            () = disturb => unreachable!(),
        }
    });
    // It never ends by itself, and the pods that it reads were replaced meanwhile.
    assert!(followed.await.is_err());
    let logs = world.state().calls.iter().filter(|call| call.resource == "pods/log").count();
    assert!(logs >= 4, "{logs} logs were read");
}

#[tokio::test(start_paused = true)]
async fn a_bundle_holds_no_secret_and_says_what_is_missing() {
    let world = World::settled(SPEC).await;
    world.put("events", json!({
        "metadata": {"name": "event-of-orders"}, "regarding": {"name": "orders"}, "reason": "Told",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    }));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar.gz");
    world.state().forbidden = vec!["nodes"];
    world.forget();
    let line = format!("report orders -f {}", file.display());
    let outcome = run(&world, &line).await.expect_ok();
    let asked: Vec<String> =
        world.state().calls.iter().map(|call| format!("{} {}", call.verb, call.resource)).collect();
    assert!(!outcome.out.contains("Secret-"), "{}", outcome.out);
    assert!(
        outcome.out.contains("not read: you lack a right: `get` on `nodes`"),
        "{}",
        outcome.out
    );
    assert!(asked.contains(&"get pods/log".to_owned()));
    let files = unpack(&file);
    let content = |name: &str| {
        let found = files.iter().find(|(path, _)| path == &format!("bundle/{name}"));
        found
            .unwrap_or_else(|| {
                panic!("no {name} in {:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>())
            })
            .1
            .clone()
    };
    for name in [
        "brokercluster.yaml",
        "children/StatefulSet-orders.yaml",
        "children/EndpointSlice-orders.yaml",
        "pods/orders-0.yaml",
        "reports/orders-1.yaml",
        "version.txt",
        "lock.txt",
    ] {
        assert!(!content(name).is_empty(), "{name}");
    }
    assert!(content("status.txt").contains("shop/orders"));
    assert!(content("events.yaml").contains("event-of-orders"));
    assert!(content("unread.txt").contains("nodes"));
    assert!(content("logs/orders-0.log").contains("password=REDACTED"));
    let password = world.get("secrets", "orders-admin").unwrap()["data"]["password"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(files.iter().all(|(_, text)| !text.contains(&password) && !text.contains("hunter2")));
    let error = run(&world, &line).await.expect_error();
    assert!(error.contains("exists") && error.contains("--force"), "{error}");
    run(&world, &format!("{line} --force")).await.expect_ok();
}

fn unpack(file: &std::path::Path) -> Vec<(String, String)> {
    let file = std::fs::File::open(file).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        (path, std::io::read_to_string(&mut entry).unwrap())
    });
    entries.collect()
}

#[tokio::test(start_paused = true)]
async fn versions_are_those_of_plugin_operator_and_agents() {
    let world = World::settled(SPEC).await;
    let deployment = json!({
        "metadata": {"name": "tandem", "labels": {"app.kubernetes.io/name": "tandem"}},
        "spec": {
            "selector": {},
            "template": {"spec": {"containers": [{"name": "operator", "image": "registry/tandem:9.9"}]}},
        },
        "status": {"readyReplicas": 1},
    });
    let at = path("deployments", "tandem-system", "tandem");
    world.state().store.create(&at, "helm", deployment).unwrap();
    let page = run(&world, "version").await.expect_ok().out;
    assert!(page.contains(env!("CARGO_PKG_VERSION")), "{page}");
    assert!(page.contains("registry/tandem:9.9, 1 ready"), "{page}");
    assert!(page.contains("orders-1") && page.contains("test"), "{page}");
    world.state().forbidden = vec!["deployments"];
    let page = run(&world, "version").await.expect_ok().out;
    assert!(page.contains("`list` on `deployments.apps` in the whole cluster"), "{page}");
}
