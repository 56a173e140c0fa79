//! Tables and properties of the decisions: lock, group, rollout, plan.

use proptest::prelude::*;

use serde_json::Value;

use super::*;
use crate::{
    api::{labels, v1alpha1::BrokerCluster},
    broker::report::{AgentState, Evidence, GreetingView, LockView},
    core::{
        changes::covers,
        for_tests::{
            cluster, crashing, fresh, group_of, master, pod, recorded, report, settings, silent,
            standby, stopped,
        },
        observed::{ContainerView, PodView, ReportView},
        template,
        validate::validate,
    },
};

fn victim(observed: &Observed, extra: &str) -> Option<String> {
    plan(&cluster(extra), observed, &settings(), Timestamp::UNIX_EPOCH)
        .step
        .map(|victim| victim.pod)
}

fn rollout(observed: &Observed) -> Rollout {
    plan(&cluster(""), observed, &settings(), Timestamp::UNIX_EPOCH).findings.rollout
}

fn now_revision() -> String {
    cluster("").revision
}

#[test]
fn standbys_go_first_and_the_master_last() {
    let new = now_revision();
    let both_old = group_of(&new, vec![master("orders-0", "old"), standby("orders-1", "old")]);
    assert_eq!(victim(&both_old, "").as_deref(), Some("orders-1"));
    let half = group_of(&new, vec![master("orders-0", "old"), standby("orders-1", &new)]);
    assert_eq!(victim(&half, ""), None, "it hands the mastership over first");
    assert!(matches!(rollout(&half), Rollout::SwitchOver(_)));
    let planned = plan(&cluster(""), &recorded(half), &settings(), Timestamp::UNIX_EPOCH);
    let Some(RecordStep::Request(request)) = planned.record else { panic!("{planned:?}") };
    assert_eq!((request.from.as_str(), request.to, request.refused), ("orders-0", None, None));
    let after = group_of(&new, vec![standby("orders-0", "old"), master("orders-1", &new)]);
    assert_eq!(victim(&after, "").as_deref(), Some("orders-0"));
    let done = group_of(&new, vec![standby("orders-0", &new), master("orders-1", &new)]);
    assert_eq!((victim(&done, ""), rollout(&done)), (None, Rollout::Done));
}

#[test]
fn a_bad_edit_stops_at_the_standby_and_the_master_is_left_alone() {
    let new = now_revision();
    for bad in [stopped("orders-1", &new), crashing("orders-1", &new)] {
        let observed = group_of(&new, vec![master("orders-0", "old"), bad]);
        assert_eq!(victim(&observed, ""), None);
        assert!(matches!(rollout(&observed), Rollout::Stuck(_)));
    }
}

#[test]
fn correcting_a_bad_edit_replaces_the_broken_standby() {
    let new = now_revision();
    for bad in [stopped("orders-1", "bad"), crashing("orders-1", "bad")] {
        let observed = group_of("bad", vec![master("orders-0", "old"), bad.clone()]);
        let planned = plan(&cluster(""), &observed, &settings(), Timestamp::UNIX_EPOCH);
        assert!(
            planned.apply.iter().any(|m| m.kind == Kind::StatefulSet),
            "the template is corrected"
        );
        let observed = group_of(&new, vec![master("orders-0", "old"), bad]);
        assert_eq!(victim(&observed, "").as_deref(), Some("orders-1"));
    }
}

#[test]
fn a_changed_template_waits_while_the_standby_is_away() {
    let starting =
        report("orders-1", AgentState::Starting, LockView::Other, GreetingView::Refused, true);
    let starting = pod("orders-1", "old", ContainerView::Running, fresh(starting));
    for away in [silent("orders-1", "old"), starting] {
        let observed = group_of("old", vec![master("orders-0", "old"), away]);
        assert!(matches!(rollout(&observed), Rollout::Waiting(_)));
        let planned = plan(&cluster(""), &observed, &settings(), Timestamp::UNIX_EPOCH);
        let set = planned.apply.iter().find(|manifest| manifest.kind == Kind::StatefulSet).unwrap();
        assert_eq!(
            template::revision(&set.object["spec"]["template"]),
            "old",
            "the present template is kept"
        );
    }
}

#[test]
fn a_group_of_one_is_replaced_because_there_is_no_other_way() {
    let one = cluster("replicas: 1");
    let observed = group_of(&one.revision, vec![master("orders-0", "old")]);
    assert_eq!(victim(&observed, "replicas: 1").as_deref(), Some("orders-0"));
}

#[test]
fn pods_that_hold_nothing_are_replaced_even_without_a_master() {
    let new = now_revision();
    let observed = group_of(&new, vec![stopped("orders-0", "bad"), silent("orders-1", "bad")]);
    assert_eq!(victim(&observed, "").as_deref(), Some("orders-0"));
    let observed = group_of(&new, vec![silent("orders-0", "bad"), silent("orders-1", "bad")]);
    assert_eq!(victim(&observed, ""), None, "silence proves nothing");
}

#[test]
fn objects_of_somebody_else_stop_all_writes() {
    let mut observed = group_of("x", Vec::new());
    let foreign = serde_json::json!({"metadata": {"name": "orders", "uid": "theirs"}});
    observed.children.insert((Kind::Service, "orders".into()), foreign);
    let planned = plan(&cluster(""), &observed, &settings(), Timestamp::UNIX_EPOCH);
    assert_eq!(planned.findings.foreign, [(Kind::Service, "orders".to_owned())]);
    assert!(planned.apply.is_empty() && planned.prune.is_empty() && !planned.create_admin);
}

#[test]
fn a_kept_claim_of_an_earlier_cluster_is_ours_and_a_strange_one_is_not() {
    let with_claim = |claim_labels: Value| {
        let spec = "storage: {sharedVolume: {claim: {resources: {requests: {storage: 1Gi}}}}}";
        let mut cluster = BrokerCluster::new("orders", serde_saphyr::from_str(spec).unwrap());
        cluster.metadata.uid = Some("cluster-uid".into());
        let mut observed = Observed::default();
        let live = serde_json::json!({"metadata": {"labels": claim_labels}});
        observed.children.insert((Kind::PersistentVolumeClaim, "orders-store".into()), live);
        plan(&validate(&cluster).unwrap(), &observed, &settings(), Timestamp::UNIX_EPOCH)
            .findings
            .foreign
            .len()
    };
    assert_eq!(
        with_claim(serde_json::json!({labels::INSTANCE: "orders", labels::MANAGED_BY: "tandem"})),
        0
    );
    assert_eq!(with_claim(serde_json::json!({labels::INSTANCE: "orders"})), 1);
}

#[test]
fn what_lives_covers_what_is_wanted_in_spite_of_defaults_and_other_spellings() {
    let live =
        serde_json::json!({"a": {"cpu": "500m", "extra": 1}, "list": [{"x": 1, "default": true}]});
    assert!(covers(&live, &serde_json::json!({"a": {"cpu": "0.5"}, "list": [{"x": 1}]})));
    assert!(!covers(&live, &serde_json::json!({"a": {"cpu": "600m"}})));
    assert!(!covers(&live, &serde_json::json!({"list": [{"x": 1}, {"x": 2}]})));
    assert!(!covers(&live, &serde_json::json!({"b": 1})));
}

fn any_view() -> impl Strategy<Value = LockView> {
    prop_oneof![
        Just(LockView::Mine(Evidence::Kernel)),
        Just(LockView::Other),
        Just(LockView::Free),
        Just(LockView::Unknown)
    ]
}

fn any_state() -> impl Strategy<Value = AgentState> {
    use AgentState::{
        Backoff, Fenced, Held, Master, Preflight, Promoting, Standby, Starting, SteppingDown,
        Stopped, Unknown,
    };
    prop::sample::select(vec![
        Preflight,
        Starting,
        Standby,
        Promoting,
        Master,
        SteppingDown,
        Fenced,
        Backoff,
        Held,
        Stopped,
        Unknown,
    ])
}

fn any_pod(name: &'static str) -> impl Strategy<Value = PodView> {
    let greeting =
        prop::sample::select(vec![GreetingView::Ok, GreetingView::Refused, GreetingView::Silent]);
    let reported = (any_state(), any_view(), greeting, any::<bool>()).prop_map(
        move |(state, view, greeting, runs)| fresh(report(name, state, view, greeting, runs)),
    );
    let said = prop_oneof![4 => reported, 1 => Just(ReportView::Silent("timeout".into()))];
    let container = prop_oneof![
        4 => Just(ContainerView::Running),
        1 => any::<bool>().prop_map(|stuck| ContainerView::NotRunning { why: "x".into(), stuck })
    ];
    (said, container, prop::sample::select(vec!["old", "new", "NOW"]), any::<bool>()).prop_map(
        move |(said, container, revision, terminating)| {
            let revision = if revision == "NOW" { now_revision() } else { revision.to_owned() };
            // An agent answers only while its container runs.
            let said = if container == ContainerView::Running {
                said
            } else {
                ReportView::Silent("x".into())
            };
            PodView {
                terminating: terminating && revision == "old",
                ..pod(name, &revision, container, said)
            }
        },
    )
}

prop_compose! {
    fn any_group()(
        a in any_pod("orders-0"),
        b in any_pod("orders-1"),
        c in prop::option::of(any_pod("orders-2")),
        template in prop::sample::select(vec!["old", "new", "NOW"]),
    ) -> Observed {
        let template = if template == "NOW" { now_revision() } else { template.to_owned() };
        group_of(&template, [Some(a), Some(b), c].into_iter().flatten().collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// S4: a pod is deleted only if it holds nothing, or if another one is proven to serve.
    #[test]
    fn a_disruptive_step_needs_proof(observed in any_group()) {
        let planned = plan(&cluster("replicas: 3"), &observed, &settings(), Timestamp::UNIX_EPOCH);
        if let Some(victim) = &planned.step {
            let target = observed.pod(&victim.pod).unwrap();
            let stopped = matches!(target.container, ContainerView::NotRunning { .. });
            let serving = matches!(&planned.findings.group, Group::Serving(master) if *master != victim.pod);
            let dead = planned.findings.group == Group::Dead;
            prop_assert!(stopped || dead || serving, "{victim:?}");
            prop_assert_ne!(&target.revision, &cluster("replicas: 3").revision);
        }
    }

    /// An unknown or disputed lock leads to no deletion of a running broker.
    #[test]
    fn doubt_leads_to_doing_nothing(observed in any_group()) {
        let planned = plan(&cluster("replicas: 3"), &observed, &settings(), Timestamp::UNIX_EPOCH);
        let doubt = matches!(planned.findings.lock, Lock::Unknown(_) | Lock::Disputed(_))
            && planned.findings.group != Group::Dead;
        if let (true, Some(victim)) = (doubt, &planned.step) {
            let stopped = matches!(observed.pod(&victim.pod).unwrap().container, ContainerView::NotRunning { .. });
            prop_assert!(stopped, "{victim:?}");
        }
    }

    /// `Dead` is never said while a broker process may run.
    #[test]
    fn a_dead_group_has_no_broker(observed in any_group()) {
        let lock = lock::judge(&observed);
        if lock::group(&observed, &lock) == Group::Dead {
            prop_assert!(observed.pods.iter().all(PodView::holds_nothing));
        }
    }

    /// While paused nothing is written at all.
    #[test]
    fn paused_means_hands_off(observed in any_group()) {
        let planned = plan(&cluster("replicas: 3\npaused: true"), &observed, &settings(), Timestamp::UNIX_EPOCH);
        prop_assert!(planned.apply.is_empty() && planned.prune.is_empty() && planned.step.is_none());
        prop_assert!(planned.record.is_none() && planned.roles.is_empty() && !planned.create_admin);
    }

    /// A plan that was applied plans nothing more to apply.
    #[test]
    fn an_applied_plan_is_a_fixed_point(observed in any_group()) {
        let cluster = cluster("replicas: 3");
        let first = plan(&cluster, &observed, &settings(), Timestamp::UNIX_EPOCH);
        let mut after = observed;
        for manifest in first.apply {
            let mut live = manifest.object;
            live["metadata"]["uid"] = "u".into();
            after.children.insert((manifest.kind, manifest.name), live);
        }
        let second = plan(&cluster, &after, &settings(), Timestamp::UNIX_EPOCH);
        let again: Vec<_> = second.apply.iter().map(|m| (m.kind, m.name.clone())).collect();
        prop_assert!(again.is_empty(), "{again:?}");
        prop_assert!(second.prune.is_empty());
    }
}
