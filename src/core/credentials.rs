//! A database's credentials as part of the pods' revision: when they change, pods are replaced as for
//! any other change, standbys first. Brokers read them at their start only.

use serde_json::Value;

use super::{observed::Observed, validate::ValidCluster};
use crate::{api::labels, resources::Kind};

/// Between the spec's part of a revision and the credentials'.
const SEPARATOR: char = '-';

/// The cluster with the credentials as just seen in its revision. If they cannot be seen, those that
/// the pods have are taken for the current ones: a deleted Secret replaces no pod.
#[must_use]
pub fn with_credentials(mut cluster: ValidCluster, observed: &Observed) -> ValidCluster {
    if cluster.store.database().is_none() {
        return cluster;
    }
    let seen = observed.database_credentials.clone();
    if let Some(credentials) = seen.or_else(|| applied(&cluster, observed)) {
        cluster.revision = format!("{}{SEPARATOR}{credentials}", cluster.revision);
    }
    cluster
}

/// Whether pods can be made: before the credentials exist they could not start, and would be replaced
/// as soon as they exist.
pub fn may_make_pods(cluster: &ValidCluster, observed: &Observed) -> bool {
    cluster.store.database().is_none()
        || observed.database_credentials.is_some()
        || observed.child(Kind::StatefulSet, &cluster.name.main()).is_some()
}

/// The credentials' part of the revision in the StatefulSet's template.
fn applied(cluster: &ValidCluster, observed: &Observed) -> Option<String> {
    let set = observed.child(Kind::StatefulSet, &cluster.name.main())?;
    let annotations = set.pointer("/spec/template/metadata/annotations")?;
    let revision = annotations.get(labels::TEMPLATE_HASH).and_then(Value::as_str)?;
    revision.split_once(SEPARATOR).map(|(_, credentials)| credentials.to_owned())
}
