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

    fn a_master_whose_pod_ends_asks_whether_somebody_waits_and_then_has_little_time(kind) {
        let (stopping, acts) = one(master(kind), Input::Terminate);
        assert!(acts.contains(&Act::AskStandbys) && !acts.contains(&Act::Arm(Deadline::MakeWay)));
        let (state, acts) = one(stopping, Input::StepDown);
        assert_eq!(acts, [Act::Arm(Deadline::MakeWay)]);
        assert_eq!(kills(&one(state, passed(Deadline::MakeWay)).1), [ExitReason::PodStopped]);
        for before in [started(kind), standby(kind)] {
            let (state, acts) = one(before, Input::Terminate);
            assert!(!acts.contains(&Act::AskStandbys));
            assert_eq!(one(state, Input::StepDown).1, []);
        }
    }

    fn a_broker_that_lets_go_of_the_lock_while_it_stops_is_not_killed_but_a_thief_s_victim_is(kind) {
        let stopping = one(master(kind), Input::Terminate).0;
        assert_eq!(kills(&one(stopping.clone(), FREE).1), []);
        // Its successor, or a thief: either way it must not write any more.
        assert_eq!(kills(&one(stopping, OTHER).1), [ExitReason::PodStopped]);
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
