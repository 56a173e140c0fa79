//! What the agent does next: a pure, finite state machine.
//!
//! [`step`] knows neither clock nor kernel nor API server. Time enters as deadlines that have
//! passed; every act is carried out by the loop around it. A model checker calls this function.
//!
//! # What must be true for each act
//!
//! * **Start**: no child is left (the one before is reaped, and no descendant of it lives), and
//!   - before the first start and after a lost lock: the lock file is absent, or was seen unchanged
//!     for two keep-alive periods *and* once more after them. A freshly started broker that finds
//!     the lock free has no hold-off of its own, so a thief's traces must be waited for;
//!   - after any end of a broker: another holder is seen, or `poll + keep-alive + 1 s` have passed,
//!     or the pod is proven to be alone. It must not race the standby for the lock or the CPU;
//!   - after the second end in a row: the back-off has passed;
//!   - the pod was not told to end.
//! * **Stop** (polite): the pod was told to end, and the broker runs.
//! * **Kill**, only for one of these:
//!   - the lock is lost: this child held it and a probe says that another one or nobody does, or
//!     the lock file's identity changed, or the broker logs that it gives up its lock. Never
//!     politely: a polite stop writes to a store that may be another's by now;
//!   - it hangs: it greeted once, then not for `hangTimeout`, and two attempts in a row failed
//!     since (a node that thaws must not judge by the time it slept);
//!   - as a standby it leaves a free lock alone for longer than `hangTimeout`, poll and keep-alive
//!     together: nobody else would end a frozen standby, and without it nobody takes over;
//!   - a polite stop lasted longer than its grace.
//!
//!   Never for slowness before the first greeting, and never because a probe gave no answer:
//!   `Unknown` and a stalled storage start, stop and kill nothing (fencing by the storage's own
//!   clock is to enter by [`Input::Storage`]).
//! * **Promote**: the child runs, the lock is its, and it greets; all three seen since its start.
//!   Again whenever the record is seen not to name it while all three still hold.
//! * **Empty record**: the pod was told to end, its child is gone, it began a promotion, and no newer
//!   epoch came within 2 s of the child's end.
//! * **Exit**: the pod was told to end and no child is left; after a promotion, once the clients have
//!   been led elsewhere too: while the pod is there it refuses connections, afterwards its address
//!   swallows them.
//!
//! The caller owes one thing: views of the lock, the greeting and the log that are older than the
//! child's start, or that belong to a child before it, are not passed in.

use crate::broker::report::{ExitReason, GreetingView, LockView};
use crate::lock::FileView;

mod state;
mod words;

pub use state::State;
use state::{FileGate, FreeLock, HandoverGate, Phase, Serving, Waiting, Why};
pub use words::{
    Act, Child, ChildEvent, Deadline, Input, LogSign, MAX_FAILURES, Peers, RecordView, StorageView,
};

/// So many failed greetings in a row are needed before a broker counts as hung.
const HUNG_AFTER_MISSES: u8 = 2;

/// The next state, and what is to be done.
#[must_use]
pub fn step(mut state: State, input: Input) -> (State, Vec<Act>) {
    let mut acts = Vec::new();
    if state.phase == Phase::Stopped {
        return (state, acts);
    }
    match input {
        Input::Lock(view) => on_lock(&mut state, view, &mut acts),
        Input::LockChanged => on_lock_changed(&mut state, &mut acts),
        Input::LockFile(view) => on_lock_file(&mut state, view, &mut acts),
        Input::Greeting(view) => on_greeting(&mut state, view, &mut acts),
        Input::Log(sign) => on_log(&mut state, sign, &mut acts),
        Input::Child(event) => on_child(&mut state, event, &mut acts),
        Input::Storage(view) => state.storage = view,
        Input::Peers(peers) => {
            if let (Peers::Alone, Phase::Waiting(waiting)) = (peers, &mut state.phase) {
                waiting.handover = HandoverGate::Open;
            }
        }
        Input::Record(view) => on_record(&mut state, view, &mut acts),
        Input::Promoted => on_promoted(&mut state),
        Input::Emptied => {
            if state.phase == Phase::Ending {
                exit(&mut state, &mut acts);
            }
        }
        Input::DeadlinePassed(deadline) => on_deadline(&mut state, deadline, &mut acts),
        Input::Terminate => on_terminate(&mut state, &mut acts),
    }
    promote_if_astray(&mut state, &mut acts);
    start_if_settled(&mut state, &mut acts);
    (state, acts)
}

fn on_lock(state: &mut State, view: LockView, acts: &mut Vec<Act>) {
    state.lock = view;
    match view {
        LockView::Unknown => {}
        LockView::Mine(_) => {
            if state.running() && matches!(state.phase, Phase::Starting | Phase::Standby(_)) {
                let over = [Deadline::Settle, Deadline::Take, Deadline::Health];
                acts.extend(over.map(Act::Disarm));
                state.phase = Phase::Promoting;
            }
        }
        LockView::Other => {
            if let Phase::Waiting(waiting) = &mut state.phase {
                waiting.handover = HandoverGate::Open;
            }
            if let Phase::Standby(free @ (FreeLock::Seen | FreeLock::Overdue)) = &mut state.phase {
                *free = FreeLock::No;
                acts.push(Act::Disarm(Deadline::Take));
            }
            lose_lock_if_held(state, acts);
        }
        // A broker that stops lets go of its lock when its store is closed.
        LockView::Free if matches!(state.phase, Phase::SteppingDown { .. }) => {}
        LockView::Free => {
            on_free_lock(state, acts);
            lose_lock_if_held(state, acts);
        }
    }
}

fn on_free_lock(state: &mut State, acts: &mut Vec<Act>) {
    let Phase::Standby(free) = &mut state.phase else { return };
    match free {
        FreeLock::No => {
            *free = FreeLock::Seen;
            acts.push(Act::Arm(Deadline::Take));
        }
        FreeLock::Overdue if state.child == Child::Running => {
            kill(state, ExitReason::BrokerHung, acts);
        }
        FreeLock::Seen | FreeLock::Overdue => {}
    }
}

fn lose_lock_if_held(state: &mut State, acts: &mut Vec<Act>) {
    if state.running() && state.holds_lock() {
        kill(state, ExitReason::LockLost, acts);
    }
}

fn on_lock_changed(state: &mut State, acts: &mut Vec<Act>) {
    // While it stops, only another holder counts: the one after it rewrites the file rightly.
    if !matches!(state.phase, Phase::SteppingDown { .. }) {
        lose_lock_if_held(state, acts);
    }
}

fn on_lock_file(state: &mut State, view: FileView, acts: &mut Vec<Act>) {
    let Phase::Waiting(waiting) = &mut state.phase else { return };
    waiting.file = match (waiting.file, view) {
        (FileGate::Open, _) | (FileGate::Settled, FileView::Same) => FileGate::Open,
        (_, FileView::Absent) => {
            acts.push(Act::Disarm(Deadline::LockFile));
            FileGate::Open
        }
        (FileGate::Settling, FileView::Same) => FileGate::Settling,
        (FileGate::Unseen, FileView::Same) | (_, FileView::Changed) => {
            acts.push(Act::Arm(Deadline::LockFile));
            FileGate::Settling
        }
    };
}

fn on_greeting(state: &mut State, view: GreetingView, acts: &mut Vec<Act>) {
    if !state.running() {
        return;
    }
    let proven = matches!(state.lock, LockView::Mine(_));
    match (&mut state.phase, view) {
        (Phase::Promoting, GreetingView::Ok) if proven => {
            acts.extend([Act::Promote, Act::Arm(Deadline::Hang), Act::Arm(Deadline::Health)]);
            state.claimed = true;
            state.recorded = false;
            state.phase = Phase::Master(Serving { promoting: true, overdue: false, misses: 0 });
        }
        (Phase::Master(serving), GreetingView::Ok) => {
            serving.overdue = false;
            serving.misses = 0;
            acts.push(Act::Arm(Deadline::Hang));
        }
        (Phase::Master(serving), GreetingView::Refused | GreetingView::Silent) => {
            serving.misses = (serving.misses + 1).min(HUNG_AFTER_MISSES);
            kill_if_hung(state, acts);
        }
        _ => {}
    }
}

fn kill_if_hung(state: &mut State, acts: &mut Vec<Act>) {
    let Phase::Master(serving) = &state.phase else { return };
    if serving.overdue && serving.misses >= HUNG_AFTER_MISSES && state.running() {
        kill(state, ExitReason::BrokerHung, acts);
    }
}

fn on_log(state: &mut State, sign: LogSign, acts: &mut Vec<Act>) {
    if !state.running() {
        return;
    }
    match sign {
        LogSign::LockLost => match state.phase {
            Phase::Waiting(_) | Phase::Dying(_) | Phase::Ending | Phase::Stopped => {}
            Phase::Starting
            | Phase::Standby(_)
            | Phase::Promoting
            | Phase::Master(_)
            | Phase::SteppingDown { .. } => kill(state, ExitReason::LockLost, acts),
        },
        LogSign::Waits => {
            if state.phase == Phase::Starting {
                become_standby(state, acts);
            }
        }
    }
}

fn become_standby(state: &mut State, acts: &mut Vec<Act>) {
    acts.extend([Act::Disarm(Deadline::Settle), Act::Arm(Deadline::Health)]);
    state.phase = Phase::Standby(FreeLock::No);
}

fn kill(state: &mut State, reason: ExitReason, acts: &mut Vec<Act>) {
    acts.push(Act::Kill(reason));
    disarm_life(acts);
    state.phase = Phase::Dying(reason);
}

fn disarm_life(acts: &mut Vec<Act>) {
    let life =
        [Deadline::Settle, Deadline::Take, Deadline::Hang, Deadline::Health, Deadline::StopGrace];
    acts.extend(life.map(Act::Disarm));
}

fn on_child(state: &mut State, event: ChildEvent, acts: &mut Vec<Act>) {
    match (event, state.child) {
        (ChildEvent::Started, Child::Spawning) => {
            state.child = Child::Running;
            if state.terminating {
                stop(state, acts);
            }
        }
        (ChildEvent::NotStarted, Child::Spawning) => {
            // An image that cannot start is not tried again at once.
            state.failures = state.failures.max(1);
            state.phase = Phase::Dying(ExitReason::BrokerCrashed);
            gone(state, acts);
        }
        (ChildEvent::Exited, Child::Running) => {
            exited(state, acts);
        }
        (ChildEvent::Gone, Child::Running | Child::Ended) => {
            exited(state, acts);
            gone(state, acts);
        }
        _ => {}
    }
}

fn exited(state: &mut State, acts: &mut Vec<Act>) {
    if state.child == Child::Running {
        disarm_life(acts);
        state.phase = Phase::Dying(state.exit_reason());
        state.child = Child::Ended;
        state.lock = LockView::Unknown;
    }
}

fn gone(state: &mut State, acts: &mut Vec<Act>) {
    let lost = state.phase == Phase::Dying(ExitReason::LockLost);
    state.child = Child::Absent;
    state.lock = LockView::Unknown;
    if state.terminating {
        end(state, acts);
        return;
    }
    let backing_off = state.failures > 0;
    if backing_off {
        acts.push(Act::Arm(Deadline::Backoff(state.failures)));
    }
    acts.extend([Act::Arm(Deadline::Handover), Act::AskPeers]);
    state.failures = (state.failures + 1).min(MAX_FAILURES);
    state.phase = Phase::Waiting(Waiting {
        why: if lost { Why::LockLost } else { Why::Ended },
        file: if lost { FileGate::Unseen } else { FileGate::Open },
        handover: HandoverGate::Shut,
        backing_off,
    });
}

fn on_record(state: &mut State, view: RecordView, acts: &mut Vec<Act>) {
    state.recorded = view == RecordView::Ours;
    if view == RecordView::Newer && !matches!(state.phase, Phase::Master(_)) {
        state.claimed = false;
        if state.phase == Phase::Ending {
            acts.extend([Act::Disarm(Deadline::Record), Act::Arm(Deadline::Linger)]);
        }
    }
}

fn on_promoted(state: &mut State) {
    if let Phase::Master(serving) = &mut state.phase {
        serving.promoting = false;
        state.recorded = true;
    }
}

fn promote_if_astray(state: &mut State, acts: &mut Vec<Act>) {
    let proven = state.running() && matches!(state.lock, LockView::Mine(_)) && !state.recorded;
    if let Phase::Master(serving) = &mut state.phase
        && proven
        && !serving.promoting
        && serving.misses == 0
    {
        serving.promoting = true;
        acts.push(Act::Promote);
    }
}

fn on_deadline(state: &mut State, deadline: Deadline, acts: &mut Vec<Act>) {
    match (deadline, &mut state.phase) {
        (Deadline::LockFile, Phase::Waiting(waiting)) if waiting.file == FileGate::Settling => {
            waiting.file = FileGate::Settled;
        }
        (Deadline::Handover, Phase::Waiting(waiting)) => waiting.handover = HandoverGate::Open,
        (Deadline::Backoff(_), Phase::Waiting(waiting)) => waiting.backing_off = false,
        (Deadline::Settle, Phase::Starting) => {
            if state.lock == LockView::Other {
                become_standby(state, acts);
            } else {
                acts.push(Act::Arm(Deadline::Settle));
            }
        }
        (Deadline::Take, Phase::Standby(free @ FreeLock::Seen)) => *free = FreeLock::Overdue,
        (Deadline::Hang, Phase::Master(serving)) => {
            serving.overdue = true;
            kill_if_hung(state, acts);
        }
        (Deadline::Health, Phase::Standby(_) | Phase::Master(_)) => state.failures = 0,
        (Deadline::StopGrace, Phase::SteppingDown { .. }) if state.child == Child::Running => {
            kill(state, ExitReason::PodStopped, acts);
        }
        (Deadline::Record, Phase::Ending) => acts.push(Act::EmptyRecord),
        (Deadline::Linger | Deadline::Exit, Phase::Ending) => exit(state, acts),
        _ => {}
    }
}

fn on_terminate(state: &mut State, acts: &mut Vec<Act>) {
    if state.terminating {
        return;
    }
    state.terminating = true;
    match state.child {
        Child::Running if !matches!(state.phase, Phase::Dying(_)) => stop(state, acts),
        Child::Absent => end(state, acts),
        // The end of a dying child, or the start of a spawning one, goes on from here.
        Child::Running | Child::Spawning | Child::Ended => {}
    }
}

fn stop(state: &mut State, acts: &mut Vec<Act>) {
    let held = state.holds_lock();
    disarm_life(acts);
    acts.extend([Act::Stop, Act::Arm(Deadline::StopGrace)]);
    state.phase = Phase::SteppingDown { held };
}

fn end(state: &mut State, acts: &mut Vec<Act>) {
    if state.claimed {
        acts.extend([Act::Arm(Deadline::Record), Act::Arm(Deadline::Exit)]);
        state.phase = Phase::Ending;
    } else {
        exit(state, acts);
    }
}

fn exit(state: &mut State, acts: &mut Vec<Act>) {
    acts.push(Act::Exit);
    state.phase = Phase::Stopped;
}

fn start_if_settled(state: &mut State, acts: &mut Vec<Act>) {
    let Phase::Waiting(waiting) = &state.phase else { return };
    let settled = waiting.file == FileGate::Open
        && waiting.handover == HandoverGate::Open
        && !waiting.backing_off;
    if settled && state.child == Child::Absent && !state.terminating {
        acts.extend([Act::Disarm(Deadline::Handover), Act::Start, Act::Arm(Deadline::Settle)]);
        state.phase = Phase::Starting;
        state.child = Child::Spawning;
        state.lock = LockView::Unknown;
    }
}

#[cfg(test)]
mod tests;
