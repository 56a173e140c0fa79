use super::*;
use crate::core::{
    for_tests::{cluster, crashing, group_of, master, silent, standby, stopped, template_of},
    lock,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Pods that do not do their part have not for so many seconds.
fn chosen(extra: &str, mut observed: Observed, idle: i64, window: Window) -> Template {
    let pods = observed.pods.iter().filter(|pod| !pod.waits() && !pod.serves());
    observed.idle_since = pods.map(|pod| (pod.uid.clone(), at(1000 - idle))).collect();
    let group = lock::group(&observed, &lock::judge(&observed));
    choose(&cluster(extra), &observed, &group, window, at(1000))
}

fn revision_now() -> String {
    cluster("").revision
}

/// A standby was replaced.
fn half(new: PodView) -> Observed {
    group_of(&revision_now(), vec![master("orders-0", "old"), new])
}

fn is_given_up(template: &Template) -> bool {
    matches!(template, Template::Last { template, halt }
        if revision(template) == "old" && halt.revision == revision_now() && halt.pod == "orders-1")
}

#[test]
fn an_update_is_given_up_when_its_first_pod_does_not_get_along() {
    let new = revision_now();
    for (pod, idle, given_up) in [
        (stopped("orders-1", &new), 31, true),
        (stopped("orders-1", &new), 30, false),
        (crashing("orders-1", &new), 31, true),
        (standby("orders-1", &new), 1000, false),
        (silent("orders-1", &new), 1000, false),
        (stopped("orders-1", "old"), 1000, false),
    ] {
        let template = chosen("", half(pod.clone()), idle, Window::Always);
        assert_eq!(is_given_up(&template), given_up, "{pod:?} {template:?}");
        assert!(given_up || template == Template::Fresh);
    }
    let slow = || PodView {
        container: ContainerView::NotRunning { why: "it cannot be scheduled".into(), stuck: false },
        ..stopped("orders-1", &new)
    };
    assert!(!is_given_up(&chosen("", half(slow()), 300, Window::Always)));
    assert!(is_given_up(&chosen("", half(slow()), 301, Window::Always)));
    let patient = chosen("update: {haltAfter: 1h}", half(slow()), 301, Window::Always);
    assert_eq!(patient, Template::Fresh);
    let by_hand = chosen("update: {strategy: OnDelete}", half(slow()), 3000, Window::Always);
    assert_eq!(by_hand, Template::Fresh);
}

#[test]
fn without_a_master_of_the_old_template_there_is_nothing_to_go_back_to() {
    let new = revision_now();
    let last = group_of(&new, vec![stopped("orders-0", &new), master("orders-1", &new)]);
    assert_eq!(chosen("", last, 1000, Window::Always), Template::Fresh);
    let none = group_of(&new, vec![stopped("orders-0", &new), silent("orders-1", "old")]);
    assert_eq!(chosen("", none, 1000, Window::Always), Template::Fresh);
    let mut pruned = half(stopped("orders-1", &new));
    pruned.templates.clear();
    assert_eq!(chosen("", pruned, 1000, Window::Always), Template::Fresh);
}

/// The mark of a revision that was given up, on a StatefulSet with this template.
fn marked(given_up: &str, template: &str, pods: Vec<PodView>) -> Observed {
    let mut observed = group_of(template, pods);
    let halt = Halt { revision: given_up.into(), pod: "orders-1".into(), why: "it crashed".into() };
    for set in observed.children.values_mut() {
        set["metadata"]["annotations"] =
            serde_json::json!({labels::HALTED: serde_json::json!(halt).to_string()});
    }
    observed
}

#[test]
fn what_was_given_up_stays_so_until_the_spec_changes() {
    let new = revision_now();
    let pods = || vec![master("orders-0", "old"), standby("orders-1", "old")];
    let template = chosen("", marked(&new, "old", pods()), 0, Window::Always);
    assert!(is_given_up(&template), "{template:?}");
    let template = chosen("", marked("another", "old", pods()), 0, Window::Always);
    assert_eq!(template, Template::Fresh);
    // Somebody put the template back that was given up.
    let template = chosen("", marked(&new, &new, pods()), 0, Window::Always);
    assert!(is_given_up(&template), "{template:?}");
}

#[test]
fn a_changed_template_waits_for_a_window_unless_a_standby_is_broken() {
    let closed = Window::Closed { opens: Some(at(5000)) };
    let pods = |standby: PodView| group_of("old", vec![master("orders-0", "old"), standby]);
    let whole = chosen("", pods(standby("orders-1", "old")), 0, closed);
    let Template::Kept(Rollout::Scheduled(why)) = whole else { panic!("{whole:?}") };
    assert!(why.contains("1970-01-01T01:23:20Z"), "{why}");
    let broken = chosen("", pods(crashing("orders-1", "old")), 0, closed);
    assert_eq!(broken, Template::Fresh);
    let open = chosen("", pods(standby("orders-1", "old")), 0, Window::Open);
    assert_eq!(open, Template::Fresh);
    let by_hand = "update: {strategy: OnDelete}";
    assert_eq!(chosen(by_hand, pods(standby("orders-1", "old")), 0, closed), Template::Fresh);
}

#[test]
fn revisions_are_read_from_templates() {
    assert_eq!(revision(&template_of("x")), "x");
    assert_eq!(revision(&Value::Null), "");
}
