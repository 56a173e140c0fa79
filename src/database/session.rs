//! One session with a server of either kind: runs a statement, gives its rows as text.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::broker::settings::{DatabaseKind, LeaseSettings};
use crate::database::postgres::Postgres;
use crate::database::problem::Failure;
use crate::database::resolve;

/// The fields of a row, each in the server's text form.
pub type Fields = Vec<Option<String>>;

/// An open session.
#[derive(Debug)]
pub enum Session {
    /// With PostgreSQL.
    Postgres(Postgres),
}

/// Who logs in.
pub struct Login {
    /// User name.
    pub user: String,
    /// Password. Never shown.
    pub password: String,
}

impl Session {
    /// Opens one with the credentials of this moment; a statement may wait `patience` for locks.
    pub async fn open(settings: &LeaseSettings, patience: Duration) -> Result<Self, Failure> {
        let login = login(settings).await?;
        let addresses = resolve::addresses(&settings.server.host).await?;
        let mut session = match settings.server.kind {
            DatabaseKind::PostgreSQL | DatabaseKind::MySQL | DatabaseKind::MariaDB => {
                let stream = dial(&addresses, settings.server.port).await?;
                Self::Postgres(Postgres::open(stream, &settings.server, login).await?)
            }
        };
        session.set_up(patience).await?;
        Ok(session)
    }

    /// The server's own deadlines, so that it does not go on with what nobody waits for.
    async fn set_up(&mut self, patience: Duration) -> Result<(), Failure> {
        let millis = patience.as_millis();
        match self {
            Self::Postgres(_) => {
                let text = format!(
                    "SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
                     SET client_min_messages = warning"
                );
                self.run(&text).await
            }
        }
    }

    /// The rows that a statement gives.
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Fields>, Failure> {
        match self {
            Self::Postgres(session) => session.rows(statement).await,
        }
    }

    /// Runs a statement whose rows, if any, are of no interest.
    pub async fn run(&mut self, statement: &str) -> Result<(), Failure> {
        self.rows(statement).await.map(drop)
    }
}

async fn login(settings: &LeaseSettings) -> Result<Login, Failure> {
    let user = read(&settings.access.username).await?;
    let password = read(&settings.access.password).await?;
    Ok(Login { user, password })
}

/// A Secret's file, without the newline that editors and `echo` leave.
async fn read(path: &str) -> Result<String, Failure> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(Failure::Credentials(format!("cannot read {path}: {error}"))),
    }
}

/// A connection to the first address that takes one.
async fn dial(addresses: &[std::net::IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
    let stream = TcpStream::connect(addresses.as_slice()).await;
    let stream = stream.map_err(|error| Failure::Unreachable(error.to_string()))?;
    stream.set_nodelay(true).map_err(|error| Failure::Unreachable(error.to_string()))?;
    Ok(stream)
}
