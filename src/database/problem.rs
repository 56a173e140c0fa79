//! What went wrong, for people: where, why, what to do. Never anything of the Secret with the login: who may
//! read a status need not be allowed to read Secrets.

use std::fmt::Display;
use std::time::Duration;

use crate::broker::report::{DatabaseProblem, ProblemKind};
use crate::broker::settings::LeaseSettings;
use crate::database::session::Login;
use crate::secret;

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server said no.
    Server {
        /// SQLSTATE of PostgreSQL, error number of MySQL and MariaDB.
        code: String,
        /// The server's own words.
        message: String,
    },
    /// No connection, or it broke.
    Unreachable(String),
    /// No answer in time.
    Late(Duration),
    /// TLS failed.
    Tls(String),
    /// The files with user name and password cannot be read.
    Credentials(String),
    /// A table is not as this version of the broker makes it.
    Mismatch(String),
    /// The server takes no writes.
    ReadOnly(String),
    /// There is no such schema.
    NoSchema(String),
    /// The tables are those of another group, by name.
    OtherGroup(String),
    /// The tables are those of an earlier group of the same name, of which something is left.
    FormerGroup {
        /// The group.
        group: String,
        /// Sessions of its brokers.
        sessions: usize,
    },
    /// A pooler shares the server's sessions between clients.
    Pooler(String),
    /// The server's answer makes no sense.
    Answer(String),
}

impl Failure {
    /// An answer that makes no sense.
    pub fn answer(what: impl Display) -> Self {
        Self::Answer(what.to_string())
    }

    /// With the statement that was refused.
    pub fn while_running(self, statement: &str) -> Self {
        match self {
            Self::Server { code, message } => {
                Self::Server { code, message: format!("{message}, while running: {statement}") }
            }
            other @ (Self::Unreachable(_)
            | Self::Late(_)
            | Self::Tls(_)
            | Self::Credentials(_)
            | Self::Mismatch(_)
            | Self::ReadOnly(_)
            | Self::NoSchema(_)
            | Self::Pooler(_)
            | Self::OtherGroup(_)
            | Self::FormerGroup { .. }
            | Self::Answer(_)) => other,
        }
    }

    fn kind(&self) -> ProblemKind {
        match self {
            Self::Server { code, .. } => refusal(code),
            Self::Unreachable(_) | Self::Late(_) | Self::Answer(_) => {
                ProblemKind::DatabaseUnreachable
            }
            Self::Tls(_) => ProblemKind::TlsRefused,
            Self::Credentials(_) => ProblemKind::AuthenticationRefused,
            Self::Mismatch(_) => ProblemKind::TablesMismatch,
            Self::ReadOnly(_) => ProblemKind::ReadOnly,
            Self::NoSchema(_) => ProblemKind::DatabaseMissing,
            Self::Pooler(_) => ProblemKind::PoolerBetween,
            Self::OtherGroup(_) | Self::FormerGroup { .. } => ProblemKind::DatabaseInUse,
        }
    }

    /// In words, without the remedy.
    pub fn words(&self) -> String {
        match self {
            Self::Server { code, message } => {
                format!("{}: {message} ({code})", complaint(refusal(code)))
            }
            Self::Late(limit) => format!("no answer within {} ms", limit.as_millis()),
            Self::Unreachable(why)
            | Self::Tls(why)
            | Self::Credentials(why)
            | Self::Mismatch(why)
            | Self::ReadOnly(why) => why.clone(),
            Self::OtherGroup(group) => {
                format!("its tables are those of the BrokerCluster {group} (namespace/name/uid)")
            }
            Self::FormerGroup { group, sessions } => format!(
                "its tables are those of an earlier BrokerCluster of this name, {group} \
                 (namespace/name/uid), whose lease has not run out or of whose brokers {sessions} \
                 sessions are open"
            ),
            Self::Pooler(why) => {
                format!("a pooler in between shares the server's sessions between clients: {why}")
            }
            Self::NoSchema(schema) => format!("there is no schema {schema:?}"),
            Self::Answer(what) => format!("unexpected answer: {what}"),
        }
    }
}

/// A failure in the words of a server or a driver, which may repeat the login.
#[derive(Debug)]
pub struct Foreign(Failure);

impl From<Failure> for Foreign {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl Foreign {
    /// The failure without whatever repeats the login that the session began with.
    pub fn without(self, login: &Login) -> Failure {
        let clean = |text| secret::withheld(text, &[&login.user, &login.password]);
        match self.0 {
            Failure::Server { code, message } => Failure::Server { code, message: clean(message) },
            Failure::Unreachable(why) => Failure::Unreachable(clean(why)),
            Failure::Tls(why) => Failure::Tls(clean(why)),
            Failure::Answer(what) => Failure::Answer(clean(what)),
            // Words of our own.
            ours @ (Failure::Late(_)
            | Failure::Credentials(_)
            | Failure::Mismatch(_)
            | Failure::NoSchema(_)
            | Failure::Pooler(_)
            | Failure::OtherGroup(_)
            | Failure::FormerGroup { .. }
            | Failure::ReadOnly(_)) => ours,
        }
    }
}

/// What a server's error code means. PostgreSQL's have five characters (appendix A of its manual),
/// those of MySQL and MariaDB four digits (`ER_...`).
fn refusal(code: &str) -> ProblemKind {
    match code {
        // 1045 access denied, 1130 host not allowed, 1698 access denied without a password, 1820,
        // 1862 and 4151 password expired or account locked, 3118 account locked.
        "28P01" | "28000" | "1045" | "1130" | "1698" | "1820" | "1862" | "3118" | "4151" => {
            ProblemKind::AuthenticationRefused
        }
        "3D000" | "1049" => ProblemKind::DatabaseMissing,
        // 1044 for a database, 1142 table, 1143 column, 1227 global, 1370 routine, 1419 trigger.
        "42501" | "1044" | "1142" | "1143" | "1227" | "1370" | "1419" => ProblemKind::RightsMissing,
        // 1290 --read-only, 1792 read-only transaction, 1836 read-only mode.
        "25006" | "1290" | "1792" | "1836" => ProblemKind::ReadOnly,
        // No such table or column, or one that has no default and is not ours.
        "42P01" | "42703" | "23502" | "1054" | "1146" | "1364" => ProblemKind::TablesMismatch,
        // Secure transport required.
        "3159" => ProblemKind::TlsRefused,
        _ => ProblemKind::DatabaseUnreachable,
    }
}

/// What a server complains of, in words of our own: its own ones may have to be left out.
fn complaint(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::AuthenticationRefused => "the server refuses the user or the password",
        ProblemKind::DatabaseMissing => "the server has no such database",
        ProblemKind::RightsMissing => "the user lacks a right",
        ProblemKind::ReadOnly => "the server takes no writes",
        ProblemKind::TablesMismatch => "a table or a column is not there",
        ProblemKind::TlsRefused => "the server asks for TLS",
        ProblemKind::DatabaseUnreachable
        | ProblemKind::DriverMissing
        | ProblemKind::LockRowMissing
        | ProblemKind::ServerChanged
        | ProblemKind::DatabaseInUse
        | ProblemKind::PoolerBetween
        | ProblemKind::Unknown => "the server reports an error",
    }
}

/// A problem in words, with the place and the remedy.
pub fn problem(settings: &LeaseSettings, failure: &Failure) -> DatabaseProblem {
    let (server, kind) = (&settings.server, failure.kind());
    let message = format!(
        "database {:?} at {}:{}: {}; {}",
        server.name,
        server.host,
        server.port,
        failure.words(),
        remedy(kind)
    );
    DatabaseProblem { kind, message }
}

fn remedy(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::DatabaseUnreachable => {
            "check host and port of storage.database, the network and the server"
        }
        ProblemKind::AuthenticationRefused => {
            "check the Secret named in credentialsSecret and the server's rules for this user"
        }
        ProblemKind::TlsRefused => {
            "check tls.mode, the authority in caSecret or caConfigMap, and that the certificate \
             bears the host's name"
        }
        ProblemKind::RightsMissing => {
            "grant the user CREATE and TRIGGER and all rights on the tables, or let an \
             administrator make the tables and grant SELECT, INSERT, UPDATE and DELETE on them"
        }
        ProblemKind::DatabaseMissing => "create the database or the schema, or correct the name",
        ProblemKind::DriverMissing => "give an image or a path with the driver's jar",
        ProblemKind::TablesMismatch => {
            "use another tablePrefix, or bring the tables to the columns of this version of the \
             broker while no broker runs"
        }
        ProblemKind::LockRowMissing => {
            "nobody may delete the row; it was put back and can be held when its lease has run out"
        }
        ProblemKind::ServerChanged => "nothing needs to be done",
        ProblemKind::DatabaseInUse => {
            "brokers of an earlier group of the same name are waited for; otherwise use another database, \
             schema or tablePrefix, or, if the other group is gone for good, delete the row 'group' from \
             TANDEM_STORE"
        }
        ProblemKind::PoolerBetween => {
            "give host and port of the server itself, or put the pooler into session mode: a broker is \
             known by its session"
        }
        ProblemKind::ReadOnly => "give the host and port of the primary server",
        ProblemKind::Unknown => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_dialects_mean_the_same() {
        let table = [
            ("28P01", "1045", ProblemKind::AuthenticationRefused),
            ("3D000", "1049", ProblemKind::DatabaseMissing),
            ("42501", "1142", ProblemKind::RightsMissing),
            ("25006", "1290", ProblemKind::ReadOnly),
            ("42P01", "1146", ProblemKind::TablesMismatch),
            ("53300", "1040", ProblemKind::DatabaseUnreachable),
        ];
        for (postgres, mysql, kind) in table {
            assert_eq!(refusal(postgres), kind, "{postgres}");
            assert_eq!(refusal(mysql), kind, "{mysql}");
        }
    }
}
