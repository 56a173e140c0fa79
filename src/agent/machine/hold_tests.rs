use super::*;

const HOLD: Input = Input::Hold(true);
const LET_GO: Input = Input::Hold(false);
const BLIND: Input = Input::Lock(LockView::Unknown);

/// A standby that was stopped to be kept down, and is gone.
fn held(kind: LockKind) -> (State, Vec<Act>) {
    let (state, mut acts) = one(standby(kind), HOLD);
    let (state, rest) = run(state, &[child(ChildEvent::Exited), child(ChildEvent::Gone)]);
    acts.extend(rest);
    (state, acts)
}

/// All that any start waits for, one after the other.
const SETTLED: [Input; 10] = [
    Input::LockFile(FileView::Same),
    Input::DeadlinePassed(Deadline::LockFile),
    Input::LockFile(FileView::Same),
    Input::DeadlinePassed(Deadline::Handover),
    Input::DeadlinePassed(Deadline::Yield),
    Input::DeadlinePassed(Deadline::Backoff(1)),
    Input::DeadlinePassed(Deadline::Release),
    Input::DeadlinePassed(Deadline::Claims),
    Input::Claims(Claims::None),
    Input::DeadlinePassed(Deadline::Prepare),
];

for_each_kind! {
    fn a_standby_is_stopped_politely_and_stays_down(kind) {
        let (state, acts) = held(kind);
        assert!(acts.contains(&Act::Stop) && acts.contains(&Act::Arm(Deadline::StopGrace)));
        assert!(!acts.iter().any(|act| matches!(act, Act::Arm(Deadline::Backoff(_)) | Act::Kill(_))));
        assert_eq!(state.name(), AgentState::Held);
        let rest = [&[OTHER, Input::Peers(Peers::Alone), FREE][..], &SETTLED[..], &[READY]].concat();
        let (state, acts) = run(state, &rest);
        assert!(!acts.contains(&Act::Start), "{acts:?}");
        assert_eq!(state.name(), AgentState::Held);
    }

    fn it_starts_again_as_for_the_first_time(kind) {
        let waits = run(held(kind).0, &[OTHER]).0;
        let (state, acts) = run(waits, &[LET_GO]);
        assert_eq!(acts.contains(&Act::Start), kind != LockKind::File, "{acts:?}");
        if kind == LockKind::File {
            assert_eq!(state.name(), AgentState::Preflight);
            assert!(run(state, &SETTLED[..3]).1.contains(&Act::Start));
        }
    }

    fn a_broker_that_starts_is_stopped_once_another_one_is_seen_to_hold_the_lock(kind) {
        let (state, acts) = run(started(kind), &[HOLD, BLIND, FREE]);
        assert_eq!(acts, []);
        assert_eq!(state.name(), AgentState::Starting);
        assert!(one(state, OTHER).1.contains(&Act::Stop));
    }

    fn one_that_has_the_lock_or_may_get_it_goes_on(kind) {
        let blind = run(standby(kind), &[BLIND]).0;
        let free = run(standby(kind), &[FREE]).0;
        for state in [started(kind), blind, free, promoting(kind), master(kind)] {
            let (held, acts) = one(state.clone(), HOLD);
            assert_eq!((acts, held.name()), (vec![], state.name()));
        }
        // It takes the lock before it is seen that another one has it: it is the master now.
        let (state, acts) = run(standby(kind), &[FREE, HOLD, MINE, GREETS, Input::Promoted, MINE]);
        assert!(!acts.contains(&Act::Stop));
        assert_eq!(state.name(), AgentState::Master);
    }

    fn a_master_makes_way_first_and_is_kept_down_then(kind) {
        let (state, acts) = run(master(kind), &[HOLD, Input::StepDown, child(ChildEvent::Gone)]);
        assert_eq!(kills(&acts), []);
        assert_eq!(state.name(), AgentState::Held);
        let rest = TAKEN_OVER;
        let (state, acts) = run(state, &rest);
        assert!(!acts.contains(&Act::Start));
        let (_, acts) = run(state, &[&[LET_GO][..], &SETTLED[..3]].concat());
        assert!(acts.contains(&Act::Start));
    }

    fn before_its_first_start_it_starts_none(kind) {
        let (state, acts) = run(fresh(kind), &[&[HOLD, READY][..], &EMPTY[..]].concat());
        assert!(!acts.contains(&Act::Start));
        assert_eq!(state.name(), AgentState::Held);
        let (_, acts) = run(state, &[&[LET_GO][..], &SETTLED[..3]].concat());
        assert!(acts.contains(&Act::Start));
    }

    fn what_was_found_out_before_it_was_held_is_found_out_again(kind) {
        let held = run(fresh(kind), &[HOLD, READY]).0;
        let (state, acts) = step(held, LET_GO);
        if kind == LockKind::File {
            assert_eq!(acts, []);
            assert!(run(state, &[SAME]).1.contains(&Act::Arm(Deadline::LockFile)));
        } else {
            assert_eq!(acts, [Act::Prepare]);
            assert!(!step(state, OTHER).1.contains(&Act::Start));
        }
    }

    fn one_that_outlasts_its_grace_is_killed_for_that(kind) {
        let (state, acts) = run(standby(kind), &[HOLD, passed(Deadline::StopGrace)]);
        assert_eq!(kills(&acts), [ExitReason::KeptDown]);
        assert_eq!(state.name(), AgentState::SteppingDown);
        assert_eq!(ended(state).name(), AgentState::Held);
    }

    fn a_pod_that_is_held_ends_when_it_is_told_to(kind) {
        assert!(one(held(kind).0, Input::Terminate).1.contains(&Act::Exit));
        let (_, acts) = run(standby(kind), &[HOLD, Input::Terminate, child(ChildEvent::Gone)]);
        assert!(acts.contains(&Act::Exit));
        assert_eq!(one(fresh(kind), HOLD).0.name(), AgentState::Held);
        assert_eq!(run(fresh(kind), &[HOLD, Input::Terminate]).1, [Act::Exit]);
    }
}

#[test]
fn after_a_lost_lock_others_are_asked_when_it_may_run_again() {
    for kind in [LockKind::File, LockKind::Lease] {
        let lost = ended(run(master(kind), &[HOLD, Input::LockChanged]).0);
        // Another holder was seen, long ago.
        let waits = run(lost, &[&[OTHER][..], &SETTLED[..]].concat()).0;
        let mut state = waits;
        let mut all = Vec::new();
        for input in [&[LET_GO, Input::Released][..], &SETTLED[..3]].concat() {
            let (next, acts) = step(state, input);
            state = next;
            all.extend(acts);
        }
        assert!(all.contains(&Act::AskClaims) && !all.contains(&Act::Start), "{kind:?} {all:?}");
    }
}

proptest! {
    #[test]
    fn a_broker_that_has_the_lock_or_may_have_it_is_never_stopped_to_be_kept_down(
        kind in any_kind(),
        inputs in any_inputs(),
    ) {
        let (mut state, mut last) = (fresh(kind), None);
        for input in inputs {
            if let Input::Lock(view) = input {
                last = Some(view);
            }
            let asked = matches!(input, Input::Terminate | Input::StepDown);
            let (next, acts) = step(state, input);
            if acts.contains(&Act::Stop) && !asked {
                prop_assert_eq!(last, Some(LockView::Other), "{:?}", input);
                prop_assert!(next.keeps_down());
            }
            if matches!(input, Input::Hold(_)) {
                prop_assert_eq!(kills(&acts), []);
            }
            if acts.contains(&Act::Start) {
                last = None;
            }
            state = next;
        }
        if matches!(state.name(), AgentState::Promoting | AgentState::Master) {
            let (next, acts) = step(state.clone(), HOLD);
            prop_assert_eq!(acts, []);
            prop_assert_eq!(next.name(), state.name());
        }
    }

    #[test]
    fn nothing_is_started_or_prepared_while_it_is_held(kind in any_kind(), inputs in any_inputs()) {
        let mut state = fresh(kind);
        for input in inputs {
            let (next, acts) = step(state, input);
            let starts = acts.iter().any(|act| matches!(act, Act::Start | Act::Prepare | Act::AskClaims));
            prop_assert!(!next.keeps_down() || !starts, "{input:?}");
            state = next;
        }
    }

    #[test]
    fn once_let_go_it_starts_when_all_else_is_settled(kind in any_kind(), inputs in any_inputs()) {
        let state = step(after(kind, &inputs), HOLD).0;
        if state.child() == Child::Absent {
            prop_assert_eq!(state.name(), AgentState::Held);
            let rest = [&[LET_GO][..], &SETTLED[..], &[READY]].concat();
            let mut state = state;
            let mut starts = false;
            for input in rest {
                let (next, acts) = step(state, input);
                state = next;
                starts |= acts.contains(&Act::Start);
            }
            prop_assert!(starts, "{state:?}");
        }
    }

    #[test]
    fn told_to_end_while_it_is_held_it_ends(kind in any_kind(), inputs in any_inputs()) {
        let state = run(after(kind, &inputs), &[HOLD, Input::Terminate]).0;
        let end = at_its_end(state);
        prop_assert_eq!(end.name(), AgentState::Stopped);
    }
}
