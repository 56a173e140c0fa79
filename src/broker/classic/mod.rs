//! ActiveMQ Classic: its configuration, its command line and its greeting.

pub mod config;
pub mod fragment;
pub mod greeting;
pub mod launch;

/// Where things are inside a broker pod. The directories are mounted by `resources::pod`.
pub mod paths {
    /// The broker's installation, as in the official image.
    pub const HOME: &str = "/opt/apache-activemq";
    /// The immutable configuration.
    pub const CONFIG: &str = "/etc/tandem";
    /// The admin's Secret.
    pub const ADMIN: &str = "/etc/tandem-auth/admin";
    /// The users' Secret.
    pub const USERS: &str = "/etc/tandem-auth/users";
    /// Login files, written by the agent into memory.
    pub const LOGIN: &str = "/run/tandem";
    /// The shared volume.
    pub const STORE: &str = "/store";
    /// KahaDB's directory on the shared volume.
    pub const KAHADB: &str = "/store/kahadb";
    /// The lock that elects the master.
    pub const LOCK: &str = "/store/kahadb/lock";
    /// The highest epoch, for the case that the record is deleted.
    pub const EPOCH_FLOOR: &str = "/store/tandem-epoch";
    /// The broker's data that need not survive it.
    pub const SCRATCH: &str = "/tmp/activemq";
}

/// Port of the loopback listener that the agent probes.
pub const GREETING_PORT: u16 = 61610;
