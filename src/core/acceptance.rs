//! Whether a store that a person accepts goes on the promotion record: agents start brokers on it then.
//!
//! The annotation names the store. It counts only for a store on which a pod refuses to start its broker, and
//! only while no broker may run on another one: a mount that is missing on one node is no new store of the group.

use super::{
    observed::{Observed, PodView},
    record::RecordView,
    store_identity::{Judgement, Recorded, judge},
    validate::ValidCluster,
};
use crate::{api::labels, broker::report::StoreId};

/// What becomes of the annotation [`labels::ACCEPT_STORE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// There is none, or what it asks for is done.
    Nothing,
    /// The record must say that this store is accepted.
    Accept(StoreId),
    /// It changes nothing, for this reason.
    Ignored(String),
}

/// Judges the annotation.
pub fn acceptance(cluster: &ValidCluster, observed: &Observed) -> Acceptance {
    let (Some(asked), Some(record)) = (&cluster.accept_store, &observed.record) else {
        return Acceptance::Nothing;
    };
    let refused: Vec<_> =
        observed.pods.iter().filter_map(|pod| Some((pod, refused(record, pod)?))).collect();
    let asked = match StoreId::read(asked) {
        Some(asked) if record.store.as_ref() == Some(&asked) && refused.is_empty() => {
            return Acceptance::Nothing;
        }
        // As long as a pod is about to start its broker there.
        Some(asked) if record.accepted_store.as_ref() == Some(&asked) => {
            return Acceptance::Accept(asked);
        }
        Some(asked) if refused.iter().any(|(_, found)| *found == asked) => asked,
        Some(_) | None => {
            let found = refused.iter().map(|(pod, found)| format!("{} finds {found}", pod.name));
            let found: Vec<_> = found.collect();
            let found = if found.is_empty() {
                "no pod refuses a store".to_owned()
            } else {
                found.join(", ")
            };
            return Acceptance::Ignored(format!("it names {asked}, and {found}"));
        }
    };
    match observed.pods.iter().find(|pod| !pod.holds_nothing() && store(pod) != Some(&asked)) {
        Some(pod) => Acceptance::Ignored(format!(
            "{} may have a broker on another store. Mend the volume where {asked} is found; to go on \
             with {asked} nevertheless, end that broker first",
            pod.name
        )),
        None => Acceptance::Accept(asked),
    }
}

impl Acceptance {
    /// The accepted store that the record is to name.
    pub fn on_record(self) -> Option<StoreId> {
        match self {
            Self::Accept(store) => Some(store),
            Self::Nothing | Self::Ignored(_) => None,
        }
    }
}

/// Why the annotation is ignored, to be told beside the refusal of a store.
pub(super) fn remark(cluster: &ValidCluster, observed: &Observed) -> Option<String> {
    match acceptance(cluster, observed) {
        Acceptance::Ignored(why) => {
            Some(format!("the annotation {} is ignored: {why}", labels::ACCEPT_STORE))
        }
        Acceptance::Nothing | Acceptance::Accept(_) => None,
    }
}

fn store(pod: &PodView) -> Option<&StoreId> {
    pod.report()?.store.as_ref()?.identity.as_ref()
}

/// The store on which this pod starts no broker, by the record as it was read.
fn refused(record: &RecordView, pod: &PodView) -> Option<StoreId> {
    let recorded = Recorded::Known {
        store: record.store.clone(),
        // Whether it is accepted is the question here.
        accepted: None,
        served: record.store.is_some() || record.epoch > 0 || record.master_uid.is_some(),
    };
    let found = pod.report()?.store.as_ref()?;
    match judge(&recorded, found, None) {
        Judgement::Refuse(refusal) => Some(refusal.found),
        Judgement::Go | Judgement::Adopt | Judgement::Wait(_) => None,
    }
}

#[cfg(test)]
#[path = "acceptance_tests.rs"]
mod tests;
