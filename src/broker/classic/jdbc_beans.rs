//! The Spring beans of a database: access, connections, statements, locker, store.
//!
//! They are plain beans, not elements of the broker's own schema: the schema checks attributes before
//! placeholders are replaced, so numbers and truths of a file would be refused there. Values that are
//! not known before a start (credentials, the holder's name) come from a file that the agent writes;
//! what an expression `#{..}` yields is not expanded again, so any password is safe in it.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::{lease_sql, paths};
use crate::broker::{
    jdbc::{self, Purpose},
    settings::DatabaseKind,
    store::Database,
};

/// Name of the PostgreSQL constraint that the broker makes first and replaces at once. Its adapter
/// looks for another name (6.3.1): the old key would stay, without the priority in it, and its name,
/// which knows no table prefix, would be taken for the next group in the same schema.
const ACKS_KEY: &str = "pk_activemq_acks";
/// How often a broker looks whether its database is back.
const RESUME_MILLIS: u64 = 500;
/// Largest difference of clocks that a lease by the broker's own clock tolerates, for databases whose
/// time the broker compares itself with.
const CLOCK_DIFFERENCE_MILLIS: u64 = 500;

/// The broker's package for JDBC.
const PACKAGE: &str = "org.apache.activemq.store.jdbc";

/// Beans beside the broker: what the locker and the store refer to. `messages` is the number of
/// connections for messages, if messages are in the database.
pub fn beside_the_broker(database: &Database, messages: Option<u32>) -> String {
    let mut text = format!(
        "  <bean id=\"tandemAccess\" class=\"org.springframework.beans.factory.config.PropertiesFactoryBean\">{}</bean>\n",
        value("location", &format!("file:{}", paths::DATABASE_PROPERTIES)),
    );
    if let Some(most) = messages {
        // A connection that the server has closed meanwhile is noticed when it is taken.
        let pool = [("maxTotal", u64::from(most)), ("maxIdle", u64::from(most))];
        text += &pool_bean(database, Purpose::Messages, &pool, &value("maxWaitMillis", "30000"));
    }
    // Apart from the messages, so that a busy broker can renew. Taking the lease needs two
    // connections at once: both are made beforehand and used in turn, so that neither is slow nor
    // stale then. They are not tested when taken: that would double the time of a renewal, and a
    // driver closes a connection that failed.
    let wait = jdbc::lease_wait_millis(database);
    let pool = [("maxTotal", 2), ("maxIdle", 2), ("initialSize", 2), ("maxWaitMillis", wait)];
    let fresh = value("testOnBorrow", "false") + &value("lifo", "false");
    text += &pool_bean(database, Purpose::Lease, &pool, &fresh);
    text + &statements(database)
}

/// The ids of the pools.
fn id(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Messages => "tandemMessages",
        Purpose::Lease => "tandemLease",
    }
}

fn pool_bean(database: &Database, purpose: Purpose, numbers: &[(&str, u64)], more: &str) -> String {
    let url = jdbc::url(database, purpose, paths::DATABASE_KEYSTORE);
    let mut text = format!(
        "  <bean id=\"{}\" class=\"org.apache.commons.dbcp2.BasicDataSource\" destroy-method=\"close\">",
        id(purpose)
    );
    text += &value("driverClassName", &database.driver_class);
    text += &value("url", &url);
    text += &value("username", "#{tandemAccess['username']}");
    text += &value("password", "#{tandemAccess['password']}");
    text += &value("defaultAutoCommit", "true");
    for (name, number) in numbers {
        text += &value(name, &number.to_string());
    }
    text += more;
    text += &signature(database);
    text + "</bean>\n"
}

/// Makes every session tell whose it is, so that it can be ended and fenced by that.
fn signature(database: &Database) -> String {
    match database.kind() {
        None => String::new(),
        Some(DatabaseKind::PostgreSQL) => {
            value("connectionProperties", "ApplicationName=#{tandemAccess['holder']}")
        }
        // These servers know no application's name (the table of connection attributes is off in
        // MariaDB), so sessions sign a list and a variable.
        Some(DatabaseKind::MySQL | DatabaseKind::MariaDB) => {
            let prefix = &database.table_prefix;
            let sql = [
                "SET @tandem_holder='#{tandemAccess['holder']}'".to_owned(),
                format!(
                    "REPLACE INTO {prefix}TANDEM_SESSIONS(ID,HOLDER) VALUES (CONNECTION_ID(),'#{{tandemAccess['holder']}}')"
                ),
            ];
            let list = sql.map(|sql| format!("<value>{}</value>", escape(sql.as_str()))).concat();
            format!("<property name=\"connectionInitSqls\"><list>{list}</list></property>")
        }
    }
}

fn statements(database: &Database) -> String {
    let mut text = format!(
        "  <bean id=\"tandemStatements\" class=\"{PACKAGE}.Statements\">{}",
        value("tablePrefix", &database.table_prefix)
    );
    if let Some(kind) = database.kind() {
        let sql = lease_sql::statements(
            kind,
            &database.lock_table(),
            database.lease_millis,
            "#{tandemAccess['obtainIf']}",
        );
        // The lock's table is made by the agent; a broker must not make a row that nobody checked.
        text += "<property name=\"createLockSchemaStatements\"><array value-type=\"java.lang.String\"/></property>";
        text += &value("leaseObtainStatement", &sql.obtain);
        text += &value("leaseUpdateStatement", &sql.update);
    }
    text + "</bean>\n"
}

/// The locker, inside of the store's element. For databases whose clock judges, the interval is only
/// the time between two tries; otherwise it is the lease's length as well.
pub fn locker(database: &Database, makes_table: bool) -> String {
    let interval = match database.kind() {
        Some(_) => database.poll_millis,
        None => database.lease_millis,
    };
    let mut text = format!("<bean xmlns=\"{BEANS}\" class=\"{PACKAGE}.LeaseDatabaseLocker\">");
    text += &value("leaseHolderId", "#{tandemAccess['holder']}");
    text += &value("lockAcquireSleepInterval", &interval.to_string());
    text += &reference("dataSource", id(Purpose::Lease));
    text += &reference("statements", "tandemStatements");
    if database.kind().is_none() {
        text += &value("maxAllowableDiffFromDBTime", &CLOCK_DIFFERENCE_MILLIS.to_string());
        if makes_table {
            text += &value("createTablesOnStartup", "#{tandemAccess['createTables']}");
        }
    }
    text + "</bean>"
}

/// The store, inside of `<persistenceAdapter>`. The order counts: the adapter takes the statements when
/// it is set, and the locker takes the store's pool for locks.
pub fn store(database: &Database, adapter: &str) -> String {
    let key = match database.kind() {
        Some(DatabaseKind::PostgreSQL) => value("acksPkName", ACKS_KEY),
        Some(DatabaseKind::MySQL | DatabaseKind::MariaDB) | None => String::new(),
    };
    let mut text = format!("<bean xmlns=\"{BEANS}\" class=\"{PACKAGE}.JDBCPersistenceAdapter\">");
    text += &reference("dataSource", id(Purpose::Messages));
    text += &reference("lockDataSource", id(Purpose::Lease));
    text += &reference("statements", "tandemStatements");
    let adapter = escape(adapter);
    let _infallible = write!(
        text,
        "<property name=\"adapter\"><bean class=\"{adapter}\">{key}</bean></property>"
    );
    text += &value("createTablesOnStartup", "#{tandemAccess['createTables']}");
    text += &value("lockKeepAlivePeriod", &database.renew_millis.to_string());
    let _infallible =
        write!(text, "<property name=\"locker\">{}</property>", locker(database, false));
    text + "</bean>"
}

/// What a broker does when its database fails: it stops its connectors and looks until the database is
/// back, or until it is told that the lease is another's.
pub fn io_exception_handler() -> String {
    format!(
        "<ioExceptionHandler><bean xmlns=\"{BEANS}\" class=\"org.apache.activemq.util.LeaseLockerIOExceptionHandler\">{}</bean></ioExceptionHandler>",
        value("resumeCheckSleepPeriod", &RESUME_MILLIS.to_string())
    )
}

/// The namespace of plain beans.
const BEANS: &str = "http://www.springframework.org/schema/beans";

fn value(name: &str, value: &str) -> String {
    format!("<property name=\"{name}\" value=\"{}\"/>", escape(value))
}

fn reference(name: &str, bean: &str) -> String {
    format!("<property name=\"{name}\" ref=\"{bean}\"/>")
}
