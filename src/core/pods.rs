//! Pods as the API server has them, with what their agents said, to plain values.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::observed::{ContainerView, NodeView, PodView, ReportView};
use crate::{api::labels, resources::pod};

/// Waiting reasons that do not go away by waiting.
const STUCK: [&str; 9] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
    "ImageInspectError",
];

impl PodView {
    /// One pod. Nothing is known of its node yet.
    pub fn read(pod: &Pod, report: ReportView) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let ips = pod.status.as_ref().and_then(|status| status.pod_ips.clone()).unwrap_or_default();
        // The kubelet's word comes late, or not at all from a node that was cut off: who answers, runs.
        let answers = matches!(&report, ReportView::Fresh(report) if Some(&report.pod_uid) == pod.metadata.uid.as_ref());
        let container = if answers { ContainerView::Running } else { container(pod) };
        let mounted = spec.volumes.iter().flatten().find(|volume| volume.name == "config");
        Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            revision: pod.annotations().get(labels::TEMPLATE_HASH).cloned().unwrap_or_default(),
            node: spec.node_name,
            terminating: pod.metadata.deletion_timestamp.is_some(),
            role_label: pod.labels().get(labels::ROLE).cloned(),
            controller_revision: pod.labels().get("controller-revision-hash").cloned(),
            agent_image: spec
                .init_containers
                .iter()
                .flatten()
                .find(|container| container.name == pod::INSTALL)
                .and_then(|container| container.image.clone()),
            ports_annotation: pod.annotations().get(pod::PORTS_ANNOTATION).cloned(),
            config_map: mounted
                .and_then(|volume| volume.config_map.as_ref())
                .map(|source| source.name.clone()),
            addresses: ips.into_iter().map(|ip| ip.ip).collect(),
            container,
            report,
            node_state: NodeView::Unknown,
        }
    }
}

fn container(pod: &Pod) -> ContainerView {
    let status = pod.status.as_ref();
    let of = |statuses: Option<&Vec<ContainerStatus>>| statuses.cloned().unwrap_or_default();
    let containers = of(status.and_then(|status| status.container_statuses.as_ref()));
    let broker = containers.iter().find(|container| container.name == pod::BROKER);
    let state = broker.and_then(|container| container.state.clone()).unwrap_or_default();
    if state.running.is_some() {
        return ContainerView::Running;
    }
    let init = of(status.and_then(|status| status.init_container_statuses.as_ref()));
    let waiting = init
        .iter()
        .chain(&containers)
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .find(|waiting| waiting.reason.as_deref() != Some("PodInitializing"));
    if let Some(waiting) = waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        let message = waiting.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        return ContainerView::NotRunning {
            stuck: STUCK.contains(&reason.as_str()),
            why: format!("{reason}{message}"),
        };
    }
    if let Some(ended) = state.terminated {
        let reason = ended.reason.unwrap_or_default();
        return ContainerView::NotRunning {
            why: format!("its container ended: {reason} ({})", ended.exit_code),
            stuck: false,
        };
    }
    let conditions = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
    let unscheduled = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let why = unscheduled.map_or_else(
        || "its container is being started".to_owned(),
        |condition| {
            format!("it cannot be scheduled: {}", condition.message.clone().unwrap_or_default())
        },
    );
    ContainerView::NotRunning { why, stuck: false }
}
