#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::struct_excessive_bools,
    reason = "an onlooker knows yes and no, and looks at few of the inputs"
)]

use super::*;
use crate::broker::report::{AgentState, Evidence};
use crate::lock::FileView;
use proptest::prelude::*;

const MINE: Input = Input::Lock(LockView::Mine(Evidence::Kernel));
const OTHER: Input = Input::Lock(LockView::Other);
const FREE: Input = Input::Lock(LockView::Free);
const UNKNOWN: Input = Input::Lock(LockView::Unknown);
const GREETS: Input = Input::Greeting(GreetingView::Ok);
const SILENT: Input = Input::Greeting(GreetingView::Silent);

const KINDS: [LockKind; 3] = [LockKind::File, LockKind::Lease, LockKind::Log];

/// Runs the tests in it for every kind of lock.
macro_rules! for_each_kind {
    ($($(#[$meta:meta])* fn $name:ident($kind:ident) $body:block)*) => {
        $($(#[$meta])* #[test] fn $name() { for $kind in KINDS $body })*
    };
}

/// What only leases make the machine do.
fn is_of_leases(act: Act) -> bool {
    matches!(act, Act::Release | Act::Arm(Deadline::Release) | Act::Disarm(Deadline::Release))
}

/// What comes before every start.
fn is_of_preparation(act: Act) -> bool {
    matches!(act, Act::Prepare | Act::Arm(Deadline::Prepare) | Act::Disarm(Deadline::Prepare))
}

/// What every look and every life of a broker brings about, unless nothing can be proven of the lock.
fn is_of_proofs(act: Act) -> bool {
    matches!(act, Act::Arm(Deadline::Proof) | Act::Disarm(Deadline::Proof))
}

/// Why a broker is killed when nothing proves any longer that the lock is no other's.
fn unproven(kind: LockKind) -> Option<ExitReason> {
    match kind {
        LockKind::File => Some(ExitReason::StorageUnproven),
        LockKind::Lease => Some(ExitReason::LeaseUnproven),
        LockKind::Log => None,
    }
}

/// The inputs, one after the other; what is to be prepared is ready, a release succeeds, and no other pod
/// claims the lock. Leaves out that, and proofs.
fn run(mut state: State, inputs: &[Input]) -> (State, Vec<Act>) {
    let mut all = Vec::new();
    let mut left: std::collections::VecDeque<_> = inputs.iter().copied().collect();
    while let Some(input) = left.pop_front() {
        let (next, acts) = step(state, input);
        state = next;
        if acts.contains(&Act::Release) {
            left.push_front(Input::Released);
        }
        if acts.contains(&Act::Prepare) {
            left.push_front(Input::Prepared(PreparationView::Ready));
        }
        if acts.contains(&Act::AskClaims) {
            left.push_front(Input::Claims(Claims::None));
        }
        all.extend(acts);
    }
    all.retain(|&act| {
        !is_of_leases(act) && !is_of_preparation(act) && !is_of_proofs(act) && act != Act::AskClaims
    });
    (state, all)
}

fn one(state: State, input: Input) -> (State, Vec<Act>) {
    run(state, &[input])
}

const fn child(event: ChildEvent) -> Input {
    Input::Child(event)
}

fn passed(deadline: Deadline) -> Input {
    Input::DeadlinePassed(deadline)
}

/// Nothing has been seen yet of the lock; what comes before is settled, unless that is all there is.
fn fresh(kind: LockKind) -> State {
    let state = State::begin(kind).0;
    if kind == LockKind::File { run(state, &[READY]).0 } else { state }
}

/// A former master's successor is promoted, and clients have gone over to it.
const TAKEN_OVER: [Input; 3] =
    [OTHER, Input::Record(RecordView::Newer), Input::DeadlinePassed(Deadline::Reconnect)];
const SAME: Input = Input::LockFile(FileView::Same);
/// What lets a fresh agent start its broker: a store that stays empty.
const EMPTY: [Input; 3] = [
    Input::LockFile(FileView::Absent),
    Input::DeadlinePassed(Deadline::LockFile),
    Input::LockFile(FileView::Same),
];
const READY: Input = Input::Prepared(PreparationView::Ready);
const REFUSED: Input = Input::Prepared(PreparationView::Refused);

/// A broker that was started on an empty store.
fn started(kind: LockKind) -> State {
    let waiting = run(fresh(kind), &EMPTY).0;
    run(waiting, &[READY, child(ChildEvent::Started)]).0
}

fn standby(kind: LockKind) -> State {
    run(started(kind), &[OTHER, Input::Log(LogSign::Waits)]).0
}

fn promoting(kind: LockKind) -> State {
    run(started(kind), &[MINE]).0
}

fn master(kind: LockKind) -> State {
    run(promoting(kind), &[GREETS, Input::Promoted]).0
}

fn ended(state: State) -> State {
    run(state, &[child(ChildEvent::Exited), child(ChildEvent::Gone)]).0
}

fn kills(acts: &[Act]) -> Vec<ExitReason> {
    let kill = |act: &Act| if let Act::Kill(reason) = act { Some(*reason) } else { None };
    acts.iter().filter_map(kill).collect()
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
        Just(Deadline::Proof),
        Just(Deadline::Prepare),
        Just(Deadline::Release),
        Just(Deadline::Claims),
        Just(Deadline::Doubt),
        Just(Deadline::Yield),
        Just(Deadline::MakeWay),
        Just(Deadline::Reconnect),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    use proptest::sample::select;
    prop_oneof![
        4 => any_lock().prop_map(Input::Lock),
        1 => Just(Input::LockChanged),
        2 => select(vec![FileView::Absent, FileView::Same, FileView::Changed])
            .prop_map(Input::LockFile),
        4 => select(vec![
            GreetingView::Ok, GreetingView::Refused, GreetingView::Silent, GreetingView::Unknown,
        ])
            .prop_map(Input::Greeting),
        1 => {
            let signs =
                vec![LogSign::Waits, LogSign::Takes, LogSign::LockLost, LogSign::StorageFailed];
            select(signs).prop_map(Input::Log)
        },
        4 => select(vec![
            ChildEvent::Started,
            ChildEvent::Started,
            ChildEvent::NotStarted,
            ChildEvent::Exited,
            ChildEvent::Gone,
        ])
        .prop_map(Input::Child),
        1 => select(vec![Peers::Alone, Peers::Others, Peers::Unknown]).prop_map(Input::Peers),
        2 => select(vec![RecordView::Ours, RecordView::Newer, RecordView::Astray])
            .prop_map(Input::Record),
        2 => select(vec![READY, READY, REFUSED]),
        2 => select(vec![Claims::None, Claims::Some]).prop_map(Input::Claims),
        1 => select(vec![Side::Stays, Side::Yields]).prop_map(Input::Disputed),
        1 => Just(Input::Hung),
        1 => Just(Input::StepDown),
        1 => any::<bool>().prop_map(Input::Hold),
        1 => Just(Input::Released),
        1 => Just(Input::Promoted),
        1 => Just(Input::Emptied),
        4 => any_deadline().prop_map(Input::DeadlinePassed),
    ]
}

/// Random inputs after a beginning that leads somewhere.
fn any_inputs() -> impl Strategy<Value = Vec<Input>> {
    let start = [&EMPTY[..], &[READY, child(ChildEvent::Started)]].concat();
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

fn any_kind() -> impl Strategy<Value = LockKind> {
    proptest::sample::select(KINDS.to_vec())
}

/// The state after these inputs, and whatever answers there were among them.
fn after(kind: LockKind, inputs: &[Input]) -> State {
    inputs.iter().fold(fresh(kind), |state, &input| step(state, input).0)
}

/// Whatever came in between: the process ends, and the last deadlines pass.
fn at_its_end(state: State) -> State {
    let rest = [
        child(ChildEvent::Started),
        passed(Deadline::StopGrace),
        passed(Deadline::MakeWay),
        child(ChildEvent::Gone),
        passed(Deadline::Release),
        passed(Deadline::Record),
        passed(Deadline::Exit),
    ];
    rest.into_iter().fold(state, |state, input| step(state, input).0)
}

#[path = "end_tests.rs"]
mod end;
#[path = "fencing_tests.rs"]
mod fencing;
#[path = "hold_tests.rs"]
mod hold;
#[path = "lease_tests.rs"]
mod leases;
#[path = "property_tests.rs"]
mod property;
#[path = "role_tests.rs"]
mod roles;
#[path = "split_brain_tests.rs"]
mod split_brain;
#[path = "start_tests.rs"]
mod start;
#[path = "switchover_tests.rs"]
mod switchover;
