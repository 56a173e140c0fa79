//! Agents that find another store than the one that their group served from.

use std::fs;

use tandem::broker::report::{AgentState, Report, StoreProblemKind};

use crate::SOON;
use crate::api::FakeApi;
use crate::pod::{Fault, Group};

fn group(name: &str, api: &FakeApi) -> Group {
    Group::tried(name, api, "Warn", |root| vec![root.join("store"); 2])
}

fn found(report: &Report) -> String {
    report.store.as_ref().and_then(|store| store.identity.clone()).unwrap().to_string()
}

/// Starts both pods, sees that neither starts a broker, and tells which store they find.
fn refused(group: &Group, kind: StoreProblemKind, missing: &str) -> String {
    let pods = [group.pod(0), group.pod(1)];
    let stores = pods.each_ref().map(|pod| {
        let refused = |report: &Report| {
            let problem = report.volume.as_ref().and_then(|volume| volume.problem.as_ref());
            // The message is what /readyz says too.
            let told = report.message.as_ref().is_some_and(|message| message.contains(missing));
            told && problem.is_some_and(|problem| problem.kind == kind)
        };
        let report = pod.wait_until("a refusal", refused);
        assert_eq!((report.state, &report.child), (AgentState::Preflight, &None));
        let message = &report.volume.as_ref().unwrap().problem.as_ref().unwrap().message;
        assert!(message.contains(missing) && message.contains(&found(&report)), "{message}");
        assert!(pod.why_not_ready().contains(missing));
        found(&report)
    });
    assert_eq!(stores[0], stores[1], "two pods make one identity");
    assert_ne!(stores[0], missing);
    for pod in pods {
        pod.end();
    }
    stores[0].clone()
}

fn serves(group: &Group, api: &FakeApi, store: &str) {
    let pods = [group.pod(0), group.pod(1)];
    api.wait_for("a master on that store", SOON, |api| {
        !api.target().is_empty() && api.annotation("store") == store
    });
    for pod in pods {
        pod.end();
    }
}

#[test]
fn a_group_starts_on_no_other_store_until_a_person_accepts_it() {
    let api = FakeApi::start();
    let group = group("replaced", &api);
    let pods = [group.pod(0), group.pod(1)];
    api.wait_for("a master", SOON, |api| !api.target().is_empty());
    let served = api.annotation("store");
    assert_eq!(found(&pods[0].report()), served);
    for pod in pods {
        pod.end();
    }
    let [store, old] = ["store", "old"].map(|name| group.root().join(name));
    fs::rename(&store, &old).unwrap();
    fs::create_dir(&store).unwrap();
    let epoch = api.epoch();
    let new = refused(&group, StoreProblemKind::StoreMissing, &served);
    assert_eq!((api.epoch(), api.annotation("store")), (epoch, served.clone()));

    // What the operator writes when a person accepts it.
    api.edit(|record| {
        record["metadata"]["annotations"]["tandem-operator.io/accepted-store"] = new.clone().into();
    });
    serves(&group, &api, &new);

    // The former one is another store now.
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&old, &store).unwrap();
    assert_eq!(refused(&group, StoreProblemKind::StoreReplaced, &new), served);
}

#[test]
fn a_store_that_lost_its_messages_is_not_served() {
    let api = FakeApi::start();
    let group = group("emptied", &api);
    let pods = [group.pod(0), group.pod(1)];
    api.wait_for("a master", SOON, |api| !api.target().is_empty());
    for pod in pods {
        pod.end();
    }
    fs::remove_dir_all(group.root().join("store/kahadb")).unwrap();
    let pod = group.pod(0);
    let _other = group.pod(1);
    pod.wait_until("a refusal", |report| {
        let problem = report.volume.as_ref().and_then(|volume| volume.problem.as_ref());
        problem.is_some_and(|problem| problem.message.contains("has lost its messages"))
    });
}

#[test]
fn a_container_that_starts_anew_needs_no_api_server_to_know_its_store() {
    let api = FakeApi::start();
    let group = group("note", &api);
    let pods = [group.pod(0), group.pod(1)];
    api.wait_for("a master", SOON, |api| !api.target().is_empty());
    let standby = usize::from(api.target() == "note-0");
    pods[standby].wait_for(AgentState::Standby);
    api.freeze(true);
    pods[standby].inflict(Fault::KillAgent);
    let ordinal = u16::try_from(standby).unwrap();
    let again = group.pod(ordinal);
    again.wait_for(AgentState::Standby);

    // Without what it noted, it cannot tell.
    again.inflict(Fault::KillAgent);
    fs::remove_file(group.root().join(format!("note-{ordinal}/store-note"))).unwrap();
    let again = group.pod(ordinal);
    again.wait_until("doubt", |report| {
        let waits = report.volume.as_ref().and_then(|volume| volume.waits_for.as_ref());
        waits.is_some_and(|why| why.contains("which store the group serves from"))
    });
    assert_eq!(again.report().child, None);
    api.freeze(false);
    again.wait_for(AgentState::Standby);
}

/// A `BrokerCluster` that was made anew on the same claim, while pods of the former one live on a node that is cut
/// off from the API server: two electors would write one store.
#[test]
fn brokers_of_another_elector_are_not_joined_while_they_may_live() {
    let api = FakeApi::start();
    let former = group("former", &api);
    let store = former.root().join("store");
    let pods = [former.pod(0), former.pod(1)];
    api.wait_for("a master", SOON, |api| !api.target().is_empty());
    let standby = if api.target() == "former-0" { &pods[1] } else { &pods[0] };
    standby.wait_for(AgentState::Standby);

    let other = FakeApi::start();
    let made_anew = Group::tried("anew", &other, "Warn", |_| vec![store.clone(); 2]).of("another");
    let newcomer = made_anew.pod(0);
    let report = newcomer.wait_until("a refusal", |report| {
        let problem = report.volume.as_ref().and_then(|volume| volume.problem.as_ref());
        let told = report.message.as_ref().is_some_and(|message| message.contains("elected by"));
        told && problem.is_some_and(|problem| problem.kind == StoreProblemKind::ElectedOtherwise)
    });
    assert_eq!((report.state, report.child), (AgentState::Preflight, None));
    let said = newcomer.why_not_ready();
    for words in ["shop/former", "uid-of-the-cluster", "elected by file", "former-0"] {
        assert!(said.contains(words), "{said}");
    }
    // Those who were there first are not in doubt.
    standby.inflict(Fault::Kill);
    standby.wait_until("its broker again", |report| {
        report.child.as_ref().is_some_and(|child| child.restarts == 1)
    });

    for pod in &pods {
        pod.inflict(Fault::KillAgent);
    }
    let second = made_anew.pod(1);
    other.wait_for("a master of the newcomers", 2 * SOON, |api| !api.target().is_empty());
    drop((newcomer, second));
}
