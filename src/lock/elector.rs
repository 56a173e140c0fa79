//! Who elects the master among the brokers on a volume: one elector for one store.
//!
//! Brokers that are elected by different means, or belong to different groups, do not exclude each other. So the
//! volume bears the name of its elector, and each pod's beat bears its own. A newcomer of another name starts
//! nothing while a pod of the former name may live. When all of them are gone it takes the volume over:
//!
//! ```text
//! newcomer                                  a pod of the former elector
//! writes its name, unsettled                beats
//! watches the beats for a while             reads the name
//! settles it, or gives it back
//! ```
//!
//! Each writes first and looks afterwards, so at least one of them sees the other. Pure: time is an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lock::trial::GONE_AFTER;

/// For so long a name stays unsettled: a pod that acts on the former one has beaten by then, and is seen.
pub const SETTLES: Duration = Duration::from_secs(5);

/// What elects, and for which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elector {
    /// `file`, or `lease:<kind>/<host>:<port>/<database>/<prefix>`.
    pub by: String,
    /// The namespace of the `BrokerCluster`.
    pub namespace: String,
    /// Its name.
    pub cluster: String,
    /// Its uid: one that was made anew is another one.
    pub uid: String,
}

impl Elector {
    fn is(&self, other: &Self) -> bool {
        self.by == other.by && self.uid == other.uid
    }

    /// In words.
    pub fn describe(&self) -> String {
        let Self { by, namespace, cluster, uid } = self;
        format!("BrokerCluster {namespace}/{cluster} (uid {uid}), which is elected by {by}")
    }
}

/// What the volume says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Whose volume it is.
    pub elector: Elector,
    /// Whose it was, until that is settled.
    pub former: Option<Elector>,
}

/// Another pod on the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub pod: String,
    /// What elects its brokers; pods of earlier versions do not say.
    pub elector: Option<Elector>,
    /// Whether it beats.
    pub beats: bool,
    /// Whether its beat's file is still locked; nothing if that cannot be told.
    pub locked: Option<bool>,
}

impl Other {
    /// Only a pod that is seen to be gone is gone.
    fn may_live(&self) -> bool {
        self.beats || self.locked != Some(false)
    }

    fn may_be(&self, elector: &Elector) -> bool {
        self.elector.as_ref().is_none_or(|theirs| theirs.is(elector))
    }
}

/// How this pod stands to the volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Its elector is the volume's.
    Ours,
    /// The volume is another's.
    Elsewhere {
        /// Whose.
        elector: Elector,
        /// Pods of that one which may live.
        pods: Vec<String>,
    },
    /// That is not known yet; also a word that this version does not know.
    #[serde(other)]
    Unsettled,
}

/// One pod's part.
#[derive(Clone, Debug)]
pub struct Candidate {
    ours: Elector,
    /// Since when the volume has borne our name, unsettled.
    unsettled: Option<Duration>,
}

impl Candidate {
    /// Of a pod whose brokers are elected by this.
    pub fn new(ours: Elector) -> Self {
        Self { ours, unsettled: None }
    }

    /// What elects its brokers.
    pub fn elector(&self) -> &Elector {
        &self.ours
    }

    /// How it stands, after its own beat was written and then `written` was read; and what the volume must say
    /// instead, provided that it still says the same. `now` counts from this pod's first beat.
    pub fn next(
        &mut self,
        now: Duration,
        written: Option<&Written>,
        others: &[Other],
    ) -> (Standing, Option<Written>) {
        let Some(written) = written else {
            self.unsettled = None;
            let first = Written { elector: self.ours.clone(), former: None };
            return (Standing::Unsettled, Some(first));
        };
        let alive = |elector: &Elector| -> Vec<String> {
            let theirs = others.iter().filter(|other| other.may_live() && other.may_be(elector));
            theirs.map(|other| other.pod.clone()).collect()
        };
        if !written.elector.is(&self.ours) {
            self.unsettled = None;
            let pods = alive(&written.elector);
            if !pods.is_empty() {
                return (Standing::Elsewhere { elector: written.elector.clone(), pods }, None);
            }
            if now < GONE_AFTER {
                return (Standing::Unsettled, None);
            }
            let former = written.former.clone().unwrap_or_else(|| written.elector.clone());
            let taken = Written { elector: self.ours.clone(), former: Some(former) };
            return (Standing::Unsettled, Some(taken));
        }
        let Some(former) = &written.former else {
            self.unsettled = None;
            return (Standing::Ours, None);
        };
        let pods = alive(former);
        if !pods.is_empty() {
            self.unsettled = None;
            let back = Written { elector: former.clone(), former: None };
            return (Standing::Elsewhere { elector: former.clone(), pods }, Some(back));
        }
        let since = *self.unsettled.get_or_insert(now);
        let settled = now.saturating_sub(since) >= SETTLES;
        let settled = settled.then(|| Written { elector: self.ours.clone(), former: None });
        (Standing::Unsettled, settled)
    }
}

#[cfg(test)]
#[path = "elector_tests.rs"]
mod tests;
