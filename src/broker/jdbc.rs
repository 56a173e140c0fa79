//! JDBC URLs, and which of their parameters are not the user's.

use super::{
    settings::{DatabaseKind, DatabaseServer, DatabaseTls},
    store::{Database, Server, bracketed},
};

/// Password of the keystore with the authority's certificates: it protects nothing, they are public.
pub const KEYSTORE_PASSWORD: &str = "changeit";

/// Parameters that Tandem sets, in any spelling, and why. A name that ends in `*` is a beginning.
const REFUSED: [(&str, &str); 22] = [
    ("user", "credentials come from credentialsSecret"),
    ("username", "credentials come from credentialsSecret"),
    ("password*", "credentials come from credentialsSecret"),
    ("ssl*", "encryption comes from tls"),
    ("usessl", "encryption comes from tls"),
    ("requiressl", "encryption comes from tls"),
    ("verifyservercertificate", "encryption comes from tls"),
    ("trustcertificate*", "encryption comes from tls"),
    ("truststore*", "encryption comes from tls"),
    ("trustservercertificate", "encryption comes from tls"),
    ("servercertificate", "encryption comes from tls"),
    ("serversslcert", "encryption comes from tls"),
    ("disablesslhostnameverification", "encryption comes from tls"),
    ("gssencmode", "encryption comes from tls"),
    ("applicationname", "the lease's holder is known by it"),
    ("useaffectedrows", "a renewal within the same millisecond would count as lost"),
    ("autocommit", "a renewal must take effect at once"),
    ("readonly*", "the lease must be written"),
    ("targetservertype", "every connection must lead to the server that takes writes"),
    ("loadbalance*", "every connection must lead to the server that takes writes"),
    ("sessionvariables", "the session's variables tell who holds the lease"),
    ("initsql*", "the session's variables tell who holds the lease"),
];

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

/// Why a parameter of the user's is refused, if it is.
pub fn refusal(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let hits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => lower.starts_with(start),
        None => lower == pattern,
    };
    REFUSED
        .iter()
        .find(|(pattern, _)| hits(pattern))
        .map(|(_, why)| format!("{name} is set by Tandem ({why}); remove it"))
}

/// Why a parameter of the user's cannot be written into a URL, if it cannot. MariaDB's driver takes
/// values as they stand (3.5.4), the others decode them.
pub fn unwritable(kind: DatabaseKind, name: &str, value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Some(format!(
            "{name:?} is no parameter's name: use letters, digits, '_', '.', '-'"
        ));
    }
    let as_it_stands = |c: char| c.is_ascii_graphic() && !matches!(c, '&' | '?' | '#' | '{' | '}');
    match kind {
        DatabaseKind::MariaDB if !value.chars().all(as_it_stands) => Some(format!(
            "{name}: MariaDB's driver takes no blanks and none of & ? # {{ }} in a value; leave them out"
        )),
        DatabaseKind::PostgreSQL | DatabaseKind::MySQL | DatabaseKind::MariaDB => None,
    }
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
    let timeout = |name: &str| matches!(name, "connectTimeout" | "socketTimeout");
    let users = database
        .parameters
        .iter()
        .filter(|(name, _)| purpose == Purpose::Messages || !timeout(name));
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
