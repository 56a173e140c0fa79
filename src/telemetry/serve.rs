//! `/livez`, `/readyz` and `/metrics`, and whatever routes their user adds.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// The content type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// Serves until `stop` completes, then lets requests under way finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
