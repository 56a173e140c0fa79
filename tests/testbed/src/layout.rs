//! What a bed's parts are called and where they live, all derived from the bed's name.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Where every bed has a directory. Unix sockets lie below it, whose paths must be short.
pub const STATE: &str = "/var/lib/tandem-testbed";

/// The API server and the database, on the control plane's bridge.
pub const APISERVER: &str = "172.30.0.1";
/// CoreDNS has an address of its own, so that cutting off the API server leaves DNS alone.
pub const DNS: &str = "172.30.0.3";
/// The first and the last address for database servers.
pub const DATABASES: [&str; 2] = ["172.30.0.101", "172.30.0.199"];
/// The first and the last address for storage servers.
pub const STORAGES: [&str; 2] = ["172.30.0.201", "172.30.0.249"];
/// Where a node mounts what storage servers offer, each under its name. It is in the node's own
/// `/run`: mounts end with the node's power and never show on the machine.
pub const STORAGE_MOUNTS: &str = "/run/tandem-storage";
/// The address of the DNS service that pods are given.
pub const DNS_SERVICE: &str = "10.96.0.10";
/// Addresses of services; the API server's own service is the first.
pub const SERVICES: &str = "10.96.0.0/16";
/// Addresses of all pods.
pub const PODS: &str = "10.244.0.0/16";
/// The domain of services' names.
pub const DOMAIN: &str = "cluster.local";

/// The names and paths of one bed.
#[derive(Clone, Debug)]
pub struct Layout {
    name: String,
}

impl Layout {
    /// The layout of the bed of this name.
    pub fn new(name: &str) -> Result<Layout> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 20 || name.starts_with('-') || !name.chars().all(plain) {
            bail!("a bed's name has up to 20 lower-case letters, digits and dashes: {name:?}");
        }
        Ok(Layout { name: name.to_owned() })
    }

    /// The bed's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bed's own directory.
    pub fn root(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    /// The control plane's network namespace.
    pub fn network(&self) -> String {
        format!("{}-cp", self.name)
    }

    /// The control group of the control plane's processes.
    pub fn cgroup(&self) -> String {
        format!("{}-cp", self.name)
    }

    /// The components' binaries.
    pub fn bin(&self) -> PathBuf {
        self.root().join("bin")
    }

    /// The test bed's own program, which is every node's first process.
    pub fn program(&self) -> PathBuf {
        self.bin().join("testbed")
    }

    /// Certificates and keys of the control plane.
    pub fn certificates(&self) -> PathBuf {
        self.root().join("certificates")
    }

    /// One log per process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.root().join("logs").join(format!("{process}.log"))
    }

    /// The record of a running process.
    pub fn process_record(&self, process: &str) -> PathBuf {
        self.root().join("processes").join(format!("{process}.json"))
    }

    /// A client configuration for `user`.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root().join("kubeconfigs").join(format!("{user}.json"))
    }

    /// Host directories used as shared volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root().join("volumes")
    }

    /// The directories of the servers of this kind, by number.
    pub fn servers(&self, role: Role) -> PathBuf {
        self.root().join(match role {
            Role::Database => "databases",
            Role::Storage => "storages",
        })
    }

    /// The layout of server `number` of this kind, counted from 1.
    pub fn server(&self, role: Role, number: u8) -> ServerLayout {
        ServerLayout { bed: self.clone(), role, number }
    }

    /// The layout of node `number`, counted from 1.
    pub fn node(&self, number: u8) -> NodeLayout {
        NodeLayout { bed: self.clone(), number }
    }
}

/// The names, addresses and paths of one node.
#[derive(Clone, Debug)]
pub struct NodeLayout {
    bed: Layout,
    number: u8,
}

impl NodeLayout {
    /// The bed the node belongs to.
    pub fn bed(&self) -> &Layout {
        &self.bed
    }

    /// The node's number, counted from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The node's name in Kubernetes.
    pub fn name(&self) -> String {
        format!("n{}", self.number)
    }

    /// The node's zone: `a`, `b` and so on.
    pub fn zone(&self) -> char {
        char::from(b'a' + self.number.saturating_sub(1).min(25))
    }

    /// The node's address on the control plane's bridge.
    pub fn address(&self) -> String {
        format!("172.30.0.{}", 10 + self.number)
    }

    /// The addresses of the node's pods.
    pub fn pods(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// The node's network namespace.
    pub fn network(&self) -> String {
        format!("{}-n{}", self.bed.name, self.number)
    }

    /// The end of the node's cable at the control plane's bridge.
    pub fn cable(&self) -> String {
        format!("veth{}", self.number)
    }

    /// The control group of everything on the node.
    pub fn cgroup(&self) -> String {
        format!("{}-n{}", self.bed.name, self.number)
    }

    /// The node's disk.
    pub fn disk(&self) -> PathBuf {
        self.bed.root().join(self.name())
    }

    /// The socket of the node's container runtime.
    pub fn containerd_socket(&self) -> PathBuf {
        self.disk().join("containerd.sock")
    }
}

/// What a server of the bed is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Databases.
    Database,
    /// Shared volumes.
    Storage,
}

impl Role {
    /// How many servers of this kind a bed can have: so many addresses are kept for them.
    pub fn most(self) -> u8 {
        match self {
            Role::Database => 99,
            Role::Storage => 49,
        }
    }
}

/// The names, addresses and paths of one database or storage server.
#[derive(Clone, Debug)]
pub struct ServerLayout {
    bed: Layout,
    role: Role,
    number: u8,
}

impl ServerLayout {
    /// The bed the server belongs to.
    pub fn bed(&self) -> &Layout {
        &self.bed
    }

    /// The server's number among those of its kind, counted from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// What its process, network namespace and control group are called within the bed.
    pub fn part(&self) -> String {
        let letter = match self.role {
            Role::Database => 'd',
            Role::Storage => 's',
        };
        format!("{letter}{}", self.number)
    }

    /// The server's address on the control plane's bridge.
    pub fn address(&self) -> String {
        let base = match self.role {
            Role::Database => 100,
            Role::Storage => 200,
        };
        format!("172.30.0.{}", base + self.number)
    }

    /// The server's hardware address, of those that anybody may use.
    pub fn hardware_address(&self) -> String {
        let role = match self.role {
            Role::Database => 0,
            Role::Storage => 1,
        };
        format!("02:00:00:00:{role:02x}:{:02x}", self.number)
    }

    /// The server's network namespace.
    pub fn network(&self) -> String {
        format!("{}-{}", self.bed.name, self.part())
    }

    /// The end of the server's cable at the control plane's bridge.
    pub fn cable(&self) -> String {
        format!("veth{}", self.part())
    }

    /// The control group of the server's processes.
    pub fn cgroup(&self) -> String {
        self.network()
    }

    /// Everything the server keeps.
    pub fn directory(&self) -> PathBuf {
        self.bed.servers(self.role).join(self.number.to_string())
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.directory().join("data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_carries_the_bed() {
        let node = Layout::new("tandem").unwrap().node(2);
        assert_eq!(node.network(), "tandem-n2");
        assert_eq!(node.address(), "172.30.0.12");
        assert_eq!(node.zone(), 'b');
        assert!(node.disk().starts_with("/var/lib/tandem-testbed/tandem"));
    }

    #[test]
    fn names_that_could_escape_are_refused() {
        for name in ["", "-x", "a/b", "..", "A", "a-very-long-name-of-a-bed"] {
            assert!(Layout::new(name).is_err(), "{name}");
        }
    }
}
