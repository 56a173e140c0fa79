//! What a start waits for.

use super::state::{ClaimGate, FileGate, HandoverGate, Phase, Preparation, State, Why};
use super::words::{Act, Child, Claims, Deadline, LockKind, PreparationView};
use crate::broker::report::LockView;
use crate::lock::FileView;

pub(super) fn on_lock_file(state: &mut State, view: FileView, acts: &mut Vec<Act>) {
    let (LockKind::File, Phase::Waiting(waiting)) = (state.kind, &mut state.phase) else { return };
    waiting.file = match (waiting.file, view) {
        (FileGate::Open, FileView::Same | FileView::Changed)
        | (FileGate::Settled, FileView::Same) => FileGate::Open,
        (FileGate::Settling, FileView::Same) => FileGate::Settling,
        // No file proves nothing: its deletion leaves the holder with the lock of a file that nobody
        // else sees, until its agent looks.
        (FileGate::Unseen, FileView::Same) | (_, FileView::Changed | FileView::Absent) => {
            acts.push(Act::Arm(Deadline::LockFile));
            FileGate::Settling
        }
    };
}

pub(super) fn on_prepared(state: &mut State, view: PreparationView, acts: &mut Vec<Act>) {
    let Phase::Waiting(waiting) = &mut state.phase else { return };
    if waiting.preparation == Preparation::Asked {
        waiting.preparation = match view {
            PreparationView::Ready => Preparation::Done,
            PreparationView::Refused => {
                acts.push(Act::Arm(Deadline::Prepare));
                Preparation::Refused
            }
        };
    }
}

pub(super) fn on_claims(state: &mut State, claims: Claims, acts: &mut Vec<Act>) {
    let Phase::Waiting(waiting) = &mut state.phase else { return };
    if waiting.claims == ClaimGate::Asked {
        waiting.claims = match claims {
            Claims::None => ClaimGate::Open,
            Claims::Some => {
                acts.push(Act::Arm(Deadline::Claims));
                ClaimGate::Shut
            }
        };
    }
}

/// When a start may go on at last, what it has waited for before may be long past: the lock file, the other
/// pods' word and the preparation are waited for afresh.
pub(super) fn on_hold(state: &mut State, hold: bool) {
    let released = std::mem::replace(&mut state.kept_down, hold) && !hold;
    let Phase::Waiting(waiting) = &mut state.phase else { return };
    if !released {
        return;
    }
    waiting.file = file_gate(state.kind, true);
    // Of a lock that only logs tell of, nobody is seen to hold it, so an answer stays as it was.
    let ask = waiting.why == Why::LockLost && state.kind != LockKind::Log;
    if ask && waiting.claims == ClaimGate::Open {
        waiting.claims = ClaimGate::Due;
    }
    if waiting.preparation == Preparation::Done {
        waiting.preparation = Preparation::Due;
    }
}

/// Another broker holds the lock. If it takes over from this one, its start comes first.
pub(super) fn on_other_holder(state: &mut State, acts: &mut Vec<Act>) {
    let Phase::Waiting(waiting) = &mut state.phase else { return };
    waiting.claims = ClaimGate::Open;
    match waiting.handover {
        HandoverGate::Shut if state.claimed => {
            waiting.handover = HandoverGate::Taken;
            acts.push(Act::Arm(Deadline::Yield));
        }
        HandoverGate::Shut => waiting.handover = HandoverGate::Open,
        HandoverGate::Open | HandoverGate::Taken => {}
    }
}

/// Who took over has let go of the lock again.
pub(super) fn on_let_go(state: &mut State) {
    if let Phase::Waiting(waiting) = &mut state.phase
        && waiting.handover == HandoverGate::Taken
    {
        waiting.handover = HandoverGate::Open;
    }
}

/// Another one was promoted. If this one was the master before it, clients go over to that one now.
pub(super) fn on_successor(state: &mut State, was_master: bool, acts: &mut Vec<Act>) {
    if let Phase::Waiting(waiting) = &mut state.phase
        && waiting.handover != HandoverGate::Open
        && was_master
    {
        waiting.handover = HandoverGate::Taken;
        acts.push(Act::Arm(Deadline::Reconnect));
    }
}

/// Prepares the start, or starts, once everything before it is settled.
pub(super) fn go_on_if_settled(state: &mut State, acts: &mut Vec<Act>) {
    let free = state.child == Child::Absent && !state.releasing;
    let free = free && !state.terminating && !state.kept_down;
    let Phase::Waiting(waiting) = &mut state.phase else { return };
    let settled = waiting.file == FileGate::Open
        && waiting.handover == HandoverGate::Open
        && !waiting.backing_off;
    if !settled || !free {
        return;
    }
    match waiting.claims {
        ClaimGate::Open => {}
        ClaimGate::Asked | ClaimGate::Shut => return,
        ClaimGate::Due => {
            waiting.claims = ClaimGate::Asked;
            acts.push(Act::AskClaims);
            return;
        }
    }
    match waiting.preparation {
        Preparation::Due => {
            waiting.preparation = Preparation::Asked;
            acts.push(Act::Prepare);
        }
        Preparation::Asked | Preparation::Refused => {}
        Preparation::Done => {
            let over = [Deadline::Handover, Deadline::Yield, Deadline::Reconnect];
            acts.extend(over.map(Act::Disarm));
            acts.push(Act::Start);
            acts.push(Act::Arm(Deadline::Settle));
            state.phase = Phase::Starting { tries: false };
            state.child = Child::Spawning;
            state.lock = LockView::Unknown;
        }
    }
}

/// What is to be seen of the lock itself before a start.
pub(super) fn file_gate(kind: LockKind, lost: bool) -> FileGate {
    match kind {
        LockKind::File if lost => FileGate::Unseen,
        // A lease that was lost is given back, or runs out: nobody gets it from its traces.
        LockKind::File | LockKind::Lease | LockKind::Log => FileGate::Open,
    }
}

/// What is to be heard of the other pods before a start.
pub(super) fn claim_gate(kind: LockKind, lost: bool, split: bool) -> ClaimGate {
    match kind {
        LockKind::File | LockKind::Lease if lost => ClaimGate::Due,
        // Its agent never sees another holder, which a standby always has.
        LockKind::Log if split => ClaimGate::Due,
        LockKind::File | LockKind::Lease | LockKind::Log => ClaimGate::Open,
    }
}
