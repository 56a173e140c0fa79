//! The child's life, and the pod's end.

use super::lock::{disarm_life, disarm_service};
use super::state::{HandoverGate, Phase, Preparation, State, Waiting, Why};
use super::wait::{claim_gate, file_gate};
use super::words::{Act, Child, ChildEvent, Deadline, LockKind, MAX_FAILURES};
use crate::broker::report::{ExitReason, LockView};

pub(super) fn on_child(state: &mut State, event: ChildEvent, acts: &mut Vec<Act>) {
    match (event, state.child) {
        (ChildEvent::Started, Child::Spawning) => {
            state.child = Child::Running;
            state.doubted = false;
            if state.needs_proof() {
                acts.push(Act::Arm(Deadline::Proof));
            }
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
            if state.kind == LockKind::Lease {
                state.releasing = true;
                acts.extend([Act::Release, Act::Arm(Deadline::Release)]);
            }
            gone(state, acts);
        }
        _ => {}
    }
}

fn exited(state: &mut State, acts: &mut Vec<Act>) {
    if state.child == Child::Running {
        disarm_life(state, acts);
        state.phase = Phase::Dying(state.exit_reason());
        state.child = Child::Ended;
        state.lock = LockView::Unknown;
    }
}

fn gone(state: &mut State, acts: &mut Vec<Act>) {
    let made_way = std::mem::take(&mut state.yielding)
        && state.phase == Phase::Dying(ExitReason::SwitchedOver);
    let split = state.phase == Phase::Dying(ExitReason::SplitBrain);
    let doubts = [ExitReason::LockLost, ExitReason::LeaseUnproven, ExitReason::StorageUnproven];
    let lost = split || doubts.map(Phase::Dying).contains(&state.phase);
    state.child = Child::Absent;
    state.lock = LockView::Unknown;
    if state.terminating {
        end(state, acts);
        return;
    }
    // One that made way has not failed, and waits for the other one's promotion before it starts again.
    let backing_off = !made_way && state.failures > 0;
    if backing_off {
        acts.push(Act::Arm(Deadline::Backoff(state.failures)));
    }
    let handover = if made_way { Deadline::Yield } else { Deadline::Handover };
    acts.extend([Act::Arm(handover), Act::AskPeers]);
    if !made_way {
        state.failures = (state.failures + 1).min(MAX_FAILURES);
    }
    state.phase = Phase::Waiting(Waiting {
        why: match (made_way, lost) {
            (true, _) => Why::Yielded,
            (false, true) => Why::LockLost,
            (false, false) => Why::Ended,
        },
        file: file_gate(state.kind, lost),
        handover: HandoverGate::Shut,
        backing_off,
        claims: claim_gate(state.kind, lost, split),
        preparation: Preparation::Due,
    });
}

/// Another pod waits for the lock, and somebody wants it to have it.
pub(super) fn on_step_down(state: &mut State, acts: &mut Vec<Act>) {
    let proven = state.running() && matches!(state.lock, LockView::Mine(_)) && state.recorded;
    if proven && !state.terminating && matches!(state.phase, Phase::Master(_)) {
        state.yielding = true;
        stop(state, acts);
    }
}

pub(super) fn on_terminate(state: &mut State, acts: &mut Vec<Act>) {
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
    disarm_service(acts);
    acts.extend([Act::Stop, Act::Arm(Deadline::StopGrace)]);
    state.phase = Phase::SteppingDown { held };
}

fn end(state: &mut State, acts: &mut Vec<Act>) {
    state.phase = Phase::Ending { led: !state.claimed };
    if state.claimed {
        acts.extend([Act::Arm(Deadline::Record), Act::Arm(Deadline::Exit)]);
    } else {
        exit_if_done(state, acts);
    }
}

/// The lease's release is over, or is waited for no longer.
pub(super) fn on_released(state: &mut State, acts: &mut Vec<Act>) {
    if state.releasing {
        state.releasing = false;
        acts.push(Act::Disarm(Deadline::Release));
        exit_if_done(state, acts);
    }
}

/// Clients are led elsewhere, as well as can be.
pub(super) fn on_led(state: &mut State, acts: &mut Vec<Act>) {
    if let Phase::Ending { led } = &mut state.phase {
        *led = true;
        exit_if_done(state, acts);
    }
}

fn exit_if_done(state: &mut State, acts: &mut Vec<Act>) {
    if state.phase == (Phase::Ending { led: true }) && !state.releasing {
        acts.push(Act::Exit);
        state.phase = Phase::Stopped;
    }
}
