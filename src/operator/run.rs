//! Wires the operator up: leader election, watches, the HTTP endpoints, a graceful end.

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::PartialObjectMeta,
    core::DeserializeGuard,
    runtime::{
        Config as ControllerConfig, Controller,
        controller::Error as ControllerError,
        events::{Recorder, Reporter},
        reflector::ObjectRef,
        watcher,
    },
};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    election::Candidate,
    listen::{self, Listener, announcements},
    named,
    observe::CORDONED,
    reconcile::{Context, reconcile, retry},
};
use crate::{
    api::{labels, v1alpha1::BrokerCluster},
    clock,
    reports::HttpReports,
    resources::{Kind, Settings},
    telemetry::{
        operator_metrics::OperatorMetrics,
        serve::{self, Probes},
        tracing::{LogFormat, init},
    },
};

/// Arguments of `tandem operator`.
#[derive(Args, Clone, Debug)]
pub struct OperatorArgs {
    /// The image that brings the agent into broker pods: the operator's own.
    #[arg(long, env = "TANDEM_AGENT_IMAGE")]
    pub agent_image: String,
    /// The operator's namespace: its Lease is there.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The labels by which the operator's pods are known, such as `app.kubernetes.io/name=tandem`: agents
    /// are reached by them alone. Without, by all pods of the operator's namespace.
    #[arg(long, env = "TANDEM_POD_LABELS", value_delimiter = ',', value_parser = label)]
    pub pod_labels: Vec<(String, String)>,
    /// Let BrokerClusters ask for pods with hostPath volumes, as root, or of a `system-` priority class.
    #[arg(long, env = "TANDEM_ALLOW_PRIVILEGED_PODS")]
    pub allow_privileged_pods: bool,
    /// The operator's pod: its name in the Lease.
    #[arg(long, env = "POD_NAME")]
    pub pod: String,
    /// Name of the Lease that elects one of several operators.
    #[arg(long, default_value = "tandem-operator")]
    pub lease: String,
    /// Watch only this namespace; without it all.
    #[arg(long, env = "TANDEM_WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Port of /livez, /readyz and /metrics.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// How many clusters are worked on at once.
    #[arg(long, default_value_t = 8)]
    pub concurrency: u16,
    /// Format of the log.
    #[arg(long, value_enum, default_value_t, env = "TANDEM_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged, such as `info` or `tandem=debug`.
    #[arg(long, default_value = "info,kube_runtime=warn", env = "TANDEM_LOG")]
    pub log: String,
}

/// How long passes under way may take when the operator ends.
const DRAIN: Duration = Duration::from_secs(15);

/// `key=value`.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written as key=value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Runs the operator until it is told to end, or until it is no longer the leader.
///
/// # Errors
/// When it cannot start.
pub fn main(args: OperatorArgs) -> anyhow::Result<ExitCode> {
    init(args.log_format, &args.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(args))
}

async fn run(args: OperatorArgs) -> anyhow::Result<ExitCode> {
    let mut config =
        Config::infer().await.context("no access to a Kubernetes API server is configured")?;
    // Retries belong to the passes; the client's own would hide an API server that is in trouble.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let mut registry = Registry::default();
    let metrics = OperatorMetrics::new(&mut registry);
    let state = Arc::new(State { started: AtomicBool::new(false), registry });
    let listener = serve::listen(args.port)
        .await
        .with_context(|| format!("cannot listen on port {}", args.port))?;
    let probes = Arc::clone(&state);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve::serve(listener, serve::routes(probes)));
    state.started.store(true, Ordering::Relaxed);

    let mut candidate =
        Candidate::new(client.clone(), &args.namespace, &args.lease, identity(&args.pod));
    tracing::info!("waiting to become leader");
    let since = tokio::select! {
        since = candidate.elected() => since,
        () = asked_to_end() => return Ok(ExitCode::SUCCESS),
    };
    tracing::info!("leading");
    metrics.leads(true);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let work = work(client, args, metrics, stopped);
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => anyhow::bail!("the watches ended"),
        // Without the Lease another process may act at any moment: end at once, in the midst of it.
        () = candidate.hold(since) => anyhow::bail!("the Lease was lost: another operator may lead now"),
        () = asked_to_end() => {}
    }
    tracing::info!("ending: passes under way are finished first");
    stop.send_replace(true);
    if tokio::time::timeout(DRAIN, work).await.is_err() {
        tracing::warn!("a pass did not end in time");
    }
    candidate.release().await;
    Ok(ExitCode::SUCCESS)
}

/// Names this process, not only this pod: a restarted container is another candidate.
fn identity(pod: &str) -> String {
    format!("{pod}_{:08x}", rand::random::<u32>())
}

async fn asked_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

async fn work(
    client: Client,
    args: OperatorArgs,
    metrics: OperatorMetrics,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    let reporter =
        Reporter { controller: labels::OPERATOR.to_owned(), instance: Some(args.pod.clone()) };
    let listener = Arc::new(Listener::default());
    let reports = HttpReports::new();
    let context = Arc::new(Context {
        client: client.clone(),
        reports: reports.clone(),
        recorder: Recorder::new(client.clone(), reporter),
        settings: Settings {
            agent_image: args.agent_image.clone(),
            operator_namespace: args.namespace.clone(),
            operator_labels: args.pod_labels.iter().cloned().collect(),
            privileged_pods: args.allow_privileged_pods,
        },
        metrics,
        listener: Arc::clone(&listener),
        now: Box::new(clock::now),
        disagreements: Mutex::new(HashMap::new()),
        idle: Mutex::new(HashMap::new()),
    });
    let until = async move {
        // An error means that the sender is gone, which is an end too.
        stopped.wait_for(|stop| *stop).await.map(drop).unwrap_or_default();
    };
    controller(&client, &args)
        .reconcile_on(announcements(listener, reports))
        .graceful_shutdown_on(until)
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|result| {
            // A child of a cluster that is gone changed: the cluster's metrics go too. Failed passes
            // are logged where they are retried.
            if let Err(ControllerError::ObjectNotFound(gone)) = result {
                let namespace = gone.namespace.as_deref().unwrap_or_default();
                context.metrics.forget(namespace, &gone.name);
                context.listener.forget(&listen::name(namespace, &gone.name));
            }
            std::future::ready(())
        })
        .await;
}

/// The watches of the operator, not running yet.
pub type Clusters = Controller<DeserializeGuard<BrokerCluster>>;

/// All watches. Children are watched by their metadata only: an event is a reason to look, not
/// something to decide on.
pub fn controller(client: &Client, args: &OperatorArgs) -> Clusters {
    let ours =
        watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER));
    let scope = Scope { client: client.clone(), namespace: args.watch_namespace.clone(), ours };
    let clusters = scope.api::<DeserializeGuard<BrokerCluster>>();
    // The most recent clusters, not any: a new leader must not go back to a spec that its predecessor
    // has left behind.
    let controller = Controller::new(clusters, watcher::Config::default()).with_config(
        ControllerConfig::default()
            .concurrency(args.concurrency)
            .debounce(Duration::from_millis(100)),
    );
    let controller = scope.watch::<StatefulSet>(controller);
    let controller = scope.watch::<Pod>(controller);
    let controller = scope.watch_slices(controller);
    let controller = scope.watch_cordons(controller);
    let controller = scope.watch::<Service>(controller);
    let controller = scope.watch_named::<ConfigMap>(Kind::ConfigMap, controller);
    let controller = scope.watch_named::<Secret>(Kind::Secret, controller);
    let controller = scope.watch::<PersistentVolumeClaim>(controller);
    let controller = scope.watch::<PodDisruptionBudget>(controller);
    let controller = scope.watch::<NetworkPolicy>(controller);
    let controller = scope.watch::<ServiceAccount>(controller);
    let controller = scope.watch::<Role>(controller);
    scope.watch::<RoleBinding>(controller)
}

struct Scope {
    client: Client,
    namespace: Option<String>,
    ours: watcher::Config,
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Looks at a cluster when something with its label changes, ours or not.
    fn watch<K>(&self, controller: Clusters) -> Clusters
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        controller.watches(self.api::<PartialObjectMeta<K>>(), self.ours.clone(), |object| {
            let name = object.labels().get(labels::INSTANCE)?;
            Some(ObjectRef::new(name).within(&object.namespace()?))
        })
    }

    /// Secrets and ConfigMaps, all of them: those that users name bear no label of ours.
    fn watch_named<K>(&self, kind: Kind, controller: Clusters) -> Clusters
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let clusters = controller.store();
        let all = watcher::Config::default();
        controller.watches(self.api::<PartialObjectMeta<K>>(), all, move |object| {
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            let ours =
                object.labels().get(labels::MANAGED_BY).is_some_and(|by| by == labels::MANAGER);
            let labelled = object.labels().get(labels::INSTANCE).filter(|_| ours).cloned();
            let names_it = clusters.state().into_iter().filter_map(|cluster| {
                let cluster = cluster.0.as_ref().ok()?;
                let so = cluster.namespace().as_ref() == Some(&namespace)
                    && named::names(&cluster.spec, kind, &name);
                so.then(|| cluster.name_any())
            });
            let all: Vec<_> = labelled.into_iter().chain(names_it).collect();
            all.into_iter().map(move |name| listen::name(&namespace, &name))
        })
    }

    /// Nodes that are cordoned, or no longer: the API server tells of no other change of a node then.
    fn watch_cordons(&self, controller: Clusters) -> Clusters {
        let clusters = controller.store();
        let nodes: Api<PartialObjectMeta<Node>> = Api::all(self.client.clone());
        let cordoned = watcher::Config::default().fields(CORDONED);
        controller.watches(nodes, cordoned, move |node| {
            let name = node.name_any();
            clusters.state().into_iter().filter_map(move |cluster| {
                let cluster = cluster.0.as_ref().ok()?;
                let master = cluster.status.as_ref()?.master.as_ref()?;
                (master.node.as_ref() == Some(&name)).then(|| {
                    listen::name(&cluster.namespace().unwrap_or_default(), &cluster.name_any())
                })
            })
        })
    }

    /// Records, and slices that somebody else has put on a Service: all that the endpoint slice
    /// controller did not make, which makes most.
    fn watch_slices(&self, controller: Clusters) -> Clusters {
        let selector = format!(
            "{},{}!=endpointslice-controller.k8s.io",
            labels::SERVICE_NAME,
            labels::SLICE_MANAGED_BY
        );
        let slices = watcher::Config::default().labels(&selector);
        controller.watches(self.api::<PartialObjectMeta<EndpointSlice>>(), slices, |slice| {
            let name = slice.labels().get(labels::SERVICE_NAME)?;
            Some(ObjectRef::new(name).within(&slice.namespace()?))
        })
    }
}

struct State {
    started: AtomicBool,
    registry: Registry,
}

impl Probes for State {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    /// A process that waits to become leader is ready: it would take over.
    fn ready(&self) -> Result<(), String> {
        if self.started.load(Ordering::Relaxed) { Ok(()) } else { Err("starting".to_owned()) }
    }

    fn metrics(&self) -> Result<String, String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(|error| error.to_string())?;
        Ok(text)
    }
}
