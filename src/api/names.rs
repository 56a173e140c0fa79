//! The names of a group's objects, all derived from the cluster's name in this one place.

/// Longest allowed name of a `BrokerCluster`: room for the suffixes below in a DNS label (63).
pub const MAX_CLUSTER_NAME: usize = 52;

/// The names of one group's objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName {
    /// Namespace of the `BrokerCluster` and of all its objects.
    pub namespace: String,
    /// Name of the `BrokerCluster`.
    pub name: String,
}

impl ClusterName {
    /// The client Service, its EndpointSlice (the promotion record), the StatefulSet and the PDB.
    pub fn main(&self) -> String {
        self.name.clone()
    }
    /// The headless Service that gives every pod a DNS name.
    pub fn headless(&self) -> String {
        format!("{}-pods", self.name)
    }
    /// The claim of the shared store.
    pub fn store(&self) -> String {
        format!("{}-store", self.name)
    }
    /// The generated Secret of the admin.
    pub fn admin(&self) -> String {
        format!("{}-admin", self.name)
    }
    /// The Secret with the key of the mark that stands on pods for a database's credentials.
    pub fn seal(&self) -> String {
        format!("{}-seal", self.name)
    }
    /// ServiceAccount, Role and RoleBinding of the agents.
    pub fn agent(&self) -> String {
        format!("{}-agent", self.name)
    }
    /// The immutable ConfigMap with this content.
    pub fn config(&self, content_hash: &str) -> String {
        format!("{}-config-{content_hash}", self.name)
    }
    /// The pod of this ordinal.
    pub fn pod(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.name)
    }
    /// A pod's DNS name as the published broker list has it: resolved by the search path of every
    /// pod of the Kubernetes cluster, whatever the cluster's domain is called.
    pub fn pod_host(&self, ordinal: i32) -> String {
        format!("{}.{}.{}.svc", self.pod(ordinal), self.headless(), self.namespace)
    }
    /// The client Service's DNS name.
    pub fn service_host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
    /// Which ordinal a pod name has, if it is one of this group's.
    pub fn ordinal(&self, pod: &str) -> Option<i32> {
        let digits = pod.strip_prefix(&self.name)?.strip_prefix('-')?;
        // A StatefulSet writes no sign and no leading zeros.
        digits.parse().ok().filter(|n: &i32| *n >= 0 && n.to_string() == digits)
    }
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
