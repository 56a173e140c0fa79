//! The words of MySQL and MariaDB.
//!
//! The fence: each written row locks the fence's row shared until the end of its transaction. A
//! locking read gives the newest committed row at any isolation (`InnoDB`). A change of the lock's
//! holder updates the fence's row in the same transaction. So a takeover waits for message
//! transactions in flight, and later ones see the new holder. Renewals never touch the fence's row.

use std::time::Duration;

use super::{REFUSAL, Sql, Table, VERSION, Whose};

/// Whole seconds. The first is for row locks, the second for those of tables: a day by default.
/// `NO_BACKSLASH_ESCAPES`, `ANSI_QUOTES` and others would change what our words mean.
pub fn settings(patience: Duration) -> String {
    let seconds = patience.as_secs().max(1);
    format!(
        "SET innodb_lock_wait_timeout={seconds}, lock_wait_timeout={seconds}, \
         sql_mode='STRICT_TRANS_TABLES'"
    )
}

pub fn registered(sql: &Sql, whose: Whose<'_>) -> String {
    let (sessions, lock) = (sql.table(Table::Sessions), sql.table(Table::Lock));
    match whose {
        Whose::RunOut => format!(
            "SELECT s.ID FROM {sessions} s JOIN {lock} l \
             ON CAST(l.BROKER_NAME AS BINARY)=CAST(s.HOLDER AS BINARY) \
             WHERE l.ID=1 AND l.TIME<{}",
            sql.now
        ),
        Whose::Holder(literal) => format!(
            "SELECT ID FROM {sessions} WHERE CAST(HOLDER AS BINARY)=CAST({literal} AS BINARY)"
        ),
    }
}

/// Upper and lower case differ on Linux, also where the server compares without.
pub fn columns_of(table: &str) -> String {
    format!(
        "SELECT UPPER(COLUMN_NAME) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() \
         AND CAST(TABLE_NAME AS BINARY)=CAST('{table}' AS BINARY)"
    )
}

const WRITES: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// The triggers on message tables: name, table, what they fire at.
fn fences(sql: &Sql) -> Vec<(String, String, &'static str)> {
    let mut all = Vec::new();
    for (table, word) in [(Table::Messages, "MSGS"), (Table::Acks, "ACKS")] {
        for write in WRITES {
            all.push((format!("{}TANDEM_{word}_{write}", sql.prefix), sql.table(table), write));
        }
    }
    all
}

fn guard(sql: &Sql) -> String {
    format!("{}TANDEM_GUARD", sql.prefix)
}

/// Of the user's own making: a trigger of a user that is dropped later refuses every write.
pub fn fence_is_on(sql: &Sql) -> String {
    let mut names: Vec<String> =
        fences(sql).into_iter().map(|(name, _, _)| format!("'{name}'")).collect();
    names.push(format!("'{}'", guard(sql)));
    format!(
        "SELECT IF(COUNT(*)={},1,0) FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA=DATABASE() AND TRIGGER_NAME IN ({}) AND DEFINER=CURRENT_USER() \
         AND ACTION_STATEMENT LIKE '%{VERSION}%'",
        names.len(),
        names.join(",")
    )
}

/// First changes of the holder are followed, then the present holder is taken over, then writes are
/// refused. Every DDL statement is a transaction of its own.
pub fn fence(sql: &Sql) -> Vec<String> {
    let (lock, fence, guard) = (sql.table(Table::Lock), sql.table(Table::Fence), guard(sql));
    let mut statements = vec![
        sql.insert(Table::Fence, "ID,HOLDER", "1,NULL"),
        format!("DROP TRIGGER IF EXISTS {guard}"),
        format!(
            "CREATE TRIGGER {guard} BEFORE UPDATE ON {lock} FOR EACH ROW BEGIN \
             /* {VERSION} */ \
             IF NOT (CAST(OLD.BROKER_NAME AS BINARY) <=> CAST(NEW.BROKER_NAME AS BINARY)) THEN \
             UPDATE {fence} SET HOLDER=NEW.BROKER_NAME WHERE ID=1; END IF; END"
        ),
        // The lock's row first, as the trigger does: nobody changes the holder meanwhile.
        "START TRANSACTION".to_owned(),
        format!("SELECT BROKER_NAME FROM {lock} WHERE ID=1 FOR UPDATE"),
        format!("UPDATE {fence} SET HOLDER=(SELECT BROKER_NAME FROM {lock} WHERE ID=1) WHERE ID=1"),
        "COMMIT".to_owned(),
    ];
    for (name, table, write) in fences(sql) {
        statements.push(format!("DROP TRIGGER IF EXISTS {name}"));
        statements.push(format!(
            "CREATE TRIGGER {name} BEFORE {write} ON {table} FOR EACH ROW BEGIN \
             DECLARE h VARCHAR(250) DEFAULT NULL; /* {VERSION} */ \
             SELECT HOLDER INTO h FROM {fence} WHERE ID=1 LOCK IN SHARE MODE; \
             IF h IS NULL OR NOT (CAST(h AS BINARY) <=> CAST(@tandem_holder AS BINARY)) THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='{REFUSAL}'; END IF; END"
        ));
    }
    statements
}
