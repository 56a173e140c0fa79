use super::*;

/// A master that made way for another one, and is gone.
fn yielded(kind: LockKind) -> (State, Vec<Act>) {
    let (state, mut acts) = one(master(kind), Input::StepDown);
    let (state, rest) = run(state, &[child(ChildEvent::Exited), child(ChildEvent::Gone)]);
    acts.extend(rest);
    (state, acts)
}

for_each_kind! {
    fn a_recorded_master_makes_way_politely_and_without_a_pause_for_its_end(kind) {
        let (state, acts) = yielded(kind);
        assert!(acts.contains(&Act::Stop) && acts.contains(&Act::Arm(Deadline::MakeWay)));
        assert!(acts.contains(&Act::Arm(Deadline::Yield)) && acts.contains(&Act::AskPeers));
        assert!(!acts.iter().any(|act| matches!(act, Act::Arm(Deadline::Backoff(_)) | Act::Kill(_))));
        assert!(!acts.contains(&Act::Start));
        assert_eq!(state.name(), AgentState::SteppingDown);
    }

    fn it_starts_again_when_nobody_wants_the_lock(kind) {
        for input in [passed(Deadline::Yield), Input::Peers(Peers::Alone)] {
            let (state, acts) = run(yielded(kind).0, &[FREE, input]);
            assert!(acts.contains(&Act::Start), "{input:?}");
            assert!(acts.contains(&Act::Disarm(Deadline::Yield)), "{input:?}");
            assert_eq!(state.name(), AgentState::Starting);
        }
        let others = Input::Peers(Peers::Others);
        let waits = run(yielded(kind).0, &[FREE, others, OTHER, Input::Record(RecordView::Ours)]);
        assert!(!waits.1.contains(&Act::Start));
    }

    fn nobody_else_steps_down(kind) {
        let unrecorded = one(promoting(kind), GREETS).0;
        let ending = one(standby(kind), Input::Terminate).0;
        let blind = one(master(kind), Input::Lock(LockView::Unknown)).0;
        let gone = yielded(kind).0;
        for state in
            [fresh(kind), started(kind), standby(kind), promoting(kind), unrecorded, ending, blind, gone]
        {
            assert_eq!(one(state.clone(), Input::StepDown), (state, Vec::new()));
        }
    }

    fn one_that_outlasts_its_grace_or_sees_its_successor_is_killed_for_that(kind) {
        let stopping = one(master(kind), Input::StepDown).0;
        assert_eq!(kills(&one(stopping.clone(), FREE).1), []);
        for input in [OTHER, passed(Deadline::MakeWay)] {
            let (state, acts) = one(stopping.clone(), input);
            assert_eq!(kills(&acts), [ExitReason::SwitchedOver]);
            let (state, acts) = run(state, &[child(ChildEvent::Gone)]);
            assert!(acts.contains(&Act::Arm(Deadline::Yield)));
            assert_eq!(state.name(), AgentState::SteppingDown);
        }
    }

    fn a_pod_told_to_end_meanwhile_ends(kind) {
        let (stopping, acts) = run(master(kind), &[Input::StepDown, Input::Terminate]);
        assert_eq!(acts.iter().filter(|act| **act == Act::Stop).count(), 2);
        let (state, acts) = run(stopping, &[child(ChildEvent::Exited), child(ChildEvent::Gone)]);
        assert!(!acts.contains(&Act::Start) && !acts.contains(&Act::Arm(Deadline::Yield)));
        assert_eq!(state.name(), AgentState::Stopped);
        assert!(run(yielded(kind).0, &[Input::Terminate]).1.contains(&Act::Arm(Deadline::Exit)));
    }
}

proptest! {
    #[test]
    fn a_broker_is_stopped_politely_only_when_it_is_asked_for(kind in any_kind(), inputs in any_inputs()) {
        let mut state = fresh(kind);
        let mut ends = false;
        for input in inputs {
            ends |= input == Input::Terminate;
            let (next, acts) = step(state, input);
            let asked = ends || input == Input::StepDown || next.keeps_down();
            prop_assert!(!acts.contains(&Act::Stop) || asked);
            state = next;
        }
    }
}
