#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::struct_excessive_bools,
    reason = "an onlooker knows yes and no, and looks at few of the inputs"
)]

use super::*;
use crate::broker::report::{AgentState, Evidence};
use crate::lock::FileView;
use proptest::prelude::*;

const MINE: Input = Input::Lock(LockView::Mine(Evidence::Kernel));
const OTHER: Input = Input::Lock(LockView::Other);
const FREE: Input = Input::Lock(LockView::Free);
const GREETS: Input = Input::Greeting(GreetingView::Ok);
const SILENT: Input = Input::Greeting(GreetingView::Silent);

const KINDS: [LockKind; 3] = [LockKind::File, LockKind::Lease, LockKind::Log];

/// Runs the tests in it for every kind of lock.
macro_rules! for_each_kind {
    ($($(#[$meta:meta])* fn $name:ident($kind:ident) $body:block)*) => {
        $($(#[$meta])* #[test] fn $name() { for $kind in KINDS $body })*
    };
}

/// What only leases make the machine do.
fn is_of_leases(act: Act) -> bool {
    matches!(act, Act::Release | Act::Arm(Deadline::Release) | Act::Disarm(Deadline::Release))
}

/// What comes before every start.
fn is_of_preparation(act: Act) -> bool {
    matches!(act, Act::Prepare | Act::Arm(Deadline::Prepare) | Act::Disarm(Deadline::Prepare))
}

/// What every look and every life of a broker brings about, unless nothing can be proven of the lock.
fn is_of_proofs(act: Act) -> bool {
    matches!(act, Act::Arm(Deadline::Proof) | Act::Disarm(Deadline::Proof))
}

/// Why a broker is killed when nothing proves any longer that the lock is no other's.
fn unproven(kind: LockKind) -> Option<ExitReason> {
    match kind {
        LockKind::File => Some(ExitReason::StorageUnproven),
        LockKind::Lease => Some(ExitReason::LeaseUnproven),
        LockKind::Log => None,
    }
}

/// The inputs, one after the other; what is to be prepared is ready, a release succeeds, and no other pod
/// claims the lock. Leaves out that, and proofs.
fn run(mut state: State, inputs: &[Input]) -> (State, Vec<Act>) {
    let mut all = Vec::new();
    let mut left: std::collections::VecDeque<_> = inputs.iter().copied().collect();
    while let Some(input) = left.pop_front() {
        let (next, acts) = step(state, input);
        state = next;
        if acts.contains(&Act::Release) {
            left.push_front(Input::Released);
        }
        if acts.contains(&Act::Prepare) {
            left.push_front(Input::Prepared(PreparationView::Ready));
        }
        if acts.contains(&Act::AskClaims) {
            left.push_front(Input::Claims(Claims::None));
        }
        all.extend(acts);
    }
    all.retain(|&act| {
        !is_of_leases(act) && !is_of_preparation(act) && !is_of_proofs(act) && act != Act::AskClaims
    });
    (state, all)
}

fn one(state: State, input: Input) -> (State, Vec<Act>) {
    run(state, &[input])
}

const fn child(event: ChildEvent) -> Input {
    Input::Child(event)
}

fn passed(deadline: Deadline) -> Input {
    Input::DeadlinePassed(deadline)
}

/// Nothing has been seen yet of the lock; what comes before is settled, unless that is all there is.
fn fresh(kind: LockKind) -> State {
    let state = State::begin(kind).0;
    if kind == LockKind::File { run(state, &[READY]).0 } else { state }
}

/// A former master's successor is promoted, and clients have gone over to it.
const TAKEN_OVER: [Input; 3] =
    [OTHER, Input::Record(RecordView::Newer), Input::DeadlinePassed(Deadline::Reconnect)];
const SAME: Input = Input::LockFile(FileView::Same);
/// What lets a fresh agent start its broker: a store that stays empty.
const EMPTY: [Input; 3] = [
    Input::LockFile(FileView::Absent),
    Input::DeadlinePassed(Deadline::LockFile),
    Input::LockFile(FileView::Same),
];
const READY: Input = Input::Prepared(PreparationView::Ready);
const REFUSED: Input = Input::Prepared(PreparationView::Refused);

/// A broker that was started on an empty store.
fn started(kind: LockKind) -> State {
    let waiting = run(fresh(kind), &EMPTY).0;
    run(waiting, &[READY, child(ChildEvent::Started)]).0
}

fn standby(kind: LockKind) -> State {
    run(started(kind), &[OTHER, Input::Log(LogSign::Waits)]).0
}

fn promoting(kind: LockKind) -> State {
    run(started(kind), &[MINE]).0
}

fn master(kind: LockKind) -> State {
    run(promoting(kind), &[GREETS, Input::Promoted]).0
}

fn ended(state: State) -> State {
    run(state, &[child(ChildEvent::Exited), child(ChildEvent::Gone)]).0
}

fn kills(acts: &[Act]) -> Vec<ExitReason> {
    let kill = |act: &Act| if let Act::Kill(reason) = act { Some(*reason) } else { None };
    acts.iter().filter_map(kill).collect()
}

mod start {
    use super::*;

    /// It may have been deleted a moment ago, while another broker is the master.
    #[test]
    fn without_a_lock_file_the_broker_starts_once_the_absence_is_stable() {
        let (state, acts) = run(fresh(LockKind::File), &[EMPTY[0], SAME, SAME]);
        assert_eq!(acts, [Act::Arm(Deadline::LockFile)]);
        let (state, acts) = run(state, &EMPTY[1..]);
        assert!(acts.contains(&Act::Start));
        assert_eq!(state.name(), AgentState::Starting);
    }

    #[test]
    fn a_lock_file_that_vanishes_before_a_restart_is_waited_for() {
        let waiting = ended(standby(LockKind::File));
        let (state, acts) = run(waiting, &[EMPTY[0], OTHER]);
        assert!(!acts.contains(&Act::Start), "{acts:?}");
        assert!(run(state, &EMPTY[1..]).1.contains(&Act::Start));
    }

    #[test]
    fn a_lock_file_must_be_stable_for_two_keep_alive_periods_and_seen_once_more() {
        let same = Input::LockFile(FileView::Same);
        let first = [Input::LockFile(FileView::Changed), same, passed(Deadline::LockFile)];
        let (state, acts) = run(fresh(LockKind::File), &first);
        assert_eq!(acts, [Act::Arm(Deadline::LockFile)]);
        assert!(one(state, same).1.contains(&Act::Start));
    }

    #[test]
    fn a_lock_file_that_changes_meanwhile_starts_the_wait_again() {
        let changed = Input::LockFile(FileView::Changed);
        let inputs = [changed, changed, passed(Deadline::LockFile), changed];
        let (state, acts) = run(fresh(LockKind::File), &inputs);
        assert_eq!(acts, [Act::Arm(Deadline::LockFile); 3]);
        assert_eq!(state.name(), AgentState::Preflight);
    }

    #[test]
    fn a_program_that_cannot_start_is_not_tried_again_at_once() {
        let state = run(fresh(LockKind::File), &EMPTY).0;
        let (_, acts) = run(state, &[child(ChildEvent::NotStarted), Input::Peers(Peers::Alone)]);
        assert!(acts.contains(&Act::Arm(Deadline::Backoff(1))));
        assert!(!acts.contains(&Act::Start));
    }

    #[test]
    fn after_a_lost_lock_the_lock_file_must_be_stable_again() {
        let fenced = ended(one(master(LockKind::File), Input::LockChanged).0);
        let (state, acts) = run(fenced, &TAKEN_OVER);
        assert!(!acts.contains(&Act::Start));
        assert_eq!(state.name(), AgentState::Fenced);
        let same = Input::LockFile(FileView::Same);
        let stable = [same, passed(Deadline::LockFile), same];
        assert!(run(state, &stable).1.contains(&Act::Start));
    }

    for_each_kind! {
        fn alone_a_crashed_broker_restarts_at_once(kind) {
            let (_, acts) = one(ended(master(kind)), Input::Peers(Peers::Alone));
            assert!(acts.contains(&Act::Start));
        }

        fn with_peers_a_crashed_standby_restarts_after_another_holder_is_seen(kind) {
            for peers in [Peers::Others, Peers::Unknown] {
                let (state, acts) = run(ended(standby(kind)), &[Input::Peers(peers), FREE]);
                assert!(!acts.contains(&Act::Start), "{peers:?}");
                assert!(one(state, OTHER).1.contains(&Act::Start), "{peers:?}");
            }
        }

        fn a_former_master_restarts_when_clients_have_gone_over_to_the_next_one(kind) {
            let yielded = run(master(kind), &[Input::StepDown]).0;
            for state in [master(kind), yielded] {
                let (state, acts) = run(ended(state), &[FREE, OTHER, OTHER, passed(Deadline::Handover)]);
                assert!(acts.contains(&Act::Arm(Deadline::Yield)) && !acts.contains(&Act::Start));
                let (state, acts) = one(state, Input::Record(RecordView::Newer));
                assert_eq!(acts, [Act::Arm(Deadline::Reconnect)]);
                assert_eq!(one(state.clone(), Input::Record(RecordView::Newer)).1, [], "not again");
                assert!(one(state, passed(Deadline::Reconnect)).1.contains(&Act::Start));
            }
        }

        fn a_successor_that_is_never_promoted_is_not_waited_for_for_ever(kind) {
            for input in [FREE, passed(Deadline::Yield)] {
                let (state, acts) = run(ended(master(kind)), &[OTHER]);
                assert!(!acts.contains(&Act::Start));
                let (state, acts) = one(state, input);
                assert!(acts.contains(&Act::Start), "{input:?}");
                let over = [Deadline::Handover, Deadline::Yield, Deadline::Reconnect];
                assert!(over.into_iter().all(|over| acts.contains(&Act::Disarm(over))));
                assert_eq!(state.name(), AgentState::Starting);
            }
        }

        /// Its watch may tell before its looks at the lock do.
        fn a_successor_is_waited_for_also_when_its_promotion_is_seen_first(kind) {
            let (state, acts) = run(ended(master(kind)), &[Input::Record(RecordView::Newer), OTHER]);
            assert!(acts.contains(&Act::Arm(Deadline::Reconnect)) && !acts.contains(&Act::Start));
            assert!(one(state, passed(Deadline::Reconnect)).1.contains(&Act::Start));
        }

        fn with_peers_that_do_not_take_over_it_restarts_after_a_while(kind) {
            let state = run(ended(master(kind)), &[Input::Peers(Peers::Others)]).0;
            assert!(one(state, passed(Deadline::Handover)).1.contains(&Act::Start));
        }

        fn the_second_end_in_a_row_is_followed_by_a_pause(kind) {
            let once = run(ended(started(kind)), &[OTHER, child(ChildEvent::Started)]).0;
            let (twice, acts) = run(once, &[child(ChildEvent::Exited), child(ChildEvent::Gone), OTHER]);
            assert!(acts.contains(&Act::Arm(Deadline::Backoff(1))), "{acts:?}");
            assert!(!acts.contains(&Act::Start));
            assert!(one(twice, passed(Deadline::Backoff(1))).1.contains(&Act::Start));
        }

        fn ten_healthy_minutes_make_an_end_the_first_again(kind) {
            let again = run(ended(master(kind)), &TAKEN_OVER).0;
            let again = run(again, &[child(ChildEvent::Started)]).0;
            let healthy = run(again, &[OTHER, Input::Log(LogSign::Waits), passed(Deadline::Health)]).0;
            let (_, acts) = run(healthy, &[child(ChildEvent::Gone), OTHER]);
            assert!(acts.contains(&Act::Start));
        }

        fn a_process_that_is_not_reaped_with_all_descendants_keeps_the_next_down(kind) {
            let (state, acts) = run(
                master(kind),
                &[
                    child(ChildEvent::Exited),
                    Input::Peers(Peers::Alone),
                    OTHER,
                    passed(Deadline::Handover),
                ],
            );
            assert!(!acts.contains(&Act::Start));
            assert_eq!(state.child(), Child::Ended);
        }
    }
}

mod roles {
    use super::*;

    for_each_kind! {
        fn a_broker_that_logs_that_it_waits_is_a_standby(kind) {
            assert_eq!(standby(kind).name(), AgentState::Standby);
        }

        fn a_silent_log_makes_a_standby_only_after_a_while(kind) {
            let state = run(started(kind), &[OTHER]).0;
            assert_eq!(state.name(), AgentState::Starting);
            assert_eq!(one(state, passed(Deadline::Settle)).0.name(), AgentState::Standby);
        }

        fn a_broker_that_holds_the_lock_and_does_not_greet_is_promoting_however_long_it_takes(kind) {
            let slow = [passed(Deadline::Hang), passed(Deadline::Settle), SILENT, SILENT, SILENT];
            let (state, acts) = run(promoting(kind), &slow);
            assert_eq!(state.name(), AgentState::Promoting);
            assert_eq!(kills(&acts), []);
        }

        fn a_broker_that_holds_the_lock_and_greets_is_promoted(kind) {
            let (state, acts) = one(promoting(kind), GREETS);
            assert_eq!(state.name(), AgentState::Master);
            assert!(acts.contains(&Act::Promote));
        }

        fn a_greeting_without_the_lock_promotes_nobody(kind) {
            for before in [started(kind), standby(kind), run(promoting(kind), &[Input::Lock(LockView::Unknown)]).0]
            {
                assert!(!one(before, GREETS).1.contains(&Act::Promote));
            }
        }

        fn an_edited_record_is_written_again(kind) {
            for view in [RecordView::Astray, RecordView::Newer] {
                let (state, acts) = one(master(kind), Input::Record(view));
                assert_eq!(acts, [Act::Promote], "{view:?}");
                assert_eq!(one(state, Input::Record(view)).1, [], "one promotion at a time");
            }
        }

        fn an_edited_record_is_written_again_only_when_the_lock_is_seen_again(kind) {
            let blind = [Input::Lock(LockView::Unknown), Input::Record(RecordView::Astray)];
            let (state, acts) = run(master(kind), &blind);
            assert_eq!(acts, []);
            assert_eq!(one(state, MINE).1, [Act::Promote]);
        }
    }
}

mod fencing {
    use super::*;

    for_each_kind! {
        fn a_lost_lock_is_answered_with_sigkill(kind) {
            let signs = [OTHER, FREE, Input::LockChanged, Input::Log(LogSign::LockLost)];
            for sign in signs {
                for before in [promoting(kind), master(kind)] {
                    let (state, acts) = one(before, sign);
                    assert_eq!(kills(&acts), [ExitReason::LockLost], "{sign:?}");
                    assert_eq!(state.name(), AgentState::Fenced, "{sign:?}");
                }
            }
        }

        fn a_standby_is_not_killed_because_another_holds_the_lock(kind) {
            for sign in [OTHER, FREE, Input::LockChanged] {
                assert_eq!(kills(&one(standby(kind), sign).1), [], "{sign:?}");
            }
        }

        fn a_standby_that_leaves_a_free_lock_alone_for_too_long_is_killed(kind) {
            let (state, acts) = run(standby(kind), &[FREE, FREE]);
            assert_eq!(acts, [Act::Arm(Deadline::Take)]);
            let (state, acts) = one(state, passed(Deadline::Take));
            assert_eq!(acts, []);
            assert_eq!(kills(&one(state.clone(), FREE).1), [ExitReason::BrokerHung]);
            for saved in [OTHER, MINE, Input::Lock(LockView::Unknown)] {
                assert_eq!(kills(&one(state.clone(), saved).1), [], "{saved:?}");
            }
        }

        fn a_starting_broker_may_leave_a_free_lock_alone(kind) {
            let (state, acts) = run(started(kind), &[FREE, passed(Deadline::Take), FREE]);
            assert_eq!(acts, []);
            assert_eq!(state.name(), AgentState::Starting);
        }

        fn a_probe_without_an_answer_changes_nothing(kind) {
            let blind = [Input::Lock(LockView::Unknown)];
            for before in [fresh(kind), started(kind), standby(kind), promoting(kind), master(kind)] {
                let (state, acts) = run(before.clone(), &blind);
                assert_eq!(acts, []);
                assert_eq!(state.name(), before.name());
            }
        }

        fn a_master_that_stops_greeting_is_killed_after_the_hang_timeout(kind) {
            let (state, acts) = run(master(kind), &[SILENT, SILENT, SILENT]);
            assert_eq!(kills(&acts), []);
            let (_, acts) = one(state, passed(Deadline::Hang));
            assert_eq!(kills(&acts), [ExitReason::BrokerHung]);
        }

        fn a_node_that_thaws_asks_twice_before_it_kills(kind) {
            let (state, acts) = run(master(kind), &[passed(Deadline::Hang), SILENT]);
            assert_eq!(kills(&acts), []);
            assert_eq!(kills(&one(state.clone(), GREETS).1), []);
            assert_eq!(kills(&one(state, SILENT).1), [ExitReason::BrokerHung]);
        }

        fn a_greeting_starts_the_hang_timeout_again(kind) {
            let (state, acts) = run(master(kind), &[SILENT, SILENT, GREETS]);
            assert!(acts.contains(&Act::Arm(Deadline::Hang)));
            assert_eq!(kills(&one(state, passed(Deadline::Hang)).1), []);
        }
    }
}

mod end {
    use super::*;

    for_each_kind! {
        fn told_to_end_the_broker_is_stopped_politely(kind) {
            for before in [started(kind), standby(kind), promoting(kind), master(kind)] {
                let (state, acts) = one(before, Input::Terminate);
                assert!(acts.contains(&Act::Stop) && acts.contains(&Act::Arm(Deadline::StopGrace)));
                assert_eq!(state.name(), AgentState::SteppingDown);
            }
        }

        fn a_broker_that_outlasts_its_grace_is_killed(kind) {
            let (_, acts) = run(master(kind), &[Input::Terminate, passed(Deadline::StopGrace)]);
            assert_eq!(kills(&acts), [ExitReason::PodStopped]);
        }

        fn a_broker_that_lets_go_of_the_lock_while_it_stops_is_not_killed_but_a_thief_s_victim_is(kind) {
            let stopping = one(master(kind), Input::Terminate).0;
            assert_eq!(kills(&one(stopping.clone(), FREE).1), []);
            assert_eq!(kills(&one(stopping, OTHER).1), [ExitReason::LockLost]);
        }

        fn a_pod_that_the_record_does_not_name_ends_with_its_broker(kind) {
            let (state, acts) = run(standby(kind), &[Input::Terminate, child(ChildEvent::Gone)]);
            assert!(acts.contains(&Act::Exit));
            assert_eq!(state.name(), AgentState::Stopped);
        }

        fn a_recorded_pod_ends_once_nodes_have_followed_a_newer_epoch(kind) {
            let ending = ended(one(master(kind), Input::Terminate).0);
            assert_eq!(one(ending.clone(), Input::Record(RecordView::Ours)).1, []);
            let (lingering, acts) = one(ending, Input::Record(RecordView::Newer));
            assert_eq!(acts, [Act::Disarm(Deadline::Record), Act::Arm(Deadline::Linger)]);
            assert_eq!(one(lingering.clone(), passed(Deadline::Linger)).1, [Act::Exit]);
            assert_eq!(one(lingering, passed(Deadline::Exit)).1, [Act::Exit]);
        }

        fn a_recorded_pod_without_a_successor_empties_the_record_and_ends(kind) {
            let ending = ended(one(master(kind), Input::Terminate).0);
            let (state, acts) = one(ending, passed(Deadline::Record));
            assert_eq!(acts, [Act::EmptyRecord]);
            assert_eq!(one(state.clone(), Input::Emptied).1, [Act::Exit]);
            assert_eq!(one(state, passed(Deadline::Exit)).1, [Act::Exit]);
        }

        fn a_pod_that_ends_while_its_promotion_is_under_way_looks_after_the_record_too(kind) {
            let promoted = one(promoting(kind), GREETS).0;
            let ending = ended(one(promoted, Input::Terminate).0);
            assert_eq!(one(ending, passed(Deadline::Record)).1, [Act::EmptyRecord]);
        }

        fn told_to_end_before_the_first_start_it_ends_at_once(kind) {
            assert_eq!(one(fresh(kind), Input::Terminate).1, [Act::Exit]);
        }
    }
}

mod leases {
    use super::*;

    fn raw(mut state: State, inputs: &[Input]) -> (State, Vec<Act>) {
        let mut all = Vec::new();
        for &input in inputs {
            let (next, acts) = step(state, input);
            state = next;
            all.extend(acts);
        }
        (state, all)
    }

    const GONE: Input = child(ChildEvent::Gone);

    #[test]
    fn a_lock_in_a_database_is_prepared_first_of_all_and_started_on_at_once() {
        for kind in [LockKind::Lease, LockKind::Log] {
            let (state, acts) = State::begin(kind);
            assert_eq!(acts, [Act::Prepare]);
            assert_eq!(raw(state.clone(), &[EMPTY[0], OTHER, FREE]).1, []);
            assert!(step(state, READY).1.contains(&Act::Start));
        }
        assert_eq!(State::begin(LockKind::File), (State::default(), vec![Act::Prepare]));
    }

    #[test]
    fn a_refused_preparation_starts_nothing_and_is_tried_again() {
        for kind in [LockKind::Lease, LockKind::Log] {
            let (state, acts) = step(fresh(kind), REFUSED);
            assert_eq!(acts, [Act::Arm(Deadline::Prepare)]);
            // An answer that nobody waits for any longer.
            assert_eq!(step(state.clone(), READY).1, []);
            let (state, acts) = step(state, passed(Deadline::Prepare));
            assert_eq!(acts, [Act::Prepare]);
            assert!(step(state, READY).1.contains(&Act::Start));
        }
    }

    #[test]
    fn a_dead_broker_s_lease_is_released_before_the_next_is_prepared() {
        let (state, acts) = raw(master(LockKind::Lease), &[GONE, Input::Peers(Peers::Alone)]);
        assert!(acts.contains(&Act::Release), "{acts:?}");
        assert!(acts.contains(&Act::Arm(Deadline::Release)), "{acts:?}");
        assert!(!acts.contains(&Act::Prepare), "{acts:?}");
        for over in [Input::Released, passed(Deadline::Release)] {
            let (state, acts) = step(state.clone(), over);
            assert_eq!(acts, [Act::Disarm(Deadline::Release), Act::Prepare]);
            assert!(step(state, READY).1.contains(&Act::Start));
        }
    }

    #[test]
    fn a_lease_that_is_no_longer_proven_costs_any_running_broker_its_life() {
        let lease = LockKind::Lease;
        let stopping = step(master(lease), Input::Terminate).0;
        for before in [started(lease), standby(lease), promoting(lease), master(lease), stopping] {
            let (state, acts) = step(before, passed(Deadline::Proof));
            assert_eq!(kills(&acts), [ExitReason::LeaseUnproven]);
            assert_eq!(kills(&step(state, passed(Deadline::Proof)).1), [], "once");
        }
        let fenced = step(master(lease), passed(Deadline::Proof)).0;
        assert_eq!(fenced.name(), AgentState::Fenced);
        assert_eq!(raw(fenced, &[GONE]).0.name(), AgentState::Fenced);
    }

    #[test]
    fn a_broker_that_tries_for_a_free_lease_is_no_standby() {
        for kind in [LockKind::Lease, LockKind::Log] {
            let tries = Input::Log(LogSign::Waits);
            let state = raw(started(kind), &[FREE, tries]).0;
            assert_eq!(state.name(), AgentState::Starting);
            assert_eq!(step(state.clone(), OTHER).0.name(), AgentState::Standby);
            assert_eq!(step(state, MINE).0.name(), AgentState::Promoting);
        }
        let waits = step(started(LockKind::File), Input::Log(LogSign::Waits)).0;
        assert_eq!(waits.name(), AgentState::Standby);
    }

    #[test]
    fn a_lease_that_runs_out_while_its_broker_stops_is_a_lost_one() {
        let stopping = step(master(LockKind::Lease), Input::Terminate).0;
        assert_eq!(kills(&step(stopping.clone(), FREE).1), [], "given back");
        assert_eq!(kills(&step(stopping, Input::LockChanged).1), [ExitReason::LockLost]);
        let stopping = step(master(LockKind::File), Input::Terminate).0;
        assert_eq!(kills(&step(stopping, Input::LockChanged).1), []);
    }

    #[test]
    fn a_pod_ends_only_when_its_lease_is_released_or_that_takes_too_long() {
        let (state, acts) = raw(standby(LockKind::Lease), &[Input::Terminate, GONE]);
        assert!(acts.contains(&Act::Release) && !acts.contains(&Act::Exit), "{acts:?}");
        for over in [Input::Released, passed(Deadline::Release)] {
            assert!(step(state.clone(), over).1.contains(&Act::Exit));
        }
        let ending = raw(master(LockKind::Lease), &[Input::Terminate, GONE]).0;
        let (ending, acts) = raw(ending, &[passed(Deadline::Record), Input::Emptied]);
        assert!(!acts.contains(&Act::Exit));
        assert!(step(ending, Input::Released).1.contains(&Act::Exit));
    }
}

fn any_lock() -> impl Strategy<Value = LockView> {
    prop_oneof![
        4 => Just(LockView::Mine(Evidence::Kernel)),
        1 => Just(LockView::Mine(Evidence::ClientTable)),
        2 => Just(LockView::Other),
        1 => Just(LockView::Free),
        1 => Just(LockView::Unknown),
    ]
}

fn any_deadline() -> impl Strategy<Value = Deadline> {
    prop_oneof![
        Just(Deadline::LockFile),
        Just(Deadline::Handover),
        (1..=MAX_FAILURES).prop_map(Deadline::Backoff),
        Just(Deadline::Settle),
        Just(Deadline::Take),
        Just(Deadline::Hang),
        Just(Deadline::Health),
        Just(Deadline::StopGrace),
        Just(Deadline::Record),
        Just(Deadline::Linger),
        Just(Deadline::Exit),
        Just(Deadline::Proof),
        Just(Deadline::Prepare),
        Just(Deadline::Release),
        Just(Deadline::Claims),
        Just(Deadline::Doubt),
        Just(Deadline::Yield),
        Just(Deadline::MakeWay),
        Just(Deadline::Reconnect),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    use proptest::sample::select;
    prop_oneof![
        4 => any_lock().prop_map(Input::Lock),
        1 => Just(Input::LockChanged),
        2 => select(vec![FileView::Absent, FileView::Same, FileView::Changed])
            .prop_map(Input::LockFile),
        4 => select(vec![GreetingView::Ok, GreetingView::Refused, GreetingView::Silent])
            .prop_map(Input::Greeting),
        1 => {
            let signs =
                vec![LogSign::Waits, LogSign::Takes, LogSign::LockLost, LogSign::StorageFailed];
            select(signs).prop_map(Input::Log)
        },
        4 => select(vec![
            ChildEvent::Started,
            ChildEvent::Started,
            ChildEvent::NotStarted,
            ChildEvent::Exited,
            ChildEvent::Gone,
        ])
        .prop_map(Input::Child),
        1 => select(vec![Peers::Alone, Peers::Others, Peers::Unknown]).prop_map(Input::Peers),
        2 => select(vec![RecordView::Ours, RecordView::Newer, RecordView::Astray])
            .prop_map(Input::Record),
        2 => select(vec![READY, READY, REFUSED]),
        2 => select(vec![Claims::None, Claims::Some]).prop_map(Input::Claims),
        1 => select(vec![Side::Stays, Side::Yields]).prop_map(Input::Disputed),
        1 => Just(Input::StepDown),
        1 => any::<bool>().prop_map(Input::Hold),
        1 => Just(Input::Released),
        1 => Just(Input::Promoted),
        1 => Just(Input::Emptied),
        4 => any_deadline().prop_map(Input::DeadlinePassed),
    ]
}

/// Random inputs after a beginning that leads somewhere.
fn any_inputs() -> impl Strategy<Value = Vec<Input>> {
    let start = [&EMPTY[..], &[READY, child(ChildEvent::Started)]].concat();
    let waits = [start.clone(), vec![OTHER, Input::Log(LogSign::Waits)]].concat();
    let takes = [waits.clone(), vec![MINE]].concat();
    let greets = [takes.clone(), vec![GREETS]].concat();
    let recorded = [greets.clone(), vec![Input::Promoted]].concat();
    let crashed =
        [recorded.clone(), vec![child(ChildEvent::Exited), child(ChildEvent::Gone)]].concat();
    let fenced = [recorded.clone(), vec![Input::LockChanged, child(ChildEvent::Gone)]].concat();
    let begins = vec![vec![], start, waits, takes, greets, recorded, crashed, fenced];
    let begin = proptest::sample::select(begins);
    (begin, prop::collection::vec(any_input(), 0..40))
        .prop_map(|(begin, rest)| [begin, rest].concat())
}

fn any_kind() -> impl Strategy<Value = LockKind> {
    proptest::sample::select(KINDS.to_vec())
}

/// The state after these inputs, and whatever answers there were among them.
fn after(kind: LockKind, inputs: &[Input]) -> State {
    inputs.iter().fold(fresh(kind), |state, &input| step(state, input).0)
}

/// What an onlooker knows of the broker process, from inputs and acts alone.
#[derive(Default)]
struct Onlooker {
    children: u32,
    running: bool,
    gone: bool,
    mine: bool,
    greeted: bool,
    ever_mine: bool,
}

impl Onlooker {
    fn see(&mut self, input: Input) {
        match input {
            Input::Child(ChildEvent::Started) if self.children == 1 && !self.gone => {
                self.running = true;
            }
            Input::Child(ChildEvent::NotStarted) if !self.running => self.children = 0,
            Input::Child(ChildEvent::Exited) if self.running => self.gone = true,
            Input::Child(ChildEvent::Gone) if self.running => *self = Self::default(),
            Input::Lock(view) if self.running && !self.gone => {
                self.mine = matches!(view, LockView::Mine(_));
                self.ever_mine |= self.mine;
            }
            Input::Greeting(view) if self.running && !self.gone => {
                self.greeted = view == GreetingView::Ok;
            }
            _ => {}
        }
    }
}

/// Whatever came in between: the process ends, and the last deadlines pass.
fn at_its_end(state: State) -> State {
    let rest = [
        child(ChildEvent::Started),
        passed(Deadline::StopGrace),
        passed(Deadline::MakeWay),
        child(ChildEvent::Gone),
        passed(Deadline::Release),
        passed(Deadline::Record),
        passed(Deadline::Exit),
    ];
    rest.into_iter().fold(state, |state, input| step(state, input).0)
}

proptest! {
    #[test]
    fn promotion_needs_child_lock_and_greeting_since_the_child_s_start(kind in any_kind(), inputs in any_inputs()) {
        let (mut state, mut seen) = (fresh(kind), Onlooker::default());
        for input in inputs {
            seen.see(input);
            let (next, acts) = step(state, input);
            if acts.contains(&Act::Promote) {
                prop_assert!(seen.running && !seen.gone && seen.mine && seen.greeted, "{input:?}");
            }
            if acts.contains(&Act::Start) {
                seen = Onlooker { children: seen.children + 1, ..Onlooker::default() };
            }
            state = next;
        }
    }

    #[test]
    fn there_are_never_two_children(kind in any_kind(), inputs in any_inputs()) {
        let (mut state, mut seen) = (fresh(kind), Onlooker::default());
        for input in inputs {
            seen.see(input);
            let (next, acts) = step(state, input);
            for act in acts {
                if act == Act::Start {
                    prop_assert_eq!(seen.children, 0);
                    seen = Onlooker { children: 1, ..Onlooker::default() };
                }
                if matches!(act, Act::Stop | Act::Kill(_)) {
                    prop_assert!(seen.running && !seen.gone);
                }
            }
            state = next;
        }
    }

    #[test]
    fn an_unknown_lock_alone_does_nothing(kind in any_kind(), inputs in any_inputs()) {
        let state = after(kind, &inputs);
        prop_assert_eq!(step(state, Input::Lock(LockView::Unknown)).1, &[]);
    }

    #[test]
    fn a_broker_that_never_held_the_lock_is_killed_only_by_its_log_or_for_leaving_it_free(
        kind in any_kind(),
        inputs in any_inputs(),
    ) {
        let (mut state, mut seen) = (fresh(kind), Onlooker::default());
        // Told to end, or kept down.
        let mut stopped = false;
        for input in inputs {
            seen.see(input);
            let (next, acts) = step(state, input);
            if !kills(&acts).is_empty() && !seen.ever_mine {
                let reason = matches!(
                    input,
                    Input::Log(LogSign::LockLost | LogSign::StorageFailed)
                        | FREE
                        | Input::DeadlinePassed(Deadline::Proof | Deadline::Doubt)
                        | Input::Disputed(_)
                );
                let too_slow = stopped && input == Input::DeadlinePassed(Deadline::StopGrace);
                prop_assert!(reason || too_slow, "{input:?}");
            }
            stopped |= acts.contains(&Act::Stop);
            if acts.contains(&Act::Start) {
                stopped = false;
                seen = Onlooker { children: 1, ..Onlooker::default() };
            }
            state = next;
        }
    }

    #[test]
    fn a_broker_is_killed_as_hung_only_after_two_failed_greetings_and_the_deadline(
        kind in any_kind(),
        inputs in any_inputs(),
    ) {
        let (mut state, mut misses, mut overdue) = (fresh(kind), 0, false);
        for input in inputs {
            match input {
                Input::Greeting(GreetingView::Ok) => (misses, overdue) = (0, false),
                Input::Greeting(_) => misses += 1,
                Input::DeadlinePassed(Deadline::Hang) => overdue = true,
                _ => {}
            }
            let (next, acts) = step(state, input);
            if kills(&acts).contains(&ExitReason::BrokerHung) && input != FREE {
                prop_assert!(misses >= 2 && overdue);
            }
            state = next;
        }
    }

    #[test]
    fn a_broker_whose_storage_failed_is_killed_at_once(
        kind in any_kind(),
        inputs in any_inputs(),
    ) {
        let state = after(kind, &inputs);
        if state.may_write() {
            let acts = step(state, Input::Log(LogSign::StorageFailed)).1;
            prop_assert_eq!(kills(&acts), [ExitReason::StorageFailed]);
            prop_assert!(!acts.contains(&Act::Stop));
        }
    }

    #[test]
    fn a_master_that_sees_its_lock_lost_kills_at_once(kind in any_kind(), inputs in any_inputs()) {
        let state = after(kind, &inputs);
        if matches!(state.name(), AgentState::Master | AgentState::Promoting) {
            for input in [OTHER, FREE, Input::LockChanged, Input::Log(LogSign::LockLost)] {
                let acts = step(state.clone(), input).1;
                prop_assert_eq!(kills(&acts), [ExitReason::LockLost]);
                prop_assert!(!acts.contains(&Act::Stop));
            }
        }
    }

    #[test]
    fn told_to_end_it_always_ends(
        kind in any_kind(),
        before in any_inputs(),
        rest in any_inputs(),
    ) {
        let mut state = step(after(kind, &before), Input::Terminate).0;
        for input in rest {
            let (next, acts) = step(state, input);
            prop_assert!(!acts.contains(&Act::Start));
            state = next;
        }
        let end = at_its_end(state);
        prop_assert_eq!(end.name(), AgentState::Stopped);
        prop_assert_eq!(end.child(), Child::Absent);
    }

    #[test]
    fn an_ended_agent_does_nothing(kind in any_kind(), inputs in any_inputs()) {
        let ended = step(fresh(kind), Input::Terminate).0;
        let mut state = ended;
        for input in inputs {
            let (next, acts) = step(state, input);
            prop_assert_eq!(acts, []);
            state = next;
        }
    }

    #[test]
    fn the_record_is_emptied_only_by_an_agent_that_ends_without_a_child(kind in any_kind(), inputs in any_inputs()) {
        let mut state = fresh(kind);
        for input in inputs.into_iter().chain([Input::Terminate, passed(Deadline::Record)]) {
            let (next, acts) = step(state, input);
            if acts.contains(&Act::EmptyRecord) {
                prop_assert_eq!(next.name(), AgentState::Stopped);
                prop_assert_eq!(next.child(), Child::Absent);
            }
            state = next;
        }
    }

    #[test]
    fn no_broker_starts_right_after_its_lock_file_vanished(inputs in any_inputs()) {
        let mut state = fresh(LockKind::File);
        let (mut vanished, mut passed) = (false, false);
        for input in inputs {
            match input {
                Input::LockFile(FileView::Absent) if state.child() == Child::Absent => {
                    (vanished, passed) = (true, false);
                }
                Input::DeadlinePassed(Deadline::LockFile) => passed = true,
                Input::LockFile(FileView::Same) if passed => vanished = false,
                _ => {}
            }
            let (next, acts) = step(state, input);
            prop_assert!(!vanished || !acts.contains(&Act::Start), "{input:?}");
            state = next;
        }
    }

    #[test]
    fn a_waiting_agent_starts_again_once_all_deadlines_pass(kind in any_kind(), inputs in any_inputs()) {
        let state = step(after(kind, &inputs), Input::Hold(false)).0;
        if state.child() == Child::Absent {
            let same = Input::LockFile(FileView::Same);
            let rest = [
                same,
                passed(Deadline::LockFile),
                same,
                passed(Deadline::Handover),
                passed(Deadline::Yield),
                passed(Deadline::Backoff(1)),
                passed(Deadline::Release),
                passed(Deadline::Claims),
                Input::Claims(Claims::None),
                passed(Deadline::Prepare),
                READY,
            ];
            let starts = |state: &mut State, input| {
                let (next, acts) = step(state.clone(), input);
                *state = next;
                acts.contains(&Act::Start)
            };
            let mut state = state;
            prop_assert!(rest.into_iter().any(|input| starts(&mut state, input)));
        }
    }

    #[test]
    fn a_start_on_a_database_is_prepared_and_follows_the_release_or_its_deadline(
        kind in proptest::sample::select(vec![LockKind::Lease, LockKind::Log]),
        inputs in any_inputs(),
    ) {
        let (mut state, mut asked, mut ready, mut releasing) = (fresh(kind), true, false, false);
        for input in inputs {
            match input {
                Input::Prepared(view) if asked => {
                    (asked, ready) = (false, view == PreparationView::Ready);
                }
                Input::Released | Input::DeadlinePassed(Deadline::Release) => releasing = false,
                _ => {}
            }
            let before = state.child();
            let (next, acts) = step(state, input);
            if acts.contains(&Act::Release) {
                prop_assert_eq!(input, child(ChildEvent::Gone));
                prop_assert!(matches!(before, Child::Running | Child::Ended));
                releasing = true;
            }
            if acts.contains(&Act::Prepare) {
                prop_assert!(!releasing && next.child() == Child::Absent);
                asked = true;
            }
            if acts.contains(&Act::Start) {
                prop_assert!(ready && !releasing && before == Child::Absent, "{input:?}");
                ready = false;
            }
            state = next;
        }
    }

    #[test]
    fn a_running_broker_whose_lock_can_be_proven_has_a_deadline_that_only_answered_looks_move(
        kind in proptest::sample::select(vec![LockKind::File, LockKind::Lease]),
        inputs in any_inputs(),
    ) {
        let (mut state, mut armed) = (fresh(kind), false);
        for input in inputs {
            let (next, acts) = step(state, input);
            for act in &acts {
                match act {
                    Act::Arm(Deadline::Proof) => {
                        let answered =
                            matches!(input, Input::Lock(view) if view != LockView::Unknown);
                        prop_assert!(answered || input == child(ChildEvent::Started), "{input:?}");
                        armed = true;
                    }
                    Act::Disarm(Deadline::Proof) => armed = false,
                    _ => {}
                }
            }
            prop_assert_eq!(armed, next.may_write(), "{:?}", input);
            if next.may_write() {
                let (dying, acts) = step(next.clone(), passed(Deadline::Proof));
                prop_assert_eq!(kills(&acts), [unproven(kind).unwrap()]);
                prop_assert_eq!(dying.name(), AgentState::Fenced);
            }
            state = next;
        }
    }

    #[test]
    fn each_kind_of_lock_keeps_to_its_own_acts(kind in any_kind(), inputs in any_inputs()) {
        let mut state = fresh(kind);
        for input in inputs {
            let (next, acts) = step(state, input);
            for act in acts {
                let lease = matches!(act, Act::Release | Act::Arm(Deadline::Release));
                let others_doubt = matches!(
                    act,
                    Act::Kill(reason @ (ExitReason::LeaseUnproven | ExitReason::StorageUnproven))
                        if Some(reason) != unproven(kind)
                );
                let fits = !others_doubt && match kind {
                    LockKind::File => !is_of_leases(act),
                    LockKind::Lease => act != Act::Arm(Deadline::LockFile),
                    LockKind::Log => {
                        !lease && !is_of_proofs(act) && act != Act::Arm(Deadline::LockFile)
                    }
                };
                prop_assert!(fits, "{act:?} on {input:?}");
            }
            state = next;
        }
    }
}

#[path = "hold_tests.rs"]
mod hold;
#[path = "split_brain_tests.rs"]
mod split_brain;
#[path = "switchover_tests.rs"]
mod switchover;
