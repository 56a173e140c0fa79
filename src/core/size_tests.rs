use proptest::prelude::*;

use super::*;
use crate::core::{
    for_tests::{cluster, group_of, master, recorded, silent, standby},
    lock,
    record::RecordView,
};

fn sized(extra: &str, observed: &Observed) -> Size {
    let lock = lock::judge(observed);
    now(&cluster(extra), observed, &lock::group(observed, &lock), &lock)
}

fn three(master_: usize) -> Observed {
    let pods = ["orders-0", "orders-1", "orders-2"].iter().enumerate();
    let pods =
        pods.map(|(at, name)| if at == master_ { master(name, "r") } else { standby(name, "r") });
    recorded(group_of("r", pods.collect()))
}

#[test]
fn a_smaller_group_keeps_its_master() {
    assert_eq!(sized("replicas: 1", &three(0)).replicas, 1);
    let waits = sized("replicas: 1", &three(2));
    assert_eq!(waits.replicas, 3, "a switchover comes first");
    assert!(matches!(waits.waits, Some(Rollout::Moving(_))));
    assert_eq!(sized("replicas: 5", &three(2)).replicas, 5);
    let mut unknown = three(2);
    unknown.pods[2] = silent("orders-2", "r");
    assert_eq!(sized("replicas: 1", &unknown).replicas, 3, "it may be the master");
    assert_eq!(sized("replicas: 5", &unknown).replicas, 5);
}

#[test]
fn a_fenced_pod_is_kept_down_unless_it_is_the_master() {
    assert_eq!(sized("fencedPods: [orders-1]", &three(0)).held, ["orders-1"]);
    assert_eq!(sized("fencedPods: [orders-0, orders-2]", &three(0)).held, ["orders-2"]);
    assert_eq!(sized("fencedPods: [strange-7]", &three(0)).held, Vec::<String>::new());
    assert_eq!(sized("", &three(0)).held, Vec::<String>::new());
    let mut unknown = three(0);
    unknown.pods[0] = silent("orders-0", "r");
    let fenced = "fencedPods: [orders-0, orders-1]";
    assert_eq!(sized(fenced, &unknown).held, Vec::<String>::new(), "nobody is proven to serve");
    unknown.record = Some(RecordView { held: vec!["orders-1".into()], ..RecordView::default() });
    assert_eq!(sized(fenced, &unknown).held, ["orders-1"], "it stays as it is");
}

#[test]
fn standbys_are_stopped_before_a_group_hibernates() {
    let awake = sized("hibernated: true", &three(1));
    assert_eq!(
        (awake.replicas, awake.held.as_slice()),
        (3, ["orders-0".to_owned(), "orders-2".to_owned()].as_slice())
    );
    let mut alone = three(1);
    for at in [0, 2] {
        if let crate::core::observed::ReportView::Fresh(report) = &mut alone.pods[at].report {
            report.child = None;
        }
    }
    assert_eq!(sized("hibernated: true", &alone).replicas, 0);
    let gone = group_of("r", Vec::new());
    assert_eq!(
        sized("hibernated: true", &gone),
        Size { replicas: 0, held: Vec::new(), waits: None }
    );
    let mut disputed = three(1);
    disputed.pods[0] = master("orders-0", "r");
    assert_eq!(sized("hibernated: true", &disputed).replicas, 3);
}

proptest! {
    /// The proven master is never kept down, and never removed by a smaller group.
    #[test]
    fn the_master_is_left_alone(master_ in 0..3_usize, replicas in 1..5_i32, fenced in prop::collection::vec(0..3_usize, 0..3)) {
        let names: Vec<String> = fenced.iter().map(|at| format!("orders-{at}")).collect();
        let spec = format!("replicas: {replicas}\nfencedPods: [{}]", names.join(", "));
        let size = sized(&spec, &three(master_));
        let kept = usize::try_from(size.replicas).unwrap() > master_;
        let held = size.held.contains(&format!("orders-{master_}"));
        prop_assert!(!held && kept);
    }
}
