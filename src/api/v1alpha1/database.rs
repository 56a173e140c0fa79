//! Databases: as the store with its lock, or only as the lock of a store on a volume. The comments of
//! the fields are the user's documentation.

use std::collections::BTreeMap;

use kube::{
    KubeSchema,
    core::{Duration, Rule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImagePullPolicy, defaults};

/// A database that holds the messages and the lock.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = by_url())]
#[x_kube(validation = by_host())]
#[x_kube(validation = driver_class())]
#[x_kube(validation = all_in_url())]
#[x_kube(validation = no_poll())]
#[x_kube(validation = same_place())]
#[x_kube(validation = same_tables())]
#[x_kube(validation = schema_of_postgresql())]
#[x_kube(validation = Rule::new("self.type == 'Other' || !has(self.adapter)").message("storage.database.adapter is only for type Other; remove it"))]
pub struct Database {
    /// Where the database is and how it is used.
    #[serde(flatten)]
    pub access: DatabaseAccess,
    /// For type Other: the class of the broker's JDBC adapter. Default:
    /// `org.apache.activemq.store.jdbc.adapter.DefaultJDBCAdapter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z_$][A-Za-z0-9_$.]*$"))]
    pub adapter: Option<String>,
    /// The most connections of one broker for messages, from 2 to 1000. Two more are for the lock.
    /// A standby keeps those two only.
    #[serde(default = "defaults::max_connections")]
    #[schemars(range(min = 2, max = 1000))]
    pub max_connections: i32,
}

/// A database that holds the lock, while the messages are on the volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = by_url())]
#[x_kube(validation = by_host())]
#[x_kube(validation = driver_class())]
#[x_kube(validation = all_in_url())]
#[x_kube(validation = no_poll())]
#[x_kube(validation = same_place())]
#[x_kube(validation = same_tables())]
#[x_kube(validation = schema_of_postgresql())]
pub struct DatabaseLock {
    /// Where the database is and how it is used.
    #[serde(flatten)]
    pub access: DatabaseAccess,
}

// A rule of a flattened struct would be lost, so both structs above name each.

fn by_url() -> Rule {
    Rule::new("self.type == 'Other' ? has(self.url) && !has(self.host) && !has(self.port) && !has(self.name) : !has(self.url)")
        .message("database.url is needed by type Other, which takes no host, port or name; the other types take no url")
}

fn by_host() -> Rule {
    Rule::new("self.type == 'Other' || (has(self.host) && has(self.name))")
        .message("database.host and database.name are needed; a database that only has a JDBC URL is of type Other")
}

fn driver_class() -> Rule {
    Rule::new("self.type != 'Other' || (has(self.driver) && has(self.driver.class))")
        .message("database.driver.class is needed by type Other: the class name of the JDBC driver")
}

fn all_in_url() -> Rule {
    Rule::new("self.type != 'Other' || (!has(self.tls) && !has(self.parameters))").message(
        "database.tls and database.parameters are not for type Other: write them into database.url",
    )
}

fn no_poll() -> Rule {
    Rule::new("self.type != 'Other' || !has(self.lease.poll)")
        .message("database.lease.poll is not for type Other: a standby there polls once per lease.duration; remove it")
}

fn same_place() -> Rule {
    let same = |field: &str| {
        format!(
            "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        )
    };
    let fields = ["host", "port", "name", "url"].map(same).join(" && ");
    Rule::new(format!("self.type == oldSelf.type && {fields}"))
        .message("database.type, host, port, name and url cannot be changed: brokers with two databases would be two masters; make a new BrokerCluster, or let the host name lead elsewhere while no broker runs")
}

fn same_tables() -> Rule {
    let same = |field: &str| {
        format!(
            "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        )
    };
    let fields = ["tablePrefix", "schema"].map(same).join(" && ");
    Rule::new(fields)
        .message("database.tablePrefix and schema cannot be changed: brokers with two sets of tables would be two masters; make a new BrokerCluster")
}

fn schema_of_postgresql() -> Rule {
    Rule::new("!has(self.schema) || self.type == 'PostgreSQL'")
        .message("database.schema is for type PostgreSQL only: in MySQL and MariaDB a schema is a database, and database.name names it; with type Other write it into database.url")
}

/// Where a database is and how it is used.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseAccess {
    /// The kind of database. `Other` is any with a JDBC driver; the agents cannot ask it, so what they
    /// can prove is less (see docs/guides/database.md).
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// Host name or address of the server, which must lead to the one server that takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$|^[0-9A-Fa-f:.]+$")
    )]
    pub host: Option<String>,
    /// Its port. Default: 5432 for PostgreSQL, 3306 for MySQL and MariaDB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// The database's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub name: Option<String>,
    /// PostgreSQL: the schema with the tables, for brokers and agents alike. It must exist. Without it
    /// the user's search path decides. A lower-case name: letters, digits and `_`. Cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub schema: Option<String>,
    /// For type Other: the JDBC URL, without user and password. Nothing of it is judged except that it
    /// holds no credentials and no expressions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6, max = 2048), regex(pattern = r"^jdbc:[!-~]+$"))]
    pub url: Option<String>,
    /// The Secret with the user's name and password. Broker pods are replaced, standbys first, when
    /// these change.
    pub credentials_secret: CredentialsSecret,
    /// Encryption of the connections. Without it they are not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<DatabaseTls>,
    /// Before the names of all tables; several groups can share one database with different prefixes.
    /// Up to 30 letters, digits and `_`, not beginning with a digit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 30), regex(pattern = r"^([A-Za-z_][A-Za-z0-9_]*)?$"))]
    pub table_prefix: String,
    /// Further parameters of the JDBC URL, such as `prepareThreshold`. Only those are allowed that change
    /// nothing that the lock depends on; docs/guides/database.md lists them. `connectTimeout` and
    /// `socketTimeout` are for the messages' connections, not for the lock's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub parameters: BTreeMap<String, String>,
    /// Where the JDBC driver comes from. Without it the broker's image must have it in its `lib`,
    /// `lib/optional` or `lib/extra`.
    #[serde(default, skip_serializing_if = "Driver::is_empty")]
    pub driver: Driver,
    /// The timing of the lease that elects the master.
    #[serde(default)]
    pub lease: Lease,
}

/// Kinds of databases.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DatabaseType {
    /// PostgreSQL 12 or newer.
    PostgreSQL,
    /// MySQL 8 or newer.
    MySQL,
    /// MariaDB 10.5 or newer.
    MariaDB,
    /// Any other, by its JDBC URL.
    Other,
}

/// A Secret with a user's name and password.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecret {
    /// Its name, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of the user's name.
    #[serde(default = "defaults::username_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub username_key: String,
    /// The key of the password.
    #[serde(default = "defaults::password_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub password_key: String,
}

/// Encryption of connections to a database.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caSecret) || !has(self.caConfigMap)").message("database.tls takes one of caSecret and caConfigMap; remove the other"))]
#[x_kube(validation = Rule::new("!has(self.mode) || (self.mode == 'VerifyFull') == (has(self.caSecret) || has(self.caConfigMap))")
    .message("database.tls: mode VerifyFull needs caSecret or caConfigMap, and the other modes take none: they would not use it"))]
pub struct DatabaseTls {
    /// How the server is verified. Default: `VerifyFull` with an authority, else `Disable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// A Secret with the certificates of the authority that signed the server's certificate, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<CaKey>,
    /// A ConfigMap with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<CaKey>,
}

/// How a database server is verified.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// Encrypted; the certificate must be signed by the authority and bear the host's name.
    VerifyFull,
    /// Encrypted; whoever answers is believed.
    Require,
    /// Not encrypted.
    Disable,
}

/// A key of a Secret or ConfigMap with an authority's certificates.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaKey {
    /// The object's name, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[serde(default = "defaults::ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Where a JDBC driver comes from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.image) || !has(self.imagePullPolicy)").message("database.driver.imagePullPolicy is for database.driver.image; name an image or remove it"))]
pub struct Driver {
    /// An image with the driver's jars: an init container copies them out of the directory `path`.
    /// Nothing else is needed in it; it can be made `FROM scratch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// The directory with the jars. With an image a directory of it, by default `/drivers`; without one
    /// a directory of the broker's container: of an image of your own, or where `pod.volumeMounts` puts
    /// a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 512), regex(pattern = r"^/[A-Za-z0-9._/-]+$"))]
    pub path: Option<String>,
    /// The driver's class name. Default: the usual one of the database's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z_$][A-Za-z0-9_$.]*$"))]
    pub class: Option<String>,
}

impl Driver {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The timing of a lease. The database's clock alone judges it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.renew) + duration(self.renew) + duration(self.renew) <= duration(self.duration)").message("database.lease.duration must be at least three times database.lease.renew: one late renewal must not end the lease"))]
#[x_kube(validation = Rule::new("!has(self.poll) || duration(self.poll) <= duration(self.duration)").message("database.lease.poll must not be longer than database.lease.duration"))]
pub struct Lease {
    /// How long a master that says nothing keeps the lock, from `2s` to `1m`: after the loss of a node a
    /// standby takes over when it has run out. A crashed broker's lease is released at once.
    #[serde(default = "defaults::lease_duration")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('2s') && duration(self) <= duration('1m')").message("database.lease.duration must be from 2s to 1m"))]
    pub duration: Duration,
    /// How often a master renews it, at least `100ms`.
    #[serde(default = "defaults::lease_renew")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms')").message("database.lease.renew must be at least 100ms"))]
    pub renew: Duration,
    /// How often a standby tries to get it, from `100ms` to `10s`. Default `500ms`. Not for type Other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('10s')").message("database.lease.poll must be from 100ms to 10s"))]
    pub poll: Option<Duration>,
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
