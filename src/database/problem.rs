//! What went wrong, for people: which field, which value, what to do. Never a password.

use std::fmt::Display;
use std::time::Duration;

use crate::broker::report::{DatabaseProblem, ProblemKind};
use crate::broker::settings::LeaseSettings;

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
    /// The server's answer makes no sense.
    Answer(String),
}

impl Failure {
    /// An answer that makes no sense.
    pub fn answer(what: impl Display) -> Self {
        Self::Answer(what.to_string())
    }
}

/// Which database, in words.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    settings: &'a LeaseSettings,
}

impl<'a> Place<'a> {
    /// The database of these settings.
    pub fn of(settings: &'a LeaseSettings) -> Self {
        Self { settings }
    }

    /// What a failure means.
    pub fn problem(&self, failure: &Failure) -> DatabaseProblem {
        let server = &self.settings.server;
        DatabaseProblem {
            kind: ProblemKind::DatabaseUnreachable,
            message: format!("{}:{}/{}: {failure:?}", server.host, server.port, server.name),
        }
    }
}
