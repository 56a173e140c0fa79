//! PostgreSQL's words.
//!
//! The fence: a writing statement takes a shared advisory lock until the end of its transaction,
//! *then* reads the lock's row; a change of the holder takes that lock exclusively. So a takeover
//! waits for message transactions in flight, and later ones see the new holder: at READ COMMITTED
//! each statement of a volatile function has a snapshot of its own (PostgreSQL 38.7). Renewals change
//! no holder and never wait.

use std::time::Duration;

use super::{REFUSAL, Sql, Table, VERSION, Whose};

/// What a session needs, as one expression. The schema's field allows lower-case letters, digits and `_`
/// only.
pub fn settings(schema: Option<&str>, patience: Duration) -> String {
    let millis = patience.as_millis().to_string();
    let path = schema.map(|schema| ("search_path", format!("\"{schema}\"")));
    [
        ("statement_timeout", millis.clone()),
        ("lock_timeout", millis),
        ("client_min_messages", "warning".to_owned()),
    ]
    .into_iter()
    .chain(path)
    .map(|(name, value)| format!("set_config('{name}','{value}',false)"))
    .collect::<Vec<_>>()
    .join("||")
}

/// Only sessions that the user may end: of roles whose rights it has. `pg_stat_activity` hides the
/// names of others.
pub fn end_sessions(sql: &Sql, whose: Whose<'_>) -> String {
    let lock = sql.table(Table::Lock);
    let (from, whose) = match whose {
        Whose::RunOut => (
            format!("pg_stat_activity a JOIN {lock} l ON l.BROKER_NAME=a.application_name"),
            format!("l.ID=1 AND l.TIME<{}", sql.now),
        ),
        Whose::Holder(literal) => {
            ("pg_stat_activity a".to_owned(), format!("a.application_name={literal}"))
        }
    };
    format!(
        "SELECT pg_terminate_backend(a.pid) FROM {from} WHERE {whose} \
         AND a.datname=current_database() AND a.pid<>pg_backend_pid() \
         AND pg_has_role(a.usesysid,'USAGE')"
    )
}

/// How many sessions there are of brokers of groups with this name: their holders' ids begin with the
/// names of their pods, cut at 40 characters.
pub fn count_brokers(cluster: &str) -> String {
    let pods: String = format!("{cluster}-").chars().take(40).collect();
    format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname=current_database() \
         AND application_name ~ '\\.[0-9a-f]{{8}}$' AND left(application_name,{})='{pods}'",
        pods.len()
    )
}

/// `lock_timeout` bounds the wait.
pub fn prepare_alone(sql: &Sql) -> String {
    format!("SELECT 1 FROM pg_advisory_lock(hashtextextended('{}',0))", sql.name())
}

/// Found by the search path, as the broker finds it.
pub fn columns_of(table: &str) -> String {
    format!(
        "SELECT upper(attname) FROM pg_attribute WHERE attrelid=to_regclass('{table}') \
         AND attnum>0 AND NOT attisdropped"
    )
}

fn fenced(sql: &Sql) -> [(Table, String); 3] {
    let guard = format!("{}TANDEM_GUARD", sql.prefix);
    let fence = format!("{}TANDEM_FENCE", sql.prefix);
    [(Table::Lock, guard), (Table::Messages, fence.clone()), (Table::Acks, fence)]
}

pub fn fence_is_on(sql: &Sql) -> String {
    let fenced = fenced(sql);
    let pairs: Vec<String> = fenced
        .iter()
        .map(|(table, trigger)| {
            format!("(to_regclass('{}'),lower('{trigger}'))", sql.table(*table))
        })
        .collect();
    // 'O' and 'A': fires in sessions that are not replication's own; 'D' is switched off.
    format!(
        "SELECT CASE WHEN count(*)={} THEN 1 ELSE 0 END FROM pg_trigger t \
         JOIN pg_proc p ON p.oid=t.tgfoid \
         WHERE (t.tgrelid,t.tgname::text) IN ({}) AND t.tgenabled IN ('O','A') \
         AND strpos(p.prosrc,'{VERSION}')>0",
        pairs.len(),
        pairs.join(",")
    )
}

/// One transaction for each table: a transaction that waits for one table's writers while it holds
/// another could end in a deadlock with a broker.
pub fn fence(sql: &Sql) -> Vec<String> {
    let mut statements = vec![guard_function(sql), fence_function(sql)];
    for (table, trigger) in fenced(sql) {
        let name = sql.table(table);
        let when = match table {
            Table::Lock => {
                "BEFORE UPDATE ON {t} FOR EACH ROW \
                 WHEN (OLD.BROKER_NAME IS DISTINCT FROM NEW.BROKER_NAME)"
            }
            Table::Messages
            | Table::Acks
            | Table::Group
            | Table::Store
            | Table::Sessions
            | Table::Fence => "BEFORE INSERT OR UPDATE OR DELETE ON {t} FOR EACH STATEMENT",
        };
        let when = when.replace("{t}", &name);
        statements.push(format!(
            "DROP TRIGGER IF EXISTS {trigger} ON {name}; \
             CREATE TRIGGER {trigger} {when} EXECUTE FUNCTION {trigger}()"
        ));
    }
    statements
}

/// The advisory lock's key, of the table's schema and the prefix: other groups have other keys.
fn key(sql: &Sql) -> String {
    format!("hashtextextended(TG_TABLE_SCHEMA||'.{}',1)", sql.name())
}

fn guard_function(sql: &Sql) -> String {
    let (prefix, key) = (&sql.prefix, key(sql));
    format!(
        "CREATE OR REPLACE FUNCTION {prefix}TANDEM_GUARD() RETURNS trigger LANGUAGE plpgsql VOLATILE \
         AS $tandem$\n\
         -- {VERSION}: a change of the holder waits for message transactions in flight.\n\
         BEGIN\n\
         \x20 PERFORM pg_advisory_xact_lock({key});\n\
         \x20 RETURN NEW;\n\
         END $tandem$"
    )
}

/// It reads the lock's row of the schema in which the agent made it, whatever path a session has: one
/// with another path would be judged by another group's lease.
fn fence_function(sql: &Sql) -> String {
    let (prefix, key, lock) = (&sql.prefix, key(sql), sql.table(Table::Lock));
    format!(
        "CREATE OR REPLACE FUNCTION {prefix}TANDEM_FENCE() RETURNS trigger LANGUAGE plpgsql VOLATILE \
         SET search_path FROM CURRENT AS $tandem$\n\
         -- {VERSION}: only sessions of the lease's holder write.\n\
         DECLARE holder text;\n\
         BEGIN\n\
         \x20 IF current_setting('transaction_isolation') NOT IN ('read committed','read uncommitted')\n\
         \x20 THEN\n\
         \x20   RAISE EXCEPTION 'tandem: refused, an older snapshot does not show the holder'\n\
         \x20     USING HINT = 'Use READ COMMITTED.';\n\
         \x20 END IF;\n\
         \x20 PERFORM pg_advisory_xact_lock_shared({key});\n\
         \x20 SELECT BROKER_NAME INTO holder FROM {lock} WHERE ID = 1;\n\
         \x20 IF holder IS NULL OR holder <> current_setting('application_name') THEN\n\
         \x20   RAISE EXCEPTION '{REFUSAL}'\n\
         \x20     USING HINT = 'An administrator sets application_name to the BROKER_NAME in {lock}.';\n\
         \x20 END IF;\n\
         \x20 RETURN NULL;\n\
         END $tandem$"
    )
}
