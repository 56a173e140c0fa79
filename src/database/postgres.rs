//! Sessions with PostgreSQL over a connection of our own.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

use crate::broker::settings::DatabaseServer;
use crate::database::problem::{Failure, Foreign};
use crate::database::session::{Fields, Login};
use crate::database::sql::AGENT;
use crate::database::tls;

/// A session with PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    client: Option<Client>,
    /// Reads and writes the connection; ends with the session, whatever the server still does.
    traffic: JoinHandle<()>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.traffic.abort();
    }
}

impl Postgres {
    /// Logs in over `stream`.
    pub async fn open(
        stream: TcpStream,
        server: &DatabaseServer,
        login: &Login,
    ) -> Result<Self, Foreign> {
        let mut config = Config::new();
        config
            .user(login.user.expose())
            .password(login.password.expose())
            .dbname(&server.name)
            .application_name(AGENT);
        let Some(tls) = tls::config(&server.tls)? else {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect_raw(stream, NoTls).await?;
            return Ok(Self::driven(client, connection));
        };
        config.ssl_mode(SslMode::Require);
        let name = ServerName::try_from(server.host.clone())
            .map_err(|error| Failure::Tls(format!("host {}: {error}", server.host)))?;
        let (client, connection) = config.connect_raw(stream, Handshake { tls, name }).await?;
        Ok(Self::driven(client, connection))
    }

    fn driven<C, E>(client: Client, connection: C) -> Self
    where
        C: Future<Output = Result<(), E>> + Send + 'static,
        E: Send,
    {
        // What breaks a connection is told to the statements that wait for it.
        let traffic = tokio::spawn(async { drop(connection.await) });
        Self { client: Some(client), traffic }
    }

    /// The number of the session in the server's `BackendKeyData`. The library keeps it to itself, and
    /// writes it into a request to cancel a query: one that goes nowhere tells it.
    pub async fn number_at_login(&self) -> Option<i64> {
        let (request, mut read) = duplex(64);
        let cancel = self.client.as_ref()?.cancel_token();
        let heard = async {
            // The request's length and code; before it perhaps the question for TLS, of 8 bytes.
            let mut head = [0; 8];
            read.read_exact(&mut head).await?;
            if head.starts_with(&8_i32.to_be_bytes()) {
                read.write_all(b"S").await?;
                read.read_exact(&mut head).await?;
            }
            read.read_i32().await
        };
        let (_, number) = tokio::join!(cancel.cancel_query_raw(request, Nowhere), heard);
        number.ok().map(i64::from)
    }

    /// The rows that a statement gives. One round trip: the simple protocol prepares nothing.
    pub async fn rows(&self, statement: &str) -> Result<Vec<Fields>, Foreign> {
        let Some(client) = &self.client else {
            return Err(Failure::Unreachable("the session is closed".to_owned()).into());
        };
        let answer = client.simple_query(statement).await?;
        let mut rows = Vec::new();
        for message in answer {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|field| row.get(field).map(str::to_owned)).collect());
            }
        }
        Ok(rows)
    }

    /// Says good-bye.
    pub async fn close(mut self) {
        // Without its client a connection ends by itself.
        self.client = None;
        drop((&mut self.traffic).await);
    }
}

impl From<tokio_postgres::Error> for Foreign {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            let (code, message) = (refusal.code().code(), refusal.message());
            return Failure::Server { code: code.to_owned(), message: message.to_owned() }.into();
        }
        let chain = chain(&error);
        let tls = chain.contains("TLS");
        if tls { Failure::Tls(chain).into() } else { Failure::Unreachable(chain).into() }
    }
}

/// An error and what it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}

struct Handshake {
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnect<TcpStream> for Handshake {
    type Stream = Secured<Encrypted<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        let handshake = TlsConnector::from(self.tls).connect(self.name, stream);
        Box::pin(async { handshake.await.map(Secured) })
    }
}

/// The other end of a request that goes nowhere.
struct Nowhere;

impl TlsConnect<DuplexStream> for Nowhere {
    type Stream = Secured<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Stream>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(Secured(stream)))
    }
}

/// A connection that the library takes for an encrypted one.
struct Secured<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secured<S> {
    /// None: the authority's signature proves the server, or whoever answers is believed anyway.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
