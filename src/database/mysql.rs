//! Sessions with MySQL and MariaDB.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, IoError, Opts, OptsBuilder, Row, SslOpts, Value};

use crate::broker::settings::{DatabaseServer, DatabaseTls};
use crate::database::problem::{Failure, Foreign};
use crate::database::session::{Fields, Login};
use crate::database::tls;

/// A session with MySQL or MariaDB.
#[derive(Debug)]
pub struct MySql {
    conn: Aside<Conn>,
}

impl MySql {
    /// Logs in at one of `addresses`.
    pub async fn open(
        addresses: Vec<IpAddr>,
        server: &DatabaseServer,
        login: &Login,
    ) -> Result<Self, Foreign> {
        // Otherwise a file that cannot be read looks like a server that cannot be reached.
        tls::config(&server.tls)?;
        let mut opening = Aside(Some(Conn::new(options(addresses, server, login))));
        let Some(open) = opening.0.as_mut() else {
            return Err(Failure::answer("no attempt").into());
        };
        let conn = open.await?;
        Ok(Self { conn: Aside(Some(conn)) })
    }

    /// The number of the session in the server's handshake.
    pub fn number_at_login(&self) -> Option<i64> {
        self.conn.0.as_ref().map(|conn| i64::from(conn.id()))
    }

    /// The rows that a statement gives, in the text protocol: one round trip.
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Fields>, Foreign> {
        let Some(conn) = self.conn.0.as_mut() else {
            return Err(Failure::Unreachable("the session is closed".to_owned()).into());
        };
        let rows: Vec<Row> = conn.query(statement).await?;
        Ok(rows.into_iter().map(fields).collect())
    }

    /// Says good-bye; a server counts and logs connections that break.
    pub async fn close(mut self) {
        if let Some(conn) = self.conn.0.take() {
            // Nothing depends on it.
            drop(conn.disconnect().await);
        }
    }
}

fn options(addresses: Vec<IpAddr>, server: &DatabaseServer, login: &Login) -> Opts {
    let tls = match &server.tls {
        DatabaseTls::Off => None,
        // The built-in authorities are not asked, but a verifier without any cannot be made.
        DatabaseTls::Encrypted => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
        DatabaseTls::Verified { ca } => Some(
            SslOpts::default()
                .with_root_certs(vec![std::path::PathBuf::from(ca).into()])
                .with_disable_built_in_roots(true),
        ),
    };
    OptsBuilder::default()
        .ip_or_hostname(&server.host)
        .resolved_ips(Some(addresses))
        .tcp_port(server.port)
        .user(Some(login.user.expose()))
        .pass(Some(login.password.expose()))
        .db_name(Some(&server.name))
        .ssl_opts(tls)
        .prefer_socket(false)
        .tcp_keepalive(Some(Duration::from_secs(1)))
        // Otherwise they are asked for at each connect.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .stmt_cache_size(0)
        .into()
}

fn fields(row: Row) -> Fields {
    row.unwrap()
        .into_iter()
        .map(|value| match value {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            // The text protocol has bytes only.
            other @ (Value::Int(_)
            | Value::UInt(_)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Date(..)
            | Value::Time(..)) => Some(other.as_sql(true)),
        })
        .collect()
}

/// Dropped on a thread of its own. Dropped inside of the runtime, a connection would first read the
/// rest of its answer in a task that nobody can end; a frozen server gives none, and one such task
/// would stay behind for every look. Without a runtime it just closes its socket.
#[derive(Debug)]
struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            let ended = thread::Builder::new().name("close".to_owned()).spawn(move || drop(inner));
            if let Err(error) = ended {
                tracing::debug!(%error, "no thread to close a connection");
            }
        }
    }
}

impl From<Error> for Foreign {
    fn from(error: Error) -> Self {
        Self::from(failure(error))
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Server(refusal) => {
            Failure::Server { code: refusal.code.to_string(), message: refusal.message }
        }
        Error::Io(IoError::Tls(error)) => Failure::Tls(error.to_string()),
        Error::Driver(error @ DriverError::NoClientSslFlagFromServer) => {
            Failure::Tls(error.to_string())
        }
        Error::Io(IoError::Io(error)) => {
            // What goes wrong in a handshake arrives as an error of the connection.
            let tls = matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>());
            if tls {
                Failure::Tls(error.to_string())
            } else {
                Failure::Unreachable(error.to_string())
            }
        }
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => {
            Failure::Unreachable(error.to_string())
        }
    }
}
