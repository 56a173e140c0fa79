//! A small API server over plain HTTP: one namespace's `EndpointSlice`s with resource versions,
//! conflicts and a watch, and a list of pods, which is empty but for those that a test adds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

#[derive(Clone)]
pub struct FakeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    slices: Mutex<Slices>,
    pods: Mutex<Vec<Value>>,
    changes: broadcast::Sender<Value>,
    frozen: watch::Sender<bool>,
}

#[derive(Default)]
struct Slices {
    by_name: BTreeMap<String, Value>,
    version: u64,
    writes: usize,
}

impl FakeApi {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            slices: Mutex::default(),
            pods: Mutex::default(),
            changes: broadcast::channel(100).0,
            frozen: watch::channel(false).0,
        });
        let router = Router::new()
            .route(SLICES, get(list_or_watch))
            .route(&format!("{SLICES}/{{name}}"), get(read).put(replace).patch(apply))
            .route("/api/v1/namespaces/shop/pods", get(pods))
            .with_state(Arc::clone(&shared));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { address, shared }
    }

    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {
                "cluster": "fake", "user": "fake", "namespace": "shop",
            }}],
        })
        .to_string()
    }

    /// The only record; JSON null when there is none.
    fn record(&self) -> Value {
        let slices = self.shared.slices.lock().unwrap();
        slices.by_name.values().next().cloned().unwrap_or_default()
    }

    pub fn annotation(&self, key: &str) -> String {
        let record = self.record();
        let value = &record["metadata"]["annotations"][format!("tandem-operator.io/{key}")];
        value.as_str().unwrap_or_default().to_owned()
    }

    pub fn epoch(&self) -> u64 {
        self.annotation("epoch").parse().unwrap_or_default()
    }

    /// The pod that the record names, if any.
    pub fn target(&self) -> String {
        let record = self.record();
        let name = &record["endpoints"][0]["targetRef"]["name"];
        name.as_str().unwrap_or_default().to_owned()
    }

    pub fn writes(&self) -> usize {
        self.shared.slices.lock().unwrap().writes
    }

    pub fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut slices = self.shared.slices.lock().unwrap();
        let (name, mut record) = slices.by_name.pop_first().unwrap();
        edit(&mut record);
        self.shared.put(&mut slices, &name, record);
    }

    /// From now on there is a pod whose agent listens on this port.
    pub fn add_pod(&self, name: &str, port: u16) {
        let (group, _) = name.rsplit_once('-').unwrap();
        self.shared.pods.lock().unwrap().push(json!({
            "metadata": {
                "name": name, "uid": format!("uid-of-{name}"),
                "ownerReferences": [{"kind": "StatefulSet", "name": group, "controller": true}],
            },
            "spec": {"containers": [{"ports": [{"name": "tandem-agent", "containerPort": port}]}]},
            "status": {"podIP": "127.0.0.1", "containerStatuses": [{"state": {"running": {}}}]},
        }));
    }

    pub fn remove_pod(&self, name: &str) {
        self.shared.pods.lock().unwrap().retain(|pod| pod["metadata"]["name"] != name);
    }

    pub fn delete(&self) {
        let mut slices = self.shared.slices.lock().unwrap();
        let (_, record) = slices.by_name.pop_first().unwrap();
        drop(self.shared.changes.send(json!({"type": "DELETED", "object": record})));
    }

    /// A frozen API server accepts and never answers.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.send_replace(frozen);
    }

    pub fn wait_for(&self, what: &str, deadline: Duration, until: impl Fn(&Self) -> bool) {
        let end = Instant::now() + deadline;
        while !until(self) {
            assert!(Instant::now() < end, "{what} did not come: {:#}", self.record());
            sleep(Duration::from_millis(2));
        }
    }
}

impl Shared {
    fn put(&self, slices: &mut Slices, name: &str, mut record: Value) -> Value {
        slices.version += 1;
        slices.writes += 1;
        record["metadata"]["resourceVersion"] = slices.version.to_string().into();
        let kind = if slices.by_name.contains_key(name) { "MODIFIED" } else { "ADDED" };
        slices.by_name.insert(name.to_owned(), record.clone());
        drop(self.changes.send(json!({"type": kind, "object": record})));
        record
    }

    async fn thaw(&self) {
        self.frozen.subscribe().wait_for(|frozen| !frozen).await.unwrap();
    }
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "code": code.as_u16(), "message": reason, "metadata": {},
    });
    (code, Json(body)).into_response()
}

async fn pods(State(shared): State<Arc<Shared>>) -> Response {
    let items = shared.pods.lock().unwrap().clone();
    Json(json!({"items": items})).into_response()
}

async fn read(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    shared.thaw().await;
    match shared.slices.lock().unwrap().by_name.get(&name) {
        Some(record) => Json(record).into_response(),
        None => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

async fn replace(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(record): Json<Value>,
) -> Response {
    shared.thaw().await;
    let mut slices = shared.slices.lock().unwrap();
    let Some(old) = slices.by_name.get(&name) else {
        return status(StatusCode::NOT_FOUND, "NotFound");
    };
    let version = &record["metadata"]["resourceVersion"];
    assert!(version.as_str().is_some_and(|version| !version.is_empty()), "unconditional write");
    if *version != old["metadata"]["resourceVersion"] {
        return status(StatusCode::CONFLICT, "Conflict");
    }
    Json(shared.put(&mut slices, &name, record)).into_response()
}

async fn apply(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    shared.thaw().await;
    let mut slices = shared.slices.lock().unwrap();
    assert!(!slices.by_name.contains_key(&name), "only a deleted record is applied");
    let record = serde_json::from_slice(&body).unwrap();
    Json(shared.put(&mut slices, &name, record)).into_response()
}

async fn list_or_watch(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    shared.thaw().await;
    let query = query.unwrap();
    // The only selector that RBAC's `resourceNames` permits.
    assert!(query.contains("fieldSelector=metadata.name%3D"), "{query}");
    if query.contains("watch=true") {
        let (_, version) = query.split_once("resourceVersion=").unwrap();
        let digits = version.split('&').next().unwrap();
        return watch_from(&shared, digits.parse().unwrap());
    }
    let slices = shared.slices.lock().unwrap();
    let items: Vec<_> = slices.by_name.values().cloned().collect();
    let version = slices.version.to_string();
    Json(json!({
        "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"resourceVersion": version}, "items": items,
    }))
    .into_response()
}

fn watch_from(shared: &Arc<Shared>, since: u64) -> Response {
    let slices = shared.slices.lock().unwrap();
    let changes = shared.changes.subscribe();
    let version = |record: &Value| -> u64 {
        record["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    let missed: Vec<_> = slices
        .by_name
        .values()
        .filter(|record| version(record) > since)
        .map(|record| json!({"type": "MODIFIED", "object": record}))
        .collect();
    let shared = Arc::clone(shared);
    let stream =
        futures::stream::unfold((missed.into_iter(), changes), move |(mut missed, mut changes)| {
            let shared = Arc::clone(&shared);
            async move {
                let change = match missed.next() {
                    Some(change) => change,
                    None => changes.recv().await.ok()?,
                };
                shared.thaw().await;
                Some((Ok::<_, Infallible>(format!("{change}\n")), (missed, changes)))
            }
        });
    Body::from_stream(stream).into_response()
}
