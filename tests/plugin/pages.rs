//! Pages in several situations, as reviewed.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tandem::{
    broker::report::{
        AgentState, ChildExit, ChildReport, Evidence, ExitReason, GreetingView, LockReport,
        LockView, Report,
    },
    core::{lock::judge, record::RecordView},
    plugin::{
        cluster::Cluster,
        gather::group::{Record, Unheard, observed},
        render::{
            lock::{self, Scene},
            status,
            style::Style,
        },
    },
};

/// A wide terminal; colours have a test of their own.
const STYLE: Style = Style { colour: false, width: Some(132) };

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-03-01T09:00:00Z", "observedGeneration": 4,
    })
}

/// A group of two in which all is well.
fn healthy() -> Value {
    json!({
        "apiVersion": "tandem-operator.io/v1alpha1",
        "kind": "BrokerCluster",
        "metadata": {"name": "orders", "namespace": "shop", "generation": 4},
        "spec": {"replicas": 2, "broker": {"flavor": "Classic", "version": "6.3.1"}},
        "status": {
            "observedGeneration": 4,
            "replicas": 2,
            "master": {
                "pod": "orders-1", "node": "node-b", "address": "10.0.2.7", "epoch": 7,
                "since": "2026-03-01T09:00:00.000Z",
            },
            "standbys": [{"pod": "orders-0", "node": "node-a", "state": "Waiting"}],
            "standbysWaiting": "1/1",
            "endpoints": [
                {"name": "openwire", "protocol": "OpenWire", "host": "orders.shop.svc", "port": 61616,
                 "failoverUrl": "failover:(tcp://orders-0.orders-pods.shop.svc:61616,tcp://orders-1.orders-pods.shop.svc:61616)"},
                {"name": "mqtt", "protocol": "MQTT", "host": "orders.shop.svc", "port": 1883},
            ],
            "failovers": 3,
            "lastFailover": {
                "epoch": 7, "from": "orders-0", "to": "orders-1", "reason": "BrokerCrashed",
                "at": "2026-03-01T09:00:00.000Z", "takeoverMillis": 540,
            },
            "lock": {
                "kind": "File", "path": "/store/kahadb/lock", "holder": "orders-1", "verified": true,
                "fileSystem": "nfs4 server:/export", "releaseMillis": 5, "visibleMillis": 100,
            },
            "conditions": [
                condition("Ready", "True", "Serving", "orders-1 serves clients"),
                condition("MasterElected", "True", "LockHeld", "orders-1 holds the lock and greets"),
                condition("StandbyReady", "True", "AllWaiting", "1 standby waits for the lock"),
                condition("ServiceConverged", "True", "RecordMatches", "the Service leads to orders-1"),
                condition("ConfigurationValid", "True", "Accepted", "everything asked for can be carried out"),
                condition("SplitBrain", "False", "OneAtMost", "at most one broker holds the lock"),
                condition("Progressing", "False", "UpToDate", "the group is as the spec says"),
                condition("Paused", "False", "Active", "spec.paused is false"),
            ],
        },
    })
}

/// With changes, by JSON pointer.
fn with(mut object: Value, changes: &Value) -> Cluster {
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    Cluster(object)
}

/// With other conditions in the place of those of the same type.
fn with_conditions(mut changes: Value, others: &[Value]) -> Cluster {
    let mut conditions = healthy()["status"]["conditions"].as_array().unwrap().clone();
    for other in others {
        let place = conditions.iter().position(|one| one["type"] == other["type"]).unwrap();
        conditions[place] = other.clone();
    }
    changes["/status/conditions"] = json!(conditions);
    with(healthy(), &changes)
}

fn record() -> Value {
    json!({
        "metadata": {"name": "orders", "resourceVersion": "9", "annotations": {
            "tandem-operator.io/epoch": "7", "tandem-operator.io/master": "orders-1",
            "tandem-operator.io/master-uid": "uid-1",
        }},
        "endpoints": [{
            "addresses": ["10.0.2.7"],
            "targetRef": {"kind": "Pod", "name": "orders-1", "uid": "uid-1"},
        }],
    })
}

fn read(slice: &Value) -> Record {
    Record::Read(Box::new(RecordView::read(slice)))
}

fn page(cluster: &Cluster, record: &Record) -> String {
    status::page(cluster, record, now(), STYLE)
}

#[test]
fn status_healthy() {
    insta::assert_snapshot!(page(&Cluster(healthy()), &read(&record())));
}

#[test]
fn status_without_a_standby() {
    let cluster = with_conditions(
        json!({
            "/status/standbysWaiting": "0/1",
            "/status/standbys": [{
                "pod": "orders-0", "node": "node-a", "state": "NotRunning",
                "message": "ImagePullBackOff: Back-off pulling image \"activemq:6.3.9\"",
            }],
            "/metadata/generation": 5,
        }),
        &[
            condition(
                "StandbyReady",
                "False",
                "StandbyMissing",
                "orders-0: ImagePullBackOff. High availability is degraded until it waits for the lock",
            ),
            condition(
                "Progressing",
                "False",
                "UpdateHalted",
                "orders-0 does not come up with the changed spec: correct it to go on",
            ),
        ],
    );
    insta::assert_snapshot!(page(&cluster, &read(&record())));
}

#[test]
fn status_split_brain() {
    let mut slice = record();
    slice["endpoints"] = json!([]);
    slice["metadata"]["annotations"]["tandem-operator.io/disputed"] = json!(
        json!({
            "at": "2026-03-01T11:59:58Z", "epoch": 7, "stays": "uid-1", "brokers": [
                {"pod": "orders-0", "uid": "uid-0", "instance": "x"},
                {"pod": "orders-1", "uid": "uid-1", "instance": "y"},
            ],
        })
        .to_string()
    );
    let cluster = with_conditions(
        json!({"/status/master": null, "/status/lock/holder": null, "/status/lock/verified": false}),
        &[
            condition("Ready", "False", "LockDisputed", "orders-0 and orders-1 all claim the lock"),
            condition(
                "SplitBrain",
                "True",
                "SeveralHoldTheLock",
                "orders-0 and orders-1 hold the lock; clients are led to neither",
            ),
        ],
    );
    insta::assert_snapshot!(page(&cluster, &read(&slice)));
}

#[test]
fn status_with_a_refused_switchover() {
    let cluster = with(
        healthy(),
        &json!({"/status/lastSwitchover": {
            "id": "now", "result": "Refused", "reason": "NoStandby", "from": "orders-1",
            "message": "no pod waits for the lock; orders-0: its agent does not answer",
            "at": "2026-03-01T11:59:00Z",
        }}),
    );
    insta::assert_snapshot!(page(&cluster, &read(&record())));
}

#[test]
fn status_hibernated() {
    let mut slice = record();
    slice["endpoints"] = json!(null);
    let cluster = with_conditions(
        json!({
            "/spec/hibernated": true, "/spec/fencedPods": ["orders-0"], "/status/replicas": 0,
            "/status/master": null, "/status/standbys": [], "/status/standbysWaiting": "0/1",
            "/status/lock/holder": null,
            "/status/lastSwitchover": {
                "id": "now", "result": "Succeeded", "reason": "SwitchedOver", "from": "orders-0",
                "to": "orders-1", "message": "orders-1 is master after orders-0",
                "at": "2026-03-01T08:00:00Z", "outageMillis": 842,
            },
        }),
        &[condition(
            "Ready",
            "False",
            "Hibernated",
            "no broker is meant to run: spec.hibernated is true",
        )],
    );
    insta::assert_snapshot!(page(&cluster, &read(&slice)));
}

#[test]
fn status_of_a_spec_that_was_wrong_from_the_beginning() {
    let cluster = with(
        healthy(),
        &json!({"/status": {
            "observedGeneration": 4,
            "conditions": [condition("ConfigurationValid", "False", "InvalidSpec",
                "broker.config.xml: <broker> is not allowed here: write its children only. The running group is left as it is")],
        }}),
    );
    insta::assert_snapshot!(page(&cluster, &Record::None));
}

#[test]
fn status_of_a_new_object() {
    let mut object = healthy();
    object.as_object_mut().unwrap().remove("status");
    let why = "you lack a right: `get` on `endpointslices.discovery.k8s.io` in namespace shop";
    insta::assert_snapshot!(page(&Cluster(object), &Record::Unread(why.into())));
}

#[test]
fn values_of_a_newer_operator_are_shown_as_they_are() {
    let cluster = with_conditions(
        json!({
            "/status/lock/kind": "Consensus",
            "/status/standbys": [{"pod": "orders-0", "state": "Meditating"}],
            "/status/lastSwitchover": {"id": "x", "result": "Postponed", "reason": "Moon", "message": "later"},
        }),
        &[condition("Progressing", "Unknown", "Dreaming", "of electric sheep")],
    );
    let page = page(&cluster, &read(&record()));
    for text in ["Meditating", "Consensus", "Postponed", "Dreaming: of electric sheep"] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

fn pod(ordinal: usize, running: bool) -> Pod {
    let state = if running {
        json!({"running": {}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff"}})
    };
    serde_json::from_value(json!({
        "metadata": {"name": format!("orders-{ordinal}"), "namespace": "shop", "uid": format!("uid-{ordinal}")},
        "spec": {"nodeName": format!("node-{ordinal}"), "containers": []},
        "status": {"containerStatuses": [{
            "name": "broker", "state": state, "image": "", "imageID": "", "ready": running, "restartCount": 0,
        }]},
    }))
    .unwrap()
}

fn report(ordinal: usize, state: AgentState, view: LockView) -> Report {
    let serves = state == AgentState::Master;
    Report {
        pod: format!("orders-{ordinal}"),
        pod_uid: format!("uid-{ordinal}"),
        agent_version: "0.1.0".into(),
        state,
        lock: LockReport { view, age_millis: 40 },
        greeting: if serves { GreetingView::Ok } else { GreetingView::Refused },
        child: (state != AgentState::Backoff).then(|| ChildReport {
            instance: "x".into(),
            pid: 17,
            started: "2026-03-01T09:00:00Z".parse().unwrap(),
            restarts: 1,
        }),
        motion: None,
        last_exit: (!serves).then(|| ChildExit {
            reason: ExitReason::BrokerCrashed,
            status: "signal 9".into(),
            at: "2026-03-01T09:00:00Z".parse().unwrap(),
            was_master: true,
            stopped: None,
        }),
        promotion: None,
        epoch: 7,
        message: None,
        database: None,
        volume: None,
        store: None,
    }
}

fn lock_page(pods: &[Pod], reports: &[Result<Report, Unheard>]) -> String {
    let (cluster, record) = (Cluster(healthy()), read(&record()));
    let observed = observed(pods, reports, &record);
    let verdict = &judge(&observed);
    let scene = Scene { cluster: &cluster, record: &record, reports, verdict, observed: &observed };
    lock::page(&scene, now(), STYLE)
}

/// The guide shows pages as they are.
fn assert_in_the_guide(page: &str) {
    let guide = include_str!("../../docs/guides/kubectl.md");
    let block: Vec<String> = page.lines().map(|line| format!("    {line}")).collect();
    let block: Vec<&str> = block.iter().map(|line| line.trim_end()).collect();
    assert!(
        guide.contains(&block.join("\n")),
        "docs/guides/kubectl.md shows another page than\n{page}"
    );
}

#[test]
fn the_guide_shows_these_pages() {
    assert_in_the_guide(&page(&Cluster(healthy()), &read(&record())));
    assert_in_the_guide(&lock_page(
        &[pod(0, true), pod(1, true)],
        &[
            Ok(report(0, AgentState::Standby, LockView::Other)),
            Ok(report(1, AgentState::Master, MINE)),
        ],
    ));
}

const MINE: LockView = LockView::Mine(Evidence::ClientTable);

#[test]
fn lock_healthy() {
    insta::assert_snapshot!(lock_page(
        &[pod(0, true), pod(1, true)],
        &[
            Ok(report(0, AgentState::Standby, LockView::Other)),
            Ok(report(1, AgentState::Master, MINE)),
        ],
    ));
}

#[test]
fn lock_disputed() {
    let killed = Report {
        message: Some("another broker holds the lock too".into()),
        ..report(0, AgentState::Master, MINE)
    };
    insta::assert_snapshot!(lock_page(
        &[pod(0, true), pod(1, true)],
        &[Ok(killed), Ok(report(1, AgentState::Master, MINE))],
    ));
}

#[test]
fn lock_that_cannot_be_told() {
    let unheard = Unheard {
        why: "the API server gets no answer from its agent: i/o timeout".into(),
        forbidden: false,
    };
    insta::assert_snapshot!(lock_page(
        &[pod(0, true), pod(1, true), pod(2, false)],
        &[Ok(report(0, AgentState::Backoff, LockView::Free)), Err(unheard.clone()), Err(unheard),],
    ));
}

#[test]
fn lock_without_the_right_to_ask() {
    let unheard =
        || Err(Unheard { why: "not asked: pods \"orders\" is forbidden".into(), forbidden: true });
    insta::assert_snapshot!(lock_page(&[pod(0, true), pod(1, true)], &[unheard(), unheard()]));
}
