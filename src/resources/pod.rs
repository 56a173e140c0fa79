//! The pod template: an init container brings the agent, the agent runs the unmodified broker.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar,
        EnvVarSource, HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaimVolumeSource,
        PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Toleration,
        TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString,
    },
};

use super::{Settings, config_map, database, meta};
use crate::{
    api::{
        labels,
        v1alpha1::{QuantityValue, Resources, mebibytes},
    },
    broker::{classic::paths, settings::AGENT_PORT},
    core::{sizing, validate::ValidCluster},
};

/// User, group and fsGroup of a broker: the official image's user has no fixed number.
pub const BROKER_UID: i64 = 61616;
/// Name of the broker's container.
pub const BROKER: &str = "broker";
/// Name of the init container that brings the agent.
pub const INSTALL: &str = "install-agent";
/// Annotation of a pod: the record's ports that fit the pod's configuration, as JSON.
pub const PORTS_ANNOTATION: &str = "tandem-operator.io/ports";

const DEFAULT_GRACE: i64 = 60;

/// Seconds between SIGTERM and SIGKILL of a pod.
pub fn grace(cluster: &ValidCluster) -> i64 {
    cluster.spec.pod.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE)
}

/// The template of the group's pods.
pub fn template(cluster: &ValidCluster, settings: &Settings) -> PodTemplateSpec {
    let pod = &cluster.spec.pod;
    let mut labels = pod.labels.clone();
    labels.extend(meta::labels(&cluster.name, "broker"));
    let mut annotations = pod.annotations.clone();
    annotations.extend(own_annotations(cluster));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: Some(affinity(cluster)),
            containers: vec![broker(cluster)],
            enable_service_links: Some(false),
            image_pull_secrets: non_empty(cluster.spec.broker.image_pull_secrets.clone()),
            init_containers: Some(
                [install(settings)].into_iter().chain(database::install_drivers(cluster)).collect(),
            ),
            node_selector: Some(pod.node_selector.clone()).filter(|selector| !selector.is_empty()),
            priority_class_name: pod.priority_class_name.clone(),
            security_context: Some(security(cluster)),
            service_account_name: Some(cluster.name.agent()),
            termination_grace_period_seconds: Some(grace(cluster)),
            tolerations: Some(tolerations(cluster)),
            topology_spread_constraints: Some(spread(cluster)),
            volumes: Some(volumes(cluster)),
            ..PodSpec::default()
        }),
    }
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn own_annotations(cluster: &ValidCluster) -> BTreeMap<String, String> {
    let ports = serde_json::to_string(&config_map::ports(cluster)).unwrap_or_default();
    [
        (labels::TEMPLATE_HASH, cluster.revision.clone()),
        (PORTS_ANNOTATION, ports),
        // The emptyDirs hold nothing that a pod would miss: they must not keep a node alive.
        (
            "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
            if database::copies_drivers(cluster) {
                "agent,drivers,login,scratch".to_owned()
            } else {
                "agent,login,scratch".to_owned()
            },
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Never two brokers of a group on one node, unless the user says otherwise.
fn affinity(cluster: &ValidCluster) -> Affinity {
    let apart = PodAntiAffinity {
        required_during_scheduling_ignored_during_execution: Some(vec![PodAffinityTerm {
            topology_key: "kubernetes.io/hostname".to_owned(),
            label_selector: Some(meta::selector(&cluster.name)),
            ..PodAffinityTerm::default()
        }]),
        preferred_during_scheduling_ignored_during_execution: None,
    };
    let mut affinity = cluster.spec.pod.affinity.clone().unwrap_or_default();
    affinity.pod_anti_affinity.get_or_insert(apart);
    affinity
}

fn spread(cluster: &ValidCluster) -> Vec<TopologySpreadConstraint> {
    if !cluster.spec.pod.topology_spread_constraints.is_empty() {
        return cluster.spec.pod.topology_spread_constraints.clone();
    }
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(meta::selector(&cluster.name)),
        ..TopologySpreadConstraint::default()
    }]
}

/// Kubernetes' default is to evict from an unreachable node after five minutes. A master there may
/// serve on, and a StatefulSet would not replace it anyway.
fn tolerations(cluster: &ValidCluster) -> Vec<Toleration> {
    let stay = |key: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let mut tolerations =
        vec![stay("node.kubernetes.io/not-ready"), stay("node.kubernetes.io/unreachable")];
    tolerations.extend(cluster.spec.pod.tolerations.iter().cloned());
    tolerations
}

/// The user's settings over safe defaults; together they pass Pod Security `restricted`.
fn security(cluster: &ValidCluster) -> PodSecurityContext {
    let mut context = cluster.spec.pod.security_context.clone().unwrap_or_default();
    context.run_as_non_root.get_or_insert(true);
    context.run_as_user.get_or_insert(BROKER_UID);
    context.run_as_group.get_or_insert(BROKER_UID);
    context.fs_group.get_or_insert(BROKER_UID);
    context.fs_group_change_policy.get_or_insert_with(|| "OnRootMismatch".to_owned());
    context.seccomp_profile.get_or_insert_with(|| SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    });
    context
}

pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// What a container needs that copies files.
pub(super) fn init_resources() -> ResourceRequirements {
    let quantity = |text: &str| Quantity(text.to_owned());
    ResourceRequirements {
        requests: Some(
            [("cpu".to_owned(), quantity("10m")), ("memory".to_owned(), quantity("32Mi"))].into(),
        ),
        limits: Some([("memory".to_owned(), quantity("64Mi"))].into()),
        claims: None,
    }
}

/// Copies the agent into a volume, because the broker's image does not have it.
fn install(settings: &Settings) -> Container {
    Container {
        name: INSTALL.to_owned(),
        image: Some(settings.agent_image.clone()),
        command: Some(["/tandem", "install", "--to", paths::AGENT].map(str::to_owned).to_vec()),
        resources: Some(init_resources()),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![mount("agent", paths::AGENT, false)]),
        ..Container::default()
    }
}

fn broker(cluster: &ValidCluster) -> Container {
    let spec = &cluster.spec;
    let command = [&format!("{}/tandem", paths::AGENT), "agent", "--config", paths::CONFIG];
    let mut env = spec.pod.env.clone();
    env.extend(identity());
    Container {
        name: BROKER.to_owned(),
        image: Some(cluster.image.clone()),
        image_pull_policy: spec.broker.image_pull_policy.map(|policy| format!("{policy:?}")),
        command: Some(command.map(str::to_owned).to_vec()),
        env: Some(env),
        ports: Some(container_ports(cluster)),
        resources: Some(requirements(&sizing::resources(&cluster.spec))),
        security_context: Some(container_security()),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        volume_mounts: Some(mounts(cluster)),
        ..Container::default()
    }
}

/// Who the agent is, by the downward API.
fn identity() -> [EnvVar; 5] {
    [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_UID", "metadata.uid"),
        ("POD_IPS", "status.podIPs"),
        ("NODE_NAME", "spec.nodeName"),
    ]
    .map(|(name, path)| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: Some("v1".to_owned()),
            }),
            ..EnvVarSource::default()
        }),
    })
}

fn container_ports(cluster: &ValidCluster) -> Vec<k8s_openapi::api::core::v1::ContainerPort> {
    let port = |name: &str, number: i32| k8s_openapi::api::core::v1::ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..k8s_openapi::api::core::v1::ContainerPort::default()
    };
    let listeners =
        cluster.spec.listeners.iter().map(|listener| port(&listener.name, listener.port));
    listeners.chain([port("tandem-agent", i32::from(AGENT_PORT))]).collect()
}

/// The probes ask the agent, which knows the roles: a waiting standby is Ready, a broker that
/// recovers its store is alive, and a hung one is the agent's business, not the kubelet's.
fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(AGENT_PORT)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn requirements(resources: &Resources) -> ResourceRequirements {
    let convert = |map: &BTreeMap<String, QuantityValue>| {
        Some(
            map.iter()
                .map(|(name, value)| (name.clone(), value.into()))
                .collect::<BTreeMap<_, _>>(),
        )
        .filter(|map| !map.is_empty())
    };
    ResourceRequirements {
        requests: convert(&resources.requests),
        limits: convert(&resources.limits),
        claims: None,
    }
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn mounts(cluster: &ValidCluster) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount("agent", paths::AGENT, true),
        mount("config", paths::CONFIG, true),
        mount("admin", paths::ADMIN, true),
        mount("login", paths::LOGIN, false),
    ];
    mounts.extend(cluster.store.claim().map(|_| mount("store", paths::STORE, false)));
    mounts.push(mount("scratch", "/tmp", false));
    mounts.extend(database::mounts(cluster));
    if cluster.spec.auth.users_secret.is_some() {
        mounts.push(mount("users", paths::USERS, true));
    }
    mounts.extend(cluster.spec.pod.volume_mounts.iter().cloned());
    mounts
}

fn volumes(cluster: &ValidCluster) -> Vec<Volume> {
    let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let empty = |name: &str, medium: Option<&str>| Volume {
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: None,
        }),
        ..named(name)
    };
    let secret = |name: &str, secret: String| Volume {
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            ..SecretVolumeSource::default()
        }),
        ..named(name)
    };
    let mut volumes = vec![
        empty("agent", None),
        Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: config_map::build(cluster).name,
                ..ConfigMapVolumeSource::default()
            }),
            ..named("config")
        },
        secret("admin", cluster.admin_secret()),
        empty("login", Some("Memory")),
    ];
    volumes.extend(cluster.store.claim().map(|claim| Volume {
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: None,
        }),
        ..named("store")
    }));
    volumes.push(Volume {
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: Some(Quantity(mebibytes(cluster.sizes.tmp))),
        }),
        ..named("scratch")
    });
    volumes.extend(database::volumes(cluster));
    if let Some(users) = &cluster.spec.auth.users_secret {
        volumes.push(secret("users", users.name.clone()));
    }
    volumes.extend(cluster.spec.pod.volumes.iter().cloned());
    volumes
}
