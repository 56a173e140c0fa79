//! The locker's own statements with values in the places of their parameters, as the broker sets
//! them; its idea of the time is 1, and must not matter.

use tandem::broker::{classic::lease_sql::statements, settings::DatabaseKind};

const TABLE: &str = "ACTIVEMQ_LOCK";

/// `leaseObtainStatement`, with the condition that the agent gave to the broker.
pub fn obtain(kind: DatabaseKind, lease: u64, holder: &str, obtain_if: &str) -> String {
    let holder = format!("'{holder}'");
    filled(&statements(kind, TABLE, lease, obtain_if).obtain, &[&holder, "1", "1"])
}

/// `leaseUpdateStatement`, as a renewal.
pub fn renew(kind: DatabaseKind, lease: u64, holder: &str) -> String {
    let holder = format!("'{holder}'");
    filled(&statements(kind, TABLE, lease, "1=1").update, &[&holder, "1", &holder])
}

fn filled(statement: &str, values: &[&str]) -> String {
    assert_eq!(statement.matches('?').count(), values.len(), "{statement}");
    values.iter().fold(statement.to_owned(), |text, value| text.replacen('?', value, 1))
}
