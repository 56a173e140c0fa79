//! Which of several operator processes works: leader election by a Lease.
//!
//! Every write carries the `resourceVersion` that was read, so two candidates cannot both win.
//! Other processes' clocks are never compared with ours: a foreign Lease counts as dead only after
//! *we* have seen it unchanged for its whole duration, and we stop acting when our own renewals have
//! failed for [`GIVE_UP`], which ends before anybody else may take over.

use std::{future::Future, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;

use crate::{
    clock,
    kube_ext::{RequestError, request_within},
};

/// How long a Lease holds without a renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long after the start of the last successful renewal a leader goes on acting.
pub const GIVE_UP: Duration = Duration::from_secs(10);
/// How often a leader renews and a candidate looks.
pub const PERIOD: Duration = Duration::from_secs(2);
/// How long one request may take.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A Lease as it was last seen to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its content: equality only, never order.
    pub spec: LeaseSpec,
    /// When we first saw this content.
    pub at: Instant,
}

/// What a candidate does with the Lease that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nobody has ever had it.
    Create,
    /// It is ours: write a new renewal time.
    Renew,
    /// Its holder has let it go, or has not written for its whole duration: write our name.
    Take,
    /// Somebody has it.
    Wait,
}

/// What to do about a Lease, given when we first saw it as it is.
pub fn decide(identity: &str, lease: Option<&LeaseSpec>, seen: Option<&Seen>, now: Instant) -> Act {
    let Some(lease) = lease else { return Act::Create };
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let duration = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let duration = duration.map_or(DURATION, Duration::from_secs);
    let unchanged = seen.filter(|seen| seen.spec == *lease).map(|seen| now.duration_since(seen.at));
    if holder == identity {
        Act::Renew
    } else if holder.is_empty() || unchanged.is_some_and(|time| time > duration) {
        Act::Take
    } else {
        Act::Wait
    }
}

/// A process that may become leader.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<Seen>,
}

impl Candidate {
    /// A candidate for the Lease of this namespace and name. The identity must be this process' own.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            seen: None,
        }
    }

    /// Returns once this process is leader, with the moment from which that counts.
    pub async fn elected(&mut self) -> Instant {
        loop {
            let asked = Instant::now();
            match self.attempt().await {
                Ok(true) => return asked,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "leader election"),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Renews until that has failed for [`GIVE_UP`], then returns: the caller must stop acting.
    pub async fn hold(&mut self, since: Instant) {
        let mut renewed = since;
        while Instant::now().duration_since(renewed) < GIVE_UP {
            let end = renewed + GIVE_UP;
            tokio::time::sleep_until(end.min(Instant::now() + PERIOD)).await;
            let asked = Instant::now();
            match tokio::time::timeout_at(end, self.attempt()).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => {
                    tracing::error!("another process has taken the Lease");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease could not be renewed"),
                Err(_elapsed) => return,
            }
        }
    }

    /// Lets the Lease go, so that the next process need not wait for it to run out.
    pub async fn release(&mut self) {
        let released = deadline(async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok(())
        });
        if let Err(error) = released.await {
            tracing::warn!(%error, "the Lease could not be released");
        }
    }

    /// One look and at most one conditional write: whether we lead now.
    async fn attempt(&mut self) -> Result<bool, RequestError> {
        let lease = deadline(self.api.get_opt(&self.name)).await?;
        let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let now = Instant::now();
        let act = decide(&self.identity, spec.as_ref(), self.seen.as_ref(), now);
        if let Some(spec) =
            spec.filter(|spec| self.seen.as_ref().is_none_or(|seen| seen.spec != *spec))
        {
            self.seen = Some(Seen { spec, at: now });
        }
        let params = PostParams::default();
        let written = match (act, lease) {
            (Act::Wait, _) => return Ok(false),
            (Act::Create, _) | (_, None) => {
                deadline(self.api.create(&params, &self.next(None))).await
            }
            (Act::Renew | Act::Take, Some(lease)) => {
                let next = self.next(Some(lease));
                deadline(self.api.replace(&self.name, &params, &next)).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false), // somebody was faster
            Err(error) => Err(error),
        }
    }

    fn next(&self, lease: Option<Lease>) -> Lease {
        let now = MicroTime(clock::now());
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions =
                Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        lease
    }
}

async fn deadline<T>(
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    request_within(ATTEMPT, "access the Lease".to_owned(), future).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewal: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(jiff::Timestamp::from_second(renewal).unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_foreign_lease_is_dead_only_after_we_saw_it_unchanged_for_its_duration() {
        let start = Instant::now();
        let seen = Seen { spec: lease("b", 1), at: start };
        let decide = |lease: &LeaseSpec, after: u64| {
            decide("a", Some(lease), Some(&seen), start + Duration::from_secs(after))
        };
        assert_eq!(decide(&lease("b", 1), 15), Act::Wait);
        assert_eq!(decide(&lease("b", 1), 16), Act::Take);
        assert_eq!(decide(&lease("b", 2), 16), Act::Wait, "it has been renewed");
        assert_eq!(decide(&lease("", 1), 0), Act::Take, "it has been let go");
        assert_eq!(decide(&lease("a", 1), 99), Act::Renew);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_renewal_time_alone_proves_nothing() {
        assert_eq!(decide("a", Some(&lease("b", 0)), None, Instant::now()), Act::Wait);
        assert_eq!(decide("a", None, None, Instant::now()), Act::Create);
    }

    #[test]
    fn a_leader_gives_up_before_anybody_else_may_take_over() {
        assert!(GIVE_UP + ATTEMPT < DURATION);
    }
}
