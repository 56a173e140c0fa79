//! What the fake API server knows of each kind: its name, its Rust type, a few defaults and what
//! may not be changed.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    events::v1::Event,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use serde_json::{Value, json};
use tandem::api::v1alpha1::{BrokerCluster, amount};

use super::store::{Refusal, refusal};

pub struct Kind {
    pub resource: &'static str,
    pub name: &'static str,
    pub api_version: &'static str,
    /// Whether the fake follows who owns its fields.
    owned: bool,
    parse: fn(Value) -> Result<(), serde_json::Error>,
    fixed: &'static [&'static str],
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<(), serde_json::Error> {
    serde_json::from_value::<T>(value).map(drop)
}

const fn kind(
    names: [&'static str; 3],
    owned: bool,
    parse: fn(Value) -> Result<(), serde_json::Error>,
    fixed: &'static [&'static str],
) -> Kind {
    let [resource, name, api_version] = names;
    Kind { resource, name, api_version, owned, parse, fixed }
}

const KINDS: [Kind; 18] = [
    kind(["nodes", "Node", "v1"], false, parse::<Node>, &[]),
    kind(
        ["brokerclusters", "BrokerCluster", "tandem-operator.io/v1alpha1"],
        true,
        parse::<BrokerCluster>,
        &[],
    ),
    kind(["deployments", "Deployment", "apps/v1"], false, parse::<Deployment>, &[]),
    kind(
        ["statefulsets", "StatefulSet", "apps/v1"],
        true,
        parse::<StatefulSet>,
        &["/spec/selector", "/spec/serviceName", "/spec/podManagementPolicy"],
    ),
    kind(
        ["controllerrevisions", "ControllerRevision", "apps/v1"],
        false,
        parse::<ControllerRevision>,
        &["/data"],
    ),
    kind(["pods", "Pod", "v1"], false, parse::<Pod>, &["/spec/nodeName"]),
    kind(["services", "Service", "v1"], true, parse::<Service>, &["/spec/clusterIP"]),
    kind(["configmaps", "ConfigMap", "v1"], true, parse::<ConfigMap>, &["/data", "/immutable"]),
    kind(["secrets", "Secret", "v1"], true, parse::<Secret>, &["/type"]),
    kind(["serviceaccounts", "ServiceAccount", "v1"], true, parse::<ServiceAccount>, &[]),
    kind(
        ["persistentvolumeclaims", "PersistentVolumeClaim", "v1"],
        true,
        parse::<PersistentVolumeClaim>,
        &["/spec/accessModes", "/spec/storageClassName"],
    ),
    kind(
        ["endpointslices", "EndpointSlice", "discovery.k8s.io/v1"],
        true,
        parse::<EndpointSlice>,
        &["/addressType"],
    ),
    kind(
        ["networkpolicies", "NetworkPolicy", "networking.k8s.io/v1"],
        true,
        parse::<NetworkPolicy>,
        &[],
    ),
    kind(
        ["poddisruptionbudgets", "PodDisruptionBudget", "policy/v1"],
        true,
        parse::<PodDisruptionBudget>,
        &[],
    ),
    kind(["roles", "Role", "rbac.authorization.k8s.io/v1"], true, parse::<Role>, &[]),
    kind(
        ["rolebindings", "RoleBinding", "rbac.authorization.k8s.io/v1"],
        true,
        parse::<RoleBinding>,
        &["/roleRef"],
    ),
    kind(["leases", "Lease", "coordination.k8s.io/v1"], false, parse::<Lease>, &[]),
    kind(["events", "Event", "events.k8s.io/v1"], false, parse::<Event>, &[]),
];

pub fn of(resource: &str) -> &'static Kind {
    KINDS
        .iter()
        .find(|kind| kind.resource == resource)
        .unwrap_or_else(|| panic!("the fake API server does not know {resource}"))
}

/// The kind of the object at a path.
pub fn of_path(path: &str) -> &'static Kind {
    of(path.rsplit('/').nth(1).unwrap())
}

pub fn is_owned(path: &str) -> bool {
    of_path(path).owned
}

/// Everything but metadata and status: a change of it raises the generation.
pub fn spec_of(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("metadata");
        map.remove("status");
    }
    object
}

/// Refuses what the type cannot hold, as the API server does.
pub fn check(path: &str, object: &Value) -> Result<(), Refusal> {
    let kind = of_path(path);
    if object["kind"] != kind.name || object["apiVersion"] != kind.api_version {
        return Err(refusal(
            400,
            "BadRequest",
            format!("{path} is no {} of {}", object["kind"], object["apiVersion"]),
        ));
    }
    if path.rsplit('/').next() != object["metadata"]["name"].as_str() {
        return Err(refusal(
            400,
            "BadRequest",
            "the name of the object does not match the name on the URL",
        ));
    }
    (kind.parse)(object.clone()).map_err(|error| refusal(400, "BadRequest", error.to_string()))
}

/// Refuses changes of what is fixed once an object exists.
pub fn check_update(path: &str, old: &Value, new: &Value) -> Result<(), Refusal> {
    let kind = of_path(path);
    if kind.name == "ConfigMap" && old["immutable"] != true {
        return Ok(());
    }
    if kind.name == "PersistentVolumeClaim" {
        check_size(path, old, new)?;
    }
    match kind.fixed.iter().find(|field| old.pointer(field) != new.pointer(field)) {
        Some(field) => Err(refusal(
            422,
            "Invalid",
            format!("{} {path} is invalid: {field}: field is immutable", kind.name),
        )),
        None => Ok(()),
    }
}

/// A claim's size may change once it is bound, and not to less than its volume has.
fn check_size(path: &str, old: &Value, new: &Value) -> Result<(), Refusal> {
    let of = |object: &Value, at: &str| object.pointer(at)?.as_str().and_then(amount);
    let size = |object: &Value| of(object, "/spec/resources/requests/storage");
    let refused = |why: &str| {
        let text = format!("PersistentVolumeClaim {path} is invalid: {why}");
        Err(refusal(422, "Invalid", text))
    };
    if size(old) != size(new) && old["status"]["phase"] != "Bound" {
        return refused(
            "spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims",
        );
    }
    if size(new) < size(old) && size(new) <= of(old, "/status/capacity/storage") {
        return refused(
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        );
    }
    Ok(())
}

/// Some of the defaults that a real API server writes into objects; a pass must not fight them.
pub fn defaults(path: &str, object: &mut Value, number: u64) {
    let kind = of_path(path);
    if object["kind"].is_null() {
        object["kind"] = json!(kind.name);
        object["apiVersion"] = json!(kind.api_version);
    }
    match kind.name {
        "Service" => service(object, number),
        "StatefulSet" => stateful_set(object),
        "EndpointSlice" => {
            // The field is required: a server that got none stores null.
            object.as_object_mut().unwrap().entry("endpoints").or_insert(Value::Null);
        }
        "PersistentVolumeClaim" => default(object, "/spec", "volumeMode", json!("Filesystem")),
        "BrokerCluster" => {
            if let Ok(typed) = serde_json::from_value::<BrokerCluster>(object.clone()) {
                object["spec"] = serde_json::to_value(typed.spec).unwrap();
            }
        }
        _ => {}
    }
}

fn default(object: &mut Value, at: &str, field: &str, value: Value) {
    if let Some(map) = object.pointer_mut(at).and_then(Value::as_object_mut) {
        map.entry(field).or_insert(value);
    }
}

fn service(object: &mut Value, number: u64) {
    if number > 0 {
        default(object, "/spec", "clusterIP", json!(format!("10.96.0.{number}")));
    }
    let address = object["spec"]["clusterIP"].clone();
    default(object, "/spec", "clusterIPs", json!([address]));
    default(object, "/spec", "ipFamilies", json!(["IPv4"]));
    default(object, "/spec", "sessionAffinity", json!("None"));
    default(object, "/spec", "internalTrafficPolicy", json!("Cluster"));
    default(object, "/spec", "type", json!("ClusterIP"));
}

fn stateful_set(object: &mut Value) {
    default(
        object,
        "/spec",
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    default(object, "/spec/template/spec", "restartPolicy", json!("Always"));
    default(object, "/spec/template/spec", "dnsPolicy", json!("ClusterFirst"));
    default(object, "/spec/template/spec", "schedulerName", json!("default-scheduler"));
    let containers =
        object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        default(container, "", "imagePullPolicy", json!("IfNotPresent"));
        default(container, "", "terminationMessagePath", json!("/dev/termination-log"));
        for probe in ["/livenessProbe", "/readinessProbe"] {
            default(container, probe, "successThreshold", json!(1));
            default(container, &format!("{probe}/httpGet"), "scheme", json!("HTTP"));
        }
    }
}
