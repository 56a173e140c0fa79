//! The agent's HTTP endpoints.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use crate::agent::view::View;
use crate::broker::report::REPORT_PATH;
use crate::telemetry::serve::{listen, routes, serve};

/// Serves until the agent ends.
pub async fn run(port: u16, view: Arc<View>) -> std::io::Result<()> {
    let report = Router::new()
        .route(REPORT_PATH, get(async |State(view): State<Arc<View>>| Json(view.report())))
        .with_state(Arc::clone(&view));
    serve(listen(port).await?, routes(view).merge(report), std::future::pending()).await
}
