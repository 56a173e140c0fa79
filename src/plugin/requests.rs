//! What commands write: merge patches of a `BrokerCluster`. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::Cluster;
use crate::api::labels;

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `spec.paused`.
    Pause(bool),
    /// `spec.hibernated`.
    Hibernate(bool),
    /// More of `spec.fencedPods`.
    Fence(Vec<String>),
    /// Less of `spec.fencedPods`.
    Unfence(Vec<String>),
    /// A rolling restart, with the request's own value.
    Restart(String),
    /// A switchover, with the request's own value.
    Switchover(String),
}

/// The patch that brings it about; none if the spec says so already.
pub fn patch(cluster: &Cluster, request: &Request) -> Option<Value> {
    match request {
        Request::Pause(paused) => flag(cluster, "paused", *paused),
        Request::Hibernate(hibernated) => flag(cluster, "hibernated", *hibernated),
        Request::Fence(pods) => {
            let mut all = cluster.fenced();
            let new = pods.iter().filter(|pod| !all.contains(pod)).cloned();
            let new: Vec<String> = new.collect();
            all.extend(new);
            fenced(cluster, all)
        }
        Request::Unfence(pods) => {
            let mut all = cluster.fenced();
            all.retain(|pod| !pods.contains(pod));
            fenced(cluster, all)
        }
        Request::Restart(value) => Some(annotation(labels::RESTART, value)),
        Request::Switchover(value) => Some(annotation(labels::SWITCHOVER, value)),
    }
}

fn flag(cluster: &Cluster, field: &str, value: bool) -> Option<Value> {
    (cluster.is(&format!("/spec/{field}")) != value).then(|| json!({"spec": {field: value}}))
}

/// A list is replaced as a whole, so only on condition that it is still the one that was read.
fn fenced(cluster: &Cluster, mut pods: Vec<String>) -> Option<Value> {
    if pods == cluster.fenced() {
        return None;
    }
    pods.sort_unstable();
    pods.dedup();
    let list = if pods.is_empty() { Value::Null } else { json!(pods) };
    Some(json!({
        "metadata": {"resourceVersion": cluster.text("/metadata/resourceVersion")},
        "spec": {"fencedPods": list},
    }))
}

fn annotation(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

/// A value that was not there before, and tells people who asked and when.
pub fn value(now: Timestamp, user: Option<&str>, to: Option<&str>) -> String {
    let user: String = user
        .unwrap_or("somebody")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@'))
        .take(64)
        .collect();
    let to = to.map(|pod| format!(" to={pod}")).unwrap_or_default();
    format!("{now:.6} kubectl-tandem by {user}{to}")
}

/// The name of the group that pods belong to.
///
/// # Errors
/// That they are no pods of one group.
pub fn group_of(pods: &[String]) -> Result<String, String> {
    let group = |pod: &String| {
        let (name, ordinal) = pod.rsplit_once('-')?;
        let is_ordinal = !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit());
        (is_ordinal && !name.is_empty()).then(|| name.to_owned())
    };
    let mut found: Option<String> = None;
    for pod in pods {
        let name = group(pod).ok_or_else(|| {
            format!("{pod} is no name of a broker's pod: they are named NAME-0, NAME-1 and so on")
        })?;
        match &found {
            Some(other) if *other != name => {
                return Err(format!(
                    "pods of one group at a time: these are of {other} and {name}"
                ));
            }
            _ => found = Some(name),
        }
    }
    found.ok_or_else(|| "name at least one pod".to_owned())
}

/// Pods that the group does not have.
pub fn strangers<'a>(cluster: &Cluster, pods: &'a [String]) -> Vec<&'a str> {
    let own = cluster.pods();
    pods.iter().filter(|pod| !own.contains(pod)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "what is made for a call may go with it")]
    fn cluster(spec: Value) -> Cluster {
        Cluster(json!({
            "metadata": {"name": "orders", "namespace": "shop", "resourceVersion": "7"},
            "spec": spec,
        }))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_so_already_is_not_written() {
        let awake = cluster(json!({}));
        assert_eq!(patch(&awake, &Request::Pause(false)), None);
        assert_eq!(patch(&awake, &Request::Unfence(names(&["orders-1"]))), None);
        assert_eq!(patch(&awake, &Request::Pause(true)), Some(json!({"spec": {"paused": true}})));
        let asleep = cluster(json!({"hibernated": true, "fencedPods": ["orders-1"]}));
        assert_eq!(patch(&asleep, &Request::Hibernate(true)), None);
        assert_eq!(patch(&asleep, &Request::Fence(names(&["orders-1"]))), None);
        let wake = patch(&asleep, &Request::Hibernate(false));
        assert_eq!(wake, Some(json!({"spec": {"hibernated": false}})));
    }

    #[test]
    fn a_list_is_written_on_condition_of_the_version_that_was_read() {
        let one = cluster(json!({"fencedPods": ["orders-1"]}));
        let more = patch(&one, &Request::Fence(names(&["orders-0", "orders-1"]))).unwrap();
        assert_eq!(more["spec"]["fencedPods"], json!(["orders-0", "orders-1"]));
        assert_eq!(more["metadata"]["resourceVersion"], "7");
        let none = patch(&one, &Request::Unfence(names(&["orders-1"]))).unwrap();
        assert_eq!(none["spec"]["fencedPods"], Value::Null);
        assert_eq!(none["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn requests_are_annotations_with_a_value_of_their_own() {
        let asked = patch(&cluster(json!({})), &Request::Switchover("now".into())).unwrap();
        assert_eq!(asked["metadata"]["annotations"][labels::SWITCHOVER], "now");
        let asked = patch(&cluster(json!({})), &Request::Restart("now".into())).unwrap();
        assert_eq!(asked["metadata"]["annotations"][labels::RESTART], "now");
    }

    #[test]
    fn a_value_tells_when_who_and_to_whom() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(
            value(at, Some("alice"), Some("orders-1")),
            "2026-01-02T03:04:05.678000Z kubectl-tandem by alice to=orders-1"
        );
        assert_eq!(value(at, None, None), "2026-01-02T03:04:05.678000Z kubectl-tandem by somebody");
        // A user's name cannot name a pod.
        let odd = value(at, Some("eve to=orders-0"), None);
        assert!(!odd.contains("to="), "{odd}");
    }

    #[test]
    fn pods_tell_their_group() {
        assert_eq!(group_of(&names(&["orders-0", "orders-1"])), Ok("orders".into()));
        assert_eq!(group_of(&names(&["a-b-12"])), Ok("a-b".into()));
        for wrong in [&["orders"][..], &["orders-"], &["-1"], &["orders-x"], &["a-0", "b-0"], &[]] {
            assert!(group_of(&names(wrong)).is_err(), "{wrong:?}");
        }
        let pods = names(&["orders-0", "orders-2"]);
        assert_eq!(strangers(&cluster(json!({"replicas": 2})), &pods), ["orders-2"]);
    }
}
