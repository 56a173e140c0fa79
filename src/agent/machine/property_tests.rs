//! What holds after any inputs.

use super::*;

/// What an onlooker knows of the broker process, from inputs and acts alone.
#[derive(Default)]
struct Onlooker {
    children: u32,
    running: bool,
    gone: bool,
    mine: bool,
    greeted: bool,
    ever_greeted: bool,
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
            // Nothing was asked then, so what was known before still holds.
            Input::Greeting(GreetingView::Unknown) => {}
            Input::Greeting(view) if self.running && !self.gone => {
                self.greeted = view == GreetingView::Ok;
                self.ever_greeted |= self.greeted;
            }
            _ => {}
        }
    }
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
    fn a_broker_that_never_held_the_lock_is_killed_only_by_its_log_for_serving_or_for_leaving_it_free(
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
                        | Input::Hung
                        | Input::DeadlinePassed(Deadline::Proof | Deadline::Doubt)
                        | Input::Disputed(_)
                );
                let serves = input == OTHER && seen.ever_greeted && kind != LockKind::Log;
                let too_slow = stopped && input == Input::DeadlinePassed(Deadline::StopGrace);
                prop_assert!(reason || serves || too_slow, "{input:?}");
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
    fn a_broker_that_greets_without_its_lock_is_killed_by_the_second_answered_look(
        kind in proptest::sample::select(vec![LockKind::File, LockKind::Lease]),
        inputs in any_inputs(),
        looks in prop::collection::vec(proptest::sample::select(vec![UNKNOWN, GREETS]), 0..5),
    ) {
        let state = after(kind, &inputs);
        let waits = matches!(state.name(), AgentState::Starting | AgentState::Standby);
        if waits && !state.keeps_down() && state.child() == Child::Running && state.early == Early::No {
            let mut state = step(state, GREETS).0;
            for inputs in [&looks[..], &[OTHER], &looks] {
                for input in inputs {
                    let (next, acts) = step(state, *input);
                    prop_assert_eq!(kills(&acts), []);
                    state = next;
                }
            }
            // What a look shows that was begun after the greeting.
            let (master, acts) = step(state.clone(), MINE);
            prop_assert_eq!(kills(&acts), []);
            prop_assert_eq!(master.name(), AgentState::Promoting);
            let acts = step(state, OTHER).1;
            prop_assert_eq!(kills(&acts), [ExitReason::LockLost]);
            prop_assert!(!acts.contains(&Act::Stop));
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
            if kills(&acts).contains(&ExitReason::BrokerHung) && !matches!(input, FREE | Input::Hung) {
                prop_assert!(misses >= 2 && overdue);
            }
            state = next;
        }
    }

    #[test]
    fn no_sign_of_life_kills_nobody_who_serves_or_whose_lock_cannot_be_seen(
        kind in any_kind(),
        inputs in any_inputs(),
    ) {
        let state = after(kind, &inputs);
        let acts = step(state.clone(), Input::Hung).1;
        let blind = state.name() == AgentState::Standby && state.lock() == LockView::Unknown;
        let hangs = matches!(
            state.name(),
            AgentState::Starting | AgentState::Standby | AgentState::Promoting
        );
        let killed = hangs && !blind && state.running();
        prop_assert_eq!(kills(&acts), if killed { vec![ExitReason::BrokerHung] } else { vec![] });
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
