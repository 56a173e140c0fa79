//! The claim that Tandem makes: how large it is to be, and whether it goes with its cluster.
//!
//! Two things never happen here. A claim is never asked to be smaller than it is, because volumes do not
//! shrink and every apply would be refused. And no claim is deleted but one that Tandem made, for a
//! cluster whose spec says `retention: Delete`, and that no other group uses.

use serde_json::{Value, json};

use super::{observed::Observed, plan::Findings, validate::ValidCluster};
use crate::{
    api::{
        conditions::{Reason, Truth, Type, Verdict},
        labels,
        v1alpha1::{BrokerClusterSpec, Retention, amount},
    },
    resources::{Kind, Manifest},
};

const SIZE: &str = "/spec/resources/requests/storage";
const FIELD: &str = "spec.storage.sharedVolume.claim.resources.requests.storage";

/// Where the size of the claim stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// There is no volume yet whose size could be told: nothing comes of it.
    Unknown,
    /// The volume is as large as was asked for, or larger.
    Reached {
        /// The volume's size.
        has: String,
    },
    /// The claim asks for more than the spec: it was made by an earlier cluster of the same name.
    Larger {
        /// What the claim asks for.
        requested: String,
        /// The volume's size.
        has: String,
    },
    /// The claim is to ask for what the spec asks for.
    Grow {
        /// The volume's size.
        has: String,
    },
    /// The claim has asked for more than the volume has.
    Growing {
        /// What it asks for.
        to: String,
        /// The volume's size.
        has: String,
        /// What the claim's own conditions say.
        notes: Vec<String>,
    },
}

/// What the spec asks for, if Tandem makes the claim.
fn asked(spec: &BrokerClusterSpec) -> Option<&str> {
    let claim = spec.storage.shared_volume.as_ref()?.claim.as_ref()?;
    Some(&claim.resources.requests.storage.0)
}

/// Where the size of the cluster's claim stands; nothing if Tandem makes none.
pub fn judge(cluster: &ValidCluster, observed: &Observed) -> Option<Sizing> {
    let live = observed.child(Kind::PersistentVolumeClaim, &cluster.name.store());
    asked(&cluster.spec).map(|asked| sizing(asked, live))
}

fn sizing(asked: &str, live: Option<&Value>) -> Sizing {
    let text = |at: &str| live.and_then(|live| live.pointer(at)).and_then(Value::as_str);
    // A claim that is not bound cannot be changed.
    let has = text("/status/capacity/storage").filter(|_| text("/status/phase") == Some("Bound"));
    let figures = || Some((text(SIZE)?, has?));
    let amounts = |(requested, has)| Some((amount(asked)?, amount(requested)?, amount(has)?));
    let Some((requested, has)) = figures() else { return Sizing::Unknown };
    let Some((a, r, h)) = amounts((requested, has)) else { return Sizing::Unknown };
    let owned = str::to_owned;
    if a > r && a > h {
        return Sizing::Grow { has: owned(has) };
    }
    if r > h {
        let notes = live.map(resize_notes).unwrap_or_default();
        return Sizing::Growing { to: owned(requested), has: owned(has), notes };
    }
    if r > a {
        return Sizing::Larger { requested: owned(requested), has: owned(has) };
    }
    Sizing::Reached { has: owned(has) }
}

/// What the claim's conditions say of its growth: there are no others but those on attributes of the
/// volume.
fn resize_notes(live: &Value) -> Vec<String> {
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let field = |condition: &Value, name: &str| {
        condition.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let told = conditions.into_iter().flatten().filter_map(|condition| {
        let (type_, message) = (field(condition, "type"), field(condition, "message"));
        let is_so = field(condition, "status") == "True" && type_.contains("Resiz");
        is_so.then(|| if message.is_empty() { type_ } else { format!("{type_}: {message}") })
    });
    told.collect()
}

/// Lets the wanted claim ask for what the live one asks for, so that it can always be applied. The claim
/// that asks for more is returned, if that is to be asked for: the API server may refuse it.
pub(super) fn hold_size(
    wanted: &mut [Manifest],
    observed: &Observed,
    sizing: Option<&Sizing>,
) -> Option<Manifest> {
    let of_claim = |manifest: &&mut Manifest| manifest.kind == Kind::PersistentVolumeClaim;
    let manifest = wanted.iter_mut().find(of_claim)?;
    let live = observed.child(manifest.kind, &manifest.name)?.pointer(SIZE)?.as_str()?;
    let grown = matches!(sizing, Some(Sizing::Grow { .. })).then(|| manifest.clone());
    let size = manifest.object.pointer_mut(SIZE)?;
    // The same amount in other words stays as the user wrote it.
    if size.as_str().and_then(amount) != amount(live) {
        *size = json!(live);
    }
    grown
}

/// The condition of the size. `refused` is what the API server said to a growth that it does not allow.
pub(super) fn verdict(
    cluster: &ValidCluster,
    findings: &Findings,
    refused: Option<&str>,
) -> Option<Verdict> {
    let (sizing, asked) = (findings.size.as_ref()?, asked(&cluster.spec)?);
    let name = cluster.name.store();
    let verdict =
        |truth: Truth, reason, text| Some(Verdict::new(Type::VolumeSized, truth, reason, text));
    match sizing {
        Sizing::Unknown => verdict(
            Truth::Unknown,
            Reason::ClaimPending,
            format!("PersistentVolumeClaim {name} has no volume yet"),
        ),
        Sizing::Reached { has } => verdict(
            Truth::True,
            Reason::SizeReached,
            format!("the volume has {has}, {asked} are asked for"),
        ),
        Sizing::Larger { requested, has } => verdict(
            Truth::True,
            Reason::LargerThanAsked,
            format!(
                "PersistentVolumeClaim {name} was there before and asks for {requested}, the volume has {has}: it stays so, because volumes cannot shrink; {FIELD} may be raised from {asked} to {requested}"
            ),
        ),
        Sizing::Grow { has } if refused.is_some() => verdict(
            Truth::False,
            Reason::ExpansionRefused,
            format!(
                "{FIELD}: {asked} is refused by the API server: {}. The volume keeps its {has}, and the group goes on. Set allowVolumeExpansion: true in the storage class, if its driver can grow volumes; the operator tries again within 15 minutes. Or put the old size back",
                refused.unwrap_or_default()
            ),
        ),
        Sizing::Grow { has } if findings.hands_off => verdict(
            Truth::False,
            Reason::GrowthHeldBack,
            format!(
                "the volume has {has}; {asked} are asked for once spec.paused is false and ConfigurationValid is True"
            ),
        ),
        Sizing::Grow { has } => verdict(
            Truth::False,
            Reason::Resizing,
            format!("the volume has {has}; {asked} are being asked for"),
        ),
        Sizing::Growing { to, has, notes } => {
            verdict(Truth::False, Reason::Resizing, growing(&name, to, has, notes))
        }
    }
}

fn growing(name: &str, to: &str, has: &str, notes: &[String]) -> String {
    let told = match notes {
        [] => "the driver of the volume has said nothing of it yet".to_owned(),
        notes => notes.join("; "),
    };
    let remedy = if notes.iter().any(|note| note.starts_with("FileSystemResizePending")) {
        "A node on which one of the group's pods runs grows the file system. If that does not come, the driver can do it only while no pod has the volume: set spec.hibernated to true, wait for this condition, and set it to false again".to_owned()
    } else {
        format!("If that stays, see `kubectl describe pvc {name}`")
    };
    format!("the volume has {has} and is being grown to {to}: {told}. {remedy}")
}

/// What becomes of the claim of a deleted cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is deleted, if it is still this one.
    Delete {
        /// Its uid.
        uid: String,
    },
    /// It is kept, although the spec asks for its deletion.
    Kept(String),
    /// There is nothing to delete, or nobody asks for it.
    Nothing,
}

/// Whether the spec asks for the claim to be deleted with the cluster.
pub fn goes_with_cluster(spec: &BrokerClusterSpec) -> bool {
    spec.storage
        .shared_volume
        .as_ref()
        .is_some_and(|volume| volume.retention == Retention::Delete && volume.claim.is_some())
}

/// Whether the claim of a deleted cluster is to be deleted: only one that Tandem made for a cluster of
/// this name, and that no other group uses (`users`, in words).
pub fn removal(
    cluster: &str,
    spec: &BrokerClusterSpec,
    live: Option<&Value>,
    users: &[String],
) -> Removal {
    let Some(live) = live.filter(|_| goes_with_cluster(spec)) else { return Removal::Nothing };
    let label = |key: &str| {
        live.pointer("/metadata/labels").and_then(|map| map.get(key)).and_then(Value::as_str)
    };
    let ours = label(labels::INSTANCE) == Some(cluster)
        && label(labels::MANAGED_BY) == Some(labels::MANAGER);
    if !ours {
        return Removal::Kept("it was not made by Tandem for this BrokerCluster".to_owned());
    }
    if !users.is_empty() {
        return Removal::Kept(format!("{} uses it too", users.join(" and ")));
    }
    if live.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string) {
        return Removal::Nothing;
    }
    match live.pointer("/metadata/uid").and_then(Value::as_str) {
        Some(uid) => Removal::Delete { uid: uid.to_owned() },
        None => Removal::Kept("it has no uid".to_owned()),
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
