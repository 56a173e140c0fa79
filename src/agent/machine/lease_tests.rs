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
