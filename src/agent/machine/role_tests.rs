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
