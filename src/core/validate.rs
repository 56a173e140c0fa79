//! `BrokerCluster` to [`ValidCluster`]: everything that admission cannot say, so that the builders
//! need not fail.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use sha2::{Digest, Sha256};

use super::revision::revision;
use crate::{
    api::{
        labels,
        names::ClusterName,
        v1alpha1::{
            BrokerCluster, BrokerClusterSpec, DatabaseAccess, QuantityValue, VERSIONS, amount,
            classic_image,
        },
    },
    broker::{
        classic::{
            fragment::{self, Fragment},
            launch, log,
        },
        environment,
        store::Store,
    },
    core::{
        database,
        places::{Place, place},
        sizing::{self, Sizes},
        windows,
    },
};

/// Names of environment variables that the agent relies on.
pub const RESERVED_ENV: [&str; 5] =
    ["POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_IPS", "NODE_NAME"];
/// Names of volumes that every broker pod has.
pub const RESERVED_VOLUMES: [&str; 7] =
    ["store", "config", "agent", "login", "scratch", "admin", "users"];
/// Names of further volumes of pods with a database.
pub const DATABASE_VOLUMES: [&str; 3] = ["database", "database-ca", "drivers"];

/// A cluster that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidCluster {
    /// Its names.
    pub name: ClusterName,
    /// Its uid: children of an earlier cluster of the same name are not ours.
    pub uid: String,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The spec.
    pub spec: BrokerClusterSpec,
    /// Where the messages are, and what elects the master.
    pub store: Store,
    /// The user's XML, parsed.
    pub fragment: Fragment,
    /// How much memory and disk a broker may use.
    pub sizes: Sizes,
    /// The broker's image.
    pub image: String,
    /// Hash of what in the spec shapes a pod: a pod of another revision is to be replaced. It is made
    /// of the spec, not of the built manifests, so a newer operator that builds them differently
    /// restarts no broker.
    pub revision: String,
    /// What people ask for by the annotation [`labels::SWITCHOVER`].
    pub switchover: Option<String>,
    /// The store that people accept by the annotation [`labels::ACCEPT_STORE`].
    pub accept_store: Option<String>,
}

/// Kubernetes bounds all annotations together at 256 KiB; this one goes on the record.
const LONGEST_REQUEST: usize = 200;

fn request(cluster: &BrokerCluster, annotation: &str) -> Option<String> {
    let text = cluster.metadata.annotations.as_ref()?.get(annotation)?.trim();
    (!text.is_empty()).then(|| text.chars().take(LONGEST_REQUEST).collect())
}

impl ValidCluster {
    /// Whether people want this pod's broker down.
    pub fn fences(&self, pod: &str) -> bool {
        self.spec.fenced_pods.iter().any(|name| name == pod)
    }

    /// Whether the group has a pod of this name when it is as large as the spec says.
    pub fn keeps(&self, pod: &str) -> bool {
        self.name.ordinal(pod).is_some_and(|ordinal| ordinal < self.spec.replicas)
    }

    /// The reference that makes a child ours.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: BrokerCluster::api_version(&()).into_owned(),
            kind: BrokerCluster::kind(&()).into_owned(),
            name: self.name.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// The database as the spec names it, if there is one: Secrets, images and the like.
    pub fn database(&self) -> Option<(&'static str, &DatabaseAccess)> {
        database::named(&self.spec.storage)
    }

    /// The Secret of the administrator.
    pub fn admin_secret(&self) -> String {
        self.spec
            .auth
            .admin_secret
            .as_ref()
            .map_or_else(|| self.name.admin(), |secret| secret.name.clone())
    }
}

/// What is wrong with a field of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as a path.
    pub field: String,
    /// What is wrong with its value, and what to do.
    pub problem: String,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "spec.{}: {}", self.field, self.problem)
    }
}

/// Checks a cluster.
///
/// # Errors
/// Everything that is wrong, so that a user need not correct one field after the other.
pub fn validate(cluster: &BrokerCluster) -> Result<ValidCluster, Vec<Invalid>> {
    let spec = &cluster.spec;
    let mut problems = Vec::new();
    let mut problem = |field: &str, text: String| {
        problems.push(Invalid { field: field.to_owned(), problem: text });
    };

    let fragment = fragment::parse(spec.broker.config.xml.as_deref().unwrap_or_default())
        .unwrap_or_else(|text| {
            problem("broker.config.xml", text);
            Fragment::default()
        });
    for (field, text) in broker_problems(spec) {
        problem(field, text);
    }
    for text in spec.update.windows.iter().filter_map(windows::problem) {
        problem("update.windows", text);
    }
    for (field, text) in pod_problems(spec) {
        problem(field, text);
    }
    let sizes = sizing::sizes(spec, &fragment.usage);
    for (field, text) in sizes.as_ref().err().into_iter().flatten() {
        problem(field, text.clone());
    }
    let name = ClusterName {
        namespace: cluster.metadata.namespace.clone().unwrap_or_default(),
        name: cluster.metadata.name.clone().unwrap_or_default(),
    };
    let store = database::store(&spec.storage, name.store());
    for (field, text) in store.as_ref().err().into_iter().flatten() {
        problem(format!("storage.{field}").trim_end_matches('.'), text.clone());
    }
    let whole = store.ok().zip(sizes.ok()).filter(|_| problems.is_empty());
    let Some((store, sizes)) = whole else { return Err(problems) };
    Ok(ValidCluster {
        name,
        store,
        uid: cluster.metadata.uid.clone().unwrap_or_default(),
        generation: cluster.metadata.generation,
        fragment,
        sizes,
        image: spec.broker.image.clone().unwrap_or_else(|| classic_image(&spec.broker.version)),
        revision: revision(spec, request(cluster, labels::RESTART).as_deref()),
        switchover: request(cluster, labels::SWITCHOVER),
        accept_store: request(cluster, labels::ACCEPT_STORE),
        spec: spec.clone(),
    })
}

fn broker_problems(spec: &BrokerClusterSpec) -> Vec<(&'static str, String)> {
    let broker = &spec.broker;
    let mut problems = Vec::new();
    if broker.image.is_none() && !VERSIONS.contains(&broker.version.as_str()) {
        let versions = VERSIONS.join(", ");
        let text = format!(
            "{} is not one of the tested versions ({versions}); choose one, or name the image to run in broker.image",
            broker.version
        );
        problems.push(("broker.version", text));
    }
    let refused = broker.java.options.iter().filter_map(|option| launch::refusal(option));
    problems.extend(refused.map(|text| ("broker.java.options", text)));
    let levels = broker.log.levels.keys();
    let refused = levels.filter_map(|name| Some(format!("{name:?}: {}", log::refusal(name)?)));
    problems.extend(refused.map(|text| ("broker.log.levels", text)));
    problems
}

/// Variables that the agent relies on, or that a broker must not be given.
fn variable_problems(spec: &BrokerClusterSpec) -> impl Iterator<Item = String> {
    spec.pod.env.iter().filter_map(|env| {
        let name = env.name.as_str();
        if RESERVED_ENV.contains(&name) {
            return Some(format!("{name} is set by Tandem; use another name"));
        }
        environment::refusal(name).map(|why| format!("{name} is refused: {why}"))
    })
}

fn pod_problems(spec: &BrokerClusterSpec) -> Vec<(&'static str, String)> {
    let mut problems: Vec<_> = variable_problems(spec).map(|text| ("pod.env", text)).collect();
    let has_database = database::named(&spec.storage).is_some();
    let reserved = |name: &str| {
        RESERVED_VOLUMES.contains(&name) || has_database && DATABASE_VOLUMES.contains(&name)
    };
    for volume in spec.pod.volumes.iter().filter(|volume| reserved(&volume.name)) {
        problems.push((
            "pod.volumes",
            format!("{} is a volume of Tandem's; use another name", volume.name),
        ));
    }
    for mount in &spec.pod.volume_mounts {
        if !spec.pod.volumes.iter().any(|volume| volume.name == mount.name) {
            problems.push((
                "pod.volumeMounts",
                format!("{} is not one of pod.volumes; add it there", mount.name),
            ));
        }
        let path = &mount.mount_path;
        let problem = match place(path, has_database) {
            Some(Place::Within(ours)) => format!("{path} is within {ours}, which Tandem mounts"),
            Some(Place::Around(ours)) => format!("{path} is around {ours}, which Tandem mounts"),
            None => continue,
        };
        problems.push(("pod.volumeMounts", format!("{problem}; use another mountPath")));
    }
    if let Some(resources) = &spec.pod.resources {
        for (name, limit) in &resources.limits {
            let request = resources.requests.get(name);
            if request.and_then(QuantityValue::amount) > limit.amount() {
                problems.push((
                    "pod.resources",
                    format!(
                        "the request of {name} ({}) is above its limit ({}); raise the limit",
                        request.map_or("", |request| &request.0),
                        limit.0
                    ),
                ));
            }
        }
    }
    let claim = spec.storage.shared_volume.as_ref().and_then(|volume| volume.claim.as_ref());
    let storage = claim.map(|claim| &claim.resources.requests.storage.0);
    if let Some(size) = storage.filter(|size| amount(size).is_none_or(|amount| amount <= 0.0)) {
        problems.push((
            "storage.sharedVolume.claim.resources.requests.storage",
            format!("{size} is not a size; write one like 20Gi"),
        ));
    }
    problems
}

/// Ten hexadecimal digits that stand for some content in names and annotations.
pub fn short_hash(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .take(5)
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(spec: &str) -> BrokerCluster {
        let spec = format!("storage: {{sharedVolume: {{claimName: a}}}}\n{spec}");
        BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap())
    }

    fn problem(spec: &str) -> String {
        let problems = validate(&cluster(spec)).expect_err("must be invalid");
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    }

    #[test]
    fn each_problem_names_the_field_the_value_and_the_remedy() {
        for (spec, field, words) in [
            ("broker: {version: 1.2.3}", "spec.broker.version", "tested versions"),
            ("broker: {config: {xml: <a>}}", "spec.broker.config.xml", "not closed"),
            (
                "broker: {config: {xml: <persistenceAdapter/>}}",
                "spec.broker.config.xml",
                "spec.storage",
            ),
            (
                "broker: {java: {options: [-Dactivemq.home=/x]}}",
                "spec.broker.java.options",
                "remove it",
            ),
            (
                "broker: {config: {xml: <systemUsage><bean/></systemUsage>}}",
                "spec.broker.config.xml",
                "must contain one",
            ),
            ("broker: {java: {heap: 1Gi}}", "spec.broker.java.heap", "lower the heap"),
            (
                "listeners: [{name: a, protocol: AMQP, port: 5672, maxConnections: 5000}]",
                "spec.listeners",
                "lower it",
            ),
            ("pod: {env: [{name: POD_NAME, value: x}]}", "spec.pod.env", "another name"),
            ("broker: {log: {levels: {a b: OFF}}}", "spec.broker.log.levels", "Java package"),
            (
                "pod: {env: [{name: JAVA_TOOL_OPTIONS, value: x}]}",
                "spec.pod.env",
                "broker.java.options",
            ),
            ("pod: {volumes: [{name: store}]}", "spec.pod.volumes", "another name"),
            (
                "pod: {volumeMounts: [{name: x, mountPath: /x}]}",
                "spec.pod.volumeMounts",
                "add it there",
            ),
            (
                "pod: {resources: {requests: {cpu: 2}, limits: {cpu: 500m, memory: 1Gi}}}",
                "spec.pod.resources",
                "raise the limit",
            ),
        ] {
            let text = problem(spec);
            assert!(text.starts_with(field) && text.contains(words), "{spec}: {text}");
        }
    }

    #[test]
    fn mounts_at_within_or_around_tandem_s_directories_are_refused() {
        for (mount, words) in [
            ("mountPath: /store/", "another mountPath"),
            // A lock file of its own for each broker, with a volume of its own.
            ("mountPath: /store/kahadb", "/store/kahadb is within /store"),
            ("mountPath: /etc/tandem/activemq.xml, subPath: y", "within /etc/tandem"),
            ("mountPath: /opt", "/opt is around /opt/tandem"),
        ] {
            let text = problem(&format!(
                "pod: {{volumes: [{{name: x}}], volumeMounts: [{{name: x, {mount}}}]}}"
            ));
            assert!(text.starts_with("spec.pod.volumeMounts") && text.contains(words), "{text}");
        }
    }

    #[test]
    fn an_untested_version_runs_with_an_image_of_its_own() {
        let valid =
            validate(&cluster("broker: {version: 6.9.9, image: registry.example/mq:6.9.9}"))
                .unwrap();
        assert_eq!(valid.image, "registry.example/mq:6.9.9");
    }
}
