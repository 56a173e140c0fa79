#![allow(clippy::wildcard_enum_match_arm, reason = "all others are failures of the test")]

use super::*;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::labels;

/// What the API server does to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// It accepts and never answers.
    Hang,
    /// It carries the request out and never answers.
    HangAfter,
    /// Somebody else writes just before.
    Race,
    /// It says no.
    Refuse,
}

#[derive(Default)]
struct Inner {
    record: Option<Value>,
    pods: Vec<Value>,
    version: u64,
    /// Every request, with the connection that it came by.
    log: Vec<(String, u32)>,
    connections: u32,
    /// One for each write to come.
    troubles: VecDeque<Option<Trouble>>,
}

/// A stateful API server that knows one `EndpointSlice`.
#[derive(Clone, Default)]
struct FakeApi(Arc<Mutex<Inner>>);

impl FakeApi {
    fn with(record: Option<Value>) -> Self {
        let api = Self::default();
        if let Some(record) = record {
            api.0.lock().unwrap().put(record);
        }
        api
    }

    fn trouble(&self, troubles: &[Option<Trouble>]) {
        self.0.lock().unwrap().troubles.extend(troubles);
    }

    fn server(&self) -> ApiServer {
        let api = self.clone();
        let connect = move || {
            let api = api.clone();
            let mut inner = api.0.lock().unwrap();
            inner.connections += 1;
            let connection = inner.connections;
            drop(inner);
            let service = tower::service_fn(move |request: Request<Body>| {
                let api = api.clone();
                async move { Ok::<_, Infallible>(api.serve(request, connection).await) }
            });
            Ok(Client::new(service, "shop"))
        };
        ApiServer::new(Arc::new(connect), "shop")
    }

    async fn serve(&self, request: Request<Body>, connection: u32) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        if parts.uri.path() == "/api/v1/namespaces/shop/pods" {
            return ok(&json!({"items": self.0.lock().unwrap().pods}));
        }
        assert_eq!(
            parts.uri.path(),
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/orders"
        );
        let write = parts.method != Method::GET;
        let trouble = {
            let mut inner = self.0.lock().unwrap();
            inner.log.push((parts.method.to_string(), connection));
            if write { inner.troubles.pop_front().flatten() } else { None }
        };
        match trouble {
            Some(Trouble::Hang) => return std::future::pending().await,
            Some(Trouble::Refuse) => return status(403),
            Some(Trouble::Race) => self.0.lock().unwrap().touch(),
            Some(Trouble::HangAfter) | None => {}
        }
        let answer = self.0.lock().unwrap().carry_out(&parts.method, &body);
        if trouble == Some(Trouble::HangAfter) {
            return std::future::pending().await;
        }
        answer
    }

    fn record(&self) -> Value {
        self.0.lock().unwrap().record.clone().unwrap_or_default()
    }

    fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().log.iter().map(|(method, _)| method.clone()).collect()
    }
}

impl Inner {
    fn put(&mut self, mut record: Value) -> Value {
        self.version += 1;
        record["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.record.insert(record).clone()
    }

    fn touch(&mut self) {
        let record = self.record.clone().unwrap();
        self.put(record);
    }

    fn carry_out(&mut self, method: &Method, body: &[u8]) -> Response<Body> {
        let sent = || serde_json::from_slice::<Value>(body).unwrap();
        match (method.as_str(), &self.record) {
            ("GET", Some(record)) => ok(record),
            ("GET" | "PUT", None) => status(404),
            ("PUT", Some(record)) => {
                let sent = sent();
                let version = &sent["metadata"]["resourceVersion"];
                assert!(version.is_string(), "an unconditional write");
                if *version != record["metadata"]["resourceVersion"] {
                    return status(409);
                }
                ok(&self.put(sent))
            }
            ("PATCH", None) => ok(&self.put(sent())),
            (method, _) => panic!("{method} was not expected"),
        }
    }
}

fn ok(value: &Value) -> Response<Body> {
    Response::new(Body::from(serde_json::to_vec(value).unwrap()))
}

fn status(code: u16) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Test", "message": "said the test", "metadata": {},
    });
    let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
    response.body(Body::from(serde_json::to_vec(&body).unwrap())).unwrap()
}

fn fresh() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "orders"}, "addressType": "IPv4", "endpoints": null,
    })
}

/// Of one family: the fake API server has no slice that would follow the record.
fn author(ordinal: u8) -> Author {
    let mut author = promotion::tests::author(ordinal);
    author.pod.ips.truncate(1);
    author
}

fn promoter(api: &FakeApi, ordinal: u8) -> Promoter {
    Promoter {
        stores: StoreGate::unopened(api.server(), "orders"),
        api: api.server(),
        author: Arc::new(author(ordinal)),
        floor: Floor::File(Helper::absent()),
        epochs: Epochs::default(),
    }
}

/// Promotes with this proof; the epoch, and the problems on the way.
async fn promoted<F>(promoter: Promoter, prove: impl Fn() -> F) -> (u64, Vec<String>)
where
    F: Future<Output = anyhow::Result<()>>,
{
    let (events, mut queue) = mpsc::channel(1000);
    let promotion = Promotion { generation: 1, lock_taken: Instant::now(), pause: Duration::ZERO };
    promoter.promote(promotion, prove, events).await;
    let mut problems = Vec::new();
    while let Some(event) = queue.recv().await {
        match event {
            Event::Promoted { epoch, .. } => return (epoch, problems),
            Event::RecordFailed(problem) => problems.push(problem),
            other => panic!("{other:?}"),
        }
    }
    panic!("no promotion came: {problems:?}");
}

async fn proven() -> anyhow::Result<()> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_record_is_read_then_proven_then_written() {
    let api = FakeApi::with(Some(fresh()));
    let seen = api.clone();
    let (epoch, problems) = promoted(promoter(&api, 0), || async {
        assert_eq!(seen.requests(), ["GET"]);
        Ok(())
    })
    .await;
    assert_eq!((epoch, problems), (1, Vec::new()));
    assert_eq!(api.requests(), ["GET", "PUT"]);
    assert_eq!(api.record()["endpoints"][0]["targetRef"]["name"], "orders-0");
}

#[tokio::test(start_paused = true)]
async fn without_a_proof_nothing_is_written() {
    let api = FakeApi::with(Some(fresh()));
    let proofs = Mutex::new(0);
    let (_, problems) = promoted(promoter(&api, 0), || async {
        let mut proofs = proofs.lock().unwrap();
        *proofs += 1;
        anyhow::ensure!(*proofs > 3, "not yet");
        Ok(())
    })
    .await;
    assert_eq!(problems.len(), 3);
    assert_eq!(api.requests(), ["GET", "GET", "GET", "GET", "PUT"]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_starts_again_from_the_read_with_a_new_proof() {
    let api = FakeApi::with(Some(fresh()));
    api.trouble(&[Some(Trouble::Race)]);
    let proofs = Mutex::new(0);
    promoted(promoter(&api, 0), || async {
        *proofs.lock().unwrap() += 1;
        Ok(())
    })
    .await;
    assert_eq!(api.requests(), ["GET", "PUT", "GET", "PUT"]);
    assert_eq!(*proofs.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_api_server_is_given_up_after_a_second_and_asked_by_a_fresh_connection() {
    let api = FakeApi::with(Some(fresh()));
    api.trouble(&[Some(Trouble::Hang)]);
    let start = Instant::now();
    promoted(promoter(&api, 0), proven).await;
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    let connections: Vec<_> =
        api.0.lock().unwrap().log.iter().map(|(_, connection)| *connection).collect();
    assert_eq!(connections, [1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_recognised_and_not_repeated() {
    let api = FakeApi::with(Some(fresh()));
    api.trouble(&[Some(Trouble::HangAfter)]);
    let (epoch, problems) = promoted(promoter(&api, 0), proven).await;
    assert_eq!((epoch, problems.len()), (1, 1));
    assert_eq!(api.requests(), ["GET", "PUT", "GET"]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_retried_at_most_once_a_second_or_so() {
    let api = FakeApi::with(Some(fresh()));
    api.trouble(&[Some(Trouble::Refuse); 20]);
    let start = Instant::now();
    let (_, problems) = promoted(promoter(&api, 0), proven).await;
    assert_eq!(problems.len(), 20);
    assert!(start.elapsed() > Duration::from_secs(12), "{:?}", start.elapsed());
    assert!(problems[0].contains("said the test"), "{}", problems[0]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_record_is_created_and_then_written_like_any_other() {
    let api = FakeApi::with(None);
    let promoter = promoter(&api, 0);
    promoter.epochs.note(41);
    let (epoch, _) = promoted(promoter, proven).await;
    assert_eq!(epoch, 42);
    assert_eq!(api.requests(), ["GET", "PATCH", "GET", "PUT"]);
    assert_eq!(api.record()["metadata"]["labels"][labels::SERVICE_NAME], "orders");
}

#[tokio::test(start_paused = true)]
async fn of_two_promotions_that_race_the_one_with_the_older_proof_loses() {
    let api = FakeApi::with(Some(fresh()));
    let rival = promoter(&api, 1);
    let first = Mutex::new(true);
    let (epoch, problems) = promoted(promoter(&api, 0), || async {
        // The rival reads, proves and writes while this proof is under way.
        if std::mem::take(&mut *first.lock().unwrap()) {
            assert_eq!(promoted(rival.clone(), proven).await.0, 1);
        }
        Ok(())
    })
    .await;
    // Its first write was refused; it won only with a proof newer than the rival's.
    assert_eq!((epoch, problems.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_record_is_told_and_never_overwritten_blindly() {
    let mut broken = fresh();
    broken["addressType"] = json!(null);
    let api = FakeApi::with(Some(broken));
    let (events, mut queue) = mpsc::channel(1000);
    let promotion = Promotion { generation: 1, lock_taken: Instant::now(), pause: Duration::ZERO };
    let promotion = promoter(&api, 0).promote(promotion, proven, events);
    assert!(timeout(Duration::from_secs(10), promotion).await.is_err());
    let problem = queue.recv().await.unwrap();
    assert!(format!("{problem:?}").contains("addressType is malformed"), "{problem:?}");
    assert!(api.requests().iter().all(|method| method == "GET"));
}

#[tokio::test(start_paused = true)]
async fn emptying_touches_only_a_record_that_names_this_pod() {
    let api = FakeApi::with(Some(fresh()));
    promoted(promoter(&api, 0), proven).await;
    let (events, mut queue) = mpsc::channel(10);
    promoter(&api, 1).empty(events.clone()).await;
    assert!(matches!(queue.recv().await, Some(Event::Emptied)));
    assert_eq!(api.record()["endpoints"][0]["targetRef"]["name"], "orders-0");
    promoter(&api, 0).empty(events).await;
    assert_eq!(api.record()["endpoints"], json!([]));
    assert_eq!(api.record()["metadata"]["annotations"][labels::EPOCH], "1");
}

#[tokio::test(start_paused = true)]
async fn emptying_gives_up_within_a_second() {
    let api = FakeApi::with(Some(fresh()));
    promoted(promoter(&api, 0), proven).await;
    api.trouble(&[Some(Trouble::Hang)]);
    let (events, mut queue) = mpsc::channel(10);
    let start = Instant::now();
    promoter(&api, 0).empty(events).await;
    assert!(matches!(queue.recv().await, Some(Event::Emptied)));
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// A disputed record that led to `orders-1`.
fn disputed() -> Value {
    let mut record = fresh();
    record["metadata"]["annotations"] = json!({
        labels::EPOCH: "4", labels::MASTER: "orders-1", labels::MASTER_UID: "uid-1",
        labels::DISPUTED: "{}",
    });
    record
}

#[tokio::test(start_paused = true)]
async fn a_disputed_record_is_not_written_while_another_pod_is_silent() {
    let api = FakeApi::with(Some(disputed()));
    api.0.lock().unwrap().pods = vec![json!({
        "metadata": {
            "name": "orders-1", "uid": "uid-1",
            "ownerReferences": [{"kind": "StatefulSet", "name": "orders", "controller": true}],
        },
        "status": {"podIP": "127.0.0.9", "containerStatuses": [{"state": {"running": {}}}]},
    })];
    let one = timeout(Duration::from_secs(9), promoted(promoter(&api, 0), proven));
    assert!(one.await.is_err(), "it was promoted");
    assert!(!api.requests().contains(&"PUT".to_owned()));

    // Its container has ended, the kubelet says.
    api.0.lock().unwrap().pods[0]["status"]["containerStatuses"][0]["state"] = json!({});
    assert_eq!(promoted(promoter(&api, 0), proven).await.0, 5);
    assert_eq!(api.record()["metadata"]["annotations"].get(labels::DISPUTED), None);
}

#[test]
fn a_floor_that_no_group_has_reached_is_not_believed() {
    let epochs = Epochs::default();
    for floor in [u64::MAX, HIGHEST_FLOOR + 1] {
        epochs.note_floor(floor);
        assert_eq!(epochs.seen(), 0);
    }
    epochs.note_floor(7);
    assert_eq!(epochs.seen(), 7);
}
