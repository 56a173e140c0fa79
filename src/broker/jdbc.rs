//! JDBC URLs.

use super::{
    jdbc_parameters,
    settings::{DatabaseKind, DatabaseServer, DatabaseTls},
    store::{Database, Server, bracketed},
};

/// Password of the keystore with the authority's certificates: it protects nothing, they are public.
pub const KEYSTORE_PASSWORD: &str = "changeit";

/// What connections are for: it decides how long an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Messages: a large store may take its time.
    Messages,
    /// The lease: an answer that comes late is worth nothing.
    Lease,
}

/// Longest time to wait for a connection for messages.
const CONNECT_MILLIS: u64 = 5_000;
/// Longest time to wait for an answer on a connection for messages. Without one a broker would wait
/// for ever for a server that vanished.
const ANSWER_MILLIS: u64 = 30_000;

/// The longest wait for the lease's connections: two tries fit into one lease. PostgreSQL's driver
/// takes whole seconds, and 0 is for ever.
pub fn lease_wait_millis(database: &Database) -> u64 {
    (database.lease_millis / 2).max(1000)
}

/// The driver's usual class.
pub fn driver_class(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::PostgreSQL => "org.postgresql.Driver",
        DatabaseKind::MySQL => "com.mysql.cj.jdbc.Driver",
        DatabaseKind::MariaDB => "org.mariadb.jdbc.Driver",
    }
}

/// The URL of a database, without credentials. `keystore` is where its agent puts the authority's
/// certificates for drivers that read no PEM.
pub fn url(database: &Database, purpose: Purpose, keystore: &str) -> String {
    let server = match &database.server {
        Server::Other { url } => return url.clone(),
        Server::Known(server) => server,
    };
    let scheme = match server.kind {
        DatabaseKind::PostgreSQL => "postgresql",
        DatabaseKind::MySQL => "mysql",
        DatabaseKind::MariaDB => "mariadb",
    };
    let mut parameters: Vec<(&str, String)> = tls(server, keystore);
    parameters.extend(timeouts(database, server.kind, purpose));
    if server.kind == DatabaseKind::MariaDB {
        // A server may name another one at login, which the agent would not follow.
        parameters.push(("permitRedirect", "false".to_owned()));
    }
    // The agent's sessions set the same path.
    parameters.extend(database.schema.iter().map(|schema| ("currentSchema", schema.clone())));
    let users = database
        .parameters
        .iter()
        .filter(|(name, _)| purpose == Purpose::Messages || !jdbc_parameters::is_timeout(name));
    for (name, value) in users {
        parameters.retain(|(set, _)| set != name);
        parameters.push((name, written(server.kind, value)));
    }
    let list: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let host = bracketed(&server.host);
    format!("jdbc:{scheme}://{host}:{}/{}?{}", server.port, server.name, list.join("&"))
}

fn timeouts(
    database: &Database,
    kind: DatabaseKind,
    purpose: Purpose,
) -> [(&'static str, String); 3] {
    let (connect, answer) = match purpose {
        Purpose::Messages => (CONNECT_MILLIS, ANSWER_MILLIS),
        Purpose::Lease => (lease_wait_millis(database), lease_wait_millis(database)),
    };
    let unit = match kind {
        DatabaseKind::PostgreSQL => 1000,
        DatabaseKind::MySQL | DatabaseKind::MariaDB => 1,
    };
    [
        ("connectTimeout", (connect / unit).to_string()),
        ("socketTimeout", (answer / unit).to_string()),
        ("tcpKeepAlive", "true".to_owned()),
    ]
}

fn tls(server: &DatabaseServer, keystore: &str) -> Vec<(&'static str, String)> {
    let mode = |text: &str| ("sslMode", text.to_owned());
    match (server.kind, &server.tls) {
        (DatabaseKind::PostgreSQL, DatabaseTls::Off) => vec![("sslmode", "disable".to_owned())],
        (DatabaseKind::PostgreSQL, DatabaseTls::Encrypted) => {
            vec![("sslmode", "require".to_owned())]
        }
        (DatabaseKind::PostgreSQL, DatabaseTls::Verified { ca }) => {
            vec![("sslmode", "verify-full".to_owned()), ("sslrootcert", ca.clone())]
        }
        // Without TLS the usual login of MySQL 8 asks the server for its public key.
        (DatabaseKind::MySQL, DatabaseTls::Off) => {
            vec![mode("DISABLED"), ("allowPublicKeyRetrieval", "true".to_owned())]
        }
        (DatabaseKind::MySQL, DatabaseTls::Encrypted) => vec![mode("REQUIRED")],
        (DatabaseKind::MySQL, DatabaseTls::Verified { .. }) => vec![
            mode("VERIFY_IDENTITY"),
            ("trustCertificateKeyStoreUrl", format!("file:{keystore}")),
            ("trustCertificateKeyStoreType", "PKCS12".to_owned()),
            ("trustCertificateKeyStorePassword", KEYSTORE_PASSWORD.to_owned()),
        ],
        (DatabaseKind::MariaDB, DatabaseTls::Off) => vec![mode("disable")],
        (DatabaseKind::MariaDB, DatabaseTls::Encrypted) => vec![mode("trust")],
        (DatabaseKind::MariaDB, DatabaseTls::Verified { ca }) => {
            vec![mode("verify-full"), ("serverSslCert", ca.clone())]
        }
    }
}

/// A value as it stands in a URL of this kind.
fn written(kind: DatabaseKind, value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    match kind {
        DatabaseKind::MariaDB => value.to_owned(),
        DatabaseKind::PostgreSQL | DatabaseKind::MySQL => value
            .bytes()
            .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect(),
    }
}

#[cfg(test)]
#[path = "jdbc_tests.rs"]
mod tests;
