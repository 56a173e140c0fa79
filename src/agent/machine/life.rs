//! The child's life, and the pod's end.

use super::lock::{disarm_life, disarm_service};
use super::state::{Early, HandoverGate, Phase, Preparation, State, Waiting, Why};
use super::wait::{claim_gate, file_gate};
use super::words::{Act, Child, ChildEvent, Deadline, LockKind, MAX_FAILURES};
use crate::broker::report::{ExitReason, LockView};

pub(super) fn on_child(state: &mut State, event: ChildEvent, acts: &mut Vec<Act>) {
    match (event, state.child) {
        (ChildEvent::Started, Child::Spawning) => {
            state.child = Child::Running;
            state.doubted = false;
            state.early = Early::No;
            if state.needs_proof() {
                acts.push(Act::Arm(Deadline::Proof));
            }
            if state.terminating {
                stop(state, ExitReason::PodStopped, acts);
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
    let reason = state.exit_reason();
    let why = why(reason);
    let lost = why == Why::LockLost;
    state.child = Child::Absent;
    state.lock = LockView::Unknown;
    if state.terminating {
        end(state, acts);
        return;
    }
    // One that was asked to stop has not failed.
    let failed = !matches!(why, Why::Yielded | Why::KeptDown);
    let backing_off = failed && state.failures > 0;
    if backing_off {
        acts.push(Act::Arm(Deadline::Backoff(state.failures)));
    }
    // One that made way leaves the other one more time to take over.
    let handover = if why == Why::Yielded { Deadline::Yield } else { Deadline::Handover };
    acts.extend([Act::Arm(handover), Act::AskPeers]);
    if failed {
        state.failures = (state.failures + 1).min(MAX_FAILURES);
    }
    state.phase = Phase::Waiting(Waiting {
        why,
        file: file_gate(state.kind, lost),
        handover: HandoverGate::Shut,
        backing_off,
        claims: claim_gate(state.kind, lost, reason == ExitReason::SplitBrain),
        preparation: Preparation::Due,
    });
}

fn why(reason: ExitReason) -> Why {
    match reason {
        ExitReason::SwitchedOver => Why::Yielded,
        ExitReason::KeptDown => Why::KeptDown,
        ExitReason::LockLost
        | ExitReason::LeaseUnproven
        | ExitReason::StorageUnproven
        | ExitReason::SplitBrain => Why::LockLost,
        ExitReason::BrokerCrashed
        | ExitReason::BrokerHung
        | ExitReason::StorageFailed
        | ExitReason::PodStopped
        | ExitReason::MemoryExceeded
        | ExitReason::StoppedItself
        | ExitReason::Unknown => Why::Ended,
    }
}

/// Another pod waits for the lock, and somebody wants it to have it, or this pod ends.
pub(super) fn on_step_down(state: &mut State, acts: &mut Vec<Act>) {
    if state.terminating && matches!(state.phase, Phase::SteppingDown { held: true, .. }) {
        acts.push(Act::Arm(Deadline::MakeWay));
        return;
    }
    let proven = state.running() && matches!(state.lock, LockView::Mine(_)) && state.recorded;
    if proven && !state.terminating && matches!(state.phase, Phase::Master(_)) {
        stop(state, ExitReason::SwitchedOver, acts);
    }
}

/// A broker that is to be kept down is stopped as soon as the last look says that another one holds the
/// lock. One that holds it, or may hold or get it, goes on: clients need it.
pub(super) fn stop_if_kept_down(state: &mut State, acts: &mut Vec<Act>) {
    let waits = state.running() && state.lock == LockView::Other;
    let standby = matches!(state.phase, Phase::Starting { .. } | Phase::Standby(_));
    if state.kept_down && waits && standby && !state.terminating {
        stop(state, ExitReason::KeptDown, acts);
    }
}

pub(super) fn on_terminate(state: &mut State, acts: &mut Vec<Act>) {
    if state.terminating {
        return;
    }
    state.terminating = true;
    match state.child {
        Child::Running if !matches!(state.phase, Phase::Dying(_)) => {
            stop(state, ExitReason::PodStopped, acts);
            if matches!(state.phase, Phase::SteppingDown { held: true, .. }) {
                acts.push(Act::AskStandbys);
            }
        }
        Child::Absent => end(state, acts),
        // The end of a dying child, or the start of a spawning one, goes on from here.
        Child::Running | Child::Spawning | Child::Ended => {}
    }
}

/// A child that stops already goes on for its first reason.
fn stop(state: &mut State, reason: ExitReason, acts: &mut Vec<Act>) {
    let held = state.holds_lock();
    let stops = matches!(state.phase, Phase::SteppingDown { .. });
    let reason = if stops { state.exit_reason() } else { reason };
    disarm_service(acts);
    // A standby waits for the lock of a master that steps down, also if its pod is told to end meanwhile.
    let makes_way = reason == ExitReason::SwitchedOver;
    let grace = if makes_way { Deadline::MakeWay } else { Deadline::StopGrace };
    acts.extend([Act::Stop, Act::Arm(grace)]);
    state.phase = Phase::SteppingDown { held, reason };
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
