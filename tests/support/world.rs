//! An operator, a fake API server and a simulated group, and what tests do with them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        events::{Recorder, Reporter},
    },
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tandem::{
    api::{
        labels,
        v1alpha1::{BrokerCluster, BrokerClusterStatus},
    },
    core::record::RecordView,
    operator::{
        OperatorArgs,
        reconcile::{Context, Error, reconcile},
    },
    resources::Settings,
    telemetry::{operator_metrics::OperatorMetrics, tracing::LogFormat},
};

use super::{
    agents::FakeAgents,
    fake_api::{FakeApi, State},
    group::{NAMESPACE, Phase, Says},
    store::{Stored, end, is_kept, path},
};

/// The most rounds of a pass and a tick that anything may take to settle.
const ROUNDS: usize = 60;
/// The spec of the tests: a claim made by the operator, everything else by default.
pub const SPEC: &str = "storage: {sharedVolume: {claim: {resources: {requests: {storage: 1Gi}}}}}";

/// The image that brings the agent.
const AGENT: &str = "tandem:1";
/// The operator's namespace.
pub const OPERATOR: &str = "tandem-system";

/// A spec with a database whose authority is in a ConfigMap.
pub const DATABASE: &str = "storage: {database: {type: PostgreSQL, host: db, name: mq, credentialsSecret: {name: db}, tls: {caConfigMap: {name: ca}}}}";

pub struct World {
    pub api: FakeApi,
    clock: Clock,
    context: Mutex<Arc<Context<FakeAgents>>>,
    cache: Mutex<Option<Arc<Stored>>>,
}

/// Time stands still, however long a test takes itself, unless the test moves it.
type Clock = Arc<Mutex<jiff::Timestamp>>;

impl World {
    /// An empty Kubernetes with an operator.
    pub fn new() -> Self {
        Self::of(FakeApi::default(), "2026-01-01T12:00:00Z".parse().unwrap())
    }

    fn of(api: FakeApi, now: jiff::Timestamp) -> Self {
        let clock = Clock::new(Mutex::new(now));
        let context = Mutex::new(operator(&api, &clock, AGENT));
        Self { api, clock, context, cache: Mutex::default() }
    }

    /// What the operator takes for now.
    pub fn now(&self) -> jiff::Timestamp {
        *self.clock.lock().unwrap()
    }

    /// So much time passes.
    pub fn later(&self, by: Duration) {
        *self.clock.lock().unwrap() += by;
    }

    /// A copy with an operator of its own.
    pub fn fork(&self) -> Self {
        Self::of(self.api.fork(), self.now())
    }

    /// With a cluster of this spec; nothing has been done about it yet.
    pub fn with(spec: &str) -> Self {
        let world = Self::new();
        for node in 0..3 {
            world.node(&format!("node-{node}"), "True", &[]);
        }
        world.create(spec);
        world
    }

    /// A node that has been so since the beginning of time, with these taints.
    pub fn node(&self, name: &str, ready: &str, taints: &[&str]) {
        let taints: Vec<Value> =
            taints.iter().map(|key| json!({"key": key, "effect": "NoExecute"})).collect();
        let node = json!({
            "metadata": {"name": name},
            "spec": {"taints": taints},
            "status": {"conditions": [{
                "type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:00:00Z",
            }]},
        });
        let path = path("nodes", "", name);
        let mut state = self.state();
        state.store.remove(&path);
        state.store.create(&path, "kubelet", node).unwrap();
    }

    /// Somebody cordons a node, or takes that back.
    pub fn cordon(&self, name: &str, cordoned: bool) {
        let path = path("nodes", "", name);
        self.state().store.change(&path, |node| node["spec"]["unschedulable"] = json!(cordoned));
    }

    /// The node of this pod is lost, and the pod with it.
    pub fn lose(&self, pod: &str, node: &str) {
        self.node(node, "Unknown", &[]);
        self.state().group.says.insert(pod.into(), Says::Silence);
    }

    /// A settled group of this spec.
    pub async fn settled(spec: &str) -> Self {
        let world = Self::with(spec);
        world.settle().await;
        world
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.api.state()
    }

    pub fn at(resource: &str, name: &str) -> String {
        path(resource, NAMESPACE, name)
    }

    pub fn get(&self, resource: &str, name: &str) -> Option<Arc<Stored>> {
        self.state().store.get(&Self::at(resource, name))
    }

    /// The user creates the cluster.
    pub fn create(&self, spec: &str) {
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        self.put("brokerclusters", json!({"metadata": {"name": "orders"}, "spec": spec}));
    }

    /// Somebody creates an object.
    pub fn put(&self, resource: &str, mut object: Value) {
        object["metadata"]["namespace"] = json!(NAMESPACE);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.state().store.create(&Self::at(resource, &name), "kubectl", object).unwrap();
    }

    /// The user changes the spec.
    pub fn edit(&self, pointer: &str, value: Value) {
        let path = Self::at("brokerclusters", "orders");
        let mut state = self.state();
        let mut object = (*state.store.get(&path).unwrap()).clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(&format!("/spec{parent}")).unwrap()[field] = value;
        state.store.replace(&path, "kubectl", object).unwrap();
    }

    /// The user asks for a switchover.
    pub fn ask(&self, request: &str) {
        self.annotate(labels::SWITCHOVER, request);
    }

    /// The user annotates the cluster.
    pub fn annotate(&self, key: &str, value: &str) {
        let path = Self::at("brokerclusters", "orders");
        let mut state = self.state();
        let mut object = (*state.store.get(&path).unwrap()).clone();
        object["metadata"]["annotations"][key] = json!(value);
        state.store.replace(&path, "kubectl", object).unwrap();
    }

    /// The user deletes the cluster.
    pub fn delete(&self) {
        let path = Self::at("brokerclusters", "orders");
        let mut state = self.state();
        if is_kept(&state.store.get(&path).unwrap()) {
            end(&mut state.store, &path);
        } else {
            state.store.remove(&path).unwrap();
        }
    }

    /// What the operator's passes work with.
    pub fn context(&self) -> Arc<Context<FakeAgents>> {
        Arc::clone(&self.context.lock().unwrap())
    }

    /// The operator ends, and another process begins with no memory.
    pub fn restart(&self) {
        *self.context.lock().unwrap() = operator(&self.api, &self.clock, AGENT);
        *self.cache.lock().unwrap() = None;
    }

    /// An operator of another version takes over.
    pub fn upgrade(&self, image: &str) {
        *self.context.lock().unwrap() = operator(&self.api, &self.clock, image);
        *self.cache.lock().unwrap() = None;
    }

    /// One pass over the cluster as the operator's cache has it, if it has it. A killed operator
    /// begins again without memory.
    pub async fn pass(&self) -> Option<Result<Action, Error>> {
        let object = self.cached()?;
        let guard: DeserializeGuard<BrokerCluster> =
            serde_json::from_value((*object).clone()).unwrap();
        let context = Arc::clone(&self.context.lock().unwrap());
        tokio::select! {
            // Held by every test that awaits this: it is large.
            result = Box::pin(reconcile(Arc::new(guard), context)) => Some(result),
            () = self.api.killed() => {
                self.restart();
                Some(Err(Error::Malformed("killed".into())))
            }
        }
    }

    /// The cluster in the operator's cache, which may lag but never goes back.
    fn cached(&self) -> Option<Arc<Stored>> {
        let path = Self::at("brokerclusters", "orders");
        let mut cache = self.cache.lock().unwrap();
        let mut state = self.state();
        let seen = if cache.is_some() { state.seen() } else { state.store.now() };
        let version = |object: &Stored| {
            object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
        };
        let object = seen.get(&path).cloned();
        let goes_back = object.as_deref().map_or(0, version) < cache.as_deref().map_or(0, version);
        if !goes_back || state.store.get(&path).is_none() {
            cache.clone_from(&object);
        }
        cache.clone()
    }

    pub fn tick(&self) -> bool {
        let mut state = self.state();
        let State { store, group, .. } = &mut *state;
        group.tick(store)
    }

    /// Pass, tick, and so on until neither changes anything. How many rounds that took.
    pub async fn settle(&self) -> usize {
        for round in 1..=ROUNDS {
            let writes = self.state().writes;
            let clean = self.pass().await.is_none_or(|result| result.is_ok());
            let quiet = self.state().writes == writes;
            self.assert_safe();
            if !self.tick() && clean && quiet {
                return round;
            }
        }
        let writes = self.writes();
        panic!(
            "not settled after {ROUNDS} rounds; the last writes: {:?}",
            writes.iter().rev().take(20).collect::<Vec<_>>()
        );
    }

    /// Rounds of a pass, failed or not, and a tick, as often as it says.
    pub async fn disturbed(&self, rounds: usize) {
        for _ in 0..rounds {
            drop(self.pass().await);
            self.assert_safe();
            self.tick();
        }
    }

    /// So many rounds of a pass and a tick, for a group that is not meant to settle.
    pub async fn rounds(&self, rounds: usize) {
        for _ in 0..rounds {
            self.pass().await.expect("a cluster").expect("a pass");
            self.tick();
            self.assert_safe();
        }
    }

    /// Requests that write, as `verb resource name`.
    pub fn writes(&self) -> Vec<String> {
        let state = self.state();
        let writes = state
            .calls
            .iter()
            .filter(|call| !["get", "list", "watch"].contains(&call.verb.as_str()));
        writes
            .map(|call| {
                format!(
                    "{} {} {}",
                    call.verb,
                    call.resource,
                    call.name.as_deref().unwrap_or_default()
                )
            })
            .collect()
    }

    /// Pods that the operator deleted, in order.
    pub fn deleted(&self) -> Vec<String> {
        self.writes()
            .iter()
            .filter_map(|write| write.strip_prefix("delete pods ").map(str::to_owned))
            .collect()
    }

    /// Forgets all requests so far.
    pub fn forget(&self) {
        self.state().calls.clear();
    }

    /// The worlds before each pass of settling, with the number of writes of the pass.
    pub async fn course(&self) -> Vec<(Self, usize)> {
        let mut course = Vec::new();
        for _ in 0..ROUNDS {
            let (before, writes) = (self.fork(), self.state().writes);
            let clean = self.pass().await.is_none_or(|result| result.is_ok());
            let written = self.state().writes - writes;
            course.push((before, written));
            if !self.tick() && clean && written == 0 {
                return course;
            }
        }
        panic!("not settled after {ROUNDS} rounds");
    }

    /// What ought to hold at any moment.
    pub fn assert_safe(&self) {
        let state = self.state();
        assert_eq!(state.wrongs, Vec::<String>::new());
        let serving =
            state.group.brokers.values().filter(|broker| broker.phase == Phase::Master).count();
        assert!(serving <= 1);
    }

    /// Lets the operator believe that the record has been wrong for so much longer.
    pub fn age_disagreement(&self, age: Duration) {
        let age = jiff::SignedDuration::try_from(age).unwrap();
        self.context
            .lock()
            .unwrap()
            .disagreements
            .lock()
            .unwrap()
            .values_mut()
            .for_each(|since| *since -= age);
    }

    pub fn record(&self) -> RecordView {
        RecordView::read(&self.get("endpointslices", "orders").expect("a record"))
    }

    pub fn status(&self) -> BrokerClusterStatus {
        let object = self.get("brokerclusters", "orders").expect("a cluster");
        serde_json::from_value(object["status"].clone()).unwrap_or_default()
    }

    /// A condition as `status reason`.
    pub fn condition(&self, type_: &str) -> String {
        let status = self.status();
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
        condition.map_or_else(|| "absent".to_owned(), |c| format!("{} {}", c.status, c.reason))
    }

    pub fn message(&self, type_: &str) -> String {
        let status = self.status();
        status.conditions.iter().find(|condition| condition.type_ == type_).unwrap().message.clone()
    }

    /// The reasons of all Events, in order.
    pub fn events(&self) -> Vec<String> {
        let events = self.state().store.list("events");
        events.iter().map(|(_, event)| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    pub fn phase(&self, pod: &str) -> Option<Phase> {
        self.state()
            .group
            .brokers
            .values()
            .find(|broker| broker.pod == pod)
            .map(|broker| broker.phase)
    }

    pub fn uid(&self, resource: &str, name: &str) -> String {
        self.get(resource, name).unwrap_or_else(|| panic!("no {resource} {name}"))["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// All objects but Events, without what differs from run to run: uids, versions, times, the
    /// epoch, the password and the addresses of Services.
    pub fn picture(&self) -> BTreeMap<String, Value> {
        let objects = self.state().store.now();
        let lasting = objects.iter().filter(|(path, _)| !path.contains("/events/"));
        lasting.map(|(path, object)| (path.clone(), still(object))).collect()
    }

    /// Names of all objects of a resource.
    pub fn names(&self, resource: &str) -> Vec<String> {
        self.state()
            .store
            .list(resource)
            .iter()
            .map(|(path, _)| path.rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}

/// What the operator is started with.
pub fn operator_args() -> OperatorArgs {
    OperatorArgs {
        agent_image: "tandem:1".into(),
        namespace: OPERATOR.into(),
        pod: "operator-0".into(),
        lease: "tandem-operator".into(),
        watch_namespace: None,
        pod_labels: Vec::new(),
        allow_privileged_pods: false,
        port: 0,
        concurrency: 1,
        log_format: LogFormat::default(),
        log: String::new(),
    }
}

fn operator(api: &FakeApi, clock: &Clock, image: &str) -> Arc<Context<FakeAgents>> {
    let reporter =
        Reporter { controller: "tandem-operator".into(), instance: Some("operator-0".into()) };
    Arc::new(Context {
        client: api.client(),
        reports: FakeAgents(api.clone()),
        recorder: Recorder::new(api.client(), reporter),
        settings: Settings {
            agent_image: image.into(),
            operator_namespace: OPERATOR.into(),
            operator_labels: [("app.kubernetes.io/name".into(), "tandem".into())].into(),
            privileged_pods: false,
        },
        metrics: OperatorMetrics::new(&mut Registry::default()),
        listener: Arc::default(),
        now: {
            let clock = Arc::clone(clock);
            Box::new(move || *clock.lock().unwrap())
        },
        disagreements: Mutex::new(HashMap::new()),
        idle: Mutex::new(HashMap::new()),
    })
}

fn still(value: &Value) -> Value {
    const MOVING: [&str; 9] = [
        "at",
        "resourceVersion",
        "generation",
        "lastTransitionTime",
        "password",
        "clusterIP",
        "clusterIPs",
        "epoch",
        labels::EPOCH,
    ];
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(name, _)| !MOVING.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), still(value))).collect()
        }
        Value::Array(items) => items.iter().map(still).collect(),
        Value::String(text) if text.starts_with("uid-") => json!("uid"),
        // An annotation with an object in it.
        Value::String(text) if text.starts_with('{') => {
            serde_json::from_str(text).map_or_else(|_| value.clone(), |inner| still(&inner))
        }
        other => other.clone(),
    }
}
