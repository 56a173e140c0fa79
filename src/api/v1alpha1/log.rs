//! What brokers log. The comments of the fields are the user's documentation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the broker logs, to its standard output. It is the only way to change that: the agent learns
/// of the lock through the same log, so options, environment variables and files of log4j are refused.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogOptions {
    /// The least severe level that is logged, by the name of a Java package or class, for example
    /// `org.apache.activemq.store.kahadb.MessageDatabase: TRACE`. `root` is for everything that has no
    /// level of its own; its default is INFO.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub levels: BTreeMap<String, LogLevel>,
}

impl LogOptions {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A level of the log.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What is wrong.
    Error,
    /// What may be wrong.
    Warn,
    /// What a broker does in its life.
    Info,
    /// What it does for each connection and message.
    Debug,
    /// All steps of it.
    Trace,
}

impl LogLevel {
    /// As log4j writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}
