//! The agents' beats on real NFS clients: what kills a broker, and what its client still writes then.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nfslab::wire::Call;
use nfslab::{Actor, LEASE, Lab, Machine};
use tandem::broker::report::{AgentState, Evidence, ExitReason, LockView};

use crate::late::{Arrives, GIVES_UP, Healed, PATIENT, await_last_page, lines, take_locks};
use crate::pod::{Group, Pod};
use crate::world::{LATE, clients, fact, lab, lab_with_lease, lease, until};

const TEST: &str = "watchdog";
const MINE: LockView = LockView::Mine(Evidence::ClientTable);
/// What the agent prints when nothing proves the lock any longer.
const KILLED: &str = "the broker is killed: StorageUnproven";
/// So long that only a beat that is refused can be the reason.
const NEVER: Duration = Duration::from_mins(10);

/// The one of two pods that is the master, and the other one.
pub fn master_first(mut pods: [Pod<'_>; 2]) -> [Pod<'_>; 2] {
    let mut is_master = false;
    until("a master", LATE, || {
        let states = pods.each_mut().map(|pod| pod.report().state);
        is_master = states[0] == AgentState::Master;
        is_master || states[1] == AgentState::Master
    });
    if !is_master {
        pods.reverse();
    }
    pods
}

#[test]
fn a_lock_that_was_lost_unseen_is_noticed_by_the_next_beat() {
    let lab = lab();
    let names = [
        ("orders-0", "node-0"),
        ("orders-1", "node-1"),
        ("thief-0", "node-0"),
        ("thief-1", "node-1"),
    ];
    let machines = lab.machines_named(names).unwrap();
    for machine in &machines[..2] {
        machine.mount(nfslab::EXPORT, "/mnt", "vers=4.1").unwrap();
    }
    let mut group = Group::new(&lab, NEVER);
    // The agents would refuse a fence that comes after the lease.
    group.preflight = "Warn";
    let [mut master, mut standby] =
        master_first([group.pod(&machines[0]), group.pod(&machines[1])]);
    standby.wait_for(AgentState::Standby, LockView::Other);
    // Nobody takes the lock that will be lost, so the broker itself cannot notice.
    standby.end();

    // Longer than the lease. The server forgets the client, and nobody tells the agent: attributes
    // and table are as they were, and the deadline is far away.
    let mut asker = master.machine().actor().unwrap();
    master.machine().set_link(false).unwrap();
    let cut = Instant::now();
    until("the end of the lease", LATE, || {
        cut.elapsed() > LEASE + Duration::from_secs(3) && lease(&mut asker).1 > 0
    });
    assert_eq!(master.report().last_exit, None);
    master.machine().set_link(true).unwrap();
    let healed = Instant::now();
    // By the beat, or because the broker's own look at its file failed a moment earlier.
    let line = master.wait_for_line("the broker is killed: ", LATE);
    fact(TEST, &format!("lease lost, {:.1?} after the healing: {line}", healed.elapsed()));
    master.wait_until("its end", LATE, |report| report.last_exit.is_some());

    // Without any gap: another client takes the identity of the one with the lock.
    master.wait_for(AgentState::Master, MINE);
    let ended = master.report().last_exit.map(|end| end.at);
    let thief = machines[2..].iter().find(|thief| {
        let number = master.machine().name().chars().last();
        thief.name().chars().last() == number
    });
    let begun = Instant::now();
    thief.expect("a thief").mount(nfslab::EXPORT, "/mnt", "vers=4.1").unwrap();
    master.wait_for_line(KILLED, LATE);
    fact(TEST, &format!("identity taken: killed {:.1?} after the thief began", begun.elapsed()));
    let robbed = master.wait_until("its end", LATE, |report| {
        report.last_exit.as_ref().is_some_and(|end| Some(end.at) != ended)
    });
    assert_eq!(robbed.last_exit.expect("an end").reason, ExitReason::StorageUnproven);
}

/// Lengths of both journals at the server.
fn lengths(lab: &Lab, pods: [&str; 2]) -> [u64; 2] {
    pods.map(|pod| {
        let path = lab.server.export().join(format!("journal-{pod}"));
        fs::metadata(path).map(|data| data.len()).unwrap_or_default()
    })
}

#[test]
fn of_two_clients_with_one_name_never_two_write() {
    /// Longer than a killed broker's pages are on their way.
    const OBSERVED: Duration = Duration::from_secs(5);
    let lab = lab();
    let pods = ["orders-0", "orders-1"];
    let machines = lab.machines_named(pods.map(|pod| (pod, "node"))).unwrap();
    let mut group = Group::new(&lab, NEVER);
    // The agents would refuse a fence that comes after the lease.
    group.preflight = "Warn";
    for machine in &machines {
        // What was written is at the server when the writer goes on.
        machine.mount(nfslab::EXPORT, "/mnt", "vers=4.1,noac").unwrap();
    }
    let mut agents = machines.each_ref().map(|machine| group.pod(machine));
    let begun = Instant::now();
    let mut wrote: Vec<[bool; 2]> = Vec::new();
    let mut before = lengths(&lab, pods);
    while begun.elapsed() < LATE {
        sleep(OBSERVED);
        let now = lengths(&lab, pods);
        wrote.push([now[0] > before[0], now[1] > before[1]]);
        before = now;
    }
    fact(TEST, &format!("one name: who wrote in each {OBSERVED:?}: {wrote:?}"));
    for agent in &mut agents {
        let report = agent.report();
        fact(
            TEST,
            &format!("one name: {:?}, {:?}, {:?}", report.state, report.last_exit, report.volume),
        );
    }
    // One may have ended and the other begun within one time; not so in the next, too.
    let both = |wrote: &[bool; 2]| *wrote == [true, true];
    assert!(!wrote.windows(2).any(|two| two.iter().all(both)), "{wrote:?}");
}

/// A mount, and what a killed broker's client delivers late.
struct Case {
    label: &'static str,
    options: &'static str,
    healed: Healed,
    arrives: Arrives,
}

const CASES: [Case; 4] = [
    Case { label: "hard", options: "hard", healed: Healed::Late, arrives: Arrives::Many },
    Case { label: "soft-early", options: "soft", healed: Healed::Early, arrives: Arrives::Many },
    Case {
        label: "soft-noac-early",
        options: "soft,noac",
        healed: Healed::Early,
        arrives: Arrives::InFlight,
    },
    Case {
        label: "soft-noac",
        options: "soft,noac",
        healed: Healed::Late,
        arrives: Arrives::Nothing,
    },
];

/// Long after the brokers' end, also on a busy machine, whose guests may be late by seconds.
const SERVERS_LEASE: Duration = Duration::from_secs(4 * LEASE.as_secs());
const FENCE_AFTER: Duration = Duration::from_secs(12);

fn journal(case: &Case) -> String {
    format!("{0}/journal-{0}", case.label)
}

/// A pod for each case, with its own lock and journal. They try the volume with each other.
fn groups(lab: &Lab, machines: &[Machine; 4]) -> Vec<Group> {
    let mounted = machines.iter().zip(&CASES);
    mounted
        .map(|(machine, case)| {
            let patience = match case.healed {
                Healed::Early => PATIENT,
                Healed::Late => GIVES_UP,
            };
            let options = format!("vers=4.1,{},{patience}", case.options);
            machine.mount(nfslab::EXPORT, "/mnt", &options).unwrap();
            let group = Group::in_directory(lab, FENCE_AFTER, case.label);
            Group { members: "/mnt/members".to_owned(), ..group }
        })
        .collect()
}

/// Takes all locks when the server has freed them, and keeps them.
fn take_over(taker: &Machine) -> Vec<Actor> {
    let mut takers = take_locks(taker, CASES.iter().map(|case| case.label));
    for taker in &mut takers {
        // As Classic does at every acquisition.
        taker.done(&Call::Write(0, "theirs".to_owned())).unwrap();
        taker.done(&Call::Sync(0)).unwrap();
    }
    takers
}

#[test]
fn late_writes_of_a_broker_that_its_agent_killed() {
    let lab = lab_with_lease(SERVERS_LEASE);
    let [taker] = clients(&lab, ["taker"], "vers=4.1");
    let machines = lab.machines(CASES.each_ref().map(|case| case.label)).unwrap();
    let groups = groups(&lab, &machines);
    let mut pods: Vec<Pod<'_>> =
        machines.iter().zip(&groups).map(|(machine, group)| group.pod(machine)).collect();
    for (pod, case) in pods.iter_mut().zip(&CASES) {
        pod.wait_for(AgentState::Master, MINE);
        until("its journal", LATE, || {
            let path = lab.server.export().join(journal(case));
            fs::metadata(path).is_ok_and(|data| data.len() > 0)
        });
    }

    for machine in &machines {
        machine.set_link(false).unwrap();
    }
    let cut = Instant::now();
    for (pod, case) in pods.iter_mut().zip(&CASES) {
        pod.wait_for_line(KILLED, LATE);
        fact(TEST, &format!("{}: killed within {:.1?} of the cut", case.label, cut.elapsed()));
    }
    let _takers = take_over(&taker);
    fact(TEST, &format!("all locks taken over {:.1?} after the cut", cut.elapsed()));
    let before: Vec<BTreeSet<String>> =
        CASES.iter().map(|case| lines(&lab, &journal(case))).collect();
    for healed in [Healed::Early, Healed::Late] {
        for (pod, case) in pods.iter_mut().zip(&CASES).filter(|(_, case)| case.healed == healed) {
            if healed == Healed::Late && case.options.starts_with("soft") {
                // Its last call has failed, that which closes the file.
                pod.wait_until("its broker's end", LATE, |report| report.last_exit.is_some());
                fact(TEST, &format!("{}: reaped {:.1?} after the cut", case.label, cut.elapsed()));
            }
            pod.machine().set_link(true).unwrap();
        }
    }
    for ((pod, case), before) in pods.iter_mut().zip(&CASES).zip(before) {
        let back = pod.wait_for(AgentState::Standby, LockView::Other);
        assert_eq!(back.last_exit.expect("an end").reason, ExitReason::StorageUnproven);
        await_last_page(pod.machine());
        // What the server is told last, it may write a moment later.
        sleep(Duration::from_secs(2));
        let after = lines(&lab, &journal(case));
        let late = after.difference(&before).count();
        fact(TEST, &format!("{}: {late} late lines, {} before", case.label, before.len()));
        case.arrives.expect(case.label, late);
    }
}
