//! A witness in the database that knows nothing of Tandem: it notes who wrote, in what order.

use anyhow::{Result, ensure};

use crate::store::{GroupDatabase, Product, Store};

/// What every writer calls itself: PostgreSQL's sessions have a name, those of the others a variable.
const POSTGRESQL: &str = "
CREATE TABLE witness (n BIGSERIAL PRIMARY KEY, at TIMESTAMPTZ DEFAULT clock_timestamp(), writer TEXT);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN INSERT INTO witness (writer) VALUES (current_setting('application_name')); RETURN NULL; END $$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON activemq_msgs
FOR EACH STATEMENT EXECUTE FUNCTION witness();";

/// With the messages elsewhere only the lock's holders can be noted.
const POSTGRESQL_LOCK: &str = "
CREATE TABLE witness (n BIGSERIAL PRIMARY KEY, at TIMESTAMPTZ DEFAULT clock_timestamp(), writer TEXT);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN INSERT INTO witness (writer) VALUES (NEW.broker_name); RETURN NULL; END $$;
CREATE TRIGGER witness AFTER UPDATE ON activemq_lock FOR EACH ROW
WHEN (NEW.broker_name IS NOT NULL) EXECUTE FUNCTION witness();";

const MARIADB: &str = "
CREATE TABLE witness (n BIGINT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6) DEFAULT SYSDATE(6), writer VARCHAR(250));";

/// Who wrote, in turn.
#[derive(Debug)]
pub struct Testimony {
    /// The writers, once for each time that one took over from another.
    pub turns: Vec<String>,
    /// How many writes were noted.
    pub writes: u64,
}

impl GroupDatabase {
    /// Calls the witness. The broker's tables must be there.
    ///
    /// # Errors
    /// When they are not.
    pub fn call_witness(&self) -> Result<()> {
        match self.product() {
            Product::PostgreSql => self.sql(match self.store() {
                Store::Database(_) => POSTGRESQL,
                Store::File | Store::NetworkFile | Store::VolumeWithLease(_) => POSTGRESQL_LOCK,
            }),
            // Its sessions do not say whose they are.
            Product::Other => self.sql(POSTGRESQL_LOCK),
            Product::MariaDb | Product::MySql => self.sql(&self.mariadb()),
        }
        .map(drop)
    }

    fn mariadb(&self) -> String {
        let trigger = |event: &str, table: &str, writer: &str| {
            format!(
                "CREATE TRIGGER witness_{event} AFTER {event} ON {table} FOR EACH ROW \
                 INSERT INTO witness (writer) VALUES ({writer});"
            )
        };
        let triggers = match self.store() {
            Store::Database(_) => ["INSERT", "UPDATE", "DELETE"]
                .map(|event| {
                    let nobody = "CONCAT('session ', CONNECTION_ID())";
                    let writer = format!("COALESCE(@tandem_holder, {nobody})");
                    trigger(event, "ACTIVEMQ_MSGS", &writer)
                })
                .concat(),
            Store::File | Store::NetworkFile | Store::VolumeWithLease(_) => {
                trigger("UPDATE", "ACTIVEMQ_LOCK", "COALESCE(NEW.BROKER_NAME, '')")
            }
        };
        format!("{MARIADB}{triggers}")
    }

    /// What the witness has seen.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ask_witness(&self) -> Result<Testimony> {
        let turns = self.sql(
            "SELECT writer FROM (SELECT n, writer, lag(writer) OVER (ORDER BY n) AS earlier \
             FROM witness WHERE writer <> '') AS w \
             WHERE earlier IS NULL OR earlier <> writer ORDER BY n",
        )?;
        let writes = self.sql("SELECT count(*) FROM witness")?;
        Ok(Testimony {
            turns: turns.lines().map(str::to_owned).collect(),
            writes: writes.trim().parse()?,
        })
    }

    /// Checks that writers came one after the other and that none came back: A, B, C, never A, B, A.
    /// A broker that is started again is another writer.
    ///
    /// # Errors
    /// When one came back, or when there is nothing to tell.
    pub fn check_witness(&self) -> Result<String> {
        let Testimony { turns, writes } = self.ask_witness()?;
        ensure!(writes > 0, "the witness has seen nobody write");
        let mut names: Vec<&String> = turns.iter().collect();
        names.sort_unstable();
        names.dedup();
        ensure!(names.len() == turns.len(), "two writers at the same time: {turns:?}");
        Ok(format!("{writes} writes by {} writers in turn", turns.len()))
    }
}
