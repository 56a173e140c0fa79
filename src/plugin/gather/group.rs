//! What belongs to a group: its record, its pods, and what the agents say.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, LogParams},
    core::GroupVersionKind,
};
use std::time::Duration;

use super::{Ask, Refused, Session};
use crate::{
    api::names::ClusterName,
    broker::{
        report::{REPORT_PATH, Report},
        settings::AGENT_PORT,
    },
    core::{
        observed::{Observed, PodView, ReportView},
        record::RecordView,
    },
    resources::{Kind, pod::BROKER, selector_text},
};

/// An agent answers at once, or its pod cannot be reached.
const REPORT_DEADLINE: Duration = Duration::from_secs(5);

/// The promotion record as far as it could be read.
#[derive(Clone, Debug)]
pub enum Record {
    /// There it is.
    Read(Box<RecordView>),
    /// There is none.
    None,
    /// Why it could not be read.
    Unread(String),
}

/// Reads the promotion record.
pub async fn record(session: &Session, name: &ClusterName) -> Record {
    let api = objects(&session.client, Kind::EndpointSlice, &name.namespace);
    let ask = Ask::one("get", "endpointslices.discovery.k8s.io", &name.namespace, &name.main());
    match ask.send(api.get_opt(&name.main())).await {
        Ok(Some(slice)) => match serde_json::to_value(slice) {
            Ok(slice) => Record::Read(Box::new(RecordView::read(&slice))),
            Err(error) => Record::Unread(error.to_string()),
        },
        Ok(None) => Record::None,
        Err(refused) => Record::Unread(refused.to_string()),
    }
}

/// Children of a kind, as plain JSON.
pub fn objects(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let (group, version, plural) = kind.resource();
    let gvk = GroupVersionKind::gvk(group, version, &format!("{kind:?}"));
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// The group's pods, in the order of their names.
///
/// # Errors
/// Why they cannot be listed.
pub async fn pods(session: &Session, name: &ClusterName) -> Result<Vec<Pod>, Refused> {
    let api: Api<Pod> = Api::namespaced(session.client.clone(), &name.namespace);
    let params = ListParams::default().labels(&selector_text(name));
    let list = Ask::all("list", "pods", &name.namespace).send(api.list(&params)).await?;
    let mut pods = list.items;
    pods.retain(|pod| name.ordinal(&pod.name_any()).is_some());
    pods.sort_by_key(|pod| name.ordinal(&pod.name_any()));
    Ok(pods)
}

/// What all agents say, asked at the same time.
pub async fn reports(session: &Session, pods: &[Pod]) -> Vec<Result<Report, Unheard>> {
    join_all(pods.iter().map(|pod| report(session, pod))).await
}

/// Why there is no report of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// In words.
    pub why: String,
    /// Whether the user lacks the right to ask.
    pub forbidden: bool,
}

async fn report(session: &Session, pod: &Pod) -> Result<Report, Unheard> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut ask = Ask::one("get", "pods/proxy", &namespace, &pod.name_any());
    ask.deadline = REPORT_DEADLINE;
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods/{}:{AGENT_PORT}/proxy{REPORT_PATH}",
        pod.name_any()
    );
    let unheard = |why: String| Unheard { why, forbidden: false };
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| unheard(error.to_string()))?;
    match ask.send(session.client.request_text(request)).await {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| unheard(format!("its agent's report cannot be read: {error}"))),
        Err(refused) => Err(Unheard { forbidden: refused.is_forbidden(), why: silence(&refused) }),
    }
}

/// A failed proxy says nothing of the agent: the API server may not reach it.
fn silence(refused: &Refused) -> String {
    match refused.source.status() {
        Some(status) if refused.is_forbidden() => format!("not asked: {}", status.message),
        Some(status) => format!("the API server gets no answer from its agent: {}", status.message),
        None => format!("no answer through the API server: {refused}"),
    }
}

/// A log as one text.
///
/// # Errors
/// Why it cannot be read.
pub async fn log(session: &Session, pod: &Pod, params: &LogParams) -> Result<String, Refused> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let api: Api<Pod> = Api::namespaced(session.client.clone(), &namespace);
    Ask::one("get", "pods/log", &namespace, &name).send(api.logs(&name, params)).await
}

/// How often the broker's container was started again.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let mut statuses = statuses.into_iter().flatten();
    statuses.find(|status| status.name == BROKER).map_or(0, |status| status.restart_count)
}

/// Everything that a judgement of the lock rests on.
pub fn observed(pods: &[Pod], reports: &[Result<Report, Unheard>], record: &Record) -> Observed {
    let views = pods.iter().zip(reports).map(|(pod, report)| {
        let report = match report {
            Ok(report) => ReportView::Fresh(Box::new(report.clone())),
            Err(unheard) => ReportView::Silent(unheard.why.clone()),
        };
        PodView::read(pod, report)
    });
    let record = match record {
        Record::Read(record) => Some(record.as_ref().clone()),
        Record::None | Record::Unread(_) => None,
    };
    Observed { pods: views.collect(), record, ..Observed::default() }
}
