//! The real agent on real NFS clients.

use std::time::{Duration, Instant};

use nfslab::LEASE;
use nix::sys::signal::Signal;
use tandem::broker::report::{AgentState, Evidence, ExitReason, LockView};

use crate::pod::Group;
use crate::watchdog::master_first;
use crate::world::{LATE, clients, fact, lab_with_lease};

const TEST: &str = "agent";
/// Long after the broker's end, also on a busy machine, whose guests may be late by seconds.
const SERVERS_LEASE: Duration = Duration::from_secs(4 * LEASE.as_secs());
const FENCE_AFTER: Duration = Duration::from_secs(12);
const MINE: LockView = LockView::Mine(Evidence::ClientTable);

#[test]
fn a_cut_off_master_is_killed_before_another_gets_the_lock() {
    let lab = lab_with_lease(SERVERS_LEASE);
    let machines = clients(&lab, ["orders-0", "orders-1"], "vers=4.1");
    let group = Group::new(&lab, FENCE_AFTER);
    // Both at once: neither starts a broker before they have tried the locks together.
    let [mut first, mut second] = master_first([group.pod(&machines[0]), group.pod(&machines[1])]);
    first.wait_for(AgentState::Master, MINE);
    first.wait_for_epoch(1);
    let [one, two] = [first.machine().name(), second.machine().name()];
    assert_eq!(group.api().target(), one);
    second.wait_for(AgentState::Standby, LockView::Other);

    let cut = Instant::now();
    first.machine().set_link(false).unwrap();
    first.wait_for_line("the broker is killed: StorageUnproven", LATE);
    let killed = cut.elapsed();
    fact(TEST, &format!("killed {killed:.1?} after the cut, fenceAfter {FENCE_AFTER:?}"));
    // Whatever the machine had to do besides: nobody else can have got the lock yet.
    assert!(killed < SERVERS_LEASE, "{killed:?}");
    assert_eq!(first.report().state, AgentState::Fenced);

    second.wait_until("its turn", LATE, |report| report.lock.view == MINE);
    fact(TEST, &format!("the other has the lock {:.1?} after the cut", cut.elapsed()));
    second.wait_for_epoch(2);
    assert_eq!(group.api().target(), two);
    assert_eq!(first.report().state, AgentState::Fenced, "still cut off");

    first.machine().set_link(true).unwrap();
    let back = first.wait_for(AgentState::Standby, LockView::Other);
    assert_eq!(back.last_exit.expect("an end").reason, ExitReason::StorageUnproven);
    second.wait_for(AgentState::Master, MINE);

    second.signal_broker(Signal::SIGKILL);
    let ended = second.wait_until("its end", LATE, |report| report.last_exit.is_some());
    assert_eq!(ended.last_exit.expect("an end").reason, ExitReason::BrokerCrashed);
    first.wait_for(AgentState::Master, MINE);
    first.wait_for_epoch(3);
    assert_eq!(group.api().target(), one);
}
