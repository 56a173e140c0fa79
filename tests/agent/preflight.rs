//! Agents that try the locks of their volumes before a broker is started on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tandem::broker::report::{AgentState, ExitReason, Report, StoreProblemKind};

use crate::api::FakeApi;
use crate::network::Mounted;
use crate::pod::{Fault, Group};

/// Every pod has the same directory.
fn shared(root: &Path) -> Vec<PathBuf> {
    vec![root.join("store"); 2]
}

fn refused(report: &Report) -> Option<StoreProblemKind> {
    report.volume.as_ref()?.problem.as_ref().map(|problem| problem.kind)
}

/// No broker is started, and this is why.
fn expect_refusal(group: &Group, ordinals: &[u16], wanted: StoreProblemKind) {
    let begun = Instant::now();
    let pods: Vec<_> = ordinals.iter().map(|ordinal| group.pod(*ordinal)).collect();
    for pod in &pods {
        let report = pod.wait_until("a refusal", |report| refused(report).is_some());
        assert_eq!(refused(&report), Some(wanted), "{report:#?}");
        assert_eq!((report.state, report.child), (AgentState::Preflight, None));
        assert!(!pod.ready());
    }
    println!("{wanted:?} was told after {:?}", begun.elapsed());
}

#[test]
fn a_volume_whose_locks_hold_is_verified_and_brokers_are_started() {
    let api = FakeApi::start();
    let group = Group::tried("tried", &api, "Required", shared);
    let begun = Instant::now();
    let pods = [group.pod(0), group.pod(1)];
    for pod in &pods {
        let report = pod.wait_until("a verdict", |report| {
            report.volume.as_ref().is_some_and(|volume| volume.trial.is_some())
        });
        let volume = report.volume.unwrap();
        assert_eq!(volume.problem, None);
        println!("{:?} after {:?}", volume.trial.unwrap(), begun.elapsed());
    }
    let is_master = |state| state == AgentState::Master;
    api.wait_for("a master", crate::SOON, |_| {
        let states = pods.each_ref().map(|pod| pod.report().state);
        states.into_iter().filter(|state| is_master(*state)).count() == 1
            && states.contains(&AgentState::Standby)
    });
    // Each sees the other one, and that its lock on the volume is held.
    for pod in &pods {
        pod.wait_until("a living peer", |report| {
            let peers = &report.volume.as_ref().unwrap().peers;
            matches!(&peers[..], [one] if one.quiet_millis.is_some() && one.locked == Some(true))
        });
    }
}

#[test]
fn a_pod_that_comes_later_tries_the_volume_with_the_one_that_serves() {
    let api = FakeApi::start();
    let group = Group::tried("newcomer", &api, "Required", shared);
    let [first, second] = [group.pod(0), group.pod(1)];
    first.wait_until("a broker", |report| report.child.is_some());
    second.wait_until("a broker", |report| report.child.is_some());
    second.inflict(Fault::KillAgent);
    first.wait_until("silence", |report| {
        let peers = &report.volume.as_ref().unwrap().peers;
        matches!(&peers[..], [one] if one.locked == Some(false))
    });
    let again = group.pod(1);
    let report = again.wait_for(AgentState::Standby);
    assert_eq!(report.volume.unwrap().trial.unwrap().peer, "newcomer-0");
}

/// Its pod has the same mount for its whole life, and nobody else is there to ask.
#[test]
fn a_broker_of_a_group_of_one_is_started_again_without_an_api_server() {
    let api = FakeApi::start();
    let group = Group::tried("single", &api, "Required", shared);
    let pod = group.pod(0).join(&api);
    pod.wait_for(AgentState::Master);
    api.freeze(true);
    pod.inflict(Fault::Kill);
    let report = pod.wait_until("a new broker", |report| {
        report.child.as_ref().is_some_and(|child| child.restarts == 1)
    });
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::BrokerCrashed);
    pod.wait_for(AgentState::Master);
}

#[test]
#[ignore = "needs FUSE: make test runs it"]
fn locks_that_hold_on_one_node_only_are_refused_unless_that_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let behind = directory.path().join("behind");
    fs::create_dir(&behind).unwrap();
    let stores = [directory.path().join("one"), directory.path().join("two")];
    for store in &stores {
        fs::create_dir(store).unwrap();
    }
    let _mounted = stores.each_ref().map(|store| Mounted::new(&behind, store));
    let api = FakeApi::start();
    let group = Group::tried("local", &api, "Required", |_| stores.to_vec());
    expect_refusal(&group, &[0, 1], StoreProblemKind::LocksLocal);

    let warned = Group::tried("warned", &api, "Warn", |_| stores.to_vec());
    let pods = [warned.pod(0), warned.pod(1)];
    for pod in &pods {
        let report = pod.wait_until("a broker", |report| report.child.is_some());
        assert_eq!(refused(&report), Some(StoreProblemKind::LocksLocal));
    }
}

#[test]
fn a_full_or_read_only_volume_is_refused() {
    for (options, wanted) in
        [("size=8k", StoreProblemKind::Full), ("ro", StoreProblemKind::ReadOnly)]
    {
        let api = FakeApi::start();
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        fs::create_dir(&store).unwrap();
        let _mounted = Mounted::in_memory(options, &store);
        if wanted == StoreProblemKind::Full {
            // Writes what fits, and fails.
            fs::write(store.join("filler"), [0; 16384]).unwrap_err();
        }
        let group = Group::tried("refused", &api, "Required", |_| vec![store.clone()]);
        expect_refusal(&group, &[0], wanted);
    }
}

/// A mount over a part of the volume: each broker would lock a file of its own.
#[test]
fn a_store_on_another_mount_than_the_one_that_is_tried_is_refused() {
    let api = FakeApi::start();
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    fs::create_dir_all(store.join("kahadb")).unwrap();
    let _mounted = Mounted::in_memory("size=1m", &store.join("kahadb"));
    for preflight in ["Required", "Warn"] {
        let group = Group::tried("apart", &api, preflight, |_| vec![store.clone()]);
        expect_refusal(&group, &[0], StoreProblemKind::DifferentStores);
    }
}

#[test]
fn a_volume_that_does_not_answer_is_refused_until_it_does() {
    let api = FakeApi::start();
    let group = Group::tried("hanging", &api, "Required", shared);
    let pod = group.pod(0);
    pod.wait_until("a first beat", |report| {
        report.volume.as_ref().is_some_and(|volume| volume.beat_millis.is_some())
    });
    pod.inflict(Fault::FreezeBeats);
    let report = pod.wait_until("a refusal", |report| refused(report).is_some());
    assert_eq!(refused(&report), Some(StoreProblemKind::Hangs));
    pod.inflict(Fault::ThawBeats);
    pod.wait_until("an answer", |report| refused(report).is_none());
    let _other = group.pod(1);
    pod.wait_until("a broker", |report| report.child.is_some());
}

#[test]
#[ignore = "needs FUSE: make test runs it"]
fn a_broker_on_network_storage_lives_no_longer_than_its_agent_can_write() {
    let directory = tempfile::tempdir().unwrap();
    let [behind, store] = ["behind", "store"].map(|name| directory.path().join(name));
    fs::create_dir(&behind).unwrap();
    fs::create_dir(&store).unwrap();
    let _mounted = Mounted::new(&behind, &store);
    let api = FakeApi::start();
    let group = Group::tried("beats", &api, "Required", |_| vec![store.clone(); 2]);
    let pods = [group.pod(0), group.pod(1)];
    api.wait_for("a master", crate::SOON, |api| !api.target().is_empty());
    let master = if api.target() == "beats-0" { &pods[0] } else { &pods[1] };

    // A helper process that is started anew goes on where the one before ended.
    master.inflict(Fault::KillBeats);
    let cut = Instant::now();
    master.wait_until("a new beat", |report| {
        let age = report.volume.as_ref().unwrap().beat_millis.unwrap();
        cut.elapsed() > Duration::from_millis(age)
    });
    assert_eq!(master.report().last_exit, None);

    let cut = Instant::now();
    master.inflict(Fault::FreezeBeats);
    let report = master.wait_until("the end of its broker", |report| report.last_exit.is_some());
    println!("killed {:?} after the last beat at the earliest", cut.elapsed());
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::StorageUnproven);
    let standing = master.wait_for(AgentState::Fenced);
    assert_eq!(standing.child, None);
    master.inflict(Fault::ThawBeats);
    master.wait_for(AgentState::Standby);
}
