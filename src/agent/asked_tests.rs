use serde_json::json;

use super::*;
use crate::api::labels;
use crate::core::promotion::tests::author;

/// The record as pod 0 wrote it by epoch 3, with these annotations too.
fn record(more: &[(&str, String)]) -> Value {
    let mut annotations = json!({labels::EPOCH: "3", labels::MASTER: "orders-0"});
    for (key, value) in more {
        annotations[*key] = value.clone().into();
    }
    json!({"metadata": {"annotations": annotations}})
}

fn asks(id: &str, to: Option<&str>, epoch: u64) -> Value {
    let request = StepDown {
        id: id.to_owned(),
        epoch,
        from: "orders-0".to_owned(),
        to: to.map(str::to_owned),
        ..StepDown::default()
    };
    record(&[(labels::STEP_DOWN, serde_json::to_string(&request).unwrap())])
}

fn fences(list: &str) -> Value {
    record(&[(labels::FENCED, list.to_owned())])
}

fn after(seconds: u64, since: Duration) -> Duration {
    since + Duration::from_secs(seconds)
}

/// What pod `ordinal` makes of it at once.
fn seen(record: &Value, ordinal: u8) -> (Asked, Duration) {
    let (mut asked, now) = (Asked::default(), Duration::from_secs(77));
    asked.see(Some(record), &author(ordinal), now);
    (asked, now)
}

#[test]
fn a_pod_is_kept_down_while_the_record_names_it() {
    let (mut asked, now) = seen(&fences(r#"["orders-1","orders-2"]"#), 1);
    assert!(asked.keeps_down(after(86_400, now)), "however long");
    assert!(!seen(&fences(r#"["orders-10"]"#), 1).0.keeps_down(now));
    for gone in [Some(fences("[]")), Some(record(&[])), Some(json!({})), None] {
        let mut asked = asked.clone();
        asked.see(gone.as_ref(), &author(1), now);
        assert!(!asked.keeps_down(now), "{gone:?}");
    }
    // What cannot be read says nothing.
    for torn in ["", "orders-1", "{}", "[1]"] {
        asked.see(Some(&fences(torn)), &author(1), now);
        assert!(asked.keeps_down(now), "{torn}");
        assert!(!seen(&fences(torn), 1).0.keeps_down(now), "{torn}");
    }
}

#[test]
fn a_request_for_another_standby_keeps_a_pod_down_for_half_a_minute_at_most() {
    let (mut asked, now) = seen(&asks("a", Some("orders-1"), 3), 2);
    assert!(asked.keeps_down(after(29, now)));
    // Seen again, it is not a new one.
    asked.see(Some(&asks("a", Some("orders-1"), 3)), &author(2), after(20, now));
    assert!(!asked.keeps_down(after(30, now)));
    // Another one is.
    asked.see(Some(&asks("b", Some("orders-1"), 3)), &author(2), after(30, now));
    assert!(asked.keeps_down(after(59, now)));
    asked.see(Some(&asks("b", Some("orders-1"), 2)), &author(2), after(31, now));
    assert!(!asked.keeps_down(after(31, now)), "somebody was promoted");
}

#[test]
fn a_request_keeps_down_nobody_but_other_standbys() {
    let now = Duration::from_secs(77);
    for ordinal in [0, 1] {
        assert!(!seen(&asks("a", Some("orders-1"), 3), ordinal).0.keeps_down(now), "{ordinal}");
    }
    for to in [None, Some("orders-0"), Some(""), Some("other-1"), Some("orders-x")] {
        assert!(!seen(&asks("a", to, 3), 2).0.keeps_down(now), "{to:?}");
    }
    let mut refused = asks("a", Some("orders-1"), 3);
    let text = refused["metadata"]["annotations"][labels::STEP_DOWN].as_str().unwrap().to_owned();
    let mut request: StepDown = serde_json::from_str(&text).unwrap();
    request.refused = Some(crate::core::switchover::Refusal {
        reason: "Paused".to_owned(),
        message: String::new(),
    });
    refused["metadata"]["annotations"][labels::STEP_DOWN] =
        serde_json::to_string(&request).unwrap().into();
    assert!(!seen(&refused, 2).0.keeps_down(now));
    let mut disputed = asks("a", Some("orders-1"), 3);
    disputed["metadata"]["annotations"][labels::DISPUTED] = "{}".into();
    assert!(!seen(&disputed, 2).0.keeps_down(now));
}

#[test]
fn the_master_of_that_epoch_is_asked_for_ten_seconds() {
    let (asked, now) = seen(&asks("a", Some("orders-1"), 3), 0);
    let to = |request: Option<&StepDown>| request.and_then(|request| request.to.clone());
    assert_eq!(to(asked.steps_down(Some(3), after(9, now))).as_deref(), Some("orders-1"));
    assert_eq!(asked.steps_down(Some(3), after(10, now)), None);
    assert_eq!(asked.steps_down(Some(4), now), None, "promoted again since");
    assert_eq!(asked.steps_down(None, now), None);
    assert!(seen(&asks("a", None, 3), 0).0.steps_down(Some(3), now).is_some());
    assert!(seen(&asks("a", Some("orders-0"), 3), 0).0.steps_down(Some(3), now).is_none());
    assert!(seen(&asks("a", None, 3), 1).0.steps_down(Some(3), now).is_none(), "another pod");
}
