//! The reads of a pass; nothing is concluded here.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, try_join_all};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{Node, Pod},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::Value;

use super::{claims, named};
use crate::{
    api::labels,
    core::{
        observed::{ClaimView, NodeView, Observed, PodView, ReportView},
        record::RecordView,
        validate::ValidCluster,
    },
    kube_ext::{Children, RequestError, request},
    reports::Reports,
    resources::{Kind, selector_text},
};

/// Selects cordoned nodes.
pub(super) const CORDONED: &str = "spec.unschedulable=true";

/// The taint by which somebody says that a node is certainly off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Everything a pass decides on, read now.
///
/// # Errors
/// When the API server does not answer: nothing is decided on half of the picture.
pub async fn observe<R: Reports>(
    client: &Client,
    reports: &R,
    cluster: &ValidCluster,
    disagreement_since: Option<Timestamp>,
) -> Result<Observed, RequestError> {
    let children = Children::new(client.clone(), &cluster.name.namespace);
    let mut live = live_children(&children, cluster).await?;
    let set = live.get(&(Kind::StatefulSet, cluster.name.main()));
    let set = set.and_then(|set| set.pointer("/metadata/uid")).and_then(Value::as_str);
    let pods = pods(client, reports, cluster, set).await?;
    let record_name = (Kind::EndpointSlice, cluster.name.main());
    let other_slices = children
        .list(Kind::EndpointSlice, &format!("{}={}", labels::SERVICE_NAME, cluster.name.main()))
        .await?
        .iter()
        .filter_map(|slice| slice.pointer("/metadata/name").and_then(Value::as_str))
        .filter(|name| {
            ![
                record_name.1.as_str(),
                &format!("{}-v4", record_name.1),
                &format!("{}-v6", record_name.1),
            ]
            .contains(name)
        })
        .map(str::to_owned)
        .collect();
    let set = live.get(&(Kind::StatefulSet, cluster.name.main()));
    let named = named::look(&children, cluster, set).await?;
    live.extend(named.seal.map(|seal| ((Kind::Secret, cluster.name.seal()), seal)));
    let templates = templates(client, cluster, &pods).await?;
    Ok(Observed {
        templates,
        cordoned: cordoned(client, cluster).await,
        idle_since: BTreeMap::new(),
        record: live.get(&record_name).map(RecordView::read),
        claim: claim(&children, cluster).await?,
        claim_holders: claims::holders(client, cluster).await?,
        secret_problems: named.problems,
        credentials: named.credentials,
        children: live,
        pods,
        other_slices,
        dispute: Vec::new(),
        disagreement_since,
    })
}

/// Objects that bear a child's name, and configurations of earlier specs.
async fn live_children(
    children: &Children,
    cluster: &ValidCluster,
) -> Result<BTreeMap<(Kind, String), Value>, RequestError> {
    let name = &cluster.name;
    let mut names = vec![
        (Kind::ServiceAccount, name.agent()),
        (Kind::Role, name.agent()),
        (Kind::RoleBinding, name.agent()),
        (Kind::Secret, name.admin()),
        (Kind::Service, name.main()),
        (Kind::Service, name.headless()),
        (Kind::EndpointSlice, name.main()),
        (Kind::EndpointSlice, format!("{}-v4", name.main())),
        (Kind::EndpointSlice, format!("{}-v6", name.main())),
        (Kind::PodDisruptionBudget, name.main()),
        (Kind::NetworkPolicy, name.main()),
        (Kind::StatefulSet, name.main()),
    ];
    if cluster.spec.storage.shared_volume.as_ref().is_some_and(|volume| volume.claim.is_some()) {
        names.push((Kind::PersistentVolumeClaim, name.store()));
    }
    let gets = names.into_iter().map(|(kind, name)| async move {
        let live = children.get(kind, &name).await?.map(named::without_content);
        Ok::<_, RequestError>(live.map(|live| ((kind, name), live)))
    });
    let mut live: BTreeMap<_, _> = try_join_all(gets).await?.into_iter().flatten().collect();
    let ours =
        format!("{}={},{}={}", labels::INSTANCE, name.name, labels::MANAGED_BY, labels::MANAGER);
    for object in children.list(Kind::ConfigMap, &ours).await? {
        if let Some(name) =
            object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned)
        {
            live.insert((Kind::ConfigMap, name), object);
        }
    }
    Ok(live)
}

async fn claim(children: &Children, cluster: &ValidCluster) -> Result<ClaimView, RequestError> {
    let Some(name) = cluster.store.claim() else { return Ok(ClaimView::Missing) };
    let Some(claim) = children.get(Kind::PersistentVolumeClaim, name).await? else {
        return Ok(ClaimView::Missing);
    };
    let modes = claim.pointer("/spec/accessModes").and_then(Value::as_array);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ends = claim.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string);
    let phase = claim.pointer("/status/phase").map(text).unwrap_or_default();
    Ok(ClaimView::Found {
        access_modes: modes.map(|list| list.iter().map(text).collect()).unwrap_or_default(),
        phase: if ends { "Terminating".to_owned() } else { phase },
    })
}

async fn pods<R: Reports>(
    client: &Client,
    reports: &R,
    cluster: &ValidCluster,
    set: Option<&str>,
) -> Result<Vec<PodView>, RequestError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &cluster.name.namespace);
    let ours = list(&api, cluster).await?;
    let views = ours.iter().map(async |(pod, maker)| {
        let mut view = view(reports, pod).await;
        if let (ReportView::Silent(_), Some(name)) = (&view.report, &view.node) {
            view.node_state = node(client, name).await;
        }
        PodView { terminating: view.terminating || Some(maker.as_str()) != set, ..view }
    });
    let mut views = join_all(views).await;
    views.sort_by_key(|pod| (cluster.name.ordinal(&pod.name), pod.name.clone()));
    Ok(views)
}

/// The group's pods, each with the uid of the StatefulSet that made it.
pub(super) async fn list(
    api: &Api<Pod>,
    cluster: &ValidCluster,
) -> Result<Vec<(Pod, String)>, RequestError> {
    let params = ListParams::default().labels(&selector_text(&cluster.name));
    let list = request("list pods".to_owned(), api.list(&params)).await?;
    let ours = list.items.into_iter().filter_map(|pod| {
        let maker = maker(cluster, &pod)?.to_owned();
        Some((pod, maker))
    });
    Ok(ours.collect())
}

/// The uid of the StatefulSet that made one of the group's pods; `None` for a pod that only borrowed
/// its labels. Pods of an earlier StatefulSet of the same name count until they end, because they may
/// hold the lock. They are on their way out: their maker is gone.
fn maker<'a>(cluster: &ValidCluster, pod: &'a Pod) -> Option<&'a str> {
    cluster.name.ordinal(&pod.name_any())?;
    pod.owner_references()
        .iter()
        .find(|owner| owner.kind == "StatefulSet" && owner.name == cluster.name.main())
        .map(|owner| owner.uid.as_str())
}

pub(super) async fn view<R: Reports>(reports: &R, pod: &Pod) -> PodView {
    let address = pod.status.as_ref().and_then(|status| status.pod_ips.as_ref()?.first());
    let report = match address.and_then(|address| address.ip.parse().ok()) {
        Some(address) => reports.report(address).await,
        None => ReportView::Silent("the pod has no address".to_owned()),
    };
    PodView::read(pod, report)
}

/// The templates that pods of another revision than the spec's were made from.
async fn templates(
    client: &Client,
    cluster: &ValidCluster,
    pods: &[PodView],
) -> Result<BTreeMap<String, Value>, RequestError> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &cluster.name.namespace);
    let outdated = pods.iter().filter(|pod| pod.revision != cluster.revision);
    let names: BTreeSet<String> =
        outdated.filter_map(|pod| pod.controller_revision.clone()).collect();
    let gets = names.into_iter().map(async |name| {
        let found = request(format!("get ControllerRevision {name}"), api.get_opt(&name)).await?;
        let template = found.and_then(|found| found.data?.0.pointer("/spec/template").cloned());
        Ok::<_, RequestError>(template.map(|template| (name, without_directive(template))))
    });
    Ok(try_join_all(gets).await?.into_iter().flatten().collect())
}

/// A `ControllerRevision` is a patch, which says of the template that it replaces what is there.
fn without_directive(mut template: Value) -> Value {
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    template
}

/// Cordoned nodes, if that matters. What cannot be read makes none: a drain goes on without a switchover
/// then.
async fn cordoned(client: &Client, cluster: &ValidCluster) -> BTreeSet<String> {
    let spec = &cluster.spec;
    if !spec.update.switchover_on_cordon || spec.replicas < 2 || spec.hibernated {
        return BTreeSet::new();
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let params = ListParams::default().fields(CORDONED);
    match request("list cordoned nodes".to_owned(), nodes.list_metadata(&params)).await {
        Ok(list) => list.items.iter().map(ResourceExt::name_any).collect(),
        Err(error) => {
            tracing::debug!(%error, "cordoned nodes are not known");
            BTreeSet::new()
        }
    }
}

/// The node of a pod that does not answer. What cannot be read is unknown, and nothing comes of it.
async fn node(client: &Client, name: &str) -> NodeView {
    let nodes: Api<Node> = Api::all(client.clone());
    match request(format!("get node {name}"), nodes.get_opt(name)).await {
        Ok(Some(node)) => node_view(&node),
        Ok(None) => NodeView::Gone,
        Err(error) => {
            tracing::debug!(%error, "a node is not known");
            NodeView::Unknown
        }
    }
}

fn node_view(node: &Node) -> NodeView {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    if taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE) {
        return NodeView::OutOfService;
    }
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    match conditions.into_iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status == "True" => NodeView::Ready,
        Some(ready) => ready
            .last_transition_time
            .as_ref()
            .map_or(NodeView::Unknown, |since| NodeView::NotReady { since: since.0 }),
        None => NodeView::Unknown,
    }
}
