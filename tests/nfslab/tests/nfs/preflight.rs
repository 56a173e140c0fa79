//! What the agents' preflight makes of mounts, before a broker is started.

use std::time::{Duration, Instant};

use nfslab::LEASE;
use tandem::broker::report::{AgentState, Report, StoreNoteKind, StoreProblemKind, VolumeReport};

use crate::pod::{Group, Pod, problem_of};
use crate::world::{LATE, clients, fact, lab};

const TEST: &str = "preflight";
/// These tests cut nobody off; it only has to be shorter than the lease.
const FENCE_AFTER: Duration = Duration::from_secs(LEASE.as_secs() - 2);

fn volume_of(report: &Report) -> &VolumeReport {
    report.volume.as_ref().expect("a volume")
}

/// Both try the locks, and one becomes the master. Returns what each says of the volume.
fn verified(pods: &mut [Pod<'_>; 2], label: &str) -> [VolumeReport; 2] {
    for pod in &mut *pods {
        pod.wait_until("a first beat", LATE, |report| volume_of(report).beat_millis.is_some());
    }
    let begun = Instant::now();
    let told = pods.each_mut().map(|pod| {
        // On a busy machine an answer may be late, and the trial is made again.
        let report = pod.wait_until("a trial", LATE, |report| {
            let volume = volume_of(report);
            volume.trial.is_some() && volume.problem.is_none()
        });
        let volume = report.volume.expect("a volume");
        assert!(!volume.local, "{label}");
        volume
    });
    fact(TEST, &format!("{label}: verified {:.1?} after both had beaten", begun.elapsed()));
    for pod in &mut *pods {
        pod.wait_until("a broker", LATE, |report| report.child.is_some());
    }
    let mut states = pods.each_mut().map(|pod| {
        let settled =
            |report: &Report| matches!(report.state, AgentState::Master | AgentState::Standby);
        pod.wait_until("its role", LATE, settled).state
    });
    states.sort_by_key(|state| *state == AgentState::Standby);
    assert_eq!(states, [AgentState::Master, AgentState::Standby], "{label}");
    told
}

fn notes_of(volume: &VolumeReport) -> Vec<StoreNoteKind> {
    volume.notes.iter().map(|note| note.kind).collect()
}

#[test]
fn locks_of_nfs_4_are_verified_and_what_a_mount_risks_is_told() {
    use StoreNoteKind::{AttributesCached, LateWrites};
    let lab = lab();
    let plain = clients(&lab, ["plain-0", "plain-1"], "vers=4.1");
    let safe = "vers=4.1,noac,lookupcache=none,soft,timeo=20,retrans=2";
    let safe = clients(&lab, ["safe-0", "safe-1"], safe);
    for (machines, label, wanted) in [(&plain, "plain", vec![LateWrites]), (&safe, "safe", vec![])]
    {
        let group = Group::in_directory(&lab, FENCE_AFTER, label);
        let mut pods = machines.each_ref().map(|machine| group.pod(machine));
        for volume in verified(&mut pods, label) {
            let trial = volume.trial.as_ref().expect("a trial");
            fact(TEST, &format!("{label}: {trial:?}"));
            let kinds = notes_of(&volume);
            // How long things take here depends on the machine, and whether a first trial sees that
            // attributes are cached, on what else changes in the directory.
            let depends = [StoreNoteKind::Slow, AttributesCached];
            let kinds: Vec<_> = kinds.into_iter().filter(|kind| !depends.contains(kind)).collect();
            assert_eq!(kinds, wanted, "{label}: {volume:#?}");
        }
    }
}

#[test]
fn mounts_whose_locks_do_not_hold_are_refused_unless_that_is_wanted() {
    use StoreProblemKind::{LocksLocal, LocksNeverFreed};
    let lab = lab();
    let cases = [
        ("locked", "vers=3", LocksNeverFreed),
        ("unlocked", "vers=3,nolock", LocksLocal),
        ("local", "vers=3,local_lock=posix", LocksLocal),
    ];
    let machines = lab.machines(cases.each_ref().map(|(label, ..)| *label)).unwrap();
    for (machine, (label, options, wanted)) in machines.iter().zip(cases) {
        machine.start_lock_daemons().unwrap();
        machine.mount(nfslab::EXPORT, "/mnt", options).unwrap();
        let mut group = Group::in_directory(&lab, FENCE_AFTER, label);
        let begun = Instant::now();
        let mut pod = group.pod(machine);
        let refused = pod.wait_until("a refusal", LATE, |report| problem_of(report).is_some());
        fact(TEST, &format!("{options}: {wanted:?} after {:.1?}", begun.elapsed()));
        assert_eq!(problem_of(&refused), Some(wanted));
        assert_eq!((refused.state, refused.child), (AgentState::Preflight, None));

        pod.end();
        group.preflight = "Warn";
        let mut pod = group.pod(machine);
        let warned = pod.wait_until("a broker", LATE, |report| report.child.is_some());
        assert_eq!(problem_of(&warned), Some(wanted));
        pod.end();
    }
}
