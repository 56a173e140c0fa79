//! One session with a server of either kind: runs a statement, gives its rows as text.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::broker::settings::{DatabaseKind, LeaseSettings};
use crate::database::mysql::MySql;
use crate::database::pooler::{self, Way};
use crate::database::postgres::Postgres;
use crate::database::problem::{Failure, Foreign};
use crate::database::sql::Dialect;
use crate::database::{CONNECT, history, sql, within};
use crate::host_names;
use crate::secret::Secret;

/// How long it may take to find out what somebody between us and the server does.
const EXAMINE: Duration = Duration::from_secs(2);

/// The fields of a row, each in the server's text form.
pub type Fields = Vec<Option<String>>;

/// An open session, with the deadlines and the path that its statements need.
#[derive(Debug)]
pub struct Session {
    server: Server,
    /// Why it is not certain that it is one session of the server's, if it is not.
    doubt: Option<String>,
    history: History,
}

/// The expression that gives the server's history.
#[derive(Debug)]
enum History {
    /// Not asked for yet.
    NotAsked,
    /// The user may not ask for it.
    Unseen,
    /// It.
    Expression(String),
}

/// A login at a server, before anything is set.
#[derive(Debug)]
pub struct Server {
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
    /// `patience`. Nothing is set in a session that a pooler shares.
    pub async fn open(settings: &LeaseSettings, patience: Duration) -> Result<Self, Failure> {
        let set = sql::settings(settings, patience);
        let begun = async {
            let mut server = Server::log_in(settings).await?;
            let own = server.set_if_own(&set).await?;
            Ok((server, own))
        };
        let (mut server, own) = within(CONNECT, begun).await?;
        if own {
            return Ok(Self { server, doubt: None, history: History::NotAsked });
        }
        let look = pooler::examine(&mut server, Server::log_in(settings));
        let way = timeout(EXAMINE, look).await;
        let doubt = match way.unwrap_or_else(|_| Way::Unknown(Failure::Late(EXAMINE).words())) {
            Way::Own => None,
            Way::Shared(why) => return Err(Failure::Pooler(why)),
            Way::Unknown(why) => Some(why),
        };
        if doubt.is_some() {
            // A statement may still wait for its answer there.
            server = within(CONNECT, Server::log_in(settings)).await?;
        }
        within(CONNECT, server.rows(&set)).await?;
        Ok(Self { server, doubt, history: History::NotAsked })
    }

    /// Why it is not certain that it is one session of the server's, if it is not.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The expression that gives the server's history, if it can be seen.
    pub async fn history(&mut self, dialect: Dialect) -> Result<Option<String>, Failure> {
        match &self.history {
            History::Expression(expression) => Ok(Some(expression.clone())),
            History::Unseen => Ok(None),
            History::NotAsked => {
                let found = history::current(self, dialect).await?;
                self.history = found.clone().map_or(History::Unseen, History::Expression);
                Ok(found)
            }
        }
    }

    /// The rows that a statement gives.
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Fields>, Failure> {
        self.server.rows(statement).await
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
        self.server.close().await;
    }
}

impl Server {
    async fn log_in(settings: &LeaseSettings) -> Result<Self, Failure> {
        let login = Login {
            user: read(&settings.access.username).await?,
            password: read(&settings.access.password).await?,
        };
        let server = &settings.server;
        let addresses = host_names::addresses(&server.host).await.map_err(Failure::Unreachable)?;
        let link: Result<_, Foreign> = match server.kind {
            DatabaseKind::PostgreSQL => {
                let stream = dial(&addresses, server.port).await?;
                Postgres::open(stream, server, &login).await.map(Link::Postgres)
            }
            DatabaseKind::MySQL | DatabaseKind::MariaDB => {
                MySql::open(addresses, server, &login).await.map(Link::MySql)
            }
        };
        let link = link.map_err(|foreign| foreign.without(&login))?;
        Ok(Self { link, login })
    }

    /// Sets what a session needs, provided that it is the server's own: that the number that was told at
    /// login is the session's. Gives whether it is.
    async fn set_if_own(&mut self, set: &str) -> Result<bool, Failure> {
        match &self.link {
            Link::Postgres(session) => {
                let Some(told) = session.number_at_login().await else { return Ok(false) };
                // In one statement: it lands in one session, whoever is in between.
                let rows = self.rows(&sql::set_in(set, told)).await?;
                Ok(rows.first().is_some_and(|row| text(row, 0).is_some()))
            }
            Link::MySql(session) => {
                let told = session.number_at_login();
                // The handshake has room for its lower half.
                let own = self.number().await? & i64::from(u32::MAX) == told.unwrap_or(-1);
                if own {
                    self.rows(set).await?;
                }
                Ok(own)
            }
        }
    }

    /// The number of the server's session in which this statement landed.
    pub async fn number(&mut self) -> Result<i64, Failure> {
        let statement = match &self.link {
            Link::Postgres(_) => "SELECT pg_backend_pid()",
            // ProxySQL answers the plain function itself, with a number of its own.
            Link::MySql(_) => "SELECT CONNECTION_ID()+0",
        };
        let rows = self.rows(statement).await?;
        number(rows.first().ok_or_else(|| Failure::answer("no number of a session"))?, 0)
    }

    /// The rows that a statement gives.
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Fields>, Failure> {
        let rows: Result<_, Foreign> = match &mut self.link {
            Link::Postgres(session) => session.rows(statement).await,
            Link::MySql(session) => session.rows(statement).await,
        };
        rows.map_err(|foreign| foreign.without(&self.login))
    }

    /// Says good-bye.
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
