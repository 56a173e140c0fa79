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
