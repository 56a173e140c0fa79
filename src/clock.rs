//! The only reader of the wall clock.

use jiff::Timestamp;

/// The wall clock's time. For people and for records, never for measuring how long something took.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
