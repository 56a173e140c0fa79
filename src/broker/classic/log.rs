//! `log4j2.properties`: the log for people on standard output, and words for the agent through a pipe.
//!
//! The agent reads no line of the log: lines hold what clients send, before they have logged in. What
//! it must know goes through the pipe as a constant word (docs/decisions/0021).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::paths;
use crate::api::v1alpha1::LogLevel;
use crate::broker::{signs::LogSign, store::Store};

/// The levels of people's own, by logger.
type Levels = BTreeMap<String, LogLevel>;

/// The name of the root logger among people's levels.
const ROOT: &str = "root";

/// What is wrong with the name of a logger of people's own, if something is.
pub fn refusal(logger: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$' | '-');
    if logger.is_empty() || logger.len() > 200 || !logger.chars().all(plain) {
        return Some("it is not the name of a Java package or class");
    }
    LOGGERS.contains(&logger).then_some("Tandem needs its messages; remove it")
}

/// The text of `log4j2.properties`.
pub fn properties(store: &Store, levels: &Levels) -> String {
    render(store.database().is_some(), levels)
}

fn render(with_database: bool, levels: &Levels) -> String {
    // The broker's own shutdown hook still logs: log4j's must not end the log before it.
    let mut text = "status = error\nshutdownHook = disable\n".to_owned();
    text += &console("console", TRACE);
    if with_database {
        text += &console("brief", "");
    }
    for message in &MESSAGES {
        message.append_to(&mut text);
    }
    let root = levels.get(ROOT).copied().unwrap_or(LogLevel::Info).as_str();
    let _infallible =
        writeln!(text, "rootLogger.level = {root}\nrootLogger.appenderRef.console.ref = console");
    for (index, logger) in loggers(with_database, levels).into_iter().enumerate() {
        logger.append_to(index, &mut text);
    }
    text
}

struct Logger<'a> {
    name: &'a str,
    level: LogLevel,
    /// Whether its messages go to the appenders of the loggers above it too.
    additive: bool,
    appenders: Vec<&'a str>,
}

fn loggers(with_database: bool, levels: &Levels) -> Vec<Logger<'_>> {
    let mut loggers: Vec<Logger<'_>> = LOGGERS
        .into_iter()
        .map(|name| {
            let messages = MESSAGES.iter().filter(|message| message.logger == name);
            let appenders = messages.map(|message| message.name).collect();
            Logger { name, level: LogLevel::Info, additive: true, appenders }
        })
        .collect();
    if with_database {
        // A database that is away would be told with a stack trace of 60 lines at each try, twice a
        // second. The message holds the reason.
        for logger in loggers.iter_mut().filter(|logger| logger.name == SUPPORT) {
            logger.additive = false;
            logger.appenders.push("brief");
        }
        let jdbc = "org.apache.activemq.store.jdbc";
        let level = LogLevel::Info;
        loggers.push(Logger { name: jdbc, level, additive: false, appenders: vec!["brief"] });
        let level = LogLevel::Error;
        loggers.push(Logger { name: "org.mariadb", level, additive: true, appenders: Vec::new() });
    }
    for (name, level) in levels.iter().filter(|(name, _)| *name != ROOT) {
        match loggers.iter_mut().find(|logger| logger.name == name) {
            // Those of the messages stay as they are, whatever people say.
            Some(logger) if LOGGERS.contains(&logger.name) => {}
            Some(logger) => logger.level = *level,
            None => {
                loggers.push(Logger { name, level: *level, additive: true, appenders: Vec::new() });
            }
        }
    }
    loggers
}

impl Logger<'_> {
    fn append_to(&self, index: usize, text: &mut String) {
        let (name, level) = (self.name, self.level.as_str());
        let key = format!("logger.l{index}");
        let _infallible = writeln!(text, "{key}.name = {name}\n{key}.level = {level}");
        if !self.additive {
            let _infallible = writeln!(text, "{key}.additivity = false");
        }
        for appender in &self.appenders {
            let _infallible = writeln!(text, "{key}.appenderRef.{appender}.ref = {appender}");
        }
    }
}

/// Lines of the log begin with their time; nothing in a message can begin another one. Control
/// characters, which may steer a terminal, are replaced.
fn console(name: &str, trace: &str) -> String {
    format!(
        r"appender.{name}.type = Console
appender.{name}.name = {name}
appender.{name}.layout.type = PatternLayout
appender.{name}.layout.alwaysWriteExceptions = false
appender.{name}.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}} %-5p %c{{1}} %replace{{%enc{{%m}}{{CRLF}}}}{{[\\x00-\\x08\\x0A-\\x1F\\x7F-\\x9F\\u2028\\u2029]}}{{?}}%n{trace}
"
    )
}

/// A stack trace, each line of it indented: the message of an exception may have several lines.
const TRACE: &str = r"%replace{%replace{%throwable{full}}{[\\x00-\\x08\\x0B-\\x1F\\x7F-\\x9F\\u2028\\u2029]}{?}}{(\\n|^)(?=.)}{$1    }";

/// A message of the broker that the agent must know of.
struct Message {
    /// Of its appender.
    name: &'static str,
    sign: LogSign,
    /// The class that logs it.
    logger: &'static str,
    /// What the whole message matches (`java.util.regex.Matcher.matches`).
    ///
    /// Expressions begin with the broker's own words, or with a name that has neither space nor
    /// comma, so nothing that such a message quotes later is taken for the message.
    regex: &'static str,
}

const SUPPORT: &str = "org.apache.activemq.broker.LockableServiceSupport";
const FILE_LOCKER: &str = "org.apache.activemq.store.SharedFileLocker";
const LEASE_LOCKER: &str = "org.apache.activemq.store.jdbc.LeaseDatabaseLocker";
const IO_ERRORS: &str = "org.apache.activemq.util.DefaultIOExceptionHandler";
const LOGGERS: [&str; 4] = [SUPPORT, FILE_LOCKER, LEASE_LOCKER, IO_ERRORS];

/// The same in 5.18.4, 6.1.8 and 6.3.1.
///
/// log4j 2.25 does not match `useRawMsg` against the template of a message with parameters, so the
/// formatted message is matched. The only parameter is the broker's name.
const MESSAGES: [Message; 5] = [
    // Its last words before it stops the broker politely.
    Message {
        name: "lost",
        sign: LogSign::LockLost,
        logger: SUPPORT,
        regex: r"[^\s,]+, no longer able to keep the exclusive lock so giving up being a master",
    },
    // Once, when it finds the lock held.
    Message {
        name: "waits",
        sign: LogSign::Waits,
        logger: FILE_LOCKER,
        regex: r"Database \S+ is locked by another server\. This broker is now in slave mode waiting a lock to be acquired",
    },
    // Once, before its first try.
    Message {
        name: "tries",
        sign: LogSign::Waits,
        logger: LEASE_LOCKER,
        regex: r"[^\s,]+ attempting to acquire exclusive lease to become the master",
    },
    // When it has got the lease. The pool of connections is named at the end.
    Message {
        name: "takes",
        sign: LogSign::Takes,
        logger: LEASE_LOCKER,
        regex: r"(?s)[^\s,]+, becoming master with lease expiry .*",
    },
    // It takes an error of the store for harmless, or is about to end politely because of one. The
    // error's own text is at the end.
    Message {
        name: "storage",
        sign: LogSign::StorageFailed,
        logger: IO_ERRORS,
        regex: r"(?s)(?:Ignoring IO exception|Ignoring no space left exception|Stopping BrokerService\[\S*\] due to exception), .*",
    },
];

impl Message {
    fn append_to(&self, text: &mut String) {
        let Self { name, sign, regex, .. } = self;
        let (path, word) = (paths::SIGNS, sign.as_str());
        // In a file of properties a backslash is written twice.
        let regex = regex.replace('\\', r"\\");
        // A write of the whole line at each message, as `immediateFlush` wants it, is atomic in a pipe.
        let _infallible = write!(
            text,
            "appender.{name}.type = File
appender.{name}.name = {name}
appender.{name}.fileName = {path}
appender.{name}.append = true
appender.{name}.immediateFlush = true
appender.{name}.layout.type = PatternLayout
appender.{name}.layout.alwaysWriteExceptions = false
appender.{name}.layout.pattern = {word}%n
appender.{name}.filter.words.type = RegexFilter
appender.{name}.filter.words.regex = {regex}
"
        );
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
