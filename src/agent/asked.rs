//! What the record asks of this pod besides its promotion, and for how long. Time is told as what has passed
//! since the agent began.
//!
//! What was last seen stays until the record is seen again: an API server that is away ends no fence. An
//! agent that has just started and has not seen the record yet is asked nothing.

use std::time::Duration;

use serde_json::Value;

use crate::agent::record;
use crate::core::promotion::Author;
use crate::core::switchover::StepDown;

/// A standby is kept down for a switchover to another one no longer than this: whoever is to end it may be
/// away.
const ROOM_FOR: Duration = Duration::from_secs(30);
/// A master that could not step down for so long serves on: nobody expects a switchover any more. Clearly
/// shorter than what the operator waits before it refuses, or a master could step down after the refusal.
const STEPS_DOWN_WITHIN: Duration = Duration::from_secs(10);

/// What is asked, as last seen.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    fenced: bool,
    /// A switchover to another standby, for which this one gets out of the way.
    room: Option<Standing>,
    /// A switchover that is asked of this pod as the master.
    step_down: Option<Standing>,
}

/// A request that stands, and since when it is known here.
#[derive(Clone, Debug)]
struct Standing {
    request: StepDown,
    since: Duration,
}

impl Asked {
    /// The watch showed the record; `None` if there is none. One that was read on the way may be older, and
    /// would end what is asked now, or ask again what is over.
    pub fn see(&mut self, record: Option<&Value>, author: &Author, now: Duration) {
        if let Some(fenced) = record::is_fenced(record, &author.pod.name) {
            self.fenced = fenced;
        }
        let request = record.and_then(|record| record::request(record, author));
        let own = &author.pod.name;
        let (asks_master, asks_standby) = match request {
            Some(request) if request.from == *own => (Some(request), None),
            Some(request) if request.to.as_ref().is_some_and(|to| to != own) => {
                (None, Some(request))
            }
            Some(_) | None => (None, None),
        };
        self.step_down = stands(asks_master, self.step_down.take(), now);
        self.room = stands(asks_standby, self.room.take(), now);
    }

    /// Whether this pod's broker is to be kept down.
    pub fn keeps_down(&self, now: Duration) -> bool {
        self.fenced || self.room.as_ref().is_some_and(|room| now < room.since + ROOM_FOR)
    }

    /// The request by which the master that was promoted by the epoch `tried` is to step down.
    pub fn steps_down(&self, tried: Option<u64>, now: Duration) -> Option<&StepDown> {
        let standing = self.step_down.as_ref()?;
        let stands = now < standing.since + STEPS_DOWN_WITHIN;
        Some(&standing.request).filter(|request| stands && tried == Some(request.epoch))
    }
}

/// A request that was known already stands for as long as it has.
fn stands(seen: Option<StepDown>, known: Option<Standing>, now: Duration) -> Option<Standing> {
    let request = seen?;
    let same = |other: &StepDown| {
        (&other.id, other.epoch, &other.to) == (&request.id, request.epoch, &request.to)
    };
    let since = known.filter(|known| same(&known.request)).map_or(now, |known| known.since);
    Some(Standing { request, since })
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
