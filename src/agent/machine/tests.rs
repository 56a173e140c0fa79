#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::struct_excessive_bools,
    reason = "an onlooker knows yes and no, and looks at few of the inputs"
)]

use super::*;
use crate::broker::report::{AgentState, Evidence};
use proptest::prelude::*;

const MINE: Input = Input::Lock(LockView::Mine(Evidence::Kernel));
const OTHER: Input = Input::Lock(LockView::Other);
const FREE: Input = Input::Lock(LockView::Free);
const GREETS: Input = Input::Greeting(GreetingView::Ok);
const SILENT: Input = Input::Greeting(GreetingView::Silent);

fn run(mut state: State, inputs: &[Input]) -> (State, Vec<Act>) {
    let mut all = Vec::new();
    for &input in inputs {
        let (next, acts) = step(state, input);
        state = next;
        all.extend(acts);
    }
    (state, all)
}

fn child(event: ChildEvent) -> Input {
    Input::Child(event)
}

fn passed(deadline: Deadline) -> Input {
    Input::DeadlinePassed(deadline)
}

/// A broker that was started on an empty store.
fn started() -> State {
    run(State::default(), &[Input::LockFile(FileView::Absent), child(ChildEvent::Started)]).0
}

fn standby() -> State {
    run(started(), &[OTHER, Input::Log(LogSign::Waits)]).0
}

fn promoting() -> State {
    run(started(), &[MINE]).0
}

fn master() -> State {
    run(promoting(), &[GREETS, Input::Promoted]).0
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

    #[test]
    fn without_a_lock_file_the_broker_starts_at_once() {
        let (state, acts) = step(State::default(), Input::LockFile(FileView::Absent));
        assert!(acts.contains(&Act::Start));
        assert_eq!(state.name(), AgentState::Starting);
    }

    #[test]
    fn a_lock_file_must_be_stable_for_two_keep_alive_periods_and_seen_once_more() {
        let same = Input::LockFile(FileView::Same);
        let first = [Input::LockFile(FileView::Changed), same, passed(Deadline::LockFile)];
        let (state, acts) = run(State::default(), &first);
        assert_eq!(acts, [Act::Arm(Deadline::LockFile)]);
        assert!(step(state, same).1.contains(&Act::Start));
    }

    #[test]
    fn a_lock_file_that_changes_meanwhile_starts_the_wait_again() {
        let changed = Input::LockFile(FileView::Changed);
        let inputs = [changed, changed, passed(Deadline::LockFile), changed];
        let (state, acts) = run(State::default(), &inputs);
        assert_eq!(acts, [Act::Arm(Deadline::LockFile); 3]);
        assert_eq!(state.name(), AgentState::Preflight);
    }

    #[test]
    fn alone_a_crashed_broker_restarts_at_once() {
        let (_, acts) = step(ended(master()), Input::Peers(Peers::Alone));
        assert!(acts.contains(&Act::Start));
    }

    #[test]
    fn with_peers_a_crashed_broker_restarts_after_another_holder_is_seen() {
        for peers in [Peers::Others, Peers::Unknown] {
            let (state, acts) = run(ended(master()), &[Input::Peers(peers), FREE]);
            assert!(!acts.contains(&Act::Start), "{peers:?}");
            assert!(step(state, OTHER).1.contains(&Act::Start), "{peers:?}");
        }
    }

    #[test]
    fn with_peers_that_do_not_take_over_it_restarts_after_a_while() {
        let state = run(ended(master()), &[Input::Peers(Peers::Others)]).0;
        assert!(step(state, passed(Deadline::Handover)).1.contains(&Act::Start));
    }

    #[test]
    fn the_second_end_in_a_row_is_followed_by_a_pause() {
        let once = run(ended(started()), &[OTHER, child(ChildEvent::Started)]).0;
        let (twice, acts) = run(once, &[child(ChildEvent::Exited), child(ChildEvent::Gone), OTHER]);
        assert!(acts.contains(&Act::Arm(Deadline::Backoff(1))), "{acts:?}");
        assert!(!acts.contains(&Act::Start));
        assert!(step(twice, passed(Deadline::Backoff(1))).1.contains(&Act::Start));
    }

    #[test]
    fn ten_healthy_minutes_make_an_end_the_first_again() {
        let again = run(ended(master()), &[OTHER, child(ChildEvent::Started)]).0;
        let healthy = run(again, &[OTHER, Input::Log(LogSign::Waits), passed(Deadline::Health)]).0;
        let (_, acts) = run(healthy, &[child(ChildEvent::Gone), OTHER]);
        assert!(acts.contains(&Act::Start));
    }

    #[test]
    fn a_program_that_cannot_start_is_not_tried_again_at_once() {
        let state = step(State::default(), Input::LockFile(FileView::Absent)).0;
        let (_, acts) = run(state, &[child(ChildEvent::NotStarted), Input::Peers(Peers::Alone)]);
        assert!(acts.contains(&Act::Arm(Deadline::Backoff(1))));
        assert!(!acts.contains(&Act::Start));
    }

    #[test]
    fn a_process_that_is_not_reaped_with_all_descendants_keeps_the_next_down() {
        let (state, acts) = run(
            master(),
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

    #[test]
    fn after_a_lost_lock_the_lock_file_must_be_stable_again() {
        let fenced = ended(step(master(), Input::LockChanged).0);
        let (state, acts) = run(fenced, &[OTHER, passed(Deadline::Handover)]);
        assert!(!acts.contains(&Act::Start));
        assert_eq!(state.name(), AgentState::Fenced);
        let same = Input::LockFile(FileView::Same);
        let stable = [same, passed(Deadline::LockFile), same];
        assert!(run(state, &stable).1.contains(&Act::Start));
    }
}

mod roles {
    use super::*;

    #[test]
    fn a_broker_that_logs_that_it_waits_is_a_standby() {
        assert_eq!(standby().name(), AgentState::Standby);
    }

    #[test]
    fn a_silent_log_makes_a_standby_only_after_a_while() {
        let state = run(started(), &[OTHER]).0;
        assert_eq!(state.name(), AgentState::Starting);
        assert_eq!(step(state, passed(Deadline::Settle)).0.name(), AgentState::Standby);
    }

    #[test]
    fn a_broker_that_holds_the_lock_and_does_not_greet_is_promoting_however_long_it_takes() {
        let slow = [passed(Deadline::Hang), passed(Deadline::Settle), SILENT, SILENT, SILENT];
        let (state, acts) = run(promoting(), &slow);
        assert_eq!(state.name(), AgentState::Promoting);
        assert_eq!(kills(&acts), []);
    }

    #[test]
    fn a_broker_that_holds_the_lock_and_greets_is_promoted() {
        let (state, acts) = step(promoting(), GREETS);
        assert_eq!(state.name(), AgentState::Master);
        assert!(acts.contains(&Act::Promote));
    }

    #[test]
    fn a_greeting_without_the_lock_promotes_nobody() {
        for before in [started(), standby(), run(promoting(), &[Input::Lock(LockView::Unknown)]).0]
        {
            assert!(!step(before, GREETS).1.contains(&Act::Promote));
        }
    }

    #[test]
    fn an_edited_record_is_written_again() {
        for view in [RecordView::Astray, RecordView::Newer] {
            let (state, acts) = step(master(), Input::Record(view));
            assert_eq!(acts, [Act::Promote], "{view:?}");
            assert_eq!(step(state, Input::Record(view)).1, [], "one promotion at a time");
        }
    }

    #[test]
    fn an_edited_record_is_written_again_only_when_the_lock_is_seen_again() {
        let blind = [Input::Lock(LockView::Unknown), Input::Record(RecordView::Astray)];
        let (state, acts) = run(master(), &blind);
        assert_eq!(acts, []);
        assert_eq!(step(state, MINE).1, [Act::Promote]);
    }
}

mod fencing {
    use super::*;

    #[test]
    fn a_lost_lock_is_answered_with_sigkill() {
        let signs = [OTHER, FREE, Input::LockChanged, Input::Log(LogSign::LockLost)];
        for sign in signs {
            for before in [promoting(), master()] {
                let (state, acts) = step(before, sign);
                assert_eq!(kills(&acts), [ExitReason::LockLost], "{sign:?}");
                assert_eq!(state.name(), AgentState::Fenced, "{sign:?}");
            }
        }
    }

    #[test]
    fn a_standby_is_not_killed_because_another_holds_the_lock() {
        for sign in [OTHER, FREE, Input::LockChanged] {
            assert_eq!(kills(&step(standby(), sign).1), [], "{sign:?}");
        }
    }

    #[test]
    fn a_standby_that_leaves_a_free_lock_alone_for_too_long_is_killed() {
        let (state, acts) = run(standby(), &[FREE, FREE]);
        assert_eq!(acts, [Act::Arm(Deadline::Take)]);
        let (state, acts) = step(state, passed(Deadline::Take));
        assert_eq!(acts, []);
        assert_eq!(kills(&step(state.clone(), FREE).1), [ExitReason::BrokerHung]);
        for saved in [OTHER, MINE, Input::Lock(LockView::Unknown)] {
            assert_eq!(kills(&step(state.clone(), saved).1), [], "{saved:?}");
        }
    }

    #[test]
    fn a_starting_broker_may_leave_a_free_lock_alone() {
        let (state, acts) = run(started(), &[FREE, passed(Deadline::Take), FREE]);
        assert_eq!(acts, []);
        assert_eq!(state.name(), AgentState::Starting);
    }

    #[test]
    fn a_probe_without_an_answer_changes_nothing() {
        let blind = [Input::Lock(LockView::Unknown), Input::Storage(StorageView::Stalled)];
        for before in [State::default(), started(), standby(), promoting(), master()] {
            let (state, acts) = run(before.clone(), &blind);
            assert_eq!(acts, []);
            assert_eq!(state.name(), before.name());
        }
    }

    #[test]
    fn a_master_that_stops_greeting_is_killed_after_the_hang_timeout() {
        let (state, acts) = run(master(), &[SILENT, SILENT, SILENT]);
        assert_eq!(kills(&acts), []);
        let (_, acts) = step(state, passed(Deadline::Hang));
        assert_eq!(kills(&acts), [ExitReason::BrokerHung]);
    }

    #[test]
    fn a_node_that_thaws_asks_twice_before_it_kills() {
        let (state, acts) = run(master(), &[passed(Deadline::Hang), SILENT]);
        assert_eq!(kills(&acts), []);
        assert_eq!(kills(&step(state.clone(), GREETS).1), []);
        assert_eq!(kills(&step(state, SILENT).1), [ExitReason::BrokerHung]);
    }

    #[test]
    fn a_greeting_starts_the_hang_timeout_again() {
        let (state, acts) = run(master(), &[SILENT, SILENT, GREETS]);
        assert!(acts.contains(&Act::Arm(Deadline::Hang)));
        assert_eq!(kills(&step(state, passed(Deadline::Hang)).1), []);
    }
}

mod end {
    use super::*;

    #[test]
    fn told_to_end_the_broker_is_stopped_politely() {
        for before in [started(), standby(), promoting(), master()] {
            let (state, acts) = step(before, Input::Terminate);
            assert!(acts.contains(&Act::Stop) && acts.contains(&Act::Arm(Deadline::StopGrace)));
            assert_eq!(state.name(), AgentState::SteppingDown);
        }
    }

    #[test]
    fn a_broker_that_outlasts_its_grace_is_killed() {
        let (_, acts) = run(master(), &[Input::Terminate, passed(Deadline::StopGrace)]);
        assert_eq!(kills(&acts), [ExitReason::PodStopped]);
    }

    #[test]
    fn a_broker_that_lets_go_of_the_lock_while_it_stops_is_not_killed_but_a_thief_s_victim_is() {
        let stopping = step(master(), Input::Terminate).0;
        assert_eq!(kills(&step(stopping.clone(), FREE).1), []);
        assert_eq!(kills(&step(stopping, OTHER).1), [ExitReason::LockLost]);
    }

    #[test]
    fn a_pod_that_the_record_does_not_name_ends_with_its_broker() {
        let (state, acts) = run(standby(), &[Input::Terminate, child(ChildEvent::Gone)]);
        assert!(acts.contains(&Act::Exit));
        assert_eq!(state.name(), AgentState::Stopped);
    }

    #[test]
    fn a_recorded_pod_ends_once_nodes_have_followed_a_newer_epoch() {
        let ending = ended(step(master(), Input::Terminate).0);
        assert_eq!(step(ending.clone(), Input::Record(RecordView::Ours)).1, []);
        let (lingering, acts) = step(ending, Input::Record(RecordView::Newer));
        assert_eq!(acts, [Act::Disarm(Deadline::Record), Act::Arm(Deadline::Linger)]);
        assert_eq!(step(lingering.clone(), passed(Deadline::Linger)).1, [Act::Exit]);
        assert_eq!(step(lingering, passed(Deadline::Exit)).1, [Act::Exit]);
    }

    #[test]
    fn a_recorded_pod_without_a_successor_empties_the_record_and_ends() {
        let ending = ended(step(master(), Input::Terminate).0);
        let (state, acts) = step(ending, passed(Deadline::Record));
        assert_eq!(acts, [Act::EmptyRecord]);
        assert_eq!(step(state.clone(), Input::Emptied).1, [Act::Exit]);
        assert_eq!(step(state, passed(Deadline::Exit)).1, [Act::Exit]);
    }

    #[test]
    fn a_pod_that_ends_while_its_promotion_is_under_way_looks_after_the_record_too() {
        let promoted = step(promoting(), GREETS).0;
        let ending = ended(step(promoted, Input::Terminate).0);
        assert_eq!(step(ending, passed(Deadline::Record)).1, [Act::EmptyRecord]);
    }

    #[test]
    fn told_to_end_before_the_first_start_it_ends_at_once() {
        assert_eq!(step(State::default(), Input::Terminate).1, [Act::Exit]);
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
        1 => select(vec![LogSign::Waits, LogSign::LockLost]).prop_map(Input::Log),
        4 => select(vec![
            ChildEvent::Started,
            ChildEvent::Started,
            ChildEvent::NotStarted,
            ChildEvent::Exited,
            ChildEvent::Gone,
        ])
        .prop_map(Input::Child),
        1 => select(vec![StorageView::Answers, StorageView::Stalled]).prop_map(Input::Storage),
        1 => select(vec![Peers::Alone, Peers::Others, Peers::Unknown]).prop_map(Input::Peers),
        2 => select(vec![RecordView::Ours, RecordView::Newer, RecordView::Astray])
            .prop_map(Input::Record),
        1 => Just(Input::Promoted),
        1 => Just(Input::Emptied),
        4 => any_deadline().prop_map(Input::DeadlinePassed),
    ]
}

/// Random inputs after a beginning that leads somewhere.
fn any_inputs() -> impl Strategy<Value = Vec<Input>> {
    let start = vec![Input::LockFile(FileView::Absent), child(ChildEvent::Started)];
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

proptest! {
    #[test]
    fn promotion_needs_child_lock_and_greeting_since_the_child_s_start(inputs in any_inputs()) {
        let (mut state, mut seen) = (State::default(), Onlooker::default());
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
    fn there_are_never_two_children(inputs in any_inputs()) {
        let (mut state, mut seen) = (State::default(), Onlooker::default());
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
    fn an_unknown_lock_or_a_stalled_storage_alone_does_nothing(inputs in any_inputs()) {
        let state = run(State::default(), &inputs).0;
        for input in [
            Input::Lock(LockView::Unknown),
            Input::Storage(StorageView::Stalled),
            Input::Storage(StorageView::Answers),
        ] {
            prop_assert_eq!(&step(state.clone(), input).1, &[], "{:?}", input);
        }
    }

    #[test]
    fn a_broker_that_never_held_the_lock_is_killed_only_by_its_log_or_for_leaving_it_free(
        inputs in any_inputs(),
    ) {
        let (mut state, mut seen) = (State::default(), Onlooker::default());
        for input in inputs {
            seen.see(input);
            let (next, acts) = step(state, input);
            if !kills(&acts).is_empty() && !seen.ever_mine {
                prop_assert!(matches!(input, Input::Log(LogSign::LockLost) | FREE), "{input:?}");
            }
            if acts.contains(&Act::Start) {
                seen = Onlooker { children: 1, ..Onlooker::default() };
            }
            state = next;
        }
    }

    #[test]
    fn a_broker_is_killed_as_hung_only_after_two_failed_greetings_and_the_deadline(
        inputs in any_inputs(),
    ) {
        let (mut state, mut misses, mut overdue) = (State::default(), 0, false);
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
    fn a_master_that_sees_its_lock_lost_kills_at_once(inputs in any_inputs()) {
        let state = run(State::default(), &inputs).0;
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
        before in any_inputs(),
        after in any_inputs(),
    ) {
        let mut state = run(State::default(), &before).0;
        state = run(state, &[Input::Terminate]).0;
        let (next, acts) = run(state, &after);
        prop_assert!(!acts.contains(&Act::Start));
        // Whatever comes in between: the process ends, and the last deadlines pass.
        let rest = [
            child(ChildEvent::Started),
            passed(Deadline::StopGrace),
            child(ChildEvent::Gone),
            passed(Deadline::Record),
            passed(Deadline::Exit),
        ];
        let (end, _) = run(next, &rest);
        prop_assert_eq!(end.name(), AgentState::Stopped);
        prop_assert_eq!(end.child(), Child::Absent);
    }

    #[test]
    fn an_ended_agent_does_nothing(inputs in any_inputs()) {
        let ended = step(State::default(), Input::Terminate).0;
        prop_assert_eq!(run(ended, &inputs).1, []);
    }

    #[test]
    fn the_record_is_emptied_only_by_an_agent_that_ends_without_a_child(inputs in any_inputs()) {
        let mut state = State::default();
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
    fn a_waiting_agent_starts_again_once_all_deadlines_pass(inputs in any_inputs()) {
        let state = run(State::default(), &inputs).0;
        if state.child() == Child::Absent {
            let same = Input::LockFile(FileView::Same);
            let rest = [
                same,
                passed(Deadline::LockFile),
                same,
                passed(Deadline::Handover),
                passed(Deadline::Backoff(1)),
            ];
            prop_assert!(run(state, &rest).1.contains(&Act::Start));
        }
    }
}
