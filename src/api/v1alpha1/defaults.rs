//! Defaults, each in one place. Those that end up in a running pod are written into the stored
//! object by the API server, so that a newer operator with other defaults restarts nothing.

use std::{collections::BTreeMap, time::Duration as StdDuration};

use kube::core::Duration;

use super::{
    Auth, Broker, BrokerConfig, Failover, FileLock, Flavor, Java, Lease, Listener, Lock,
    LogOptions, Protocol, QuantityValue, Resources, UnreachableNode, Update, UpdateStrategy,
};

/// The version that a new cluster gets.
pub const DEFAULT_VERSION: &str = "6.3.1";
/// The tested matrix of versions, the oldest first. All of them write the same store: version 7 of KahaDB with
/// the same kinds of records and messages in version 11 of OpenWire, or the same tables by the same SQL. Each was
/// seen to hand out every message that each other had stored (`e2e::versions_side_by_side`, also in a
/// database), so a group may go up and down within the matrix.
pub const VERSIONS: [&str; 3] = ["5.18.4", "6.1.8", "6.3.1"];
/// The official image of Classic; the version is its tag.
const CLASSIC_IMAGE: &str = "docker.io/apache/activemq";
/// What it was called until 2026.
const FORMER_CLASSIC_IMAGE: &str = "docker.io/apache/activemq-classic";
/// Versions that were published by the former name.
const FORMER_VERSIONS: [&str; 2] = ["5.18.4", "6.1.8"];

/// The official image of a version.
pub fn classic_image(version: &str) -> String {
    let former = FORMER_VERSIONS.contains(&version);
    let name = if former { FORMER_CLASSIC_IMAGE } else { CLASSIC_IMAGE };
    format!("{name}:{version}")
}

pub(super) fn version() -> String {
    DEFAULT_VERSION.to_owned()
}
pub(super) fn replicas() -> i32 {
    2
}
/// See docs/decisions/0002-lock-timing.md.
pub(super) fn poll() -> Duration {
    Duration::from(StdDuration::from_millis(100))
}
/// See docs/decisions/0002-lock-timing.md.
pub(super) fn keep_alive() -> Duration {
    Duration::from(StdDuration::from_millis(250))
}
/// See docs/decisions/0011-fencing-by-proof.md.
pub(super) fn fence_after() -> Duration {
    Duration::from(StdDuration::from_secs(20))
}
/// See docs/guides/database.md.
pub(super) fn lease_duration() -> Duration {
    Duration::from(StdDuration::from_secs(5))
}
/// See docs/guides/database.md.
pub(super) fn lease_renew() -> Duration {
    Duration::from(StdDuration::from_millis(500))
}
/// How often a standby tries to get a lease. Not written into the stored object: databases of type
/// Other cannot have it.
pub fn lease_poll() -> Duration {
    Duration::from(StdDuration::from_millis(500))
}
pub(super) fn username_key() -> String {
    "username".to_owned()
}
pub(super) fn password_key() -> String {
    "password".to_owned()
}
pub(super) fn ca_key() -> String {
    "ca.crt".to_owned()
}
pub(super) fn max_connections() -> i32 {
    20
}
pub(super) fn hang_timeout() -> Duration {
    Duration::from(StdDuration::from_secs(10))
}
pub(super) fn force_delete_after() -> Duration {
    Duration::from(StdDuration::from_mins(1))
}
pub(super) fn yes() -> bool {
    true
}
pub(super) fn halt_after() -> Duration {
    Duration::from(StdDuration::from_mins(5))
}
pub(super) fn time_zone() -> String {
    "UTC".to_owned()
}
pub(super) fn heap() -> String {
    "50%".to_owned()
}
pub(super) fn listeners() -> Vec<Listener> {
    vec![Listener {
        name: "openwire".to_owned(),
        protocol: Protocol::OpenWire,
        port: 61616,
        max_connections: None,
        max_frame_size: None,
    }]
}
pub(super) fn access_modes() -> Vec<String> {
    vec!["ReadWriteMany".to_owned()]
}

impl Default for Update {
    fn default() -> Self {
        Self {
            strategy: UpdateStrategy::default(),
            switchover_on_cordon: yes(),
            windows: Vec::new(),
            halt_after: halt_after(),
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            flavor: Flavor::Classic,
            version: version(),
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            java: Java::default(),
            config: BrokerConfig::default(),
            log: LogOptions::default(),
        }
    }
}
impl Default for Java {
    fn default() -> Self {
        Self { heap: heap(), options: Vec::new() }
    }
}
impl Default for FileLock {
    fn default() -> Self {
        Self { poll: poll(), keep_alive: keep_alive(), fence_after: fence_after() }
    }
}
impl Default for Lock {
    fn default() -> Self {
        Self { file: Some(FileLock::default()), database: None }
    }
}
impl Default for Lease {
    fn default() -> Self {
        Self { duration: lease_duration(), renew: lease_renew(), poll: None }
    }
}
impl Default for Failover {
    fn default() -> Self {
        Self { hang_timeout: hang_timeout(), unreachable_node: UnreachableNode::default() }
    }
}
impl Default for UnreachableNode {
    fn default() -> Self {
        Self { force_delete_after: force_delete_after() }
    }
}
impl Auth {
    /// Whether the operator generates the admin's Secret.
    pub fn generates_admin(&self) -> bool {
        self.admin_secret.is_none()
    }
}

/// What a broker pod asks for when the spec does not say: a heap of 512 MiB and as much beside it.
pub fn default_resources() -> Resources {
    let quantity = |text: &str| QuantityValue(text.to_owned());
    let memory = || ("memory".to_owned(), quantity("1Gi"));
    Resources {
        requests: BTreeMap::from([("cpu".to_owned(), quantity("250m")), memory()]),
        limits: BTreeMap::from([memory()]),
    }
}
