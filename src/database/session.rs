//! One session with a server of either kind: runs a statement, gives its rows as text.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::broker::settings::{DatabaseKind, DatabaseServer, LeaseSettings};
use crate::database::mysql::MySql;
use crate::database::postgres::Postgres;
use crate::database::problem::{Failure, Foreign};
use crate::database::sql::Sql;
use crate::host_names;
use crate::secret::Secret;

/// The fields of a row, each in the server's text form.
pub type Fields = Vec<Option<String>>;

/// An open session.
#[derive(Debug)]
pub struct Session {
    link: Link,
    /// With what it began: what the server says is told only without it.
    login: Login,
}

#[derive(Debug)]
enum Link {
    Postgres(Postgres),
    MySql(MySql),
}

/// Who logs in.
#[derive(Debug)]
pub struct Login {
    /// User name.
    pub user: Secret,
    /// Password.
    pub password: Secret,
}

impl Session {
    /// Opens one with the credentials of this moment. The server gives up a statement after
    /// `patience`.
    pub async fn open(settings: &LeaseSettings, patience: Duration) -> Result<Self, Failure> {
        let login = Login {
            user: read(&settings.access.username).await?,
            password: read(&settings.access.password).await?,
        };
        let addresses =
            host_names::addresses(&settings.server.host).await.map_err(Failure::Unreachable)?;
        match settings.server.kind {
            DatabaseKind::PostgreSQL => {
                let mut session =
                    Self::postgres(&addresses, &settings.server, login, patience).await?;
                if let Some(schema) = &settings.schema {
                    session.run(&Sql::search_path(schema)).await?;
                }
                Ok(session)
            }
            DatabaseKind::MySQL | DatabaseKind::MariaDB => {
                Self::mysql(addresses, &settings.server, login, patience).await
            }
        }
    }

    async fn postgres(
        addresses: &[IpAddr],
        server: &DatabaseServer,
        login: Login,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let stream = dial(addresses, server.port).await?;
        let opened = Postgres::open(stream, server, &login).await;
        let link = Link::Postgres(opened.map_err(|foreign| foreign.without(&login))?);
        let mut session = Self { link, login };
        let millis = patience.as_millis();
        let deadlines = format!(
            "SET statement_timeout={millis}; SET lock_timeout={millis}; \
             SET client_min_messages=warning"
        );
        session.run(&deadlines).await?;
        Ok(session)
    }

    async fn mysql(
        addresses: Vec<IpAddr>,
        server: &DatabaseServer,
        login: Login,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let opened = MySql::open(addresses, server, &login).await;
        let link = Link::MySql(opened.map_err(|foreign| foreign.without(&login))?);
        let mut session = Self { link, login };
        // Whole seconds. The first is for row locks, the second for those of tables: a day by default.
        let seconds = patience.as_secs().max(1);
        session.run(&format!("SET innodb_lock_wait_timeout={seconds}")).await?;
        session.run(&format!("SET lock_wait_timeout={seconds}")).await?;
        // NO_BACKSLASH_ESCAPES, ANSI_QUOTES and others would change what our words mean.
        session.run("SET sql_mode='STRICT_TRANS_TABLES'").await?;
        Ok(session)
    }

    /// The rows that a statement gives.
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Fields>, Failure> {
        let rows: Result<_, Foreign> = match &mut self.link {
            Link::Postgres(session) => session.rows(statement).await,
            Link::MySql(session) => session.rows(statement).await,
        };
        rows.map_err(|foreign| foreign.without(&self.login))
    }

    /// Runs a statement whose rows, if any, are of no interest.
    pub async fn run(&mut self, statement: &str) -> Result<(), Failure> {
        self.rows(statement).await.map(drop)
    }

    /// The first field of the first row.
    pub async fn value(&mut self, statement: &str) -> Result<Option<String>, Failure> {
        let first = self.rows(statement).await?.into_iter().next();
        Ok(first.and_then(|fields| text(&fields, 0)))
    }

    /// Says good-bye, so that the server logs no broken connection.
    pub async fn close(self) {
        match self.link {
            Link::Postgres(session) => session.close().await,
            Link::MySql(session) => session.close().await,
        }
    }
}

/// A field's text.
pub fn text(fields: &Fields, index: usize) -> Option<String> {
    fields.get(index).cloned().flatten()
}

/// A field's number.
pub fn number(fields: &Fields, index: usize) -> Result<i64, Failure> {
    let text = text(fields, index);
    let number = text.as_deref().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::answer(format!("not a number: {text:?}")))
}

/// A Secret's file.
async fn read(path: &str) -> Result<Secret, Failure> {
    let bytes = tokio::fs::read(path).await;
    let bytes =
        bytes.map_err(|error| Failure::Credentials(format!("cannot read {path}: {error}")))?;
    Secret::of_file(bytes).ok_or_else(|| Failure::Credentials(format!("{path} is not UTF-8")))
}

/// A connection to the first address that takes one.
async fn dial(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
    let stream = TcpStream::connect(addresses.as_slice()).await;
    let stream = stream.map_err(|error| Failure::Unreachable(error.to_string()))?;
    stream.set_nodelay(true).map_err(|error| Failure::Unreachable(error.to_string()))?;
    Ok(stream)
}
