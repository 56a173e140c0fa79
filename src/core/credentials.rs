//! A database's credentials as part of the pods' revision: when they change, pods are replaced as for
//! any other change, standbys first. Brokers read them at their start only.

use serde_json::Value;

use super::{observed::Observed, template, validate::ValidCluster};
use crate::resources::Kind;

/// Between the spec's part of a revision and the credentials'.
const SEPARATOR: char = '-';

/// The cluster with the credentials as just seen in its revision. If they cannot be seen, those that
/// the pods have are taken for the current ones: a deleted Secret replaces no pod.
#[must_use]
pub fn with_credentials(mut cluster: ValidCluster, observed: &Observed) -> ValidCluster {
    if cluster.store.database().is_none() {
        return cluster;
    }
    let set = observed.child(Kind::StatefulSet, &cluster.name.main());
    let applied = set.and_then(applied);
    let seen = observed.credentials.as_ref().map(|seen| {
        let same_spec = applied.filter(|(spec, _)| *spec == cluster.revision);
        seen.seal.mark(&seen.hash, same_spec.map(|(_, mark)| mark))
    });
    if let Some(mark) = seen.or_else(|| applied.map(|(_, mark)| mark.to_owned())) {
        cluster.revision = format!("{}{SEPARATOR}{mark}", cluster.revision);
    }
    cluster
}

/// Whether pods can be made: before the credentials exist they could not start, and would be replaced
/// as soon as they exist.
pub fn may_make_pods(cluster: &ValidCluster, observed: &Observed) -> bool {
    cluster.store.database().is_none()
        || observed.credentials.is_some()
        || observed.child(Kind::StatefulSet, &cluster.name.main()).is_some()
}

/// The spec's and the credentials' part of the revision in a StatefulSet's template.
pub fn applied(set: &Value) -> Option<(&str, &str)> {
    template::revision(set.pointer("/spec/template")?).split_once(SEPARATOR)
}
