//! Where a broker's messages are and what elects the master, as far as a broker and its agent have to
//! know: checked, with every default filled in.

use std::collections::BTreeMap;

use super::settings::{DatabaseKind, DatabaseServer, DatabaseTls, Preflight};
use crate::secret;

/// The store and its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// The messages are on a volume that all brokers mount.
    Volume {
        /// The claim that the pods mount.
        claim: String,
        /// What elects the master.
        lock: VolumeLock,
        /// What is done about a volume that should not be used.
        preflight: Preflight,
    },
    /// The messages and the lease are in a database.
    Database {
        /// The database.
        database: Database,
        /// The class of the broker's JDBC adapter.
        adapter: String,
        /// The most connections for messages.
        max_connections: u32,
    },
}

/// The lock of a store on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeLock {
    /// A lock on a file of the volume.
    File {
        /// How often a standby tries it.
        poll_millis: u64,
        /// How often a master checks it.
        keep_alive_millis: u64,
        /// How long a broker may go on after network storage last answered.
        fence_after_millis: u64,
    },
    /// A lease in a database.
    Lease(Database),
}

impl Store {
    /// The claim that the pods mount, if the messages are on a volume.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::Volume { claim, .. } => Some(claim),
            Self::Database { .. } => None,
        }
    }

    /// The database with the lease, if that elects the master.
    pub fn database(&self) -> Option<&Database> {
        match self {
            Self::Volume { lock: VolumeLock::Lease(database), .. }
            | Self::Database { database, .. } => Some(database),
            Self::Volume { lock: VolumeLock::File { .. }, .. } => None,
        }
    }
}

/// A database and how brokers use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Where it is.
    pub server: Server,
    /// PostgreSQL: the schema with the tables; without it the user's own search path decides.
    pub schema: Option<String>,
    /// Further parameters of the JDBC URL.
    pub parameters: BTreeMap<String, String>,
    /// Before the names of all tables.
    pub table_prefix: String,
    /// The JDBC driver's class.
    pub driver_class: String,
    /// A directory of the broker's container with the driver, beside those of the broker itself.
    pub driver_directory: Option<String>,
    /// How long the lease runs after a renewal.
    pub lease_millis: u64,
    /// How often a master renews it.
    pub renew_millis: u64,
    /// How often a standby tries to get it.
    pub poll_millis: u64,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A server that agents can ask.
    Known(DatabaseServer),
    /// One that only the broker can ask.
    Other {
        /// The JDBC URL.
        url: String,
    },
}

/// The name of the table with the lock, after the prefix.
pub const LOCK_TABLE: &str = "ACTIVEMQ_LOCK";

impl Database {
    /// Its kind, if agents can ask it.
    pub fn kind(&self) -> Option<DatabaseKind> {
        self.known().map(|server| server.kind)
    }

    /// Where it is, if agents can ask it.
    pub fn known(&self) -> Option<&DatabaseServer> {
        match &self.server {
            Server::Known(server) => Some(server),
            Server::Other { .. } => None,
        }
    }

    /// The full name of the table with the lock.
    pub fn lock_table(&self) -> String {
        format!("{}{LOCK_TABLE}", self.table_prefix)
    }

    /// The lock, for people.
    pub fn lock_place(&self) -> String {
        let place = match &self.server {
            Server::Known(server) => {
                let scheme = match server.kind {
                    DatabaseKind::PostgreSQL => "postgresql",
                    DatabaseKind::MySQL => "mysql",
                    DatabaseKind::MariaDB => "mariadb",
                };
                format!("{scheme}://{}:{}/{}", bracketed(&server.host), server.port, server.name)
            }
            // What follows the first separator of parameters may be confidential.
            Server::Other { url } => {
                secret::without_userinfo(url.split(['?', ';']).next().unwrap_or_default(), "...")
            }
        };
        let schema = self.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        format!("{place} table {schema}{}", self.lock_table())
    }

    /// Whether the driver wants the authority's certificates as a keystore: MySQL's reads no PEM.
    pub fn wants_keystore(&self) -> bool {
        self.known().is_some_and(|server| {
            server.kind == DatabaseKind::MySQL && matches!(server.tls, DatabaseTls::Verified { .. })
        })
    }
}

/// A host as it stands in a URL: IPv6 addresses in brackets.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
