//! Where a group's brokers keep their messages and their lock.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{Database, DatabaseKind, Storage, images::DRIVERS};

use crate::{Group, Lab, objects, volume};

/// The namespace with a Service for each database server.
const SERVICES: &str = "databases";

/// What a database is to its users: the value of the field `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// PostgreSQL.
    PostgreSql,
    /// MariaDB with its own driver.
    MariaDb,
    /// MySQL's driver; Debian has no MySQL server, so a MariaDB stands in for it.
    MySql,
    /// A database that agents cannot ask, reached by a URL; a PostgreSQL stands in for it.
    Other,
}

impl Product {
    /// As it stands in the spec.
    pub fn type_(self) -> &'static str {
        match self {
            Self::PostgreSql => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
            Self::Other => "Other",
        }
    }

    /// As it stands in names.
    pub fn name(self) -> &'static str {
        match self {
            Self::PostgreSql => "postgresql",
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
            Self::Other => "other",
        }
    }

    /// What runs on the bed.
    pub fn server(self) -> DatabaseKind {
        match self {
            Self::PostgreSql | Self::Other => DatabaseKind::Postgresql,
            Self::MariaDb | Self::MySql => DatabaseKind::Mariadb,
        }
    }
}

/// Where a group's brokers keep their messages and their lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Both on a shared volume: a directory of the machine that all nodes see.
    File,
    /// Both on a shared volume of a network file system.
    NetworkFile,
    /// Both in a database.
    Database(Product),
    /// Messages on a shared volume, the lock in a database.
    VolumeWithLease(Product),
}

impl Store {
    /// The name of a namespace for a scenario with this store.
    pub fn namespace(self, scenario: &str) -> String {
        match self {
            Self::File => scenario.to_owned(),
            Self::NetworkFile => format!("{scenario}-gluster"),
            Self::Database(product) => format!("{scenario}-{}", product.name()),
            Self::VolumeWithLease(product) => format!("{scenario}-lease-{}", product.name()),
        }
    }

    /// The product, if there is a database.
    pub fn product(self) -> Option<Product> {
        match self {
            Self::File | Self::NetworkFile => None,
            Self::Database(product) | Self::VolumeWithLease(product) => Some(product),
        }
    }
}

/// Which database or storage server a group is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// One for all that leave it alone.
    Shared,
    /// One that may be stopped.
    Own,
    /// As [`Self::Own`], with little room if it is a storage server.
    Small,
}

/// The database of a group.
#[derive(Clone, Debug)]
pub struct GroupDatabase {
    /// The server.
    pub server: Database,
    /// The database on it, and its user.
    pub name: String,
    /// The user's password.
    pub password: String,
    store: Store,
    product: Product,
    ours: bool,
}

impl GroupDatabase {
    /// A server and a fresh database on it; nothing for a store without one.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn make(lab: &Lab, namespace: &str, store: Store, server: Server) -> Result<Option<Self>> {
        let Some(product) = store.product() else { return Ok(None) };
        let server_name = match server {
            Server::Shared => format!("shared-{}", product.server().name()),
            Server::Own | Server::Small => namespace.to_owned(),
        };
        let database = Self {
            server: lab.bed.database(product.server(), &server_name)?,
            name: namespace.replace('-', "_"),
            // Everything that means something in a URL, a properties file or an expression.
            password: "s3 cret'\"=#!%&?\\${x}#{y}".to_owned(),
            store,
            product,
            ours: server != Server::Shared,
        };
        database.server.create(&database.name, &database.password)?;
        Ok(Some(database))
    }

    /// Another fresh database on the same server.
    ///
    /// # Errors
    /// The server's.
    pub fn beside(&self, name: &str) -> Result<Self> {
        let other = Self { name: name.to_owned(), ours: false, ..self.clone() };
        other.server.create(&other.name, &other.password)?;
        Ok(other)
    }

    /// The product.
    pub fn product(&self) -> Product {
        self.product
    }

    /// Where the messages and the lock are.
    pub fn store(&self) -> Store {
        self.store
    }

    /// Runs SQL in the group's database, as the administrator.
    ///
    /// # Errors
    /// The server's.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.server.sql(&self.name, sql)
    }

    /// Gives the group's user another password; sessions that are open stay open.
    ///
    /// # Errors
    /// The server's.
    pub fn set_password(&self, password: &str) -> Result<()> {
        let user = &self.name;
        self.sql(&match self.product {
            Product::PostgreSql | Product::Other => {
                format!("ALTER ROLE {user} PASSWORD '{password}'")
            }
            Product::MariaDb | Product::MySql => {
                format!("ALTER USER {user} IDENTIFIED BY '{password}'")
            }
        })
        .map(drop)
    }

    /// The lease's holder and its end in milliseconds of the server's clock; nothing while there is
    /// no row or no holder.
    ///
    /// # Errors
    /// The server's.
    pub fn lease(&self) -> Result<Option<(String, i64)>> {
        let cast = match self.product {
            Product::PostgreSql | Product::Other => "text",
            Product::MariaDb | Product::MySql => "char",
        };
        let row = self.sql(&format!(
            "SELECT concat(broker_name, ' ', cast(time AS {cast})) FROM {} WHERE id = 1 \
             AND broker_name IS NOT NULL",
            self.lock_table()
        ))?;
        let Some((holder, end)) = row.trim().split_once(' ') else { return Ok(None) };
        Ok(Some((holder.to_owned(), end.parse()?)))
    }

    /// The lock's table, as it is spelt.
    pub fn lock_table(&self) -> &'static str {
        match self.product {
            Product::PostgreSql | Product::Other => "activemq_lock",
            Product::MariaDb | Product::MySql => "ACTIVEMQ_LOCK",
        }
    }

    /// Removes a server that the group had for itself.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn remove(self) -> Result<()> {
        if self.ours { self.server.remove() } else { Ok(()) }
    }

    /// `spec.storage.database`, or the same for the lock alone. Ways to reach a server differ, so
    /// that each is used: by name or address, encrypted, verified or neither.
    pub fn spec(&self, cluster: &str) -> Value {
        if self.product == Product::Other {
            return self.spec_by_url(cluster);
        }
        let verified = json!({"caConfigMap": {"name": authority(cluster)}});
        let (host, tls) = match (self.store, self.product) {
            (Store::Database(_), Product::PostgreSql | Product::Other) => {
                (self.host_name(), verified)
            }
            (Store::Database(_), Product::MariaDb) => (self.server.address(), verified),
            (Store::Database(_), Product::MySql) => {
                (self.server.address(), json!({"mode": "Require"}))
            }
            (Store::File | Store::NetworkFile | Store::VolumeWithLease(_), _) => {
                (self.server.address(), json!({"mode": "Disable"}))
            }
        };
        json!({
            "type": self.product.type_(),
            "host": host,
            "name": self.name,
            "credentialsSecret": {"name": credentials(cluster)},
            "tls": tls,
            "driver": {"image": DRIVERS, "imagePullPolicy": "Never"}
        })
    }

    fn spec_by_url(&self, cluster: &str) -> Value {
        let (host, port) = (self.server.address(), self.server.kind().port());
        json!({
            "type": self.product.type_(),
            "url": format!("jdbc:postgresql://{host}:{port}/{}?sslmode=disable", self.name),
            "adapter": "org.apache.activemq.store.jdbc.adapter.PostgresqlJDBCAdapter",
            "credentialsSecret": {"name": credentials(cluster)},
            "driver": {
                "image": DRIVERS, "imagePullPolicy": "Never", "class": "org.postgresql.Driver"
            }
        })
    }

    fn host_name(&self) -> String {
        format!("{}.{SERVICES}.svc", self.server.name())
    }
}

/// The Secret with the name and the password of a cluster's database user.
pub fn credentials(cluster: &str) -> String {
    format!("{cluster}-database")
}

fn authority(cluster: &str) -> String {
    format!("{cluster}-database-ca")
}

/// `spec.storage` of a group.
pub fn storage(
    database: Option<&GroupDatabase>,
    network: Option<&Storage>,
    cluster: &str,
) -> Value {
    let claim =
        json!({"storageClassName": "shared", "resources": {"requests": {"storage": "1Gi"}}});
    match database {
        None => match network.map(volume::lock) {
            Some(lock) => json!({"sharedVolume": {"claim": claim, "lock": lock}}),
            None => json!({"sharedVolume": {"claim": claim}}),
        },
        Some(database) => match database.store {
            Store::File | Store::NetworkFile | Store::VolumeWithLease(_) => json!({
                "sharedVolume": {"claim": claim, "lock": {"database": database.spec(cluster)}}
            }),
            Store::Database(_) => json!({"database": database.spec(cluster)}),
        },
    }
}

impl Group<'_> {
    /// The group's database.
    ///
    /// # Errors
    /// When it has none.
    pub fn database(&self) -> Result<&GroupDatabase> {
        self.database.as_ref().context("a group without a database")
    }

    /// The Secret, the authority's certificate and the Service that the group's spec names.
    ///
    /// # Errors
    /// The API server's.
    pub async fn add_database_objects(&self) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        self.write_credentials(&database.name, &database.password).await?;
        self.write_authority(&read(&database.server.authority())?).await?;
        let client = &self.lab.client;
        objects::apply(client, &objects::namespace(SERVICES)).await?;
        for object in service(&database.server) {
            objects::apply(client, &object).await?;
        }
        Ok(())
    }

    /// Writes the ConfigMap with the certificate of the authority that the brokers believe.
    ///
    /// # Errors
    /// The API server's.
    pub async fn write_authority(&self, certificate: &str) -> Result<()> {
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": authority(&self.name), "namespace": self.namespace},
            "data": {"ca.crt": certificate}
        });
        objects::apply(&self.lab.client, &config_map).await.map(drop)
    }

    /// Writes the Secret with the database user's name and password.
    ///
    /// # Errors
    /// The API server's.
    pub async fn write_credentials(&self, user: &str, password: &str) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": credentials(&self.name), "namespace": self.namespace},
            "stringData": {"username": user, "password": password}
        });
        objects::apply(&self.lab.client, &secret).await.map(drop)
    }
}

/// A name in the cluster's DNS for a server outside of it.
fn service(server: &Database) -> [Value; 2] {
    let ports = json!([{"name": "sql", "port": server.kind().port(), "protocol": "TCP"}]);
    let labels = json!({"kubernetes.io/service-name": server.name()});
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": server.name(), "namespace": SERVICES},
            "spec": {"clusterIP": "None", "ports": ports}
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": server.name(), "namespace": SERVICES, "labels": labels},
            "addressType": "IPv4", "ports": ports,
            "endpoints": [{"addresses": [server.address()], "conditions": {"ready": true}}]
        }),
    ]
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
