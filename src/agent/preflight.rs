//! Whether a broker may be started on a volume: what of it must be true, and waiting for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::agent::api::ApiServer;
use crate::agent::peers::{self, Presence};
use crate::agent::store_gate::StoreGate;
use crate::agent::volume_watch::Volume;
use crate::broker::report::{StoreNote, StoreNoteKind, StoreProblem, StoreProblemKind};
use crate::broker::settings::{Preflight, VolumeSettings};
use crate::core::promotion::Author;
use crate::core::store_identity::{Judgement, Unclear};
use crate::lock::elector::Standing;
use crate::lock::members::Beaten;
use crate::lock::nfs_lease;

/// A pod that is the only one waits so long for another one to be made.
const ALONE: Duration = Duration::from_secs(2);
/// A volume that was found good before is used after so long without a sign of other pods.
const AS_BEFORE: Duration = Duration::from_secs(5);
/// After so long without a sign of other pods a broker is started on a volume that was never tried.
const UNTRIED: Duration = Duration::from_secs(30);
/// A pod that beats on the same volume is seen by then.
const SEEN_BY: Duration = Duration::from_secs(10);
/// Without a beat for so long the storage counts as hanging.
pub const HANGS: Duration = Duration::from_secs(5);
/// From one question to the next.
const PERIOD: Duration = Duration::from_millis(100);
/// From one question to the API server and the other agents to the next.
const ASK_PEERS: Duration = Duration::from_secs(1);
/// Locks are freed and writes are seen within these, or it is told.
const RELEASE_MILLIS: u64 = 2000;
const VISIBLE_MILLIS: u64 = 1000;

/// What is known of a volume.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The last beat, if one succeeded and none failed since.
    pub beaten: Result<&'a Beaten, &'a StoreProblem>,
    /// How long ago the last beat that succeeded was begun.
    pub beat_age: Option<Duration>,
    /// How long no other pod has been seen to beat.
    pub lonely: Duration,
    /// For how long another pod has been saying that it beats, unseen.
    pub unseen: Option<Duration>,
    /// Whether this agent has started a broker on it already: what let that one start still holds, because
    /// the pod has the same mount for its whole life.
    pub used: bool,
    /// Other pods, as the API server and their agents tell.
    pub presence: &'a Presence,
    /// How long a broker may live without proof of its lock.
    pub fence_after: Duration,
}

/// Whether a broker may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Not yet, for this reason.
    Wait(String),
    /// Not as long as this is so.
    Refused(StoreProblem),
}

/// The gate. A refusal that is about the volume's kind is overridden by `Warn`; one that is about a
/// volume that does not work is not, since a broker could not work either.
pub fn gate(settings: &VolumeSettings, facts: &Facts<'_>) -> Gate {
    let beaten = match facts.beaten {
        Ok(beaten) => beaten,
        Err(problem) => return Gate::Refused(problem.clone()),
    };
    if facts.beat_age.is_none_or(|age| age > HANGS) {
        return Gate::Refused(hangs());
    }
    if beaten.full {
        return Gate::Refused(full());
    }
    if let Some(problem) = elected_otherwise(settings, beaten) {
        return Gate::Refused(problem);
    }
    if beaten.standing == Some(Standing::Unsettled) {
        return Gate::Wait("the volume's elector is not settled yet".to_owned());
    }
    let warn = settings.preflight == Preflight::Warn;
    match objection(settings, beaten, facts) {
        Some(_) if warn => return Gate::Open,
        Some(problem) => return Gate::Refused(problem),
        None => {}
    }
    if matches!(&beaten.finding, Some(Ok(_))) {
        return Gate::Open;
    }
    if let Some(peer) = &beaten.trying {
        return Gate::Wait(format!("it tries the volume's locks together with {peer}"));
    }
    let enough = match facts.presence {
        Presence::Alone => ALONE,
        Presence::Beats(pod) => {
            return Gate::Wait(format!("{pod} beats on its volume, and is not seen here yet"));
        }
        Presence::Silent | Presence::Unknown if beaten.passed_before || facts.used => AS_BEFORE,
        Presence::Silent => UNTRIED,
        Presence::Unknown => {
            return Gate::Wait(
                "no other pod beats on the volume, and the API server does not say whether there \
                 are any"
                    .to_owned(),
            );
        }
    };
    if facts.lonely < enough {
        return Gate::Wait(format!(
            "no other pod is there to try the volume's locks with; it goes on without after {} s",
            enough.as_secs()
        ));
    }
    Gate::Open
}

/// Another elector's brokers may write the store. `Warn` does not override that.
pub fn elected_otherwise(settings: &VolumeSettings, beaten: &Beaten) -> Option<StoreProblem> {
    let Some(Standing::Elsewhere { elector, pods }) = &beaten.standing else { return None };
    let message = format!(
        "the volume is in use by {}: its pods {} may live, and brokers of two electors destroy the store. Delete \
         that BrokerCluster and wait until its pods are gone. If the node of such a pod is lost for good, remove \
         its .beat file from {}",
        elector.describe(),
        pods.join(" and "),
        settings.members
    );
    Some(StoreProblem { kind: StoreProblemKind::ElectedOtherwise, message })
}

/// Why the volume should not be used, though it works for this pod.
pub fn objection(
    settings: &VolumeSettings,
    beaten: &Beaten,
    facts: &Facts<'_>,
) -> Option<StoreProblem> {
    let judged = beaten.mount.as_ref().and_then(|mount| mount.judge(settings.locks).problem);
    let about_locks = |problem: &StoreProblem| {
        use StoreProblemKind::{LocksLocal, LocksNotFreed, LocksUnseen};
        matches!(problem.kind, LocksLocal | LocksNotFreed | LocksUnseen)
    };
    let found = beaten.finding.as_ref().and_then(|finding| finding.as_ref().err());
    let found = found.filter(|problem| settings.locks || !about_locks(problem)).cloned();
    let elsewhere = match facts.presence {
        Presence::Beats(pod) if facts.unseen.is_some_and(|since| since >= SEEN_BY) => {
            Some(StoreProblem {
                kind: StoreProblemKind::DifferentStores,
                message: format!(
                    "{pod} beats on its volume, and nothing of it is seen here: the pods have \
                     different directories under the same path, or do not see each other's writes. \
                     Use a volume that all nodes share"
                ),
            })
        }
        Presence::Beats(_) | Presence::Alone | Presence::Silent | Presence::Unknown => None,
    };
    let late = || beaten.lease.filter(|_| settings.locks).and_then(|lease| too_late(lease, facts));
    judged.or(found).or(elsewhere).or_else(late)
}

/// A broker that is cut off must be dead before the server gives its lock away.
fn too_late(lease: Duration, facts: &Facts<'_>) -> Option<StoreProblem> {
    let longest = nfs_lease::longest_fence(lease);
    if longest.is_some_and(|longest| facts.fence_after <= longest) {
        return None;
    }
    let shorter = longest.map_or_else(String::new, |longest| {
        format!(
            "set storage.sharedVolume.lock.file.fenceAfter to {} s or less, or ",
            longest.as_secs()
        )
    });
    Some(StoreProblem {
        kind: StoreProblemKind::FenceTooLate,
        message: format!(
            "the NFS server gives the lock of a node that is cut off away after {} s, and its broker would \
             be killed only {} s after the last proof (fenceAfter): {shorter}give the server a longer lease",
            lease.as_secs(),
            facts.fence_after.as_secs(),
        ),
    })
}

/// What people should know of the volume.
pub fn notes(settings: &VolumeSettings, beaten: &Beaten) -> Vec<StoreNote> {
    let mut notes =
        beaten.mount.as_ref().map(|mount| mount.judge(settings.locks).notes).unwrap_or_default();
    let mut note = |kind, message: String| notes.push(StoreNote { kind, message });
    if let Some(Ok(trial)) = &beaten.finding {
        if trial.release_millis > RELEASE_MILLIS || trial.visible_millis > VISIBLE_MILLIS {
            note(
                StoreNoteKind::Slow,
                format!(
                    "a killed process's lock was freed after {} ms and an answer to a write was \
                     seen after {} ms: failovers take that much longer",
                    trial.release_millis, trial.visible_millis
                ),
            );
        }
        let stale = trial.stale_millis.is_none_or(|millis| millis > settings.keep_alive_millis);
        if stale && settings.locks {
            let after = trial.stale_millis.map_or("over 2 s".to_owned(), |ms| format!("{ms} ms"));
            note(
                StoreNoteKind::AttributesCached,
                format!(
                    "a change of a file's time is seen only after {after}: brokers notice a \
                     stolen lock that late by themselves. Mount the volume with noac, or with \
                     actimeo=0 and lookupcache=none"
                ),
            );
        }
    }
    if beaten.full {
        note(StoreNoteKind::Full, full().message);
    }
    notes
}

fn full() -> StoreProblem {
    let message = "the volume is full: make it larger".to_owned();
    StoreProblem { kind: StoreProblemKind::Full, message }
}

/// The storage does not answer.
pub fn hangs() -> StoreProblem {
    StoreProblem {
        kind: StoreProblemKind::Hangs,
        message: format!("the volume has not answered for {} s", HANGS.as_secs()),
    }
}

/// Waits until the gate is open or shut for a reason; tells whether it is open.
pub async fn wait(
    settings: VolumeSettings,
    volume: Volume,
    api: ApiServer,
    author: Arc<Author>,
    stores: StoreGate,
) -> bool {
    let begun = Instant::now();
    let mut asked: Option<Instant> = None;
    loop {
        if asked.is_none_or(|at| at.elapsed() >= ASK_PEERS) && volume.is_lonely() {
            volume.note_presence(peers::presence(&api, &author).await);
            asked = Some(Instant::now());
        }
        let gate = volume.with(|facts| {
            // Before the first answer nothing is wrong yet.
            let early = facts.beat_age.is_none() && begun.elapsed() < HANGS;
            if early && facts.beaten.is_err_and(|problem| problem.kind == StoreProblemKind::Hangs) {
                return Gate::Wait("the volume has not answered yet".to_owned());
            }
            gate(&settings, facts)
        });
        let pause = match gate {
            Gate::Wait(why) => {
                volume.waits_for(Some(why));
                PERIOD
            }
            Gate::Refused(_) => {
                volume.waits_for(None);
                return false;
            }
            Gate::Open => match identified(&volume, &stores, &author.cluster).await {
                Gate::Wait(why) => {
                    volume.waits_for(Some(why));
                    ASK_PEERS
                }
                gate @ (Gate::Open | Gate::Refused(_)) => {
                    volume.waits_for(None);
                    return gate == Gate::Open;
                }
            },
        };
        sleep(pause).await;
    }
}

/// Whether this is the group's store. `Warn` overrides that no more than a person's acceptance of another store
/// would: it says how the volume behaves, not which one it is.
async fn identified(volume: &Volume, stores: &StoreGate, cluster: &str) -> Gate {
    let found = volume.found().unwrap_or_default();
    let judgement = stores.judge(&found).await;
    let refusal = match &judgement {
        Judgement::Refuse(refusal) => Some(refusal.problem(cluster)),
        Judgement::Go | Judgement::Adopt | Judgement::Wait(_) => None,
    };
    volume.note_refusal(refusal.clone());
    match (judgement, refusal) {
        (_, Some(problem)) => Gate::Refused(problem),
        (Judgement::Wait(Unclear::Store), None) => Gate::Wait(format!(
            "{}/store-id holds no identity; if that stays, remove this file",
            volume.settings().members
        )),
        (Judgement::Wait(Unclear::Record), None) => {
            Gate::Wait("the API server does not say which store the group serves from".to_owned())
        }
        (Judgement::Go | Judgement::Adopt | Judgement::Refuse(_), None) => Gate::Open,
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
