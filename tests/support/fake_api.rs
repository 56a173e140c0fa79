//! A stateful fake API server behind `kube::Client`: the verbs, faults, stale reads, and a record
//! of every request. What it does not model fails the test.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tandem::api::v1alpha1::amount;
use tokio::sync::Notify;

use super::{
    call::{Asked, Call},
    group::Group,
    kinds,
    store::{Objects, Refusal, Store, Stored, end, is_kept, mounted, refusal},
};

/// When a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing was written.
    Before,
    /// It was written, but the operator does not learn that.
    After,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// An answer with status 500.
    Error,
    /// The connection breaks.
    Dropped,
    /// No answer ever: the operator runs into its deadline.
    Hang,
    /// The operator's process is killed while it waits.
    Kill,
}

/// The write of this number fails, once.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub write: usize,
    pub when: When,
    pub how: How,
}

/// How many changes ago the next read sees.
pub type Lag = Box<dyn FnMut() -> usize + Send>;

/// So many reads see the state of so many changes ago.
pub fn behind(changes: usize, reads: usize) -> Lag {
    let mut left = reads;
    Box::new(move || {
        let lags = left > 0;
        left = left.saturating_sub(1);
        if lags { changes } else { 0 }
    })
}

/// A standing refusal of writes of a resource.
#[derive(Clone, Debug)]
pub struct Refuse {
    pub resource: &'static str,
    pub code: u16,
    pub message: &'static str,
}

type Latency = Box<dyn FnMut() -> (Duration, Duration) + Send>;

/// Everything: what the API server stores, and what runs on the nodes.
#[derive(Default)]
pub struct State {
    pub store: Store,
    pub group: Group,
    /// Every request of the operator.
    pub calls: Vec<Asked>,
    pub writes: usize,
    pub fault: Option<Fault>,
    pub lag: Option<Lag>,
    pub refuse: Option<Refuse>,
    /// The storage class does not allow claims to grow.
    pub fixed_size: bool,
    pub hangs: bool,
    pub latency: Option<Latency>,
    /// The revisions that the `StatefulSet`'s template had, one after the other.
    pub templates: Vec<String>,
    /// Pods that were deleted by force.
    pub forced: Vec<String>,
    /// Deletions of pods that were not safe.
    pub wrongs: Vec<String>,
    /// Resources, with their subresource, that may not be touched.
    pub forbidden: Vec<&'static str>,
}

/// Cheap to clone; all clones are one server.
#[derive(Clone, Default)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    killed: Arc<Notify>,
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl FakeApi {
    pub fn client(&self) -> Client {
        let this = self.clone();
        Client::new(tower::service_fn(move |request| this.clone().serve(request)), "default")
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Another server with the same objects and the same group, undisturbed.
    pub fn fork(&self) -> Self {
        let State { store, group, .. } = &*self.state();
        let state = State { store: store.clone(), group: group.clone(), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), killed: Arc::default() }
    }

    /// Returns when the operator's process is killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    async fn serve(self, request: Request<Body>) -> Result<Answer, io::Error> {
        let call = Call::read(request).await;
        let latency = self.state().latency.as_mut().map(|latency| latency());
        let (outcome, how) = match latency {
            None => self.act(&call),
            Some((before, after)) => {
                // Apart from the client, who may give up: what it sent is carried out all the same.
                let (this, call) = (self.clone(), call.clone());
                let acting = tokio::spawn(async move {
                    tokio::time::sleep(before).await;
                    let acted = this.act(&call);
                    tokio::time::sleep(after).await;
                    acted
                });
                acting.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            }
        };
        match how {
            Some(How::Hang) => std::future::pending().await,
            Some(How::Kill) => {
                self.killed.notify_one();
                std::future::pending().await
            }
            Some(How::Dropped) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            Some(How::Error) => Ok(failure(&refusal(500, "InternalError", "injected"))),
            None => Ok(match outcome {
                Ok(Some(text)) => answer(200, text),
                Ok(None) => self.watch(call),
                Err(refused) => failure(&refused),
            }),
        }
    }

    /// Everything that happens to the objects of a watch after the version that it names.
    fn watch(self, call: Call) -> Answer {
        let version = call.version().unwrap_or_else(|| self.state().store.version());
        let news = self.state().store.news();
        let begun = (self, call, version, news);
        let stream = futures::stream::unfold(begun, async |(api, call, seen, mut news)| {
            let now = *news.wait_for(|version| *version > seen).await.ok()?;
            let mut text = String::new();
            for (type_, path, object) in api.state().store.events(seen, now) {
                if call.selects(&path, &object) {
                    let object = object.text();
                    text.extend([r#"{"type":""#, type_, r#"","object":"#, object, "}\n"]);
                }
            }
            let frame = Ok::<_, io::Error>(Frame::data(Bytes::from(text)));
            Some((frame, (api, call, now, news)))
        });
        Response::new(StreamBody::new(stream).boxed_unsync())
    }

    fn act(&self, call: &Call) -> (Outcome, Option<How>) {
        let mut state = self.state();
        if state.hangs { (Ok(None), Some(How::Hang)) } else { state.take(call) }
    }
}

/// An object, a watch, or a refusal.
type Outcome = Result<Option<String>, Refusal>;

fn answer(code: u16, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

fn failure(refused: &Refusal) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": refused.code, "reason": refused.reason, "message": refused.message,
    });
    answer(refused.code, status.to_string())
}

impl State {
    /// One request: its outcome, and how the answer gets lost, if it does.
    fn take(&mut self, call: &Call) -> (Outcome, Option<How>) {
        self.calls.push(call.asked());
        let resource = call.asked().resource;
        if self.forbidden.contains(&resource.as_str()) {
            let why = format!("{resource} is forbidden: the user may not do that");
            return (Err(refusal(403, "Forbidden", why)), None);
        }
        if call.is_watch() {
            return (Ok(None), None);
        }
        if !call.is_write() {
            return (self.read(call).map(Some), None);
        }
        self.writes += 1;
        let fault = self.fault.filter(|fault| fault.write == self.writes);
        if let Some(fault) = fault {
            self.fault = None;
            if fault.when == When::Before {
                return (Ok(None), Some(fault.how));
            }
        }
        let outcome = self.write(call).map(Some);
        (outcome, fault.map(|fault| fault.how))
    }

    /// The objects as a read sees them now.
    pub fn seen(&mut self) -> Arc<Objects> {
        match self.lag.as_mut().map(|lag| lag()) {
            Some(changes) if changes > 0 => self.store.before(changes),
            _ => self.store.now(),
        }
    }

    fn read(&mut self, call: &Call) -> Result<String, Refusal> {
        match (call.subresource.as_deref(), &call.name) {
            (None, _) => {}
            (Some("log"), Some(pod)) => return self.log(call, pod),
            (Some("proxy"), Some(agent)) => return self.proxied(agent),
            (other, _) => panic!("reads of {other:?} are not modelled"),
        }
        let objects = self.seen();
        if call.name.is_some() {
            return objects
                .get(&call.path)
                .map(|object| object.text().to_owned())
                .ok_or_else(|| refusal(404, "NotFound", format!("{} not found", call.path)));
        }
        let kind = kinds::of(&call.resource);
        let items = objects.iter().filter(|(path, object)| call.selects(path, object));
        let items: Vec<&str> = items.map(|(_, object)| object.text()).collect();
        Ok(format!(
            r#"{{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{}"}},"items":[{}]}}"#,
            kind.name,
            kind.api_version,
            self.store.version(),
            items.join(",")
        ))
    }

    fn log(&self, call: &Call, pod: &str) -> Result<String, Refusal> {
        let path = call.path.as_str();
        let found = self.store.get(path).is_some();
        let log = format!("{pod} begins\npassword=hunter2\n{pod} goes on\n");
        found.then_some(log).ok_or_else(|| refusal(404, "NotFound", format!("{path} not found")))
    }

    /// What an agent answers by way of the API server.
    fn proxied(&self, agent: &str) -> Result<String, Refusal> {
        let pod = agent.strip_suffix(":9616").expect("only agents are modelled");
        let mut brokers = self.group.brokers.values();
        let broker = brokers.find(|broker| broker.pod == pod);
        let report = broker.and_then(|broker| self.group.report(broker));
        report.map(|report| serde_json::to_string(&report).unwrap()).ok_or_else(|| {
            refusal(503, "ServiceUnavailable", "error trying to reach service: i/o timeout")
        })
    }

    fn write(&mut self, call: &Call) -> Result<String, Refusal> {
        if let Some(refuse) = self.refuse.as_ref().filter(|refuse| refuse.resource == call.resource)
        {
            let reason = if refuse.code == 403 { "Forbidden" } else { "Invalid" };
            return Err(refusal(refuse.code, reason, refuse.message));
        }
        let object = match call.method.as_str() {
            "POST" => self.create(call)?,
            "PUT" => self.put(call)?,
            "PATCH" if call.is_apply() => self.apply(call)?,
            "PATCH" if call.content_type == "application/merge-patch+json" => self.patch(call)?,
            "DELETE" => self.delete(call)?,
            method => panic!("the fake API server knows no {method} with {}", call.content_type),
        };
        Ok(object.text().to_owned())
    }

    fn create(&mut self, call: &Call) -> Result<Arc<Stored>, Refusal> {
        let name =
            call.body["metadata"]["name"].as_str().expect("generated names are not modelled");
        let path = format!("{}/{name}", call.path);
        self.store.create(&path, call.manager(), call.body.clone())
    }

    fn put(&mut self, call: &Call) -> Result<Arc<Stored>, Refusal> {
        assert!(call.subresource.is_none(), "PUT of a subresource is not modelled");
        let version = call.body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        assert!(
            !version.is_empty(),
            "a PUT without resourceVersion overwrites whatever is there: {}",
            call.path
        );
        let live = self.store.get(&call.path);
        let (given, live) =
            (&call.body["metadata"]["uid"], live.as_ref().map(|live| &live["metadata"]["uid"]));
        if live.is_some_and(|live| given.is_string() && given != live) {
            return Err(refusal(409, "Conflict", "Precondition failed: UID"));
        }
        self.store.replace(&call.path, call.manager(), call.body.clone())
    }

    fn apply(&mut self, call: &Call) -> Result<Arc<Stored>, Refusal> {
        let mut config = call.body.clone();
        if call.subresource.as_deref() == Some("status") {
            let Some(live) = self.store.get(&call.path) else {
                return Err(refusal(404, "NotFound", format!("{} not found", call.path)));
            };
            // A real server takes nothing from metadata here but the resourceVersion: it even
            // ignores another uid (tried on 1.34).
            config["metadata"]["uid"] = live["metadata"]["uid"].clone();
            let manager = format!("{}/status", call.manager());
            return self
                .store
                .apply(&call.path, (&manager, call.forced()), &config)
                .map(|(object, _)| object);
        }
        assert!(call.subresource.is_none(), "{:?} is not modelled", call.subresource);
        if call.resource == "persistentvolumeclaims" && self.fixed_size && self.grows(call) {
            return Err(refusal(403, "Forbidden", NOT_RESIZABLE));
        }
        let (object, is_new) =
            self.store.apply(&call.path, (call.manager(), call.forced()), &config)?;
        if call.resource == "statefulsets" {
            let hash = object["spec"]["template"]["metadata"]["annotations"]["tandem-operator.io/template-hash"].to_string();
            if self.templates.last() != Some(&hash) {
                self.templates.push(hash);
            }
        }
        if is_new {
            // An apply that makes an object needs both rights.
            self.calls.push(Asked { verb: "create".into(), ..call.asked() });
        }
        Ok(object)
    }

    /// Whether a claim that exists would ask for more than before.
    fn grows(&self, call: &Call) -> bool {
        let size =
            |claim: &Value| amount(claim.pointer("/spec/resources/requests/storage")?.as_str()?);
        self.store.get(&call.path).is_some_and(|live| size(&call.body) > size(&live))
    }

    fn patch(&mut self, call: &Call) -> Result<Arc<Stored>, Refusal> {
        assert!(
            matches!(call.resource.as_str(), "brokerclusters" | "pods" | "events"),
            "merge patches of {} are not modelled",
            call.resource
        );
        let Some(live) = self.store.get(&call.path) else {
            return Err(refusal(404, "NotFound", format!("{} not found", call.path)));
        };
        let uid = &call.body["metadata"]["uid"];
        if uid.is_string() && *uid != live["metadata"]["uid"] {
            return Err(refusal(422, "Invalid", "metadata.uid: Invalid value: field is immutable"));
        }
        let mut object = (*live).clone();
        merge_patch(&mut object, &call.body);
        let patched = self.store.replace(&call.path, call.manager(), object)?;
        if patched["metadata"]["deletionTimestamp"].is_string() && !is_kept(&patched) {
            self.store.remove(&call.path);
        }
        Ok(patched)
    }

    fn delete(&mut self, call: &Call) -> Result<Arc<Stored>, Refusal> {
        let Some(live) = self.store.get(&call.path) else {
            return Err(refusal(404, "NotFound", format!("{} not found", call.path)));
        };
        let uid = &call.body["preconditions"]["uid"];
        assert!(uid.is_string(), "a DELETE without a uid may hit another object: {}", call.path);
        if *uid != live["metadata"]["uid"] {
            return Err(refusal(
                409,
                "Conflict",
                "the UID in the precondition does not match the UID in record",
            ));
        }
        if call.resource == "pods" {
            if let Err(why) = self.group.may_lose(&self.store, &live) {
                self.wrongs.push(format!("{} was deleted although {why}", call.path));
            }
            if call.body["gracePeriodSeconds"] == 0 {
                // The object goes at once; what is left of the pod, only its node knows.
                self.forced.push(call.path.clone());
                self.store.remove(&call.path);
                self.group.brokers.retain(|_, broker| broker.path != call.path);
            } else {
                self.group.end(&mut self.store, &call.path);
            }
        } else if mounted(&self.store, &live) {
            // Kubernetes protects a claim for as long as a pod has it.
            end(&mut self.store, &call.path);
        } else {
            self.store.remove(&call.path);
        }
        Ok(live)
    }
}

/// What the admission plugin `PersistentVolumeClaimResize` says (1.34).
const NOT_RESIZABLE: &str = "persistentvolumeclaims \"orders-store\" is forbidden: only dynamically \
    provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";

fn merge_patch(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge_patch(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
