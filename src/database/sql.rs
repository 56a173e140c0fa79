//! Statements.

use crate::broker::settings::LeaseSettings;
use crate::lock::lease::REPAIR;

/// The name under which agents log in; never a holder's id.
pub const AGENT: &str = "tandem-agent";

/// The statements for one group.
#[derive(Clone, Debug)]
pub struct Sql {
    prefix: String,
    lease_millis: u64,
}

impl Sql {
    /// Of these settings.
    pub fn new(settings: &LeaseSettings) -> Self {
        Self { prefix: settings.table_prefix.clone(), lease_millis: settings.lease_millis }
    }

    /// The database's time in milliseconds since 1970.
    fn now(&self) -> &'static str {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp())*1000 AS BIGINT)"
    }

    fn lock(&self) -> String {
        format!("{}ACTIVEMQ_LOCK", self.prefix)
    }

    /// Holder, milliseconds left, time.
    pub fn look(&self) -> String {
        let (now, lock) = (self.now(), self.lock());
        format!("SELECT BROKER_NAME, COALESCE(TIME,0)-{now}, {now} FROM {lock} WHERE ID=1")
    }

    /// Puts a missing row back as a lease that nobody holds.
    pub fn repair(&self) -> String {
        let (now, lock, lease) = (self.now(), self.lock(), self.lease_millis);
        format!(
            "INSERT INTO {lock}(ID,TIME,BROKER_NAME) VALUES (1,{now}+{lease},'{REPAIR}') \
             ON CONFLICT DO NOTHING"
        )
    }
}
