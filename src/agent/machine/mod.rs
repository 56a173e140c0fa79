//! What the agent does next: a pure, finite state machine.
//!
//! [`step`] knows neither clock nor kernel nor API server. Time enters as deadlines that have
//! passed; every act is carried out by the loop around it. A model checker calls this function.
//!
//! # What must be true for each act
//!
//! A [`LockKind`] says which rules hold; the ones without a kind hold for all.
//!
//! * **Prepare**: as the first thing, and after each end of a broker, when nothing else of what a start
//!   waits for is left, so that the start follows the answer at once. Again 2 s after each refusal: a
//!   broker that is started on a database that refuses it would only crash, and one on a volume whose
//!   locks do not hold would destroy the store.
//! * **Start**: no child is left (the one before is reaped, and no descendant of it lives), and
//!   - files: before the first start, after a lost lock, and whenever there is no lock file, it was seen
//!     unchanged, or absent, for two keep-alive periods *and* once more after them. A freshly started
//!     broker that finds the lock free has no hold-off of its own, so a thief's traces must be waited
//!     for, and a master whose lock file was deleted must have noticed;
//!   - the preparation succeeded, and no broker has run since;
//!   - leases: the release of the broker before is over, or 2 s have passed;
//!   - after any end of a broker: another holder is seen, or `poll + keep-alive + 1 s` have passed,
//!     or the pod is proven to be alone. It must not race the standby for the lock or the CPU;
//!   - after a master's end, when another holder was seen: that one's promotion was seen and 1 s has passed,
//!     or the lock is free again, or 10 s have passed. Two pods may share a node, and a JVM that starts takes
//!     the processors from the one that takes over, and from the clients that come back;
//!   - after the second end in a row: the back-off has passed;
//!   - files, leases: after a lost lock and after a split brain, another holder is seen, or the other
//!     pods' agents say that their brokers hold nothing (one that does not answer does not count,
//!     unless the record is disputed). A broker elsewhere that holds what this node sees free would be
//!     joined by a second one. Log: after a split brain only, because nothing else is seen of its lock;
//!   - the pod was not told to end, and its broker is not to be kept down.
//! * **Stop** (polite): the pod was told to end, and the broker runs.
//! * **Kill**, only for one of these:
//!   - the lock is lost: this child held it and a probe says that another one or nobody does, or
//!     the lock file's identity changed, or its lease ran out, or the broker logs that it gives up
//!     its lock. Never politely: a polite stop writes to a store that may be another's by now;
//!   - files, leases: [`Deadline::Proof`] has passed: whatever role the broker had when last seen, by
//!     now it may have had the lock and another one may have got it after. Every look that is answered
//!     moves the deadline, by what it proves. A lease of ours: until its end; anything else of a lease:
//!     until one lease after the start of the look, as our broker may have got it right after. A file
//!     on network storage: until `fenceAfter` past the start of the look, because the server that
//!     answered it still knew this machine; on a local file system: for ever;
//!   - files, leases: it greeted as a broker that starts or waits, so it serves, and the two looks that
//!     were answered next say that the lock is not its own. The first of them may have been begun
//!     before it took the lock, the second was not;
//!   - it hangs: it greeted once, then not for `hangTimeout`, and two attempts in a row failed
//!     since (a node that thaws must not judge by the time it slept);
//!   - it shows no sign of life ([`Input::Hung`]): as a standby, while the last look was answered, it has not
//!     tried the lock for `hangTimeout`; or it starts or holds the lock, has not greeted yet, and has neither
//!     used the processor nor read nor written for six times that. A process that waits for a device never
//!     counts: that is the storage's fault;
//!   - as a standby it leaves a free lock alone for longer than `hangTimeout`, poll and keep-alive
//!     together: nobody else would end a frozen standby, and without it nobody takes over;
//!   - the record says that several brokers hold the lock, this child among them, and that it is the one
//!     to yield; or that it stays, and within 2 s no look has found the lock its own;
//!   - a polite stop lasted longer than its grace. A master that steps down, or whose pod ends while another
//!     pod's agent says that its broker waits for the lock, has 300 ms from then on: a polite stop saves
//!     its successor the replay of the journal's end, which takes less than a second, but it stops one
//!     connection after the other, and may wait up to 1 s for the thread of each (`TcpTransport.stop`).
//!
//!   Never for slowness before the first greeting: a recovery that goes on is seen to work. And never because one probe gave no answer:
//!   `Unknown` and a refused preparation start, stop and kill nothing.
//! * **Release** (leases): the child is gone with all its descendants. Its death is proven, so its
//!   sessions may be ended and its lease given to the next one before it ends by itself.
//! * **Promote**: the child runs, the lock is its, and it greets; all three seen since its start.
//!   Again whenever the record is seen not to name it while all three still hold.
//! * **Stop**, besides the pod's end: somebody asks for a switchover, the child is the proven and recorded
//!   master, and another pod has just said that its broker waits for the lock. It is started again as any
//!   former master, but not before 10 s after its end if nobody takes the lock, unless there is no other pod.
//! * **Stop**, to keep a broker down: it is to be kept down, it starts or waits, and the last answered look
//!   since its start says that another one holds the lock. Never one that holds the lock (it promotes, is
//!   master, or steps down), nor one that may hold or get it (the lock was not seen, is free, or the last
//!   look had no answer): whoever wants that one down hands the mastership over first. When it may run
//!   again, the lock file is waited for and the start is prepared as before a first start, because what was
//!   found out before may be long past.
//! * **Empty record**: the pod was told to end, its child is gone, it began a promotion, and no newer
//!   epoch came within 2 s of the child's end.
//! * **Exit**: the pod was told to end and no child is left; the release is over or its 2 s have
//!   passed; after a promotion, once the clients have been led elsewhere too: while the pod is there
//!   it refuses connections, afterwards its address swallows them.
//!
//! A broker with a lease logs that it waits before its first try. So that line makes a standby only
//! together with a view that another one holds the lease.
//!
//! The caller owes one thing: views of the lock, the greeting and the log that are older than the
//! child's start, or that belong to a child before it, are not passed in.

use crate::broker::report::{ExitReason, GreetingView, LockView};

mod life;
mod lock;
mod state;
mod wait;
mod words;

pub use crate::broker::signs::LogSign;
pub use state::State;
use state::{ClaimGate, Early, FileGate, FreeLock, HandoverGate, Phase, Preparation, Serving};
pub use words::{
    Act, Child, ChildEvent, Claims, Deadline, Input, LockKind, MAX_FAILURES, Peers,
    PreparationView, RecordView, Side,
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
        Input::Lock(view) => lock::on_lock(&mut state, view, &mut acts),
        Input::LockChanged => lock::on_lock_changed(&mut state, &mut acts),
        Input::LockFile(view) => wait::on_lock_file(&mut state, view, &mut acts),
        Input::Greeting(view) => on_greeting(&mut state, view, &mut acts),
        Input::Hung => lock::on_hung(&mut state, &mut acts),
        Input::Log(sign) => lock::on_log(&mut state, sign, &mut acts),
        Input::Child(event) => life::on_child(&mut state, event, &mut acts),
        Input::Prepared(view) => wait::on_prepared(&mut state, view, &mut acts),
        Input::Released => life::on_released(&mut state, &mut acts),
        Input::Peers(peers) => {
            if let (Peers::Alone, Phase::Waiting(waiting)) = (peers, &mut state.phase) {
                waiting.handover = HandoverGate::Open;
            }
        }
        Input::Claims(claims) => wait::on_claims(&mut state, claims, &mut acts),
        Input::Disputed(side) => lock::on_disputed(&mut state, side, &mut acts),
        Input::Record(view) => on_record(&mut state, view, &mut acts),
        Input::StepDown => life::on_step_down(&mut state, &mut acts),
        Input::Hold(hold) => wait::on_hold(&mut state, hold),
        Input::Promoted => on_promoted(&mut state),
        Input::Emptied => life::on_led(&mut state, &mut acts),
        Input::DeadlinePassed(deadline) => on_deadline(&mut state, deadline, &mut acts),
        Input::Terminate => life::on_terminate(&mut state, &mut acts),
    }
    promote_if_astray(&mut state, &mut acts);
    life::stop_if_kept_down(&mut state, &mut acts);
    wait::go_on_if_settled(&mut state, &mut acts);
    (state, acts)
}

fn on_greeting(state: &mut State, view: GreetingView, acts: &mut Vec<Act>) {
    if !state.running() {
        return;
    }
    let proven = matches!(state.lock, LockView::Mine(_));
    let early = state.early == Early::No && state.needs_proof();
    match (&mut state.phase, view) {
        (Phase::Starting { .. } | Phase::Standby(_), GreetingView::Ok) if early => {
            state.early = Early::Greeted;
        }
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
        lock::kill(state, ExitReason::BrokerHung, acts);
    }
}

fn on_record(state: &mut State, view: RecordView, acts: &mut Vec<Act>) {
    state.recorded = view == RecordView::Ours;
    if view == RecordView::Newer && !matches!(state.phase, Phase::Master(_)) {
        let was_master = std::mem::take(&mut state.claimed);
        wait::on_successor(state, was_master, acts);
        if matches!(state.phase, Phase::Ending { .. }) {
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
        (Deadline::Handover, Phase::Waiting(waiting)) if waiting.handover == HandoverGate::Shut => {
            waiting.handover = HandoverGate::Open;
        }
        (Deadline::Yield | Deadline::Reconnect, Phase::Waiting(waiting)) => {
            waiting.handover = HandoverGate::Open;
        }
        (Deadline::Backoff(_), Phase::Waiting(waiting)) => waiting.backing_off = false,
        (Deadline::Settle, Phase::Starting { .. }) => {
            if state.lock == LockView::Other {
                lock::become_standby(state, acts);
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
        (Deadline::StopGrace, Phase::SteppingDown { .. })
        | (Deadline::MakeWay, Phase::SteppingDown { held: true, .. })
            if state.child == Child::Running =>
        {
            lock::kill(state, state.exit_reason(), acts);
        }
        (Deadline::Proof, _) => lock::on_proof_deadline(state, acts),
        (Deadline::Prepare, Phase::Waiting(waiting))
            if waiting.preparation == Preparation::Refused =>
        {
            waiting.preparation = Preparation::Due;
        }
        (Deadline::Claims, Phase::Waiting(waiting)) if waiting.claims == ClaimGate::Shut => {
            waiting.claims = ClaimGate::Due;
        }
        (Deadline::Doubt, _) => lock::on_doubt_deadline(state, acts),
        (Deadline::Release, _) => life::on_released(state, acts),
        (Deadline::Record, Phase::Ending { led: false }) => acts.push(Act::EmptyRecord),
        (Deadline::Linger | Deadline::Exit, _) => life::on_led(state, acts),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
