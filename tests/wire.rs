//! What agents and operators say to each other, as recorded from running ones (`tests/wire`): this
//! version reads what its own kind has said, and what a later one may add.
//!
//! Recordings are not made anew when the types change: they stand for those who are still running.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{fs, path::Path};

use serde_json::{Value, json};
use tandem::{
    broker::{
        report::{AgentState, ExitReason, LockView, ProblemKind, Report},
        settings::{AgentSettings, SETTINGS_SCHEMA},
    },
    core::record::RecordView,
};

const REPORTS: [&str; 6] = [
    "report-master-volume",
    "report-standby-volume",
    "report-fenced-volume",
    "report-master-database",
    "report-standby-database",
    "report-preflight-database",
];
const SETTINGS: [&str; 2] = ["settings-volume", "settings-database"];

fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn report(name: &str) -> Report {
    serde_json::from_value(recorded(name)).unwrap()
}

/// Whether everything that was said is said in the other one too, which may say more.
fn says(more: &Value, said: &Value) -> bool {
    match (more, said) {
        (Value::Object(more), Value::Object(said)) => {
            said.iter().all(|(key, value)| more.get(key).is_some_and(|more| says(more, value)))
        }
        (Value::Array(more), Value::Array(said)) => {
            more.len() == said.len() && more.iter().zip(said).all(|(more, said)| says(more, said))
        }
        (more, said) => more == said,
    }
}

/// Puts a field that nobody knows into every object.
fn add_fields(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(add_fields);
            map.insert("addedLater".to_owned(), json!({"by": ["a", "later", "version"]}));
        }
        Value::Array(list) => list.iter_mut().for_each(add_fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn nothing_of_a_report_is_lost() {
    for name in REPORTS {
        let again = serde_json::to_value(report(name)).unwrap();
        assert!(says(&again, &recorded(name)), "{name}: {again}");
    }
}

#[test]
fn reports_mean_what_they_meant() {
    for name in ["report-master-volume", "report-master-database"] {
        let master = report(name);
        assert_eq!(master.state, AgentState::Master, "{name}");
        assert!(master.claim().is_some() && !master.waits(), "{name}");
        assert!(master.promotion.unwrap().epoch.is_some_and(|epoch| epoch > 1), "{name}");
    }
    for name in ["report-standby-volume", "report-standby-database"] {
        let standby = report(name);
        assert!(standby.waits() && standby.claim().is_none(), "{name}");
    }
    let fenced = report("report-fenced-volume");
    assert_eq!((fenced.state, fenced.lock.view), (AgentState::Fenced, LockView::Unknown));
    assert_eq!(fenced.last_exit.unwrap().reason, ExitReason::StorageUnproven);
    let refused = report("report-preflight-database").database.unwrap().problem.unwrap();
    assert_eq!(refused.kind, ProblemKind::AuthenticationRefused);
}

#[test]
fn what_a_later_agent_adds_to_a_report_is_ignored() {
    for name in REPORTS {
        let mut later = recorded(name);
        add_fields(&mut later);
        assert_eq!(serde_json::from_value::<Report>(later).unwrap(), report(name), "{name}");
    }
}

#[test]
fn fields_that_came_after_the_first_version_may_be_missing() {
    for name in REPORTS {
        let mut earlier = recorded(name);
        for field in ["database", "volume"] {
            earlier.as_object_mut().unwrap().remove(field);
        }
        let read: Report = serde_json::from_value(earlier).unwrap();
        assert_eq!((read.state, read.database, read.volume), (report(name).state, None, None));
    }
}

/// An agent that cannot be understood has proven nothing: neither that it waits nor that it holds.
#[test]
fn words_of_a_later_agent_prove_nothing() {
    let waits = |said: Value| serde_json::from_value::<Report>(said).is_ok_and(|said| said.waits());
    let claims = |said: Value| {
        serde_json::from_value::<Report>(said).is_ok_and(|said| said.claim().is_some())
    };
    for name in ["report-standby-volume", "report-standby-database"] {
        assert!(waits(recorded(name)));
        for (path, word) in [("/state", "Dozing"), ("/lock/view/holder", "Several")] {
            let mut later = recorded(name);
            *later.pointer_mut(path).unwrap() = json!(word);
            assert!(!waits(later), "{name}: {path} {word}");
        }
    }
    // Such an agent has answered all the same: the rest of what it says is known.
    let mut later = recorded("report-standby-volume");
    later["state"] = json!("Dozing");
    let dozing: Report = serde_json::from_value(later).unwrap();
    assert_eq!((dozing.state, dozing.lock.view), (AgentState::Unknown, LockView::Other));
    for name in ["report-master-volume", "report-master-database"] {
        assert!(claims(recorded(name)));
        let mut later = recorded(name);
        *later.pointer_mut("/lock/view/holder").unwrap() = json!("Several");
        assert!(!claims(later), "{name}");
    }
}

#[test]
fn recorded_settings_are_read_and_say_the_same() {
    for name in SETTINGS {
        let settings: AgentSettings = serde_json::from_value(recorded(name)).unwrap();
        assert_eq!(settings.schema, SETTINGS_SCHEMA);
        let again = serde_json::to_value(settings).unwrap();
        assert!(says(&again, &recorded(name)), "{name}: {again}");
    }
}

/// Settings come with their agent, by one pod template: an agent refuses those that it does not
/// understand as a whole, instead of running a broker by half of them.
#[test]
fn settings_of_a_later_version_are_refused() {
    for name in SETTINGS {
        let mut later = recorded(name);
        later["addedLater"] = json!(true);
        let error = serde_json::from_value::<AgentSettings>(later).unwrap_err().to_string();
        assert!(error.contains("addedLater"), "{error}");
    }
}

#[test]
fn a_recorded_promotion_is_read_also_with_what_a_later_version_adds() {
    let mut record = recorded("record");
    let read = RecordView::read(&record);
    assert_eq!((read.epoch, read.failovers, read.endpoints), (3, 1, 1));
    assert_eq!(read.master.as_deref(), Some("orders-1"));
    assert_eq!(read.previous.as_deref(), Some("orders-0"));
    assert_eq!(read.target.as_ref().and_then(|target| target.uid.clone()), read.master_uid);
    assert_eq!(read.takeover_millis, Some(3520));
    assert!(read.since.is_some() && read.disputed.is_none() && read.step_down.is_some());
    record["metadata"]["annotations"]["tandem-operator.io/added-later"] = json!("{}");
    record["endpoints"][0]["addedLater"] = json!({});
    assert_eq!(RecordView::read(&record), read);
}
