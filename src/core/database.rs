//! A database of the spec to what brokers and agents are given: defaults filled in, and everything
//! refused that admission cannot say.

use crate::{
    api::v1alpha1::{
        self, DatabaseAccess, DatabaseType, Driver, FileLock, Storage, TlsMode, lease_poll,
    },
    broker::{
        classic::{config::millis, paths},
        jdbc, jdbc_parameters,
        settings::{DatabaseKind, DatabaseServer, DatabaseTls, Preflight},
        store::{Database, Server, Store, VolumeLock},
    },
    core::places::{Place, place},
    secret,
};

/// The broker's adapter for databases that it has none for.
const DEFAULT_ADAPTER: &str = "org.apache.activemq.store.jdbc.adapter.DefaultJDBCAdapter";
/// Ports of MySQL and MariaDB, and of PostgreSQL.
const MYSQL_PORT: u16 = 3306;
const POSTGRESQL_PORT: u16 = 5432;

/// Something wrong: the field below `storage`, and the problem.
pub(super) type Problem = (String, String);

/// The database that the spec names, if it does, and its field below `storage`.
pub fn named(storage: &Storage) -> Option<(&'static str, &DatabaseAccess)> {
    let lock = || storage.shared_volume.as_ref().and_then(|volume| volume.lock.database.as_ref());
    match &storage.database {
        Some(database) => Some(("database", &database.access)),
        None => lock().map(|lock| ("sharedVolume.lock.database", &lock.access)),
    }
}

/// The store of a spec. `claim` is the name of a claim that is to be made.
pub(super) fn store(storage: &Storage, claim: String) -> Result<Store, Vec<Problem>> {
    if let Some(spec) = &storage.database {
        let adapter = match kind(spec.access.type_) {
            Some(DatabaseKind::PostgreSQL) => Some(adapter("PostgresqlJDBCAdapter")),
            // The broker knows MySQL's drivers only by their names, and MariaDB's not at all (6.3.1).
            Some(DatabaseKind::MySQL | DatabaseKind::MariaDB) => Some(adapter("MySqlJDBCAdapter")),
            None => spec.adapter.clone(),
        };
        return Ok(Store::Database {
            database: database(&spec.access, "database")?,
            adapter: adapter.unwrap_or_else(|| DEFAULT_ADAPTER.to_owned()),
            max_connections: u32::try_from(spec.max_connections).unwrap_or_default(),
        });
    }
    let Some(volume) = &storage.shared_volume else {
        let problem = "exactly one of sharedVolume and database is needed".to_owned();
        return Err(vec![(String::new(), problem)]);
    };
    let lock = if let Some(lock) = &volume.lock.database {
        VolumeLock::Lease(database(&lock.access, "sharedVolume.lock.database")?)
    } else {
        let file = volume.lock.file.clone().unwrap_or_default();
        let FileLock { poll, keep_alive, fence_after } = &file;
        VolumeLock::File {
            poll_millis: millis(poll),
            keep_alive_millis: millis(keep_alive),
            fence_after_millis: millis(fence_after),
        }
    };
    let preflight = match volume.preflight {
        v1alpha1::Preflight::Required => Preflight::Required,
        v1alpha1::Preflight::Warn => Preflight::Warn,
    };
    Ok(Store::Volume { claim: volume.claim_name.clone().unwrap_or(claim), lock, preflight })
}

fn adapter(name: &str) -> String {
    format!("org.apache.activemq.store.jdbc.adapter.{name}")
}

fn kind(type_: DatabaseType) -> Option<DatabaseKind> {
    match type_ {
        DatabaseType::PostgreSQL => Some(DatabaseKind::PostgreSQL),
        DatabaseType::MySQL => Some(DatabaseKind::MySQL),
        DatabaseType::MariaDB => Some(DatabaseKind::MariaDB),
        DatabaseType::Other => None,
    }
}

fn database(spec: &DatabaseAccess, field: &str) -> Result<Database, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut problem = |name: &str, text: String| problems.push((format!("{field}.{name}"), text));
    let url = spec.url.as_deref().unwrap_or_default();
    let server = if let Some(kind) = kind(spec.type_) {
        for (name, value) in &spec.parameters {
            if let Some(text) = jdbc_parameters::refusal(kind, name, value) {
                problem("parameters", text);
            }
        }
        Server::Known(server(spec, kind))
    } else {
        if let Some(text) = url_problem(url) {
            problem("url", text);
        }
        Server::Other { url: url.to_owned() }
    };
    if let Some(path) =
        spec.driver.path.as_deref().filter(|path| spec.driver.image.is_none() && is_ours(path))
    {
        problem(
            "driver.path",
            format!("{path} is a directory of Tandem's; put the drivers elsewhere"),
        );
    }
    let usual = kind(spec.type_).map(|kind| jdbc::driver_class(kind).to_owned());
    let lease_millis = millis(&spec.lease.duration);
    let valid = Database {
        server,
        schema: spec.schema.clone(),
        parameters: spec.parameters.clone(),
        table_prefix: spec.table_prefix.clone(),
        driver_class: spec.driver.class.clone().or(usual).unwrap_or_default(),
        driver_directory: match &spec.driver {
            Driver { image: Some(_), .. } => Some(paths::DRIVERS.to_owned()),
            Driver { image: None, path, .. } => path.clone(),
        },
        lease_millis,
        renew_millis: millis(&spec.lease.renew),
        poll_millis: millis(&spec.lease.poll.unwrap_or_else(lease_poll)).min(lease_millis),
    };
    if problems.is_empty() { Ok(valid) } else { Err(problems) }
}

fn is_ours(path: &str) -> bool {
    matches!(place(path, true), Some(Place::Within(_)))
}

fn server(spec: &DatabaseAccess, kind: DatabaseKind) -> DatabaseServer {
    let usual = match kind {
        DatabaseKind::PostgreSQL => POSTGRESQL_PORT,
        DatabaseKind::MySQL | DatabaseKind::MariaDB => MYSQL_PORT,
    };
    DatabaseServer {
        kind,
        host: spec.host.clone().unwrap_or_default(),
        port: spec.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual),
        name: spec.name.clone().unwrap_or_default(),
        tls: tls(spec),
    }
}

fn tls(spec: &DatabaseAccess) -> DatabaseTls {
    let Some(tls) = &spec.tls else { return DatabaseTls::Off };
    let authority = tls.ca_secret.is_some() || tls.ca_config_map.is_some();
    match tls.mode {
        Some(TlsMode::Require) => DatabaseTls::Encrypted,
        Some(TlsMode::VerifyFull) => DatabaseTls::Verified { ca: paths::DATABASE_CA.to_owned() },
        None if authority => DatabaseTls::Verified { ca: paths::DATABASE_CA.to_owned() },
        None | Some(TlsMode::Disable) => DatabaseTls::Off,
    }
}

/// What is wrong with a JDBC URL. Expressions would be evaluated where it is written.
fn url_problem(url: &str) -> Option<String> {
    let lower = url.to_ascii_lowercase();
    let named = ["password=", "passwd=", "pwd=", "pass=", "user=", "username=", "uid=", "token="];
    if named.iter().any(|word| lower.contains(word)) || secret::has_userinfo(url) {
        return Some("the URL holds credentials; put them into credentialsSecret".to_owned());
    }
    ["${", "#{"]
        .iter()
        .find(|sign| url.contains(**sign))
        .map(|sign| format!("the URL contains {sign}, which would be replaced; leave it out"))
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
