//! Asks agents for their reports.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::{
    broker::{
        report::{REPORT_PATH, Report},
        settings::AGENT_PORT,
    },
    core::observed::ReportView,
};

/// How long an agent may take to answer.
pub const REPORT_DEADLINE: Duration = Duration::from_secs(1);
/// No report is longer, in bytes.
const MAX_REPORT: usize = 64 * 1024;

/// Where reports come from: agents, or what a test puts in their place.
pub trait Reports: Send + Sync {
    /// The report of the agent at this address, asked for now.
    fn report(&self, address: IpAddr) -> impl Future<Output = ReportView> + Send;
}

/// Asks agents over HTTP.
#[derive(Clone, Debug)]
pub struct HttpReports {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl HttpReports {
    /// A client without kept connections: an agent that froze would hold one open.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(REPORT_DEADLINE));
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector),
        }
    }

    /// The report of the agent that listens there, asked for now. Has no deadline of its own.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn ask(&self, host: SocketAddr) -> Result<Report, String> {
        let uri =
            format!("http://{host}{REPORT_PATH}").parse().map_err(|error| format!("{error}"))?;
        let response =
            self.client.get(uri).await.map_err(|error| format!("agent at {host}: {error}"))?;
        let body = Limited::new(response.into_body(), MAX_REPORT).collect().await;
        let bytes = body.map_err(|error| format!("agent at {host}: {error}"))?.to_bytes();
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("agent at {host}: malformed report: {error}"))
    }
}

impl Default for HttpReports {
    fn default() -> Self {
        Self::new()
    }
}

impl Reports for HttpReports {
    async fn report(&self, address: IpAddr) -> ReportView {
        let host = SocketAddr::new(address, AGENT_PORT);
        match tokio::time::timeout(REPORT_DEADLINE, self.ask(host)).await {
            Ok(Ok(report)) => ReportView::Fresh(Box::new(report)),
            Ok(Err(why)) => ReportView::Silent(why),
            Err(_elapsed) => {
                ReportView::Silent(format!("agent at {address}: no answer within 1 s"))
            }
        }
    }
}
