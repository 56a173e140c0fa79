//! What the user asks for. The comments of the fields are the user's documentation.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, PodSecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BrokerClusterStatus, LogOptions, QuantityValue, Storage, Update, defaults};

/// A group of ActiveMQ brokers that share one store: the broker that holds the lock on the store is
/// the master and serves the clients, the others are standbys that wait for the lock.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tandem-operator.io",
    version = "v1alpha1",
    kind = "BrokerCluster",
    doc = "A group of ActiveMQ brokers that share one store. The broker that holds the lock on the store is the master and serves the clients; the others are standbys that wait for the lock.",
    namespaced,
    shortname = "bc",
    category = "all",
    status = "BrokerClusterStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Master", type_ = "string", json_path = ".status.master.pod"),
    printcolumn(name = "Standbys", type_ = "string", json_path = ".status.standbysWaiting"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Flavor", type_ = "string", json_path = ".spec.broker.flavor", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.broker.version", priority = 1),
    printcolumn(name = "Store", type_ = "string", json_path = ".status.lock.kind", priority = 1),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.master.epoch", priority = 1),
    printcolumn(name = "Last Failover", type_ = "date", json_path = ".status.lastFailover.at", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 52 characters of a-z, 0-9 and '-', begin with a letter and end with a letter or digit: pods and Services are named after it"),
    // On the root, because only there it can see the status: a growth that was refused may be taken back.
    validation = Rule::new("!has(self.spec.storage.sharedVolume) || !has(self.spec.storage.sharedVolume.claim) || !has(oldSelf.spec.storage.sharedVolume) || !has(oldSelf.spec.storage.sharedVolume.claim) || !quantity(string(self.spec.storage.sharedVolume.claim.resources.requests.storage)).isLessThan(quantity(string(oldSelf.spec.storage.sharedVolume.claim.resources.requests.storage))) || (has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(c, c.type == 'VolumeSized' && c.reason == 'ExpansionRefused'))")
        .message("storage.sharedVolume.claim.resources.requests.storage cannot become smaller, because volumes cannot shrink: put the old size back; for a smaller volume make a new BrokerCluster and let clients drain this one")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.replicas == 1 || !has(self.storage.sharedVolume) || !has(self.storage.sharedVolume.claim) || 'ReadWriteMany' in self.storage.sharedVolume.claim.accessModes")
    .message("storage.sharedVolume.claim.accessModes must contain ReadWriteMany when replicas is more than 1: every broker mounts the store; choose a storage class that offers it, or set replicas: 1"))]
pub struct BrokerClusterSpec {
    /// Which broker runs, and how it is configured.
    #[serde(default)]
    pub broker: Broker,
    /// How many pods the group has: one master, the others are standbys. From 1 to 5.
    #[serde(default = "defaults::replicas")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: i32,
    /// Where the messages are kept. All brokers of the group share it.
    pub storage: Storage,
    /// The ports on which the master serves clients.
    #[serde(default = "defaults::listeners")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))").message("listeners: every name may be used once only; rename one of them"))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.port == a.port))").message("listeners: every port may be used once only; give each listener a port of its own"))]
    pub listeners: Vec<Listener>,
    /// Who may connect. There is no anonymous access.
    #[serde(default)]
    pub auth: Auth,
    /// When a broker counts as failed.
    #[serde(default)]
    pub failover: Failover,
    /// How changes of this spec reach running brokers.
    #[serde(default)]
    pub update: Update,
    /// How the pods look and where they run.
    #[serde(default)]
    pub pod: PodOptions,
    /// Pods whose brokers are kept down while another one serves, so that somebody can look into them:
    /// the pod stays, its broker is stopped, and it takes no part in elections. A master is switched over
    /// first. As long as no other pod waits for the lock it stays master, and the condition `Progressing`
    /// says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(length(min = 1, max = 63)))]
    pub fenced_pods: Vec<String>,
    /// While true no broker runs: the pods are removed, the lock is free, and the store is kept. False
    /// wakes the group again.
    #[serde(default)]
    pub hibernated: bool,
    /// While true the operator changes nothing. Failover goes on working: it does not need the operator.
    #[serde(default)]
    pub paused: bool,
}

/// Which broker runs, and how it is configured.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.flavor == oldSelf.flavor").message("broker.flavor cannot be changed: the stores of the flavors differ; make a new BrokerCluster"))]
pub struct Broker {
    /// The kind of broker.
    #[serde(default)]
    pub flavor: Flavor,
    /// The broker's version. It selects the tag of the official image unless `image` is set. The
    /// version is fixed when the cluster is made; a newer operator does not change it.
    #[serde(default = "defaults::version")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub version: String,
    /// An image to run instead of the official one. It must keep the official layout:
    /// `/opt/apache-activemq` with `bin/activemq.jar`, and `java` in `$JAVA_HOME/bin` or in `$PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled. The default is Kubernetes' own: Always for the tag `latest`,
    /// otherwise `IfNotPresent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets with credentials of the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The Java virtual machine.
    #[serde(default)]
    pub java: Java,
    /// Configuration beyond what the other fields say.
    #[serde(default)]
    pub config: BrokerConfig,
    /// What the broker logs.
    #[serde(default, skip_serializing_if = "LogOptions::is_default")]
    pub log: LogOptions,
}

/// The kind of broker.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flavor {
    /// ActiveMQ Classic.
    #[default]
    Classic,
}

/// When an image is pulled.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePullPolicy {
    /// At every start of a container.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// The Java virtual machine.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Java {
    /// The largest heap: a percentage of the container's memory limit such as `50%`, or a quantity
    /// such as `2Gi`. Leave the other half to threads, buffers and the page cache of the store. A percentage
    /// needs a memory limit in `pod.resources`, and at least 256Mi of that limit must remain beside the heap.
    #[schemars(
        length(min = 1, max = 16),
        regex(pattern = r"^([1-9][0-9]?%|[1-9][0-9]*(Ki|Mi|Gi)?)$")
    )]
    pub heap: String,
    /// Further options of the `java` command, one per entry: system properties (`-D`), options of the
    /// virtual machine (`-X`, `-XX:`), modules (`--add-opens=` and the like) and agents. They come before
    /// Tandem's own, which win. What Tandem sets is refused: the heap, the directories, the login, the
    /// log, file locking, the end of a broker without memory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub options: Vec<String>,
}

/// Configuration beyond what the other fields say.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerConfig {
    /// Child elements of `<broker>` for `activemq.xml`: destination policies, usage limits, plugins,
    /// network connectors. Well-formed XML without document type or entities. What Tandem sets up
    /// (the store, its lock, the connectors, the login) is refused here. A Spring `<bean>` runs as part
    /// of the broker and may change anything in it: give only people whom you trust with the broker the
    /// right to write this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub xml: Option<String>,
}

/// A port on which the master serves clients.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name, also the port's name in the Service.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The port, of the pods and of the Service. 61610 and 9616 are Tandem's own.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self != 61610 && self != 9616").message("listeners: ports 61610 and 9616 are used by Tandem itself; choose another"))]
    pub port: i32,
    /// How many clients may be connected at once; further ones are refused. Default 1000, as in the
    /// configuration that ActiveMQ ships, or what the heap can carry if that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub max_connections: Option<u32>,
    /// The largest message with its headers, such as `50Mi`. The broker closes a connection that sends a larger
    /// one. Default: a 256th of the heap, which is 2Mi with default settings, and at most 10Mi, as in the
    /// configuration that ActiveMQ ships. At most an eighth of the heap, and 256Mi. While a broker stores a message,
    /// the message is in the heap several times: with a larger value than the default one, about 20 clients that
    /// send such messages at once exhaust the heap, and the broker fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_frame_size: Option<QuantityValue>,
}

/// What is spoken on a listener.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(
    clippy::upper_case_acronyms,
    reason = "the protocols' own names, and the values in the API"
)]
pub enum Protocol {
    /// The native protocol of ActiveMQ's JMS client.
    OpenWire,
    /// AMQP 1.0.
    AMQP,
    /// MQTT 3.1.1.
    MQTT,
    /// STOMP 1.2.
    STOMP,
}

/// Who may connect.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Auth {
    /// A Secret with one entry per user: the key is the user's name, the value the password. Changes
    /// are picked up without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_secret: Option<SecretName>,
    /// A Secret with the keys `username` and `password` of the administrator. Without it one is
    /// generated once, named `<cluster>-admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_secret: Option<SecretName>,
}

/// A Secret in the same namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretName {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// When a broker counts as failed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// A master that has served and then does not greet a new connection for so long is killed, so
    /// that a standby takes over: from `2s` to `10m`. It must be longer than the longest pause of
    /// garbage collection. A broker that recovers its store after the start is never killed for it.
    #[serde(default = "defaults::hang_timeout")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('2s') && duration(self) <= duration('10m')").message("failover.hangTimeout must be from 2s to 10m"))]
    pub hang_timeout: Duration,
    /// What is done about pods of a node that does not answer.
    #[serde(default)]
    pub unreachable_node: UnreachableNode,
}

/// What is done about pods of a node that does not answer: Kubernetes leaves them as they are, since
/// they may still run there.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreachableNode {
    /// When a node has not been ready for so long, its pod is deleted by force and made anew on another
    /// node, provided that another pod is proven to be master and that the lost one's signs of life on
    /// the store have ended: from `10s` to `24h`. With the taint `node.kubernetes.io/out-of-service` on
    /// the node it is not waited for.
    #[serde(default = "defaults::force_delete_after")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("failover.unreachableNode.forceDeleteAfter must be from 10s to 24h"))]
    pub force_delete_after: Duration,
}

/// How the pods look and where they run.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodOptions {
    /// Memory and CPU of the broker. Default: requests of 250m and 1Gi, a limit of 1Gi memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Further annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Further labels. Tandem's own win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only nodes with these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Affinity rules. Setting `podAntiAffinity` replaces the default, which is never to put two
    /// brokers of a group on one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Tolerations, beside the default ones: a master on a node that lost touch with the control
    /// plane is not evicted, because it serves on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// How pods spread. Default: over zones where that is possible.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Security settings of the pod. Fields left out keep their safe defaults: user, group and
    /// fsGroup 61616, not root, the runtime's default seccomp profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Environment variables of the broker. Those that change the JVM's options, the class path or the
    /// log are refused, because they would win over what Tandem sets. They are also taken out of the
    /// broker's environment when the image, or another controller, sets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// Further volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volumes: Vec<Volume>,
    /// Where the broker's container mounts them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_mounts: Vec<VolumeMount>,
    /// How long a broker may take to stop, in seconds, before it is killed. Default 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,
}

/// Memory and CPU of the broker.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, QuantityValue>,
    /// What may be used at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, QuantityValue>,
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
