//! The agent's statements, in the words of each dialect.
//!
//! Names are never quoted, as the broker does not quote them: PostgreSQL folds them to lower case,
//! MySQL on Linux takes them as they are. The prefix may only hold letters, digits and `_`.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::broker::classic::lease_sql::now_millis;
use crate::broker::settings::{DatabaseKind, LeaseSettings};
use crate::database::facts::Fact;
use crate::lock::lease::REPAIR;

mod mysql;
mod postgres;

/// The name under which agents log in; never a holder's id.
pub const AGENT: &str = "tandem-agent";
/// In the text of every trigger; another number means that all are made anew.
const VERSION: &str = "tandem fence 2";
/// What the triggers say, for whoever reads the log of a broker or of the server.
const REFUSAL: &str = "tandem: refused, this session is not of the broker that holds the lease";

/// The columns that the broker's tables must have.
const MESSAGE_COLUMNS: &[&str] =
    &["ID", "CONTAINER", "MSGID_PROD", "MSGID_SEQ", "EXPIRATION", "MSG", "PRIORITY", "XID"];
const ACK_COLUMNS: &[&str] = &[
    "CONTAINER",
    "SUB_DEST",
    "CLIENT_ID",
    "SUB_NAME",
    "SELECTOR",
    "LAST_ACKED_ID",
    "PRIORITY",
    "XID",
];
const LOCK_COLUMNS: &[&str] = &["ID", "TIME", "BROKER_NAME"];

/// The kinds of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Of PostgreSQL.
    Postgres,
    /// Of MySQL and MariaDB.
    MySql,
}

/// The tables of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The lease.
    Lock,
    /// The epoch.
    Group,
    /// What the database keeps about itself: a row for each [`Fact`].
    Store,
    /// MySQL and MariaDB: which session is which holder's. Their `PROCESSLIST` shows no names.
    Sessions,
    /// MySQL and MariaDB: the holder, for the triggers. Apart from the lock's row, because message
    /// transactions lock it shared to their end, and renewals must not wait for them.
    Fence,
    /// The messages.
    Messages,
    /// The durable subscriptions.
    Acks,
}

/// Whose sessions.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// Of the holder in the row, if its lease has run out by the database's clock.
    RunOut,
    /// Of this holder; a [literal](Sql::literal).
    Holder(&'a str),
}

/// Sets what each session needs: the server gives up a statement after `patience`, and words mean what
/// they mean here.
pub fn settings(settings: &LeaseSettings, patience: Duration) -> String {
    match settings.server.kind {
        DatabaseKind::PostgreSQL => {
            format!("SELECT {}", postgres::settings(settings.schema.as_deref(), patience))
        }
        DatabaseKind::MySQL | DatabaseKind::MariaDB => mysql::settings(patience),
    }
}

/// PostgreSQL: the same, but only in the session with this number; gives nothing in another.
pub fn set_in(set: &str, number: i64) -> String {
    let set = set.trim_start_matches("SELECT ");
    format!("SELECT CASE WHEN pg_backend_pid()={number} THEN {set} END")
}

/// The statements for one group.
#[derive(Clone, Debug)]
pub struct Sql {
    /// Which words.
    pub dialect: Dialect,
    /// The database's time, as in the statements of the broker's own locker.
    now: &'static str,
    prefix: String,
    database: String,
    schema: Option<String>,
    lease_millis: u64,
}

/// The first column of a table's primary key.
fn key(table: Table) -> &'static str {
    match table {
        Table::Acks => "CONTAINER",
        Table::Store => "NAME",
        Table::Lock | Table::Group | Table::Sessions | Table::Fence | Table::Messages => "ID",
    }
}

impl Sql {
    /// Of these settings.
    pub fn new(settings: &LeaseSettings) -> Self {
        let dialect = match settings.server.kind {
            DatabaseKind::PostgreSQL => Dialect::Postgres,
            DatabaseKind::MySQL | DatabaseKind::MariaDB => Dialect::MySql,
        };
        Self {
            dialect,
            now: now_millis(settings.server.kind),
            prefix: settings.table_prefix.clone(),
            database: settings.server.name.clone(),
            schema: settings.schema.clone(),
            lease_millis: settings.lease_millis,
        }
    }

    /// A table's name.
    pub fn table(&self, table: Table) -> String {
        let name = match table {
            Table::Lock => "ACTIVEMQ_LOCK",
            Table::Group => "TANDEM_GROUP",
            Table::Store => "TANDEM_STORE",
            Table::Sessions => "TANDEM_SESSIONS",
            Table::Fence => "TANDEM_FENCE",
            Table::Messages => "ACTIVEMQ_MSGS",
            Table::Acks => "ACTIVEMQ_ACKS",
        };
        format!("{}{name}", self.prefix)
    }

    /// The tables that an agent makes, in order.
    pub fn own_tables(&self) -> &'static [Table] {
        match self.dialect {
            Dialect::Postgres => &[Table::Lock, Table::Group, Table::Store],
            Dialect::MySql => {
                &[Table::Lock, Table::Group, Table::Store, Table::Sessions, Table::Fence]
            }
        }
    }

    /// The columns that a table must have. Of our own tables, the version is the name.
    pub fn columns(table: Table) -> &'static [&'static str] {
        match table {
            Table::Lock => LOCK_COLUMNS,
            Table::Messages => MESSAGE_COLUMNS,
            Table::Acks => ACK_COLUMNS,
            Table::Group => &["ID", "EPOCH"],
            Table::Store => &["NAME", "VALUE", "TIME"],
            Table::Sessions | Table::Fence => &["ID", "HOLDER"],
        }
    }

    /// Makes a table of our own. The lock's has the columns of the broker's.
    pub fn create(&self, table: Table) -> Option<String> {
        let columns = match table {
            Table::Lock => "ID BIGINT NOT NULL, TIME BIGINT, BROKER_NAME VARCHAR(250)",
            Table::Group => "ID BIGINT NOT NULL, EPOCH BIGINT NOT NULL",
            Table::Store => {
                "NAME VARCHAR(32) NOT NULL, VALUE VARCHAR(500) NOT NULL, TIME BIGINT NOT NULL"
            }
            Table::Sessions => "ID BIGINT NOT NULL, HOLDER VARCHAR(64) NOT NULL",
            Table::Fence => "ID BIGINT NOT NULL, HOLDER VARCHAR(250)",
            Table::Messages | Table::Acks => return None,
        };
        let engine = match self.dialect {
            Dialect::Postgres => "",
            Dialect::MySql => " ENGINE=InnoDB",
        };
        let (name, key) = (self.table(table), key(table));
        Some(format!("CREATE TABLE IF NOT EXISTS {name}({columns}, PRIMARY KEY ({key})){engine}"))
    }

    /// Holder, milliseconds left, time, whether the server is the recorded one.
    pub fn look(&self, history: Option<&str>) -> String {
        let (now, lock) = (self.now, self.table(Table::Lock));
        let known = self.obtain_if(None, history);
        format!(
            "SELECT BROKER_NAME, COALESCE(TIME,0)-{now}, {now}, CASE WHEN {known} THEN 1 ELSE 0 END \
             FROM {lock} WHERE ID=1"
        )
    }

    /// Puts a missing row back as a lease that nobody holds.
    pub fn repair(&self) -> String {
        let time = format!("{}+{}", self.now, self.lease_millis);
        self.insert(Table::Lock, "ID,TIME,BROKER_NAME", &format!("1,{time},'{REPAIR}'"))
    }

    /// The lock's first row, free for anybody: only for a database that no broker has ever used.
    pub fn first_row(&self) -> String {
        self.insert(Table::Lock, "ID,TIME,BROKER_NAME", "1,0,NULL")
    }

    /// The epoch's row.
    pub fn first_epoch(&self) -> String {
        self.insert(Table::Group, "ID,EPOCH", "1,0")
    }

    /// Inserts a row, unless there is one with its primary key.
    fn insert(&self, table: Table, columns: &str, values: &str) -> String {
        let table = self.table(table);
        match self.dialect {
            Dialect::Postgres => {
                format!("INSERT INTO {table}({columns}) VALUES ({values}) ON CONFLICT DO NOTHING")
            }
            Dialect::MySql => format!("INSERT IGNORE INTO {table}({columns}) VALUES ({values})"),
        }
    }

    /// Name, value, and milliseconds since it was written.
    pub fn facts(&self) -> String {
        format!("SELECT NAME, VALUE, {}-TIME FROM {}", self.now, self.table(Table::Store))
    }

    /// A fact that may not be there yet.
    pub fn first_fact(&self, fact: Fact, literal: &str) -> String {
        let values = format!("'{}',{literal},{}", fact.name(), self.now);
        self.insert(Table::Store, "NAME,VALUE,TIME", &values)
    }

    /// Another value of a fact.
    pub fn change_fact(&self, fact: Fact, literal: &str) -> String {
        format!(
            "UPDATE {} SET VALUE={literal}, TIME={} WHERE NAME='{}' AND VALUE<>{literal}",
            self.table(Table::Store),
            self.now,
            fact.name()
        )
    }

    /// Removes a fact.
    pub fn forget(&self, fact: Fact) -> String {
        format!("DELETE FROM {} WHERE NAME='{}'", self.table(Table::Store), fact.name())
    }

    /// What must hold for a broker to obtain the lease: that the tables are still its group's, and that
    /// the server is the recorded one, as far as that can be seen.
    pub fn obtain_if(&self, group: Option<&str>, history: Option<&str>) -> String {
        let is = |fact: Fact, wanted: &str| {
            let (table, name) = (self.table(Table::Store), fact.name());
            let kept = format!("(SELECT VALUE FROM {table} WHERE NAME='{name}')");
            match self.dialect {
                Dialect::Postgres => format!("{kept}={wanted}"),
                // The table and the broker's session may have different collations: an error.
                Dialect::MySql => format!("CAST({kept} AS BINARY)=CAST({wanted} AS BINARY)"),
            }
        };
        let group = group.map(|group| is(Fact::Group, group));
        let history = history.map(|history| is(Fact::History, history));
        let both: Vec<String> = group.into_iter().chain(history).collect();
        if both.is_empty() { "1=1".to_owned() } else { both.join(" AND ") }
    }

    /// A fact's value as a literal. Names of clusters, uids and histories need no other characters.
    pub fn fact_literal(value: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
        (value.len() <= 500 && value.chars().all(plain)).then(|| format!("'{value}'"))
    }

    /// How long the lease runs.
    pub fn lease_millis(&self) -> i64 {
        i64::try_from(self.lease_millis).unwrap_or(i64::MAX)
    }

    /// The epoch kept.
    pub fn epoch(&self) -> String {
        format!("SELECT EPOCH FROM {} WHERE ID=1", self.table(Table::Group))
    }

    /// Keeps an epoch, unless a higher one is kept.
    pub fn raise_epoch(&self, epoch: i64) -> String {
        let table = self.table(Table::Group);
        format!("UPDATE {table} SET EPOCH={epoch} WHERE ID=1 AND EPOCH<{epoch}")
    }

    /// Releases the lease if it is the holder's.
    pub fn release(&self, literal: &str) -> String {
        let lock = self.table(Table::Lock);
        format!("UPDATE {lock} SET BROKER_NAME=NULL, TIME=0 WHERE ID=1 AND BROKER_NAME={literal}")
    }

    /// The holder's id as a literal. None of those that agents make needs more than these characters;
    /// another one is nobody's whose sessions could be ended.
    pub fn literal(holder: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let fits = !holder.is_empty() && holder.len() <= 63 && holder.chars().all(plain);
        fits.then(|| format!("'{holder}'"))
    }

    /// PostgreSQL: ends sessions, a row for each that was there. MySQL and MariaDB: the registered
    /// sessions' numbers.
    pub fn sessions(&self, whose: Whose<'_>) -> String {
        match self.dialect {
            Dialect::Postgres => postgres::end_sessions(self, whose),
            Dialect::MySql => mysql::registered(self, whose),
        }
    }

    /// PostgreSQL: how many sessions of brokers there are.
    pub fn count_brokers(cluster: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        cluster.chars().all(plain).then(|| postgres::count_brokers(cluster))
    }

    /// A name of this group for locks; MySQL has one name space for all databases, 64 characters.
    pub fn name(&self) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("\n{schema}")).unwrap_or_default();
        let digest = Sha256::digest(format!("{}\n{}{schema}", self.database, self.prefix));
        let digits = digest.iter().take(12);
        let digits = digits.fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        format!("tandem.{digits}")
    }

    /// One agent at a time prepares. Ends with the session. Gives 1 when it was obtained.
    pub fn prepare_alone(&self, seconds: u64) -> String {
        match self.dialect {
            Dialect::Postgres => postgres::prepare_alone(self),
            Dialect::MySql => format!("SELECT GET_LOCK('{}', {seconds})", self.name()),
        }
    }

    /// Whether the schema exists, if one is named: a row when it does.
    pub fn schema_is_there(&self) -> Option<(&str, String)> {
        let schema = self.schema.as_deref()?;
        Some((schema, format!("SELECT 1 FROM pg_namespace WHERE nspname='{schema}'")))
    }

    /// The columns of a table; none when there is no such table.
    pub fn columns_of(&self, table: Table) -> String {
        let name = self.table(table);
        match self.dialect {
            Dialect::Postgres => postgres::columns_of(&name),
            Dialect::MySql => mysql::columns_of(&name),
        }
    }

    /// Statements that need a right each, and do nothing: an explained one is checked and not run.
    pub fn needs(&self, table: Table) -> Vec<String> {
        let name = self.table(table);
        let key = key(table);
        let value = if key == "ID" { "-1" } else { "''" };
        [
            format!("SELECT {key} FROM {name} WHERE {key}={value}"),
            format!("INSERT INTO {name}({key}) VALUES ({value})"),
            format!("UPDATE {name} SET {key}={value} WHERE {key}={value}"),
            format!("DELETE FROM {name} WHERE {key}={value}"),
        ]
        .map(|statement| format!("EXPLAIN {statement}"))
        .into()
    }

    /// Gives 1 when the fence is complete, of this version, and in force.
    pub fn fence_is_on(&self) -> String {
        match self.dialect {
            Dialect::Postgres => postgres::fence_is_on(self),
            Dialect::MySql => mysql::fence_is_on(self),
        }
    }

    /// Makes the fence, anew if need be. Each is one transaction.
    pub fn fence(&self) -> Vec<String> {
        match self.dialect {
            Dialect::Postgres => postgres::fence(self),
            Dialect::MySql => mysql::fence(self),
        }
    }
}

#[cfg(test)]
#[path = "sql_tests.rs"]
mod tests;
