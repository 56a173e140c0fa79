use proptest::prelude::*;

use super::*;
use crate::{
    api::v1alpha1::BrokerCluster,
    broker::report::{ChildReport, FoundStore},
    core::{
        lock_verdict::tests::pod,
        observed::{ContainerView, ReportView},
        validate::validate,
    },
};

fn id(n: u8) -> StoreId {
    StoreId::of_random(n.into())
}

fn cluster(accept: Option<&str>) -> ValidCluster {
    let spec = "storage: {sharedVolume: {claimName: a}}";
    let mut cluster = BrokerCluster::new("orders", serde_saphyr::from_str(spec).unwrap());
    cluster.metadata.annotations =
        accept.map(|accept| [(labels::ACCEPT_STORE.to_owned(), accept.to_owned())].into());
    validate(&cluster).unwrap()
}

/// What a pod finds, and whether its broker runs.
#[derive(Clone, Copy, Debug)]
enum Of {
    Silent,
    Ended,
    Finds { store: u8, used: bool, runs: bool },
}

fn view(n: usize, of: Of) -> PodView {
    let mut view = pod(&format!("orders-{n}"), None);
    match of {
        Of::Silent => view.report = ReportView::Silent("no answer".to_owned()),
        Of::Ended => {
            view.report = ReportView::Silent("no answer".to_owned());
            view.container = ContainerView::NotRunning { why: "it ended".to_owned(), stuck: false };
        }
        Of::Finds { store, used, runs } => {
            let ReportView::Fresh(report) = &mut view.report else { panic!("it answers") };
            report.store = Some(FoundStore { identity: Some(id(store)), used });
            report.child = runs.then(|| ChildReport {
                instance: "one".to_owned(),
                pid: 7,
                started: jiff::Timestamp::UNIX_EPOCH,
                restarts: 0,
            });
        }
    }
    view
}

fn observed(record: RecordView, pods: &[Of]) -> Observed {
    let pods = pods.iter().enumerate().map(|(n, of)| view(n, *of)).collect();
    Observed { record: Some(record), pods, ..Observed::default() }
}

/// A group that served from store 1.
fn served(accepted: Option<u8>) -> RecordView {
    RecordView {
        epoch: 7,
        store: Some(id(1)),
        accepted_store: accepted.map(id),
        ..RecordView::default()
    }
}

const NEW: Of = Of::Finds { store: 2, used: false, runs: false };
const OWN: Of = Of::Finds { store: 1, used: true, runs: true };

fn ignored(accept: &str, record: RecordView, pods: &[Of]) -> String {
    match acceptance(&cluster(Some(accept)), &observed(record, pods)) {
        Acceptance::Ignored(why) => why,
        other @ (Acceptance::Nothing | Acceptance::Accept(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_store_that_pods_refuse_is_accepted_by_its_name() {
    let accept = cluster(Some(id(2).as_str()));
    assert_eq!(
        acceptance(&accept, &observed(served(None), &[NEW, NEW])),
        Acceptance::Accept(id(2))
    );
    // It stays on record until a pod has been promoted there.
    let running = Of::Finds { store: 2, used: true, runs: true };
    let on_its_way = observed(served(Some(2)), &[running, NEW]);
    assert_eq!(acceptance(&accept, &on_its_way), Acceptance::Accept(id(2)));
    let done = RecordView { store: Some(id(2)), ..served(Some(2)) };
    let done = observed(done, &[running, running]);
    assert_eq!(acceptance(&accept, &done), Acceptance::Nothing);
    assert_eq!(Acceptance::Nothing.on_record(), None, "it is taken off");
}

#[test]
fn anything_else_is_ignored_and_told() {
    let other = ignored(id(3).as_str(), served(None), &[NEW, NEW]);
    assert!(other.contains(id(3).as_str()) && other.contains(id(2).as_str()), "{other}");
    assert!(ignored("{}", served(None), &[NEW]).contains("{}"));
    assert!(ignored(id(3).as_str(), served(None), &[OWN, OWN]).contains("no pod refuses"));
}

#[test]
fn a_mount_that_is_missing_on_one_node_is_not_accepted_while_another_pod_may_serve() {
    for other in [OWN, Of::Silent] {
        let why = ignored(id(2).as_str(), served(None), &[other, NEW]);
        assert!(why.contains("orders-0"), "{why}");
    }
    let accept = cluster(Some(id(2).as_str()));
    let ended = observed(served(None), &[Of::Ended, NEW]);
    assert_eq!(acceptance(&accept, &ended), Acceptance::Accept(id(2)));
}

proptest! {
    /// Nothing is accepted that was not named, and nothing while a broker may run elsewhere.
    #[test]
    fn only_what_was_named_is_accepted_and_only_while_nobody_runs_elsewhere(
        asked in prop::option::of(1..4_u8), store in prop::option::of(1..4_u8),
        pods in prop::collection::vec(
            prop_oneof![
                Just(Of::Silent),
                Just(Of::Ended),
                (1..4_u8, any::<bool>(), any::<bool>())
                    .prop_map(|(store, used, runs)| Of::Finds { store, used, runs }),
            ],
            0..4,
        ),
    ) {
        let accept = asked.map(|asked| id(asked).to_string());
        let record = RecordView { store: store.map(id), ..served(None) };
        let observed = observed(record, &pods);
        if let Acceptance::Accept(accepted) = acceptance(&cluster(accept.as_deref()), &observed) {
            prop_assert_eq!(asked.map(id), Some(accepted));
            for of in pods {
                let elsewhere = match of {
                    Of::Silent => true,
                    Of::Ended => false,
                    Of::Finds { store, runs, .. } => runs && Some(store) != asked,
                };
                prop_assert!(!elsewhere);
            }
        }
    }
}
