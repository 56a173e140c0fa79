//! Whether a broker may be started on the store that is found: a group starts on no other store than the one
//! that it served from, unless a person has accepted the other one by its identity. Pure.
//!
//! The promotion record keeps the identity of the store that the group serves from. A claim that was made anew,
//! a mount that is missing on one node, a database that was emptied: each is another store, or an empty one.

use serde_json::Value;

use crate::{
    api::labels,
    broker::report::{FoundStore, StoreId, StoreProblem, StoreProblemKind},
};

/// What the promotion record says of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The record could not be read.
    Unknown,
    /// It was read. That there is none is known too: then nothing is said.
    Known {
        /// The store that the group serves from.
        store: Option<StoreId>,
        /// The store that a person accepted in its place.
        accepted: Option<StoreId>,
        /// Whether a broker was ever promoted.
        served: bool,
    },
}

impl Recorded {
    /// What this record says; `None` if there is no record.
    pub fn read(record: Option<&Value>) -> Self {
        let annotation = |key: &str| {
            let value = record?.pointer("/metadata/annotations")?.get(key)?.as_str()?;
            (!value.is_empty()).then_some(value)
        };
        Self::Known {
            store: annotation(labels::STORE).and_then(StoreId::read),
            accepted: annotation(labels::ACCEPTED_STORE).and_then(StoreId::read),
            // Also an identity or an epoch that cannot be read was written by a promotion.
            served: [labels::STORE, labels::EPOCH, labels::MASTER_UID]
                .iter()
                .any(|key| annotation(key).is_some()),
        }
    }
}

/// Whether a broker may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is the group's store.
    Go,
    /// It becomes the group's store by the next promotion.
    Adopt,
    /// It is not the group's store, or the group's store without its messages.
    Refuse(Refusal),
    /// It cannot be told.
    Wait(Unclear),
}

/// What cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// Which store this is.
    Store,
    /// Which store the group serves from.
    Record,
}

/// Why a store is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The store that the group served from, if the record names it.
    pub missing: Option<StoreId>,
    /// The one that is found.
    pub found: StoreId,
    /// Whether that holds a broker's files.
    pub used: bool,
}

/// Judges the store that is found. `opened` is the store on which this pod was last allowed to start a broker:
/// a mount stays the same for a pod's life, so that an API server which does not answer need not be waited for.
///
/// A group that was promoted by a version without identities has none on record. It adopts the store that it
/// finds, provided that a broker has written there.
pub fn judge(recorded: &Recorded, found: &FoundStore, opened: Option<&StoreId>) -> Judgement {
    let Some(identity) = &found.identity else { return Judgement::Wait(Unclear::Store) };
    let (store, accepted, served) = match recorded {
        Recorded::Unknown if opened == Some(identity) => return Judgement::Go,
        Recorded::Unknown => return Judgement::Wait(Unclear::Record),
        Recorded::Known { store, accepted, served } => (store.as_ref(), accepted.as_ref(), *served),
    };
    let same = store == Some(identity);
    if accepted == Some(identity) {
        return if same { Judgement::Go } else { Judgement::Adopt };
    }
    if same && found.used {
        return Judgement::Go;
    }
    if store.is_none() && (found.used || !served) {
        return Judgement::Adopt;
    }
    let (missing, found, used) = (store.cloned(), identity.clone(), found.used);
    Judgement::Refuse(Refusal { missing, found, used })
}

impl Refusal {
    /// In words, with the remedies. `cluster` is the `BrokerCluster`'s name.
    pub fn problem(&self, cluster: &str) -> StoreProblem {
        let Self { missing, found, used } = self;
        let kind =
            if *used { StoreProblemKind::StoreReplaced } else { StoreProblemKind::StoreMissing };
        let holds = if *used { "holds a broker's files" } else { "is empty" };
        let what = match missing {
            Some(missing) if missing == found => {
                format!("store {found}, which the group served from, has lost its messages")
            }
            Some(missing) => {
                format!(
                    "the group served from store {missing}; here is store {found}, which {holds}"
                )
            }
            None => format!("the group has served before; here is store {found}, which {holds}"),
        };
        let message = format!(
            "{what}. No broker is started on it. Bring the group's store back (see \
             docs/guides/operations.md, \"A store that is missing\"), or go on with this one, without the \
             other's messages: kubectl annotate --overwrite brokercluster {cluster} {}={found}",
            labels::ACCEPT_STORE
        );
        StoreProblem { kind, message }
    }
}

#[cfg(test)]
#[path = "store_identity_tests.rs"]
mod tests;
