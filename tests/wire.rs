//! What agents and operators say to each other, as recorded from running ones (`tests/wire`): this
//! version reads what its own kind has said, and what a later one may add.
//!
//! Recordings are not made anew when the types change: they stand for those who are still running.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

use std::{fs, path::Path};

use serde_json::{Value, json};
use tandem::{
    broker::{
        report::{
            AgentState, ChildExit, ChildReport, DatabaseNote, DatabaseProblem, DatabaseReport,
            Evidence, ExitReason, FoundStore, GreetingView, LockReport, LockView, MotionView,
            NoteKind, PeerReport, ProblemKind, PromotionReport, Report, StoreNote, StoreNoteKind,
            StoreProblem, StoreProblemKind, TrialReport, VolumeReport,
        },
        settings::{AgentSettings, SETTINGS_SCHEMA},
    },
    core::record::RecordView,
    lock::trial::{Ask, Beat, Deed},
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

/// A report in which every field says something.
fn full() -> Report {
    let message = || "what and why".to_owned();
    let time = "2026-01-01T00:00:00Z".parse().unwrap();
    Report {
        pod: "orders-0".to_owned(),
        pod_uid: "uid".to_owned(),
        agent_version: "0.1.0".to_owned(),
        state: AgentState::Master,
        lock: LockReport { view: LockView::Mine(Evidence::Kernel), age_millis: 5 },
        greeting: GreetingView::Ok,
        child: Some(ChildReport { instance: message(), pid: 7, started: time, restarts: 0 }),
        motion: Some(MotionView::Moves),
        last_exit: Some(ChildExit {
            reason: ExitReason::LockLost,
            status: message(),
            at: time,
            was_master: true,
            stopped: Some(time),
        }),
        promotion: Some(PromotionReport {
            lock_taken: time,
            greeted: time,
            recorded: Some(time),
            epoch: Some(2),
        }),
        epoch: 2,
        message: Some(message()),
        database: Some(DatabaseReport {
            server: Some(message()),
            problem: Some(DatabaseProblem { kind: ProblemKind::ReadOnly, message: message() }),
            notes: vec![DatabaseNote { kind: NoteKind::ClockSkew, message: message() }],
            clock_offset_millis: Some(1),
        }),
        volume: Some(VolumeReport {
            file_system: Some(message()),
            local: false,
            trial: Some(TrialReport {
                peer: message(),
                peer_node: message(),
                same_node: false,
                release_millis: 1,
                visible_millis: 1,
                stale_millis: Some(1),
            }),
            problem: Some(StoreProblem { kind: StoreProblemKind::Full, message: message() }),
            notes: vec![StoreNote { kind: StoreNoteKind::Slow, message: message() }],
            waits_for: Some(message()),
            beat_millis: Some(1),
            peers: vec![PeerReport {
                pod: message(),
                uid: message(),
                node: message(),
                quiet_millis: Some(1),
                known_millis: 1,
                locked: Some(true),
            }],
        }),
        store: Some(FoundStore { identity: None, used: true }),
    }
}

/// The places of all words: strings that are no times.
fn words(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, inner)| words(inner, &format!("{path}/{key}"), found));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(at, inner)| words(inner, &format!("{path}/{at}"), found));
        }
        Value::String(word) if word.parse::<jiff::Timestamp>().is_err() => {
            found.push(path.to_owned());
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Each word of each report in turn is one that this version does not know. The report is read all the same,
/// so its agent has answered; and it proves no more than before.
#[test]
fn any_word_of_a_later_agent_is_survived_and_proves_nothing() {
    let all = REPORTS.iter().map(|name| recorded(name));
    for said in all.chain([serde_json::to_value(full()).unwrap()]) {
        let before: Report = serde_json::from_value(said.clone()).unwrap();
        let mut places = Vec::new();
        words(&said, "", &mut places);
        assert!(places.len() > 5, "{places:?}");
        for place in places {
            let mut later = said.clone();
            *later.pointer_mut(&place).unwrap() = json!("AddedLater");
            let after = serde_json::from_value::<Report>(later);
            let after = after.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(before.waits() || !after.waits(), "{place}");
            assert!(before.holds() || !after.holds(), "{place}");
            if ["/state", "/lock/view/holder"].contains(&&*place) {
                assert!(!after.waits(), "{place}");
            }
            if place.starts_with("/lock/view") {
                assert!(!after.holds(), "{place}");
            }
            assert!(!(place == "/greeting" && after.greeting == GreetingView::Ok), "{place}");
        }
    }
}

/// A claim in words that are not known is no proof, but a claim: nobody is promoted against it.
#[test]
fn an_evidence_of_a_later_agent_is_a_claim_and_no_proof() {
    for evidence in [json!("AddedLater"), json!(null), json!({"added": "later"})] {
        let mut said = serde_json::to_value(full()).unwrap();
        *said.pointer_mut("/lock/view/evidence").unwrap() = evidence;
        let report: Report = serde_json::from_value(said).unwrap();
        assert_eq!(report.lock.view, LockView::Mine(Evidence::Unknown));
        assert!(report.claim().is_some() && !report.holds() && !report.waits());
    }
}

#[test]
fn a_deed_of_a_later_pod_is_read_from_its_beat() {
    let ask = |deed| Some(Ask { peer: "uid".to_owned(), trial: 1, deed });
    let beat = Beat { ask: ask(Deed::Hold), done: ask(Deed::Kill), ..Beat::default() };
    for place in ["/ask/deed", "/done/deed"] {
        let mut later = serde_json::to_value(&beat).unwrap();
        *later.pointer_mut(place).unwrap() = json!("AddedLater");
        let read: Beat = serde_json::from_value(later).unwrap();
        let deed = if place.starts_with("/ask") { read.ask } else { read.done };
        assert_eq!(deed.unwrap().deed, Deed::Unknown);
    }
}

/// What is read is either of another version, and then has a word for what it does not know, or comes from
/// the same version: settings with their agent, specs by their definition, answers of a process to its child.
#[test]
fn every_enum_that_is_read_from_others_has_a_word_for_what_is_not_known() {
    const SAME_VERSION: [&str; 2] = ["src/broker/settings.rs", "src/agent/probe.rs"];
    let (mut files, mut covered) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], 0);
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.to_str().unwrap();
        let spec = name.contains("/api/") && !name.ends_with("/status.rs");
        let source = path.extension().is_some_and(|extension| extension == "rs");
        if spec || !source || SAME_VERSION.iter().any(|same| name.ends_with(same)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("#[derive(").skip(1) {
            let head = block.split(['{', ';']).next().unwrap();
            if head.contains("Deserialize") && head.contains("enum ") {
                let body = block.split("\n}\n").next().unwrap();
                let has = body.contains("#[serde(other)]") || body.contains("from = \"");
                assert!(has, "{name}: {head} has no #[serde(other)]");
                covered += 1;
            }
        }
    }
    assert!(covered >= 12, "{covered}");
}
