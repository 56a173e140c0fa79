//! What the machine remembers.

use super::words::{Act, Child, LockKind};
use crate::broker::report::{AgentState, ExitReason, LockView};

/// What the machine remembers. Finite, so that it can be checked exhaustively.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct State {
    pub(super) kind: LockKind,
    pub(super) phase: Phase,
    pub(super) child: Child,
    /// The last view of the lock since the last change of the child.
    pub(super) lock: LockView,
    /// Ends in a row without ten healthy minutes between them, at most [`super::MAX_FAILURES`].
    pub(super) failures: u8,
    /// Whether the record named the running child when last seen.
    pub(super) recorded: bool,
    /// Whether the record may name this pod: a promotion was begun, and no newer one was seen.
    pub(super) claimed: bool,
    /// Whether the release of a dead child's lease is under way.
    pub(super) releasing: bool,
    /// Whether other brokers hold the lock too, and no look since has found it ours.
    pub(super) doubted: bool,
    /// Whether the child greeted before a look found the lock its own.
    pub(super) early: Early,
    /// Whether no broker is to run here; one that holds the lock goes on.
    pub(super) kept_down: bool,
    pub(super) terminating: bool,
}

/// Where the machine stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Waiting(Waiting),
    /// `tries`: its log says that it waits for the lock, which is free or not seen yet.
    Starting {
        tries: bool,
    },
    Standby(FreeLock),
    /// Holds the lock; `greeted` when it has greeted at least once.
    Promoting,
    Master(Serving),
    /// `SIGTERM` sent, for that reason; `held` when the child held the lock at that time.
    SteppingDown {
        held: bool,
        reason: ExitReason,
    },
    /// `SIGKILL` sent, or the child ended by itself; its end is not complete yet.
    Dying(ExitReason),
    /// No child is left, the pod ends; what remains is the record, unless `led`: clients are led
    /// elsewhere, or were never led here.
    Ending {
        led: bool,
    },
    Stopped,
}

/// What a start still waits for; all of it must be settled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) why: Why,
    pub(super) file: FileGate,
    pub(super) handover: HandoverGate,
    pub(super) backing_off: bool,
    pub(super) claims: ClaimGate,
    pub(super) preparation: Preparation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Why {
    FirstStart,
    LockLost,
    Ended,
    /// It handed the mastership over.
    Yielded,
    /// It was stopped as a standby, to be kept down.
    KeptDown,
}

/// Whether the lock file, or its absence, has been stable for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FileGate {
    Open,
    Unseen,
    /// Seen; [`super::Deadline::LockFile`] runs.
    Settling,
    /// The deadline has passed; one more look must find it unchanged.
    Settled,
}

/// Whether another broker had its chance to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum HandoverGate {
    Open,
    Shut,
    /// Another one has the lock of this former master, or was promoted: its start and its clients come
    /// first.
    Taken,
}

/// Whether other pods' brokers were found to hold no lock that this node does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClaimGate {
    Open,
    /// To be asked, once what is above is settled.
    Due,
    Asked,
    /// One does hold it; [`super::Deadline::Claims`] runs.
    Shut,
}

/// Whether a broker can be started on its volume or database. Asked first of all, since two pods have
/// to find each other on a volume; later last, when nothing else is waited for, so that a start follows
/// the answer at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Preparation {
    /// It is to be asked, once all the rest is settled.
    Due,
    Asked,
    /// [`super::Deadline::Prepare`] runs.
    Refused,
    /// It can.
    Done,
}

/// How long a standby has left a free lock alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FreeLock {
    /// It is not free.
    No,
    /// It is; [`super::Deadline::Take`] runs.
    Seen,
    /// The deadline has passed; one more look must find it free.
    Overdue,
}

/// A child that greets serves clients, so it must have the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Early {
    /// It has not greeted yet, or the lock was seen to be its own.
    No,
    /// It greeted. The look under way may have been begun before it had the lock.
    Greeted,
    /// It greeted, and the lock was not seen to be its own; the next look is begun after the greeting.
    Doubted,
}

/// A master's hang detection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serving {
    pub(super) promoting: bool,
    /// [`super::Deadline::Hang`] has passed since the last greeting.
    pub(super) overdue: bool,
    /// Failed greetings since the last good one, at most [`super::HUNG_AFTER_MISSES`].
    pub(super) misses: u8,
}

impl Default for State {
    fn default() -> Self {
        Self {
            kind: LockKind::File,
            phase: Phase::Waiting(Waiting {
                why: Why::FirstStart,
                file: FileGate::Unseen,
                handover: HandoverGate::Open,
                backing_off: false,
                claims: ClaimGate::Open,
                preparation: Preparation::Asked,
            }),
            child: Child::Absent,
            lock: LockView::Unknown,
            failures: 0,
            recorded: false,
            claimed: false,
            releasing: false,
            doubted: false,
            early: Early::No,
            kept_down: false,
            terminating: false,
        }
    }
}

impl State {
    /// Before the first start of a broker with such a lock, and what is to be done at once.
    pub fn begin(kind: LockKind) -> (Self, Vec<Act>) {
        let mut state = Self { kind, ..Self::default() };
        if let (true, Phase::Waiting(waiting)) = (state.has_database(), &mut state.phase) {
            waiting.file = FileGate::Open;
        }
        (state, vec![Act::Prepare])
    }

    /// The state's name in the report.
    pub fn name(&self) -> AgentState {
        match &self.phase {
            Phase::Waiting(_) if self.kept_down => AgentState::Held,
            Phase::Waiting(waiting) => match waiting.why {
                Why::FirstStart | Why::KeptDown => AgentState::Preflight,
                Why::LockLost => AgentState::Fenced,
                Why::Ended => AgentState::Backoff,
                Why::Yielded => AgentState::SteppingDown,
            },
            Phase::Starting { .. } => AgentState::Starting,
            Phase::Standby(_) => AgentState::Standby,
            Phase::Promoting => AgentState::Promoting,
            Phase::Master(_) => AgentState::Master,
            Phase::Dying(_) if self.terminating => AgentState::SteppingDown,
            Phase::SteppingDown { .. }
            | Phase::Dying(ExitReason::SwitchedOver | ExitReason::KeptDown) => {
                AgentState::SteppingDown
            }
            Phase::Dying(
                ExitReason::LockLost
                | ExitReason::LeaseUnproven
                | ExitReason::StorageUnproven
                | ExitReason::SplitBrain,
            ) => AgentState::Fenced,
            Phase::Dying(_) => AgentState::Backoff,
            Phase::Ending { .. } | Phase::Stopped => AgentState::Stopped,
        }
    }

    /// The broker process as the machine knows it.
    pub fn child(&self) -> Child {
        self.child
    }

    /// The last view of the lock since the child's last change.
    pub fn lock(&self) -> LockView {
        self.lock
    }

    /// Why the child is ending or ended; [`ExitReason::BrokerCrashed`] unless the agent ended it.
    pub fn exit_reason(&self) -> ExitReason {
        match self.phase {
            Phase::Dying(reason) | Phase::SteppingDown { reason, .. } => reason,
            Phase::Waiting(_)
            | Phase::Starting { .. }
            | Phase::Standby(_)
            | Phase::Promoting
            | Phase::Master(_)
            | Phase::Ending { .. }
            | Phase::Stopped => ExitReason::BrokerCrashed,
        }
    }

    /// Whether this pod's broker is to be kept down, as far as was last told.
    pub fn keeps_down(&self) -> bool {
        self.kept_down
    }

    /// Whether a promotion is to be carried on.
    pub fn wants_promotion(&self) -> bool {
        matches!(&self.phase, Phase::Master(serving) if serving.promoting)
    }

    /// Whether brokers get at their lock by a database.
    pub(super) fn has_database(&self) -> bool {
        self.kind != LockKind::File
    }

    /// Whether others may get the lock though the child lives, and looks prove until when they do not.
    pub(super) fn needs_proof(&self) -> bool {
        self.kind != LockKind::Log
    }

    pub(super) fn running(&self) -> bool {
        self.child == Child::Running
    }

    /// Whether the child runs and was not sent `SIGKILL`.
    pub(super) fn may_write(&self) -> bool {
        let alive = match self.phase {
            Phase::Starting { .. }
            | Phase::Standby(_)
            | Phase::Promoting
            | Phase::Master(_)
            | Phase::SteppingDown { .. } => true,
            Phase::Waiting(_) | Phase::Dying(_) | Phase::Ending { .. } | Phase::Stopped => false,
        };
        alive && self.running()
    }

    pub(super) fn holds_lock(&self) -> bool {
        matches!(
            self.phase,
            Phase::Promoting | Phase::Master(_) | Phase::SteppingDown { held: true, .. }
        )
    }
}
