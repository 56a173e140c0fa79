//! `/livez`, `/readyz` and `/metrics`, and whatever routes their user adds.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The content type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// So many connections are open at once.
const CONNECTIONS: usize = 32;
/// How long a request's head may take.
const HEADERS: Duration = Duration::from_secs(2);
/// How long a connection may last: its request's head, and as much again for the answer.
const LIFE: Duration = Duration::from_secs(4);
/// How long any connection has for its request before it makes room for others.
const GRACE: Duration = Duration::from_millis(50);
/// The pause after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a process says of itself. An error is a sentence for people.
pub trait Probes: Send + Sync + 'static {
    /// Whether the process turns; if not, Kubernetes restarts its container.
    fn live(&self) -> Result<(), String>;
    /// Whether it does what it is there for.
    fn ready(&self) -> Result<(), String>;
    /// Its metrics in the `OpenMetrics` text format.
    fn metrics(&self) -> Result<String, String>;
}

/// The three routes.
pub fn routes(probes: Arc<dyn Probes>) -> Router {
    Router::new()
        .route("/livez", get(async |State(probes): State<Arc<dyn Probes>>| verdict(probes.live())))
        .route(
            "/readyz",
            get(async |State(probes): State<Arc<dyn Probes>>| verdict(probes.ready())),
        )
        .route("/metrics", get(metrics))
        .with_state(probes)
}

fn verdict(verdict: Result<(), String>) -> (StatusCode, String) {
    match verdict {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(probes): State<Arc<dyn Probes>>) -> Response {
    match probes.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
    }
}

/// Listens on all addresses: of both families, or of IPv4 where the kernel has no IPv6.
pub async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves for ever, whoever connects: everybody who reaches the port may ask, so no one may keep others
/// from being answered, or use up memory and descriptors.
///
/// Each connection is good for one request and ends after [`LIFE`]. When [`CONNECTIONS`] are open, the oldest
/// one makes room for the next, but not before it had [`GRACE`] for its request: a request that is there at
/// once is answered, however many idle connections there are.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<(Instant, AbortHandle)> = VecDeque::new();
    loop {
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|(_, connection)| !connection.is_finished());
        if oldest_first.len() >= CONNECTIONS {
            make_room(&mut connections, &mut oldest_first).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connections.spawn(answer(stream, router.clone()));
                oldest_first.push_back((Instant::now(), connection));
            }
            // `EMFILE` and the like: nothing was accepted, and the next attempt would fail at once too.
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Waits until one connection has ended, or ends the oldest.
async fn make_room(
    connections: &mut JoinSet<()>,
    oldest_first: &mut VecDeque<(Instant, AbortHandle)>,
) {
    let Some((begun, _)) = oldest_first.front() else { return };
    tokio::select! {
        _ = connections.join_next() => {}
        () = sleep_until(*begun + GRACE) => {
            if let Some((_, oldest)) = oldest_first.pop_front() {
                oldest.abort();
            }
        }
    }
}

/// One request.
async fn answer(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever reads the answer too slowly, or not at all, goes without.
    drop(timeout(LIFE, connection).await);
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
