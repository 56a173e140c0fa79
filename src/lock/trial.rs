//! How two pods try the locks of a volume together, before a broker is started on it: what each says
//! on the volume itself, and what it concludes from what the other one says.
//!
//! ```text
//! tester                                subject
//! asks to hold        ->                locks its scratch file in a process of its own, writes to
//!                                       its mark file, says so
//! tries that lock: must be refused
//! asks to kill        ->                sends that process SIGKILL, reaps it, says so
//! tries that lock: must get it
//! asks for no more    ->                forgets it
//! ```
//!
//! Each pod is tester and subject at once. All of it goes through files of the volume, so each answer
//! also shows that writes of one are seen by the other. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::report::{StoreProblem, StoreProblemKind, TrialReport};
use crate::lock::elector::Elector;

/// A pod whose beats have not been seen for so long is not counted on.
pub const GONE_AFTER: Duration = Duration::from_secs(5);
/// An answer that takes longer does not come.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A change of a file's time that is not seen by then counts as not seen.
const MARK_WITHIN: Duration = Duration::from_secs(2);
/// After a refusal, until the trial is made again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What a pod says of itself on the volume, again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The pod's name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// What elects its brokers; agents of earlier versions do not say.
    #[serde(default)]
    pub elector: Option<Elector>,
    /// Rises with each beat.
    pub count: u64,
    /// What it wants another pod to do.
    pub ask: Option<Ask>,
    /// What it did last for another pod.
    pub done: Option<Ask>,
    /// The time that it last gave to its mark file: seconds since 1970.
    pub marked: i64,
}

/// A request of one pod to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// In a request the pod that is asked, in an answer the pod that asked: a uid.
    pub peer: String,
    /// Names the trial.
    pub trial: u32,
    /// What is asked for.
    pub deed: Deed,
}

/// What a subject does with its scratch file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Lock it, and write to the mark file.
    Hold,
    /// Kill the process that holds the lock.
    Kill,
    /// Forget the trial.
    Drop,
    /// What a newer pod says; never said by this one. Nothing is done about it.
    #[serde(other)]
    Unknown,
}

/// Another pod as last seen on the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it said.
    pub beat: Beat,
    /// When it last said something new; nothing if it has not since it was first seen.
    pub advanced: Option<Duration>,
    /// The time of its mark file, as a program that asks no further is told.
    pub mark: Option<i64>,
}

impl Seen {
    /// Whether its beats go on.
    pub fn lives(&self, now: Duration) -> bool {
        self.advanced.is_some_and(|at| now.saturating_sub(at) < GONE_AFTER)
    }
}

/// Other pods, by uid.
pub type Peers = BTreeMap<String, Seen>;

/// What came of an attempt to lock a file that another pod is said to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Refused, and a look shows it as held.
    Refused,
    /// Refused, but a look shows it as free.
    RefusedUnseen,
    /// It was granted, and given back.
    Granted,
}

/// What a tester has found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet.
    #[default]
    Nothing,
    /// The volume does what it must.
    Passed(TrialReport),
    /// It does not.
    Refused(StoreProblem),
}

/// The tester's side.
#[derive(Clone, Debug, Default)]
pub struct Tester {
    /// What is known so far.
    pub finding: Finding,
    trial: Option<Trial>,
    again: Duration,
}

#[derive(Clone, Debug)]
struct Trial {
    peer: String,
    id: u32,
    stage: Stage,
    since: Duration,
    /// When the subject's mark was to be seen, and which.
    mark: Option<(Duration, i64)>,
    /// How long it took until it was seen; nothing while it was not.
    stale: Option<Duration>,
    visible: Duration,
    release: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AskedToHold,
    /// The attempt that counts came out so; the next beat must still say that the lock is held.
    Tried(Option<Attempt>),
    AskedToKill,
    Killed,
    Freed,
}

/// What the tester wants now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// What it asks of another pod.
    pub ask: Option<Ask>,
    /// That pod's scratch file is to be tried.
    pub attempt: Option<String>,
}

impl Tester {
    /// Whether something goes on that should not wait.
    pub fn is_busy(&self) -> bool {
        self.trial.is_some()
    }

    /// Whom it tests the volume with at the moment.
    pub fn peer<'a>(&self, peers: &'a Peers) -> Option<&'a Beat> {
        peers.get(&self.trial.as_ref()?.peer).map(|seen| &seen.beat)
    }

    /// What is wanted next, after beats were read. `id` is a new trial's name; `node` the tester's.
    pub fn next(&mut self, now: Duration, peers: &Peers, node: &str, id: u32) -> Wants {
        if let Some(trial) = &self.trial
            && !peers.get(&trial.peer).is_some_and(|seen| seen.lives(now))
        {
            self.trial = None;
        }
        if self.trial.is_none() {
            self.trial = self.begin(now, peers, node, id);
        }
        let Some(mut trial) = self.trial.take() else { return Wants::default() };
        let Some(seen) = peers.get(&trial.peer) else { return Wants::default() };
        if let Some(finding) = trial.go_on(now, seen, node) {
            self.again = now + AGAIN_AFTER;
            self.finding = finding;
            return Wants::default();
        }
        let wants = trial.wants();
        self.trial = Some(trial);
        wants
    }

    /// The attempt that was wanted came out so.
    pub fn attempted(&mut self, now: Duration, attempt: Attempt) {
        let Some(trial) = &mut self.trial else { return };
        match (trial.stage, attempt) {
            (Stage::Tried(_), _) => trial.stage = Stage::Tried(Some(attempt)),
            (Stage::Killed, Attempt::Granted) => {
                trial.release = now.saturating_sub(trial.since);
                trial.stage = Stage::Freed;
            }
            _ => {}
        }
    }

    fn begin(&self, now: Duration, peers: &Peers, node: &str, id: u32) -> Option<Trial> {
        let due = match &self.finding {
            Finding::Nothing => true,
            // A trial on one node shows little; one with another node's pod is still wanted.
            Finding::Passed(report) => report.same_node && now >= self.again,
            Finding::Refused(_) => now >= self.again,
        };
        let living = || peers.iter().filter(|(_, seen)| due && seen.lives(now));
        let elsewhere = living().find(|(_, seen)| seen.beat.node != node);
        let passed = matches!(self.finding, Finding::Passed(_));
        let (uid, _) = elsewhere.or_else(|| living().next().filter(|_| !passed))?;
        Some(Trial {
            peer: uid.clone(),
            id,
            stage: Stage::AskedToHold,
            since: now,
            mark: None,
            stale: None,
            visible: Duration::ZERO,
            release: Duration::ZERO,
        })
    }
}

impl Trial {
    /// Goes on as far as what is seen permits; a finding ends it.
    fn go_on(&mut self, now: Duration, seen: &Seen, node: &str) -> Option<Finding> {
        let did = seen.beat.done.as_ref().filter(|done| done.trial == self.id);
        let did = did.map(|done| done.deed);
        self.watch_mark(now, seen);
        if did == Some(Deed::Unknown) {
            // Nothing is concluded from what a newer pod does.
            self.enter(Stage::AskedToHold, now);
            return None;
        }
        match (self.stage, did) {
            (Stage::AskedToHold, Some(Deed::Hold)) => {
                self.mark = Some((now, seen.beat.marked));
                self.watch_mark(now, seen);
                self.enter(Stage::Tried(None), now);
            }
            // It is about another pod's trial at the moment.
            (Stage::AskedToHold, None) if seen.beat.done.is_some() => self.since = now,
            // The subject has let go by itself: what was tried says nothing.
            (Stage::Tried(_), None | Some(Deed::Kill | Deed::Drop)) => {
                self.enter(Stage::AskedToHold, now);
            }
            (Stage::Tried(Some(Attempt::Granted)), Some(Deed::Hold)) => {
                return Some(refused(
                    StoreProblemKind::LocksLocal,
                    format!(
                        "a lock that {} held was granted to this pod too: locks of this volume \
                         do not hold between nodes, and two brokers would write. Use another \
                         volume, or mount it so that locks go to the server",
                        seen.beat.pod
                    ),
                ));
            }
            (Stage::Tried(Some(Attempt::RefusedUnseen)), Some(Deed::Hold)) => {
                return Some(refused(
                    StoreProblemKind::LocksUnseen,
                    format!(
                        "a lock that {} held is refused to this pod, but shown as free: the \
                         lock's holder cannot be told on this volume",
                        seen.beat.pod
                    ),
                ));
            }
            (Stage::Tried(Some(Attempt::Refused)), Some(Deed::Hold)) => {
                self.enter(Stage::AskedToKill, now);
            }
            (Stage::AskedToKill, Some(Deed::Kill)) => {
                self.visible = now.saturating_sub(self.since);
                self.enter(Stage::Killed, now);
            }
            (Stage::Freed, _) => return self.report(now, seen, node),
            _ => {}
        }
        self.overdue(now, seen)
    }

    fn enter(&mut self, stage: Stage, now: Duration) {
        (self.stage, self.since) = (stage, now);
    }

    fn watch_mark(&mut self, now: Duration, seen: &Seen) {
        if let (Some((at, mark)), None) = (self.mark, self.stale)
            && seen.mark == Some(mark)
        {
            self.stale = Some(now.saturating_sub(at));
        }
    }

    fn report(&self, now: Duration, seen: &Seen, node: &str) -> Option<Finding> {
        let waited = self.mark.map_or(Duration::ZERO, |(at, _)| now.saturating_sub(at));
        if self.stale.is_none() && waited < MARK_WITHIN {
            return None;
        }
        Some(Finding::Passed(TrialReport {
            peer: seen.beat.pod.clone(),
            peer_node: seen.beat.node.clone(),
            same_node: seen.beat.node == node,
            release_millis: millis(self.release),
            visible_millis: millis(self.visible),
            stale_millis: self.stale.map(millis),
        }))
    }

    fn overdue(&self, now: Duration, seen: &Seen) -> Option<Finding> {
        if now.saturating_sub(self.since) < ANSWER_WITHIN {
            return None;
        }
        let pod = &seen.beat.pod;
        Some(match self.stage {
            Stage::Killed => refused(
                StoreProblemKind::LocksNotFreed,
                format!(
                    "a lock was not freed within {} s after {pod} killed its holder: a standby \
                     could not take over",
                    ANSWER_WITHIN.as_secs()
                ),
            ),
            Stage::AskedToHold | Stage::Tried(_) | Stage::AskedToKill | Stage::Freed => refused(
                StoreProblemKind::WritesNotSeen,
                format!(
                    "{pod} writes to the volume but did not see within {} s what this pod wrote: \
                     a standby would read outdated messages",
                    ANSWER_WITHIN.as_secs()
                ),
            ),
        })
    }

    fn wants(&self) -> Wants {
        let deed = match self.stage {
            Stage::AskedToHold | Stage::Tried(_) => Deed::Hold,
            Stage::AskedToKill | Stage::Killed | Stage::Freed => Deed::Kill,
        };
        let tries = matches!(self.stage, Stage::Tried(_) | Stage::Killed);
        Wants {
            ask: Some(Ask { peer: self.peer.clone(), trial: self.id, deed }),
            attempt: tries.then(|| self.peer.clone()),
        }
    }
}

/// The subject's side.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// What it did last, and for whom.
    pub done: Option<Ask>,
}

impl Subject {
    /// What is to be done for another pod, if something is, after beats were read.
    pub fn next(&self, now: Duration, peers: &Peers, own: &str) -> Option<Ask> {
        let asks = |seen: &Seen| seen.beat.ask.clone().filter(|ask| ask.peer == own);
        if let Some(done) = &self.done {
            let tester = peers.get(&done.peer).filter(|seen| seen.lives(now));
            let ask = tester.and_then(asks).filter(|ask| ask.trial == done.trial);
            let deed = ask.map_or(Deed::Drop, |ask| ask.deed);
            let new = deed != done.deed && deed != Deed::Unknown;
            return new.then(|| Ask { deed, ..done.clone() });
        }
        let mut testers = peers.iter().filter(|(_, seen)| seen.lives(now));
        testers.find_map(|(uid, seen)| {
            let ask = asks(seen).filter(|ask| ask.deed == Deed::Hold)?;
            Some(Ask { peer: uid.clone(), ..ask })
        })
    }

    /// It was done.
    pub fn did(&mut self, ask: Ask) {
        self.done = Some(ask).filter(|ask| ask.deed != Deed::Drop);
    }
}

fn refused(kind: StoreProblemKind, message: String) -> Finding {
    Finding::Refused(StoreProblem { kind, message })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
