//! The agent's HTTP endpoints, on a thread of their own: whatever others ask, and however often, the loop that
//! watches the lock turns in time.

use std::io;
use std::sync::Arc;
use std::thread;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::agent::view::View;
use crate::broker::report::REPORT_PATH;
use crate::telemetry::serve::{listen, routes, serve};

/// A request needs little.
const STACK: usize = 256 << 10;

/// Serves until the agent ends; comes back only when that is not possible.
pub async fn run(port: u16, view: Arc<View>) -> io::Error {
    let report = Router::new()
        .route(REPORT_PATH, get(async |State(view): State<Arc<View>>| Json(view.report())))
        .with_state(Arc::clone(&view));
    match begin(port, routes(view).merge(report)).await {
        // The thread's end drops the other half.
        Ok(ended) => ended.await.unwrap_or_else(|_| io::Error::other("its thread has ended")),
        Err(error) => error,
    }
}

async fn begin(port: u16, router: Router) -> io::Result<oneshot::Receiver<io::Error>> {
    let listener = listen(port).await?.into_std()?;
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("http".to_owned()).stack_size(STACK).spawn(move || {
        let Err(error) = serve_here(listener, router);
        drop(end.send(error));
    })?;
    Ok(ended)
}

fn serve_here(
    listener: std::net::TcpListener,
    router: Router,
) -> Result<std::convert::Infallible, io::Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Ok(serve(TcpListener::from_std(listener)?, router).await) })
}
