//! A group's pods: what they say, and what can be done to them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use nix::sys::signal::Signal;
use tandem::broker::{report::Report, settings::AGENT_PORT};
use testbed::PodProcess;

use crate::{
    Group,
    group::{LIMIT, now_millis},
    http, wait,
};

impl Group<'_> {
    /// The other pod of a pair.
    pub fn other(&self, pod: &str) -> String {
        let ordinal = if pod.ends_with("-0") { 1 } else { 0 };
        format!("{}-{ordinal}", self.name)
    }

    /// What a pod's agent says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn report(&self, pod: &str) -> Result<Report> {
        let ip = self
            .pods()
            .get(pod)
            .await?
            .status
            .and_then(|status| status.pod_ip)
            .context("no address")?;
        let url = format!("http://{ip}:{AGENT_PORT}/v1/report");
        Ok(serde_json::from_value(
            http::json(hyper::Method::GET, &url, Duration::from_secs(2)).await?,
        )?)
    }

    /// All processes of a pod's containers, the agent before what it started.
    ///
    /// # Errors
    /// When there are none.
    pub async fn processes(&self, pod: &str) -> Result<Vec<PodProcess>> {
        let uid = self.pods().get(pod).await?.uid().context("a pod without uid")?;
        let mut all = self.lab.bed.processes_of_pod(&uid)?;
        all.retain(|process| process.name != "pause");
        // A node has a process namespace of its own, but ids still rise with time.
        all.sort_by_key(|process| process.process.pid());
        ensure!(!all.is_empty(), "{pod} has no processes");
        Ok(all)
    }

    /// The number of the node that a pod runs on.
    ///
    /// # Errors
    /// When it runs on none.
    pub async fn node_of(&self, pod: &str) -> Result<u8> {
        let spec = self.pods().get(pod).await?.spec.context("a pod without spec")?;
        let name = spec.node_name.context("a pod without node")?;
        name.trim_start_matches('n').parse().with_context(|| format!("node {name}"))
    }

    /// Why a pod's last broker ended.
    ///
    /// # Errors
    /// When its agent does not answer.
    pub async fn last_exit(&self, pod: &str) -> Result<String> {
        let exit = self.report(pod).await?.last_exit;
        Ok(exit.map(|exit| format!("{:?}", exit.reason)).unwrap_or_default())
    }

    /// When a master first greeted and when the record led to it, in milliseconds after a moment.
    ///
    /// # Errors
    /// When its agent does not tell in time.
    pub async fn promoted(&self, pod: &str, since: i64) -> Result<String> {
        wait::until(&format!("{pod} tells its promotion"), LIMIT, async || {
            let promotion = self.report(pod).await?.promotion.context("no promotion")?;
            let greeted = promotion.greeted.as_millisecond() - since;
            let recorded = promotion.recorded.map(|at| at.as_millisecond() - since);
            Ok(recorded
                .map(|recorded| format!("greeting {greeted} ms, record {recorded} ms"))
                .ok_or_else(|| "the record is not written".to_owned()))
        })
        .await
    }

    /// How often containers of the group's pods were restarted.
    ///
    /// # Errors
    /// The API server's.
    pub async fn restarts(&self) -> Result<i32> {
        let labels =
            format!("app.kubernetes.io/component=broker,app.kubernetes.io/instance={}", self.name);
        let brokers = ListParams::default().labels(&labels);
        let statuses = self.pods().list(&brokers).await?.items.into_iter().filter_map(|pod| {
            let containers = pod.status?.container_statuses?;
            Some(containers.iter().map(|status| status.restart_count).sum::<i32>())
        });
        Ok(statuses.sum())
    }

    /// A process of a pod, by the program's name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn process(&self, pod: &str, program: &str) -> Result<PodProcess> {
        let uid = self.pods().get(pod).await?.uid().context("a pod without uid")?;
        let all = self.lab.bed.processes_of_pod(&uid)?;
        // The agent's helper has the agent's name: the agent is the one that others are children of.
        let matching: Vec<_> = all.iter().filter(|process| process.name == program).collect();
        let first = matching
            .iter()
            .find(|process| !matching.iter().any(|other| other.process.pid() == process.parent));
        first.map(|process| (**process).clone()).with_context(|| {
            format!(
                "no {program} in {pod}: {:?}",
                all.iter().map(|process| &process.name).collect::<Vec<_>>()
            )
        })
    }

    /// Signals the JVM of a pod and returns the moment, in epoch milliseconds.
    ///
    /// # Errors
    /// When there is no JVM.
    pub async fn signal_broker(&self, pod: &str, signal: Signal) -> Result<i64> {
        let broker = self.process(pod, "java").await?;
        let at = now_millis();
        broker.signal(signal)?;
        Ok(at)
    }

    /// Deletes a pod and returns the moment, in epoch milliseconds.
    ///
    /// # Errors
    /// The API server's.
    pub async fn delete_pod(&self, pod: &str, grace: Option<u32>) -> Result<i64> {
        let at = now_millis();
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        self.pods().delete(pod, &params).await?;
        Ok(at)
    }
}
