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
