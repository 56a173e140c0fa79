//! ActiveMQ Classic: its configuration, its command line and its greeting.

pub mod config;
pub mod connectors;
pub mod fragment;
pub mod greeting;
mod jdbc_beans;
pub mod launch;
pub mod lease_sql;
pub mod log;
pub mod usage;
pub mod warm_up;

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
    /// The pipe for what the broker's log says of the lock, made by the agent before each start.
    pub const SIGNS: &str = "/run/tandem/signs";
    /// The shared volume.
    pub const STORE: &str = "/store";
    /// KahaDB's directory on the shared volume.
    pub const KAHADB: &str = "/store/kahadb";
    /// The lock that elects the master.
    pub const LOCK: &str = "/store/kahadb/lock";
    /// The highest epoch, for the case that the record is deleted.
    pub const EPOCH_FLOOR: &str = "/store/tandem-epoch";
    /// Where agents beat and try the volume's locks.
    pub const MEMBERS: &str = "/store/tandem-members";
    /// The database's credentials: files `username` and `password`.
    pub const DATABASE: &str = "/etc/tandem-auth/database";
    /// The certificates of the authority that signed the database's certificate.
    pub const DATABASE_CA: &str = "/etc/tandem-auth/database-ca/ca.crt";
    /// The directory of [`DATABASE_CA`], where it is mounted.
    pub const DATABASE_CA_DIRECTORY: &str = "/etc/tandem-auth/database-ca";
    /// The file's name in it.
    pub const DATABASE_CA_FILE: &str = "ca.crt";
    /// The broker's access to the database, written by the agent before each start.
    pub const DATABASE_PROPERTIES: &str = "/run/tandem/database.properties";
    /// The authority's certificates for drivers that read no PEM, made by the agent.
    pub const DATABASE_KEYSTORE: &str = "/run/tandem/database-ca.p12";
    /// JDBC drivers that an init container has copied out of an image.
    pub const DRIVERS: &str = "/opt/tandem-drivers";
    /// Where jars are in the official image, below [`HOME`].
    pub const JARS: [&str; 3] = ["lib", "lib/optional", "lib/extra"];
    /// The agent's binary, copied there by an init container, and what belongs to it.
    pub const AGENT: &str = "/opt/tandem";
    /// The classes that a standby initialises: a file in [`AGENT`].
    pub const WARM_UP_FILE: &str = "warm-up.txt";
    /// The broker's data that need not survive it.
    pub const SCRATCH: &str = "/tmp/activemq";
    /// The identity of the store that this pod's brokers were started on.
    pub const STORE_NOTE: &str = "/tmp/tandem-store";
}

/// Port of the loopback listener that the agent probes.
pub const GREETING_PORT: u16 = 61610;
