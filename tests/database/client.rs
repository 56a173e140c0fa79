//! Sessions as a broker or an administrator has them.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tandem::broker::settings::DatabaseKind;
use tokio::net::TcpStream;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::server::Server;

#[derive(Debug)]
pub enum Client {
    Postgres(tokio_postgres::Client),
    MariaDb(Conn),
}

/// The server's code and words.
pub type Refusal = (String, String);

impl Client {
    pub async fn connect(
        server: &Server,
        database: &str,
        (user, password): (&str, &str),
        name: &str,
    ) -> Self {
        match server.kind {
            DatabaseKind::PostgreSQL => {
                let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
                let mut config = tokio_postgres::Config::new();
                config.user(user).password(password).dbname(database).application_name(name);
                let (client, connection) = config.connect_raw(stream, NoTls).await.unwrap();
                tokio::spawn(connection);
                Self::Postgres(client)
            }
            DatabaseKind::MySQL | DatabaseKind::MariaDB => {
                let options = OptsBuilder::default()
                    .ip_or_hostname("127.0.0.1")
                    .tcp_port(server.port)
                    .user(Some(user))
                    .pass(Some(password))
                    .db_name((!database.is_empty()).then_some(database))
                    // As the JDBC drivers have it: a renewal within the millisecond of the one before
                    // changes nothing, and finds its row all the same.
                    .client_found_rows(true)
                    .prefer_socket(false);
                Self::MariaDb(Conn::new(options).await.unwrap())
            }
        }
    }

    /// How many rows it changed or gave.
    pub async fn try_run(&mut self, statement: &str) -> Result<u64, Refusal> {
        match self {
            Self::Postgres(client) => {
                let done = client.simple_query(statement).await.map_err(|error| {
                    error.as_db_error().map_or_else(
                        || (String::new(), error.to_string()),
                        |refusal| (refusal.code().code().into(), refusal.message().into()),
                    )
                })?;
                let counts = done.iter().rev().find_map(|message| match message {
                    SimpleQueryMessage::CommandComplete(count) => Some(*count),
                    _ => None,
                });
                Ok(counts.unwrap_or_default())
            }
            Self::MariaDb(conn) => {
                let done = conn.query_drop(statement).await;
                done.map_err(|error| match error {
                    mysql_async::Error::Server(refusal) => {
                        (refusal.code.to_string(), refusal.message)
                    }
                    other => (String::new(), other.to_string()),
                })?;
                Ok(conn.affected_rows())
            }
        }
    }

    pub async fn run(&mut self, statement: &str) -> u64 {
        match self.try_run(statement).await {
            Ok(count) => count,
            Err(refusal) => panic!("{statement}: {refusal:?}"),
        }
    }

    /// The first field of the first row.
    pub async fn value(&mut self, statement: &str) -> Option<String> {
        match self {
            Self::Postgres(client) => {
                let rows = client.simple_query(statement).await.unwrap();
                rows.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
            }
            Self::MariaDb(conn) => {
                let row: Option<Option<String>> = conn.query_first(statement).await.unwrap();
                row.flatten()
            }
        }
    }
}
