//! Parameters of JDBC URLs that users may set.
//!
//! They are allowed by name. A driver has a hundred parameters, and each version adds some: one that
//! leads the broker to other tables, weakens its commits or loads a class must not pass because nobody
//! had heard of it. A parameter is here only if it changes nothing that Tandem proves: which server,
//! database and tables a session uses, whose session it is, when a commit counts, how many rows an
//! update is said to have changed.
//!
//! The names are those of the drivers themselves: `PGProperty` of PostgreSQL's 42.7.7, `Configuration`
//! of MariaDB's 3.5.4, `PropertyKey` of MySQL's 9.4.0. The broker accepts the count `SUCCESS_NO_INFO` of
//! rewritten batches (`TransactionContext.executeBatch`, 6.3.1).

use super::settings::DatabaseKind;

/// What a parameter's value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// A time. 0 would mean for ever.
    Time,
    /// A whole number, perhaps negative.
    Number,
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
}

use Value::{Flag, Number, Text, Time};

const POSTGRESQL: &[(&str, Value)] = &[
    ("connectTimeout", Time),
    ("socketTimeout", Time),
    ("loginTimeout", Time),
    ("cancelSignalTimeout", Time),
    ("sslResponseTimeout", Time),
    ("tcpKeepAlive", Flag),
    ("tcpNoDelay", Flag),
    ("sendBufferSize", Number),
    ("receiveBufferSize", Number),
    ("maxSendBufferSize", Number),
    ("channelBinding", Text),
    ("prepareThreshold", Number),
    ("preparedStatementCacheQueries", Number),
    ("preparedStatementCacheSizeMiB", Number),
    ("databaseMetadataCacheFields", Number),
    ("databaseMetadataCacheFieldsMiB", Number),
    ("defaultRowFetchSize", Number),
    ("reWriteBatchedInserts", Flag),
    ("binaryTransfer", Flag),
    ("logServerErrorDetail", Flag),
    ("logUnclosedConnections", Flag),
];

const MYSQL: &[(&str, Value)] = &[
    ("connectTimeout", Time),
    ("socketTimeout", Time),
    ("tcpKeepAlive", Flag),
    ("tcpNoDelay", Flag),
    ("tcpRcvBuf", Number),
    ("tcpSndBuf", Number),
    ("tcpTrafficClass", Number),
    ("tlsVersions", Text),
    ("tlsCiphersuites", Text),
    ("cachePrepStmts", Flag),
    ("prepStmtCacheSize", Number),
    ("prepStmtCacheSqlLimit", Number),
    ("useServerPrepStmts", Flag),
    ("rewriteBatchedStatements", Flag),
    ("defaultFetchSize", Number),
    ("cacheServerConfiguration", Flag),
    ("cacheResultSetMetadata", Flag),
    ("metadataCacheSize", Number),
    ("maintainTimeStats", Flag),
    ("useCompression", Flag),
    ("maxAllowedPacket", Number),
    ("blobSendChunkSize", Number),
    ("connectionAttributes", Text),
    ("connectionTimeZone", Text),
    ("serverTimezone", Text),
];

const MARIADB: &[(&str, Value)] = &[
    ("connectTimeout", Time),
    ("socketTimeout", Time),
    ("tcpKeepAlive", Flag),
    ("tcpKeepIdle", Number),
    ("tcpKeepCount", Number),
    ("tcpKeepInterval", Number),
    ("enabledSslProtocolSuites", Text),
    ("enabledSslCipherSuites", Text),
    ("restrictedAuth", Text),
    ("cachePrepStmts", Flag),
    ("prepStmtCacheSize", Number),
    ("useServerPrepStmts", Flag),
    ("useBulkStmts", Flag),
    ("useBulkStmtsForInserts", Flag),
    ("disablePipeline", Flag),
    ("defaultFetchSize", Number),
    ("useReadAheadInput", Flag),
    ("useCompression", Flag),
    ("maxAllowedPacket", Number),
    ("cacheCodecs", Flag),
    ("connectionAttributes", Text),
];

/// What to use in a parameter's place, or who sets it: beginnings of names in lower case.
const INSTEAD: [(&str, &str); 20] = [
    ("user", "credentials come from credentialsSecret"),
    ("password", "credentials come from credentialsSecret"),
    ("ssl", "encryption comes from tls"),
    ("usessl", "encryption comes from tls"),
    ("requiressl", "encryption comes from tls"),
    ("verifyservercertificate", "encryption comes from tls"),
    ("trust", "encryption comes from tls"),
    ("serversslcert", "encryption comes from tls"),
    ("currentschema", "the schema comes from the field schema"),
    ("applicationname", "the lease's holder is known by it"),
    ("useaffectedrows", "a renewal within the same millisecond would count as lost"),
    ("autocommit", "a renewal must take effect at once"),
    ("readonly", "the lease must be written"),
    ("targetservertype", "every connection must lead to the server that takes writes"),
    ("loadbalance", "every connection must lead to the server that takes writes"),
    ("permitredirect", "every connection must lead to the server that takes writes"),
    ("sessionvariables", "set them for the user on the server, where agents see them too"),
    ("initsql", "set them for the user on the server, where agents see them too"),
    ("options", "use ALTER ROLE ... SET on the server: agents see that too"),
    ("transactionisolation", "the database's fence needs the broker's own"),
];

fn allowed(kind: DatabaseKind) -> &'static [(&'static str, Value)] {
    match kind {
        DatabaseKind::PostgreSQL => POSTGRESQL,
        DatabaseKind::MySQL => MYSQL,
        DatabaseKind::MariaDB => MARIADB,
    }
}

/// Why a user's parameter is refused, if it is.
pub fn refusal(kind: DatabaseKind, name: &str, value: &str) -> Option<String> {
    let known = allowed(kind).iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    match known {
        Some((exact, _)) if *exact != name => Some(format!("{name}: write it as {exact}")),
        Some((_, wanted)) => unfit(kind, name, value, *wanted),
        None => Some(not_allowed(kind, name)),
    }
}

/// Parameters of the user's that are for the messages' connections only: the lease's have their own.
pub fn is_timeout(name: &str) -> bool {
    matches!(name, "connectTimeout" | "socketTimeout" | "loginTimeout")
}

fn not_allowed(kind: DatabaseKind, name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let instead = INSTEAD.iter().find(|(start, _)| lower.starts_with(start));
    let names: Vec<&str> = allowed(kind).iter().map(|(name, _)| *name).collect();
    let why = instead.map_or_else(
        || "it is not among those that are known to be safe".to_owned(),
        |(_, why)| (*why).to_owned(),
    );
    format!("{name:?} is refused ({why}); remove it. Allowed are {}", names.join(", "))
}

/// What is wrong with an allowed parameter's value. MariaDB's driver does not decode values (3.5.4),
/// the others do.
fn unfit(kind: DatabaseKind, name: &str, value: &str, wanted: Value) -> Option<String> {
    let time = || value.parse::<u32>().is_ok_and(|time| time > 0);
    let (fits, needed) = match wanted {
        Time => (time(), "a whole number above 0: 0 would mean for ever"),
        Number => (value.parse::<i32>().is_ok(), "a whole number"),
        Flag => (matches!(value, "true" | "false"), "true or false"),
        Text => (is_writable(kind, value), "printable and without blanks, & ? # { }"),
    };
    (!fits).then(|| format!("{name} is {value:?}; it must be {needed}"))
}

fn is_writable(kind: DatabaseKind, value: &str) -> bool {
    let as_it_stands = |c: char| c.is_ascii_graphic() && !matches!(c, '&' | '?' | '#' | '{' | '}');
    match kind {
        DatabaseKind::MariaDB => value.chars().all(as_it_stands),
        DatabaseKind::PostgreSQL | DatabaseKind::MySQL => !value.contains(char::is_control),
    }
}

#[cfg(test)]
#[path = "jdbc_parameters_tests.rs"]
mod tests;
