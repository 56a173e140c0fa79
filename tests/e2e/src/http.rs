//! A small JSON client for programs in pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

/// One request, answered with JSON.
///
/// # Errors
/// When there is no such answer in time.
pub async fn json(method: Method, url: &str, limit: Duration) -> Result<Value> {
    serde_json::from_slice(&body(method, url, limit).await?)
        .with_context(|| format!("{url}: not JSON"))
}

/// One request, answered with a text.
///
/// # Errors
/// When there is no such answer in time.
pub async fn text(method: Method, url: &str, limit: Duration) -> Result<String> {
    String::from_utf8(body(method, url, limit).await?.to_vec())
        .with_context(|| format!("{url}: no text"))
}

async fn body(method: Method, url: &str, limit: Duration) -> Result<Bytes> {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let request = Request::builder().method(method).uri(url).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, anyhow::Error>((status, body))
    };
    let (status, body) = tokio::time::timeout(limit, exchange)
        .await
        .with_context(|| format!("{url}: no answer in time"))?
        .context(url.to_owned())?;
    ensure!(status.is_success(), "{url}: {status}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}
