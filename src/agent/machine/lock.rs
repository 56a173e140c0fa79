//! What views of the lock mean for the broker.

use super::state::{Early, FreeLock, Phase, State};
use super::wait;
use super::words::{Act, Child, Deadline, LockKind, Side};
use crate::broker::report::{ExitReason, LockView};
use crate::broker::signs::LogSign;

pub(super) fn on_lock(state: &mut State, view: LockView, acts: &mut Vec<Act>) {
    state.lock = view;
    if state.needs_proof() && view != LockView::Unknown && state.may_write() {
        acts.push(Act::Arm(Deadline::Proof));
    }
    if serves_without_lock(state, view) {
        kill(state, ExitReason::LockLost, acts);
        return;
    }
    match view {
        LockView::Unknown => {}
        LockView::Mine(_) => {
            state.doubted = false;
            if state.running() && matches!(state.phase, Phase::Starting { .. } | Phase::Standby(_))
            {
                let over = [Deadline::Settle, Deadline::Take, Deadline::Health];
                acts.extend(over.map(Act::Disarm));
                state.phase = Phase::Promoting;
            }
        }
        LockView::Other => {
            wait::on_other_holder(state, acts);
            if let Phase::Standby(free @ (FreeLock::Seen | FreeLock::Overdue)) = &mut state.phase {
                *free = FreeLock::No;
                acts.push(Act::Disarm(Deadline::Take));
            }
            if state.phase == (Phase::Starting { tries: true }) {
                become_standby(state, acts);
            }
            lose_lock_if_held(state, acts);
        }
        // A broker that stops lets go of its lock when its store is closed.
        LockView::Free if matches!(state.phase, Phase::SteppingDown { .. }) => {}
        LockView::Free => {
            wait::on_let_go(state);
            on_free_lock(state, acts);
            lose_lock_if_held(state, acts);
        }
    }
}

/// Whether the child, which greeted, is proven to have done so without the lock.
///
/// The loop looks one time after the other, and tells of each look once it is answered. So the first
/// look that it tells of after a greeting ended after that, and the second one began after it.
fn serves_without_lock(state: &mut State, view: LockView) -> bool {
    match (state.early, view) {
        (_, LockView::Unknown) | (Early::No, _) => return false,
        (_, LockView::Mine(_)) => state.early = Early::No,
        (Early::Greeted, LockView::Other | LockView::Free) => state.early = Early::Doubted,
        (Early::Doubted, LockView::Other | LockView::Free) => return state.may_write(),
    }
    false
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

/// One that stops has let go of its lock on purpose: whoever takes it is no reason to doubt it.
fn lose_lock_if_held(state: &mut State, acts: &mut Vec<Act>) {
    let stops = matches!(state.phase, Phase::SteppingDown { .. });
    lose_lock(state, if stops { state.exit_reason() } else { ExitReason::LockLost }, acts);
}

fn lose_lock(state: &mut State, reason: ExitReason, acts: &mut Vec<Act>) {
    if state.running() && state.holds_lock() {
        kill(state, reason, acts);
    }
}

pub(super) fn on_lock_changed(state: &mut State, acts: &mut Vec<Act>) {
    // While it stops, only another holder counts: the one after it rewrites the lock file rightly. A
    // lease is given back when it is no longer needed, so one that ran out was still needed.
    let stops = matches!(state.phase, Phase::SteppingDown { .. });
    if !stops || state.kind == LockKind::Lease {
        let made_way = state.exit_reason() == ExitReason::SwitchedOver;
        let reason = if made_way { ExitReason::SwitchedOver } else { ExitReason::LockLost };
        lose_lock(state, reason, acts);
    }
}

/// The lock of a running child may be another's from now on, as far as is known.
pub(super) fn on_proof_deadline(state: &mut State, acts: &mut Vec<Act>) {
    let reason = match state.kind {
        LockKind::File => ExitReason::StorageUnproven,
        LockKind::Lease => ExitReason::LeaseUnproven,
        LockKind::Log => return,
    };
    if state.may_write() {
        kill(state, reason, acts);
    }
}

/// Other brokers hold the lock too. The one that stays must prove it by a look that follows.
pub(super) fn on_disputed(state: &mut State, side: Side, acts: &mut Vec<Act>) {
    if !state.may_write() {
        return;
    }
    match side {
        Side::Yields => kill(state, ExitReason::SplitBrain, acts),
        Side::Stays if state.doubted => {}
        Side::Stays => {
            state.doubted = true;
            state.lock = LockView::Unknown;
            acts.push(Act::Arm(Deadline::Doubt));
        }
    }
}

pub(super) fn on_doubt_deadline(state: &mut State, acts: &mut Vec<Act>) {
    if state.doubted && state.may_write() {
        kill(state, ExitReason::SplitBrain, acts);
    }
}

/// The broker will neither take a lock nor get to its greeting. A standby is left alone while the lock cannot
/// be seen: then the storage may hold it up.
pub(super) fn on_hung(state: &mut State, acts: &mut Vec<Act>) {
    let hangs = match state.phase {
        Phase::Standby(_) => matches!(state.lock, LockView::Other | LockView::Free),
        Phase::Starting { .. } | Phase::Promoting => true,
        Phase::Waiting(_)
        | Phase::Master(_)
        | Phase::SteppingDown { .. }
        | Phase::Dying(_)
        | Phase::Ending { .. }
        | Phase::Stopped => false,
    };
    if hangs && state.running() {
        kill(state, ExitReason::BrokerHung, acts);
    }
}

pub(super) fn on_log(state: &mut State, sign: LogSign, acts: &mut Vec<Act>) {
    if !state.running() {
        return;
    }
    match sign {
        LogSign::LockLost | LogSign::StorageFailed if !state.may_write() => {}
        LogSign::LockLost => kill(state, ExitReason::LockLost, acts),
        LogSign::Waits => {
            // With a lease it says so before its first try, which may succeed.
            let waits = state.kind == LockKind::File || state.lock == LockView::Other;
            match state.phase {
                Phase::Starting { .. } if waits => become_standby(state, acts),
                Phase::Starting { .. } => state.phase = Phase::Starting { tries: true },
                Phase::Waiting(_)
                | Phase::Standby(_)
                | Phase::Promoting
                | Phase::Master(_)
                | Phase::SteppingDown { .. }
                | Phase::Dying(_)
                | Phase::Ending { .. }
                | Phase::Stopped => {}
            }
        }
        LogSign::StorageFailed => kill(state, ExitReason::StorageFailed, acts),
        // What the log says of a lease is seen by looks; they prove more.
        LogSign::Takes => {}
    }
}

pub(super) fn become_standby(state: &mut State, acts: &mut Vec<Act>) {
    acts.extend([Act::Disarm(Deadline::Settle), Act::Arm(Deadline::Health)]);
    state.phase = Phase::Standby(FreeLock::No);
}

pub(super) fn kill(state: &mut State, reason: ExitReason, acts: &mut Vec<Act>) {
    acts.push(Act::Kill(reason));
    disarm_life(state, acts);
    state.phase = Phase::Dying(reason);
}

/// Forgets what was to come in the child's life.
pub(super) fn disarm_life(state: &State, acts: &mut Vec<Act>) {
    disarm_service(acts);
    if state.needs_proof() {
        acts.push(Act::Disarm(Deadline::Proof));
    }
}

/// Forgets what is no longer expected of a child that is to end.
pub(super) fn disarm_service(acts: &mut Vec<Act>) {
    let service = [
        Deadline::Settle,
        Deadline::Take,
        Deadline::Hang,
        Deadline::Health,
        Deadline::StopGrace,
        Deadline::MakeWay,
    ];
    acts.extend(service.map(Act::Disarm));
}
