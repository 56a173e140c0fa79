//! What Kubernetes and the nodes do, one small step per tick: the `StatefulSet`'s pods, their
//! brokers, the lock, the agents' record, garbage collection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use serde_json::{Value, json};
use tandem::{
    api::{labels, v1alpha1::amount},
    broker::report::{DatabaseReport, FoundStore, LockView, StoreProblem},
    core::{
        promotion::{self, Author, Claim, Next},
        record::RecordView,
        store_identity::{Judgement, Recorded, judge},
        validate::short_hash,
    },
};

use super::store::{self, Store, Stored, mounted, path};

/// What a pod's broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its container has not started.
    Pending,
    Starting,
    Waiting,
    /// It is kept down, as the record says.
    Held,
    /// It has the lock and does not greet yet.
    Promoting,
    Master,
    /// It ends again and again.
    Crashed,
    /// The pod is being deleted.
    Ending,
}

/// What a test makes an agent say instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Silence,
    View(LockView),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub path: String,
    pub pod: String,
    pub uid: String,
    pub address: IpAddr,
    pub phase: Phase,
}

#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Group {
    /// By pod uid.
    pub brokers: BTreeMap<String, Broker>,
    /// The pod uid that holds the lock.
    pub lock: Option<String>,
    /// By pod name.
    pub says: BTreeMap<String, Says>,
    /// Pods whose brokers were started again.
    pub restarted: BTreeSet<String>,
    /// After so many answers all agents are silent.
    pub answers_left: Option<usize>,
    /// The highest epoch written, kept beside the store.
    pub epoch: u64,
    /// Agents cannot write the record.
    pub agents_cut_off: bool,
    /// A re-created pod gets a new address; otherwise it gets the one that its name had before.
    pub fresh_addresses: bool,
    /// Masters do not step down when they are asked.
    pub deaf: bool,
    /// Volumes do not grow by themselves.
    pub no_resizer: bool,
    /// The garbage collector does not run.
    pub garbage_stays: bool,
    /// For how many milliseconds pods have not beaten on the volume, and whether the storage still
    /// counts them as alive; others beat.
    pub quiet: BTreeMap<String, (u64, Option<bool>)>,
    /// What every agent says of the database.
    pub database: Option<DatabaseReport>,
    /// The store that pods find, if they look at it. A broker that was promoted there has written to it.
    pub store: Option<FoundStore>,
    /// Why pods start no broker, by their uid.
    pub refusals: BTreeMap<String, StoreProblem>,
    /// Every promotion: pod name.
    pub promotions: Vec<String>,
    made: u8,
}

pub const NAMESPACE: &str = "shop";

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Group {
    /// One small step of everything; whether something moved.
    pub fn tick(&mut self, store: &mut Store) -> bool {
        let before = (store.version(), self.brokers.clone(), self.lock.clone());
        self.advance(store);
        self.make(store);
        self.bury(store);
        if !self.garbage_stays {
            self.collect(store);
        }
        self.provide(store);
        before != (store.version(), self.brokers.clone(), self.lock.clone())
    }

    /// Binds claims, grows their volumes, and buries those that nobody uses any more.
    fn provide(&self, store: &mut Store) {
        for (path, claim) in store.list("persistentvolumeclaims") {
            let asked = claim["spec"]["resources"]["requests"].clone();
            if claim["metadata"]["deletionTimestamp"].is_string() && !mounted(store, &claim) {
                store.remove(&path);
            } else if claim["status"].is_null() {
                let status = json!({"phase": "Bound", "capacity": asked});
                store.change(&path, |claim| claim["status"] = status);
            } else if !self.no_resizer
                && claim["status"]["capacity"].is_object()
                && amount(text(&claim, "/status/capacity/storage").as_str())
                    < amount(text(&claim, "/spec/resources/requests/storage").as_str())
            {
                store.change(&path, |claim| claim["status"]["capacity"] = asked);
            }
        }
    }

    /// Begins the end of a pod.
    pub fn end(&mut self, store: &mut Store, path: &str) {
        store::end(store, path);
        if let Some(broker) = self.brokers.values_mut().find(|broker| broker.path == path) {
            broker.phase = Phase::Ending;
        }
    }

    /// Whether losing this pod is safe in truth, whatever the operator has seen (S4).
    pub fn may_lose(&self, store: &Store, pod: &Value) -> Result<(), String> {
        let Some(victim) = self.brokers.get(&text(pod, "/metadata/uid")) else { return Ok(()) };
        let others = || self.brokers.values().filter(|broker| broker.uid != victim.uid);
        let master = others().find(|broker| broker.phase == Phase::Master);
        let clusters = store.list("brokerclusters");
        let spec = clusters.first().map_or(&Value::Null, |(_, cluster)| &cluster["spec"]);
        // Nobody counts on a pod whose broker people want down.
        let fenced = |broker: &&Broker| {
            spec["fencedPods"].as_array().is_some_and(|all| all.contains(&json!(broker.pod)))
        };
        let idle = others()
            .filter(|broker| !fenced(broker))
            .find(|broker| !matches!(broker.phase, Phase::Waiting | Phase::Held | Phase::Master));
        let replicas = spec["replicas"].as_u64().unwrap_or(1);
        let missing = usize::try_from(replicas).unwrap().saturating_sub(self.brokers.len());
        match victim.phase {
            Phase::Pending | Phase::Crashed | Phase::Held | Phase::Ending => Ok(()),
            Phase::Starting if master.is_some() => Ok(()),
            Phase::Starting => Err("nobody serves".into()),
            Phase::Promoting => Err("it is being promoted".into()),
            Phase::Master if replicas > 1 => Err("the mastership is handed over first".into()),
            Phase::Waiting if master.is_none() => Err("nobody serves".into()),
            Phase::Master | Phase::Waiting if missing > 0 => {
                Err(format!("{missing} other pods are missing"))
            }
            Phase::Master | Phase::Waiting => {
                idle.map_or(Ok(()), |idle| Err(format!("{} is {:?}", idle.pod, idle.phase)))
            }
        }
    }

    fn advance(&mut self, store: &mut Store) {
        let free = self.lock.is_none();
        let mut brokers: Vec<Broker> = self.brokers.values().cloned().collect();
        brokers.sort_by(|a, b| a.pod.cmp(&b.pod));
        for mut broker in brokers {
            let Some(pod) = store.get(&broker.path) else { continue };
            let next = match broker.phase {
                Phase::Pending
                    if text(&pod, "/spec/containers/0/image").contains("no-such-image") =>
                {
                    set_state(
                        store,
                        &broker.path,
                        &json!({"waiting": {"reason": "ImagePullBackOff"}}),
                    );
                    Phase::Pending
                }
                Phase::Pending => Phase::Starting,
                Phase::Starting
                    if pod["spec"]["containers"][0]["env"].to_string().contains("CRASHES") =>
                {
                    Phase::Crashed
                }
                Phase::Starting if self.is_refused(store, &broker) => Phase::Starting,
                Phase::Starting | Phase::Waiting if is_held(store, &broker) => Phase::Held,
                Phase::Held if !is_held(store, &broker) => Phase::Starting,
                Phase::Starting => Phase::Waiting,
                Phase::Waiting if free && self.lock.is_none() => {
                    self.lock = Some(broker.uid.clone());
                    Phase::Promoting
                }
                Phase::Master if self.is_to_step_down(store, &broker) => {
                    self.lock = None;
                    Phase::Starting
                }
                Phase::Promoting | Phase::Master => {
                    self.promote(store, &broker, &pod);
                    Phase::Master
                }
                same => same,
            };
            if next != broker.phase {
                broker.phase = next;
                let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
                set_state(store, &broker.path, &running);
                self.brokers.insert(broker.uid.clone(), broker);
            }
        }
    }

    /// Whether no broker is started on the store that the pod finds; its agent says why.
    fn is_refused(&mut self, store: &Store, broker: &Broker) -> bool {
        let record = store.get(&record_path(broker));
        let recorded = Recorded::read(record.as_ref().map(|record| &***record));
        let found = self.store.clone().unwrap_or_default();
        self.refusals.remove(&broker.uid);
        let Judgement::Refuse(refusal) = judge(&recorded, &found, None) else { return false };
        let cluster = broker.pod.rsplit_once('-').unwrap().0;
        self.refusals.insert(broker.uid.clone(), refusal.problem(cluster));
        true
    }

    /// Whether the record asks the master's agent, which hears that somebody waits: the one that is asked
    /// for, with all others down.
    fn is_to_step_down(&self, store: &Store, broker: &Broker) -> bool {
        let Some(view) = record_of(store, broker) else { return false };
        let Some(asked) = view.step_down.as_ref().filter(|asked| asked.asks(view.epoch)) else {
            return false;
        };
        let others = || self.brokers.values().filter(|other| other.uid != broker.uid);
        let waits = others().any(|other| other.phase == Phase::Waiting);
        let alone = asked.to.as_ref().is_none_or(|to| {
            others().all(|other| (other.phase == Phase::Waiting) == (other.pod == *to))
        });
        waits && alone && !self.deaf && view.master_uid.as_ref() == Some(&broker.uid)
    }

    /// What the master's agent does about the record.
    fn promote(&mut self, store: &mut Store, broker: &Broker, pod: &Value) {
        let record = record_path(broker);
        let Some(slice) = store.get(&record).filter(|_| !self.agents_cut_off) else { return };
        let view = RecordView::read(&slice);
        // It would ask the other agents; here the operator ends a dispute.
        if view.disputed.is_some() {
            return;
        }
        if view.target.as_ref().and_then(|target| target.uid.as_ref()) == Some(&broker.uid)
            && view.endpoints == 1
        {
            return;
        }
        let author = Author {
            pod: promotion::Pod {
                name: broker.pod.clone(),
                namespace: NAMESPACE.into(),
                uid: broker.uid.clone(),
                ips: vec![broker.address],
                node: text(pod, "/spec/nodeName"),
            },
            cluster: text(&slice, "/metadata/name"),
            ports: Vec::new(),
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let found = self.store.as_ref().and_then(|store| store.identity.clone());
        let claim = Claim { floor: self.epoch, tried: None, takeover_millis: 5, store: found, now };
        let Ok(Next::Write { record: next, .. }) = promotion::next(&slice, &author, &claim) else {
            panic!("a promotion that changes nothing");
        };
        self.epoch = RecordView::read(&next).epoch;
        self.promotions.push(broker.pod.clone());
        if let Some(store) = &mut self.store {
            store.used = true;
        }
        store.replace(&record, labels::AGENT, next).expect("the agent's write");
    }

    /// The `StatefulSet` controller, for `OnDelete` and `Parallel`.
    fn make(&mut self, store: &mut Store) {
        for (_, set) in store.list("statefulsets") {
            let name = text(&set, "/metadata/name");
            let replicas = set["spec"]["replicas"].as_i64().unwrap_or(1);
            let revision = keep_revision(store, &set);
            for ordinal in 0..replicas {
                let path = path("pods", NAMESPACE, &format!("{name}-{ordinal}"));
                if store.get(&path).is_none() {
                    self.make_pod(store, &set, &revision, ordinal);
                }
            }
            let owned = |pod: &Arc<Stored>| {
                pod["metadata"]["ownerReferences"][0]["uid"] == set["metadata"]["uid"]
            };
            let pods = store.list("pods");
            for (path, _) in pods
                .iter()
                .filter(|(_, pod)| owned(pod) && pod["metadata"]["deletionTimestamp"].is_null())
            {
                let ordinal = path.rsplit_once('-').unwrap().1.parse::<i64>().unwrap();
                if ordinal >= replicas {
                    self.end(store, path);
                }
            }
        }
    }

    fn make_pod(&mut self, store: &mut Store, set: &Value, revision: &str, ordinal: i64) {
        self.made += 1;
        let name = format!("{}-{ordinal}", text(set, "/metadata/name"));
        let path = path("pods", NAMESPACE, &name);
        let host =
            if self.fresh_addresses { self.made + 100 } else { u8::try_from(ordinal + 1).unwrap() };
        let address = format!("10.0.0.{host}");
        let mut pod = set["spec"]["template"].clone();
        pod["kind"] = json!("Pod");
        pod["apiVersion"] = json!("v1");
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["namespace"] = json!(NAMESPACE);
        pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
        pod["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "controller": true, "blockOwnerDeletion": true,
            "name": set["metadata"]["name"], "uid": set["metadata"]["uid"],
        }]);
        pod["spec"]["nodeName"] = json!(format!("node-{ordinal}"));
        pod["status"] = json!({
            "podIPs": [{"ip": address}],
            "containerStatuses": [{"name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ContainerCreating"}}}],
        });
        let pod = store.create(&path, "statefulset-controller", pod).expect("the pod is valid");
        let uid = text(&pod, "/metadata/uid");
        let broker = Broker {
            path,
            pod: name,
            uid: uid.clone(),
            address: address.parse().unwrap(),
            phase: Phase::Pending,
        };
        self.brokers.insert(uid, broker);
    }

    /// Pods that were ending are gone, with their brokers and the lock these held.
    fn bury(&mut self, store: &mut Store) {
        let ended: Vec<Broker> =
            self.brokers.values().filter(|b| b.phase == Phase::Ending).cloned().collect();
        for broker in ended {
            self.brokers.remove(&broker.uid);
            store.remove(&broker.path);
            if self.lock.as_ref() == Some(&broker.uid) {
                self.lock = None;
            }
        }
    }

    fn collect(&mut self, store: &mut Store) {
        for path in store.orphans() {
            if path.contains("/pods/") {
                self.end(store, &path);
            } else {
                store.remove(&path);
            }
        }
    }
}

fn record_path(broker: &Broker) -> String {
    path("endpointslices", NAMESPACE, broker.pod.rsplit_once('-').unwrap().0)
}

fn record_of(store: &Store, broker: &Broker) -> Option<RecordView> {
    store.get(&record_path(broker)).map(|slice| RecordView::read(&slice))
}

/// Whether the record keeps this broker down, or leaves the lock to another one.
fn is_held(store: &Store, broker: &Broker) -> bool {
    record_of(store, broker).is_some_and(|view| {
        let asked = view.step_down.as_ref().filter(|asked| asked.asks(view.epoch));
        let other = asked.and_then(|asked| asked.to.as_ref()).is_some_and(|to| *to != broker.pod);
        other || view.held.contains(&broker.pod)
    })
}

/// The template as it is now, kept under a name of its content, as the `StatefulSet` controller does.
fn keep_revision(store: &mut Store, set: &Value) -> String {
    let mut template = set["spec"]["template"].clone();
    let hash = short_hash(template.to_string().as_bytes());
    let name = format!("{}-{hash}", text(set, "/metadata/name"));
    let path = path("controllerrevisions", NAMESPACE, &name);
    if store.get(&path).is_none() {
        template["$patch"] = json!("replace");
        let revision = json!({
            "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "controller": true,
                "name": set["metadata"]["name"], "uid": set["metadata"]["uid"],
            }]},
            "revision": 1,
            "data": {"spec": {"template": template}},
        });
        store.create(&path, "statefulset-controller", revision).expect("the revision is valid");
    }
    name
}

fn set_state(store: &mut Store, path: &str, state: &Value) {
    store.change(path, |pod| pod["status"]["containerStatuses"][0]["state"] = state.clone());
}
