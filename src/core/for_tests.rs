//! Groups for tests of decisions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    observed::{ClaimView, ContainerView, NodeView, Observed, PodView, ReportView},
    record::{RecordView, Target},
    validate::{ValidCluster, validate},
};
use crate::{
    api::{labels, v1alpha1::BrokerCluster},
    broker::report::{
        AgentState, ChildReport, Evidence, GreetingView, LockReport, LockView, Report,
    },
    resources::{Kind, Settings},
};

pub fn cluster(extra: &str) -> ValidCluster {
    let spec = format!("storage: {{sharedVolume: {{claimName: a}}}}\n{extra}");
    let mut cluster = BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap());
    cluster.metadata.uid = Some("cluster-uid".into());
    cluster.metadata.namespace = Some("shop".into());
    validate(&cluster).unwrap()
}

pub fn settings() -> Settings {
    let labels = [("app.kubernetes.io/name".to_owned(), "tandem".to_owned())];
    Settings {
        agent_image: "tandem:1".into(),
        operator_namespace: "tandem-system".into(),
        operator_labels: labels.into(),
        privileged_pods: false,
    }
}

pub fn report(
    pod: &str,
    state: AgentState,
    view: LockView,
    greeting: GreetingView,
    runs: bool,
) -> Report {
    Report {
        pod: pod.into(),
        pod_uid: format!("{pod}-uid"),
        agent_version: "1".into(),
        state,
        lock: LockReport { view, age_millis: 10 },
        greeting,
        child: runs.then(|| ChildReport {
            instance: "i".into(),
            pid: 7,
            started: Timestamp::UNIX_EPOCH,
            restarts: 0,
        }),
        motion: None,
        last_exit: None,
        promotion: None,
        epoch: 1,
        message: None,
        database: None,
        volume: None,
        store: None,
    }
}

pub fn pod(name: &str, revision: &str, container: ContainerView, report: ReportView) -> PodView {
    PodView {
        name: name.into(),
        uid: format!("{name}-uid"),
        revision: revision.into(),
        node: Some("n1".into()),
        addresses: vec!["10.0.0.1".into()],
        terminating: false,
        role_label: None,
        ports_annotation: None,
        controller_revision: Some(format!("orders-{revision}")),
        agent_image: Some("tandem:1".into()),
        config_map: None,
        container,
        report,
        node_state: NodeView::Unknown,
    }
}

pub fn fresh(report: Report) -> ReportView {
    ReportView::Fresh(Box::new(report))
}

pub fn master(name: &str, revision: &str) -> PodView {
    let view = LockView::Mine(Evidence::Kernel);
    let report = report(name, AgentState::Master, view, GreetingView::Ok, true);
    pod(name, revision, ContainerView::Running, fresh(report))
}

pub fn standby(name: &str, revision: &str) -> PodView {
    let report = report(name, AgentState::Standby, LockView::Other, GreetingView::Refused, true);
    pod(name, revision, ContainerView::Running, fresh(report))
}

pub fn silent(name: &str, revision: &str) -> PodView {
    pod(name, revision, ContainerView::Running, ReportView::Silent("timeout".into()))
}

pub fn stopped(name: &str, revision: &str) -> PodView {
    let container = ContainerView::NotRunning { why: "ErrImagePull".into(), stuck: true };
    pod(name, revision, container, ReportView::Silent("not running".into()))
}

pub fn crashing(name: &str, revision: &str) -> PodView {
    let report = report(name, AgentState::Backoff, LockView::Other, GreetingView::Refused, false);
    pod(name, revision, ContainerView::Running, fresh(report))
}

/// A group whose StatefulSet has a template of this revision.
pub fn group_of(template: &str, pods: Vec<PodView>) -> Observed {
    let set = serde_json::json!({
        "metadata": {"ownerReferences": [{"controller": true, "uid": "cluster-uid"}]},
        "spec": {"replicas": pods.len(), "template": template_of(template)},
    });
    let revisions = pods.iter().map(|pod| pod.revision.as_str());
    let templates = revisions.map(|name| (format!("orders-{name}"), template_of(name))).collect();
    Observed {
        children: BTreeMap::from([((Kind::StatefulSet, "orders".into()), set)]),
        templates,
        pods,
        claim: ClaimView::Found {
            access_modes: vec!["ReadWriteMany".into()],
            phase: "Bound".into(),
        },
        ..Observed::default()
    }
}

/// A pod template of this revision.
pub fn template_of(revision: &str) -> Value {
    serde_json::json!({"metadata": {"annotations": {labels::TEMPLATE_HASH: revision}}})
}

/// As [`group_of`], with a record that leads to the one that serves.
pub fn recorded(observed: Observed) -> Observed {
    let master = observed.pods.iter().find(|pod| pod.serves()).cloned();
    let record = master.map(|master| RecordView {
        epoch: 3,
        master: Some(master.name.clone()),
        master_uid: Some(master.uid.clone()),
        target: Some(Target {
            pod: Some(master.name),
            uid: Some(master.uid),
            address: master.addresses.first().cloned(),
        }),
        endpoints: 1,
        ..RecordView::default()
    });
    Observed { record, ..observed }
}
