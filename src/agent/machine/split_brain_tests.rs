use super::*;

const YIELDS: Input = Input::Disputed(Side::Yields);
const STAYS: Input = Input::Disputed(Side::Stays);
const ASKED: [Input; 5] = [
    Input::LockFile(FileView::Absent),
    Input::DeadlinePassed(Deadline::LockFile),
    Input::LockFile(FileView::Same),
    passed_handover(),
    Input::Lock(LockView::Free),
];

const fn passed_handover() -> Input {
    Input::DeadlinePassed(Deadline::Handover)
}

/// All acts, with nothing answered by itself.
fn raw(state: State, inputs: &[Input]) -> (State, Vec<Act>) {
    inputs.iter().fold((state, Vec::new()), |(state, mut all), &input| {
        let (next, acts) = step(state, input);
        all.extend(acts);
        (next, all)
    })
}

/// A broker that was killed as the one to yield, when nothing but other pods keeps the next one down.
fn yielded(kind: LockKind) -> (State, Vec<Act>) {
    let dead = raw(master(kind), &[YIELDS, child(ChildEvent::Gone)]).0;
    raw(raw(dead, &[Input::Released]).0, &ASKED)
}

for_each_kind! {
    fn the_one_to_yield_is_killed_at_once(kind) {
        for state in [started(kind), standby(kind), promoting(kind), master(kind)] {
            let (state, acts) = one(state, YIELDS);
            assert_eq!(kills(&acts), [ExitReason::SplitBrain]);
            assert_eq!(state.name(), AgentState::Fenced);
        }
    }

    fn the_one_that_stays_must_see_its_lock_again(kind) {
        let (state, acts) = one(master(kind), STAYS);
        assert_eq!(acts, [Act::Arm(Deadline::Doubt)]);
        assert_eq!(state.lock(), LockView::Unknown);
        let (proven, acts) = run(state.clone(), &[MINE, passed(Deadline::Doubt)]);
        assert_eq!((kills(&acts), proven.name()), (vec![], AgentState::Master));
        let (_, acts) = run(state, &[Input::Lock(LockView::Unknown), passed(Deadline::Doubt)]);
        assert_eq!(kills(&acts), [ExitReason::SplitBrain]);
    }

    fn while_its_lock_is_doubted_it_is_not_promoted(kind) {
        let (state, acts) = run(master(kind), &[STAYS, Input::Record(RecordView::Astray)]);
        assert_eq!(acts, [Act::Arm(Deadline::Doubt)]);
        assert_eq!(one(state, MINE).1, [Act::Promote]);
    }

    fn the_next_broker_is_kept_down_until_no_other_holds_the_lock(kind) {
        let (state, acts) = yielded(kind);
        assert!(acts.contains(&Act::AskClaims) && !acts.contains(&Act::Start), "{acts:?}");
        let (state, acts) = raw(state, &[Input::Claims(Claims::Some), FREE, READY]);
        assert_eq!(acts, [Act::Arm(Deadline::Claims)]);
        let (state, acts) = raw(state, &[passed(Deadline::Claims)]);
        assert_eq!(acts, [Act::AskClaims]);
        assert!(raw(state, &[Input::Claims(Claims::None), READY]).1.contains(&Act::Start));
    }

    fn a_holder_that_this_node_sees_is_no_reason_to_stay_down(kind) {
        let (state, _) = raw(yielded(kind).0, &[Input::Claims(Claims::Some)]);
        assert!(raw(state, &[OTHER, READY]).1.contains(&Act::Start));
    }

    fn after_a_crash_nobody_is_asked(kind) {
        let (_, acts) = raw(ended(master(kind)), &ASKED);
        assert!(!acts.contains(&Act::AskClaims));
    }
}

#[test]
fn a_lost_lock_that_this_node_sees_free_is_asked_for_where_agents_can_see_it() {
    for kind in KINDS {
        let lost = raw(master(kind), &[Input::Log(LogSign::LockLost), child(ChildEvent::Gone)]).0;
        let (_, acts) = raw(raw(lost, &[Input::Released]).0, &ASKED);
        assert_eq!(acts.contains(&Act::AskClaims), kind != LockKind::Log, "{kind:?}");
    }
}

proptest! {
    #[test]
    fn only_a_dispute_kills_for_it(kind in any_kind(), inputs in any_inputs()) {
        let (mut state, mut doubted) = (fresh(kind), false);
        for input in inputs {
            let (next, acts) = step(state, input);
            if kills(&acts).contains(&ExitReason::SplitBrain) {
                let late = input == passed(Deadline::Doubt) && doubted;
                prop_assert!(input == YIELDS || late, "{input:?}");
            }
            match input {
                STAYS => doubted = true,
                Input::Lock(LockView::Mine(_)) => doubted = false,
                _ => {}
            }
            if acts.contains(&Act::Start) {
                doubted = false;
            }
            state = next;
        }
    }

    #[test]
    fn whoever_is_to_yield_has_no_broker_that_may_write(kind in any_kind(), inputs in any_inputs()) {
        prop_assert!(!step(after(kind, &inputs), YIELDS).0.may_write());
    }

    #[test]
    fn after_a_split_brain_none_is_started_while_another_claims(kind in any_kind(), inputs in any_inputs()) {
        let mut state = yielded(kind).0;
        for input in inputs {
            if matches!(input, Input::Claims(Claims::None) | OTHER) {
                continue;
            }
            let (next, acts) = step(state, input);
            prop_assert!(!acts.contains(&Act::Start), "{input:?}");
            state = next;
        }
    }
}
