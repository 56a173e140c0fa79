//! What the server does with a commit: takes it, keeps it, copies it.

use std::collections::BTreeMap;

use crate::broker::report::{DatabaseNote, NoteKind};
use crate::database::problem::Failure;
use crate::database::session::{Session, text};
use crate::database::sql::Dialect;

/// Fails on a server that takes no writes.
pub async fn writable(session: &mut Session, dialect: Dialect) -> Result<(), Failure> {
    let why = match dialect {
        Dialect::Postgres => {
            let recovers = session.value("SELECT pg_is_in_recovery()").await?;
            let refuses = session.value("SHOW transaction_read_only").await?;
            if recovers.as_deref() == Some("t") {
                Some("it is a replica (pg_is_in_recovery)")
            } else {
                (refuses.as_deref() == Some("on")).then_some("default_transaction_read_only is on")
            }
        }
        Dialect::MySql => {
            let values = variables(session).await?;
            let names = ["super_read_only", "innodb_read_only", "read_only"];
            names.into_iter().find(|name| is(&values, name, &["ON", "1"]))
        }
    };
    why.map_or(Ok(()), |why| Err(Failure::ReadOnly(why.to_owned())))
}

/// Fails for a table whose engine has no transactions.
pub async fn transactional(session: &mut Session, table: &str) -> Result<(), Failure> {
    let engine = session
        .value(&format!(
            "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() \
             AND CAST(TABLE_NAME AS BINARY)=CAST('{table}' AS BINARY)"
        ))
        .await?;
    match engine {
        Some(engine) if !engine.eq_ignore_ascii_case("InnoDB") => {
            Err(Failure::Mismatch(format!("table {table} has the engine {engine}, not InnoDB")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a failure of the server may lose what it has confirmed.
pub async fn notes(
    session: &mut Session,
    dialect: Dialect,
    holds_messages: bool,
) -> Result<Vec<DatabaseNote>, Failure> {
    let reasons = match dialect {
        Dialect::Postgres => postgres(session).await?,
        Dialect::MySql => mysql(&variables(session).await?),
    };
    Ok(reasons.iter().map(|reason| note(holds_messages, reason)).collect())
}

/// With the journal on a volume nothing of the messages is in the database. A lease that is lost is
/// given a second time, and a journal with two writers is destroyed.
fn note(holds_messages: bool, reason: &str) -> DatabaseNote {
    let consequence = if holds_messages {
        "messages that brokers have confirmed may be lost"
    } else {
        "the lease may be given to a second broker, and two brokers may write to the journal and \
         destroy it"
    };
    DatabaseNote { kind: NoteKind::CommitsMayBeLost, message: format!("{consequence}: {reason}") }
}

/// The server does not tell whether it was promoted or restored.
pub fn unseen_history(holds_messages: bool) -> DatabaseNote {
    note(
        holds_messages,
        "a replica that was promoted cannot be told from the server before, so nobody waits until the \
         lease that the former server gave has run out; GRANT EXECUTE ON FUNCTION pg_control_system, \
         pg_current_wal_lsn and pg_walfile_name to the user",
    )
}

/// The values that a broker's session has, too: those of its user and database count.
async fn postgres(session: &mut Session) -> Result<Vec<String>, Failure> {
    let settings = session
        .rows(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
             current_setting('full_page_writes'), current_setting('synchronous_standby_names'), \
             (SELECT count(*) FROM pg_stat_replication)",
        )
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let value = |index| text(&settings, index).unwrap_or_default();
    let mut reasons = Vec::new();
    if value(0) == "off" {
        reasons.push("synchronous_commit is off; set it to on, for this user at least".to_owned());
    }
    for (index, name) in [(1, "fsync"), (2, "full_page_writes")] {
        if value(index) == "off" {
            reasons.push(format!("{name} is off; set it to on"));
        }
    }
    let copies_late = value(3).is_empty() || matches!(value(0).as_str(), "off" | "local");
    if value(4) != "0" && copies_late {
        reasons.push(
            "replicas are attached and none of them is synchronous, so a failover to one of them \
             goes back in time; set synchronous_standby_names"
                .to_owned(),
        );
    }
    Ok(reasons)
}

fn mysql(values: &Variables) -> Vec<String> {
    let mut reasons = Vec::new();
    let differs = |name: &str, wanted: &str| values.get(name).is_some_and(|value| value != wanted);
    if differs("innodb_flush_log_at_trx_commit", "1") {
        reasons.push("innodb_flush_log_at_trx_commit is not 1".to_owned());
    }
    let logs = is(values, "log_bin", &["ON", "1"]);
    if logs && differs("sync_binlog", "1") {
        reasons.push("the binary log is on and sync_binlog is not 1".to_owned());
    }
    let semi_sync = ["rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled"];
    let waits = semi_sync.iter().any(|name| is(values, name, &["ON", "1"]));
    // MySQL does not tell how many replicas there are, MariaDB does.
    if !waits && differs("slaves_connected", "0") {
        reasons.push(
            "replicas are attached without semi-synchronous replication, so a failover to one of \
             them goes back in time"
                .to_owned(),
        );
    }
    if is(values, "wsrep_on", &["ON", "1"]) {
        reasons.push(
            "in a Galera cluster locks count on one node only; all brokers must use the same node"
                .to_owned(),
        );
    }
    // The variable is there with the plug-in only.
    if is(values, "group_replication_single_primary_mode", &["OFF", "0"]) {
        reasons.push(
            "group replication is in multi-primary mode, in which locks count on one server only; SET \
             GLOBAL group_replication_single_primary_mode=ON, or let all brokers use the same server"
                .to_owned(),
        );
    }
    reasons
}

type Variables = BTreeMap<String, String>;

fn is(values: &Variables, name: &str, wanted: &[&str]) -> bool {
    values.get(name).is_some_and(|value| wanted.contains(&value.as_str()))
}

/// Variables and counters by name. One that a server does not know is just not there.
async fn variables(session: &mut Session) -> Result<Variables, Failure> {
    let mut values = Variables::new();
    for statement in [
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only','super_read_only',\
         'innodb_read_only','innodb_flush_log_at_trx_commit','log_bin','sync_binlog','wsrep_on',\
         'rpl_semi_sync_master_enabled','rpl_semi_sync_source_enabled',\
         'group_replication_single_primary_mode')",
        "SHOW GLOBAL STATUS WHERE Variable_name='Slaves_connected'",
    ] {
        for fields in session.rows(statement).await? {
            let (name, value) = (text(&fields, 0), text(&fields, 1));
            values.insert(name.unwrap_or_default().to_lowercase(), value.unwrap_or_default());
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, value: &str) -> String {
        mysql(&[(name.to_owned(), value.to_owned())].into()).join("; ")
    }

    #[test]
    fn clusters_in_which_locks_count_on_one_server_are_told() {
        assert!(told("wsrep_on", "ON").contains("Galera"));
        let mode = "group_replication_single_primary_mode";
        assert!(told(mode, "OFF").contains("multi-primary"));
        assert_eq!(told(mode, "ON"), "");
        assert_eq!(told("log_bin", "OFF"), "");
    }

    #[test]
    fn a_lost_lease_is_told_as_what_it_destroys() {
        assert!(note(true, "x").message.contains("messages that brokers have confirmed"));
        assert!(note(false, "x").message.contains("write to the journal"));
    }
}
