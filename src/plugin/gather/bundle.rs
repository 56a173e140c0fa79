//! What a support bundle holds: everything about a group but Secrets.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, LogParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{
    Ask, Refused, Session,
    group::{self, Unheard, objects},
};
use crate::{
    api::{labels, names::ClusterName},
    broker::report::Report,
    plugin::redact,
    resources::{Kind, pod::BROKER},
};

/// Kinds of children, as RBAC names them. Secrets are none of them.
const CHILDREN: [(Kind, &str); 10] = [
    (Kind::StatefulSet, "statefulsets.apps"),
    (Kind::Service, "services"),
    (Kind::EndpointSlice, "endpointslices.discovery.k8s.io"),
    (Kind::ConfigMap, "configmaps"),
    (Kind::PodDisruptionBudget, "poddisruptionbudgets.policy"),
    (Kind::PersistentVolumeClaim, "persistentvolumeclaims"),
    (Kind::NetworkPolicy, "networkpolicies.networking.k8s.io"),
    (Kind::ServiceAccount, "serviceaccounts"),
    (Kind::Role, "roles.rbac.authorization.k8s.io"),
    (Kind::RoleBinding, "rolebindings.rbac.authorization.k8s.io"),
];

/// The files of a bundle, and what is missing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Path and content.
    pub files: Vec<(String, String)>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

impl Bundle {
    /// One more file.
    pub fn add(&mut self, path: impl Into<String>, content: impl Into<String>) {
        self.files.push((path.into(), content.into()));
    }

    /// An object, without what must not leave the cluster.
    pub fn add_object(&mut self, path: impl Into<String>, object: Value) {
        let path = path.into();
        match serde_saphyr::to_string(&redact::object(object)) {
            Ok(yaml) => self.add(path, yaml),
            Err(error) => self.unread.push(format!("{path}: {error}")),
        }
    }

    fn miss<T>(&mut self, read: Result<T, Refused>) -> Option<T> {
        read.map_err(|refused| self.unread.push(refused.to_string())).ok()
    }

    fn add_serialized(&mut self, path: String, object: &impl serde::Serialize) {
        match serde_json::to_value(object) {
            Ok(value) => self.add_object(path, value),
            Err(error) => self.unread.push(format!("{path}: {error}")),
        }
    }

    /// The group's objects, but pods.
    pub async fn add_children(&mut self, session: &Session, name: &ClusterName) {
        let ours = format!("{}={}", labels::INSTANCE, name.name);
        for (kind, resource) in CHILDREN {
            let api = objects(&session.client, kind, &name.namespace);
            // Also slices of others: they lead clients astray.
            let selector = if kind == Kind::EndpointSlice {
                format!("{}={}", labels::SERVICE_NAME, name.main())
            } else {
                ours.clone()
            };
            let params = ListParams::default().labels(&selector);
            let ask = Ask::all("list", resource, &name.namespace);
            let listed = self.miss(ask.send(api.list(&params)).await);
            for object in listed.into_iter().flatten() {
                let path = format!("children/{kind:?}-{}.yaml", object.name_any());
                self.add_serialized(path, &object);
            }
        }
    }

    /// The pods and their nodes.
    pub async fn add_pods(&mut self, session: &Session, pods: &[Pod]) {
        let nodes: Api<Node> = Api::all(session.client.clone());
        for pod in pods {
            self.add_serialized(format!("pods/{}.yaml", pod.name_any()), pod);
            let Some(name) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else {
                continue;
            };
            let path = format!("nodes/{name}.yaml");
            if self.files.iter().any(|(there, _)| *there == path) {
                continue;
            }
            let ask = Ask::everywhere("get", "nodes", &name);
            if let Some(node) = self.miss(ask.send(nodes.get(&name)).await) {
                self.add_serialized(path, &node);
            }
        }
    }

    /// What the agents say.
    pub fn add_reports(&mut self, pods: &[Pod], reports: &[Result<Report, Unheard>]) {
        for (pod, report) in pods.iter().zip(reports) {
            let name = pod.name_any();
            match report {
                Ok(report) => self.add_serialized(format!("reports/{name}.yaml"), report),
                Err(unheard) => self.unread.push(format!("report of {name}: {}", unheard.why)),
            }
        }
    }

    /// Events about the group and whatever bears its name.
    pub async fn add_events(&mut self, session: &Session, name: &ClusterName) {
        let gvk = GroupVersionKind::gvk("", "v1", "Event");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "events");
        let api: Api<DynamicObject> =
            Api::namespaced_with(session.client.clone(), &name.namespace, &resource);
        let ask = Ask::all("list", "events", &name.namespace);
        let Some(events) = self.miss(ask.send(api.list(&ListParams::default())).await) else {
            return;
        };
        let values = events.items.into_iter().filter_map(|event| serde_json::to_value(event).ok());
        let ours: Vec<Value> =
            values.filter(|event| is_about(event, name)).map(redact::object).collect();
        self.add_object("events.yaml", Value::Array(ours));
    }

    /// The end of the brokers' logs, also of the containers before the present ones.
    pub async fn add_logs(&mut self, session: &Session, pods: &[Pod], lines: u32) {
        for pod in pods {
            let name = pod.name_any();
            let params = |previous| LogParams {
                container: Some(BROKER.to_owned()),
                tail_lines: Some(i64::from(lines)),
                previous,
                ..LogParams::default()
            };
            let read = group::log(session, pod, &params(false)).await;
            if let Some(log) = self.miss(read) {
                self.add(format!("logs/{name}.log"), redact::text(&log));
            }
            if group::restarts(pod) == 0 {
                continue;
            }
            let read = group::log(session, pod, &params(true)).await;
            if let Some(log) = self.miss(read) {
                self.add(format!("logs/{name}.previous.log"), redact::text(&log));
            }
        }
    }
}

/// Whether an Event is about the group, one of its pods, or another object with its name.
fn is_about(event: &Value, name: &ClusterName) -> bool {
    let about = ["/involvedObject/name", "/regarding/name"]
        .iter()
        .find_map(|at| event.pointer(at).and_then(Value::as_str));
    about.is_some_and(|about| {
        about == name.name
            || about.strip_prefix(&name.name).is_some_and(|rest| rest.starts_with('-'))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_of_the_group_are_those_of_what_bears_its_name() {
        let name = ClusterName { namespace: "shop".into(), name: "orders".into() };
        for (about, ours) in [
            (json!({"involvedObject": {"name": "orders"}}), true),
            (json!({"involvedObject": {"name": "orders-0"}}), true),
            (json!({"regarding": {"name": "orders-store"}}), true),
            (json!({"involvedObject": {"name": "ordersystem"}}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_about(&about, &name), ours, "{about}");
        }
    }

    #[test]
    fn secrets_are_not_among_the_children() {
        assert!(
            CHILDREN.iter().all(|(kind, resource)| *kind != Kind::Secret && *resource != "secrets")
        );
    }
}
