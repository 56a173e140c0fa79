//! Whether other pods of the group exist, and what their agents say.
//!
//! A pod of the group has all labels that the operator selects by, a name of the StatefulSet's, and the
//! StatefulSet as its controller: the same as the operator asks for. Anybody who makes pods can give them two
//! common labels, and whatever such a pod said would count.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::api::ApiServer;
use crate::agent::machine::Peers;
use crate::api::names::ClusterName;
use crate::broker::report::{LockView, Report};
use crate::broker::settings::AGENT_PORT;
use crate::core::observed::ReportView;
use crate::core::promotion::Author;
use crate::reports::{HttpReports, Reports as _};
use crate::resources::selector_text;

/// The broker waits for the answer.
const DEADLINE: Duration = Duration::from_millis(300);
/// Nobody waits for the answer, which takes longer from a control plane that is busy or far away.
const LIST_DEADLINE: Duration = Duration::from_secs(2);
/// The pause before an agent is asked again for a newer look.
const AGAIN: Duration = Duration::from_millis(20);

/// What other pods' agents say of the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Pods whose brokers hold it, as their agents say.
    pub held_by: Vec<String>,
    /// Why it is not known of all others, in words.
    pub silent: Option<String>,
}

/// Asks the API server; whatever goes wrong is [`Peers::Unknown`].
pub async fn ask(api: &ApiServer, author: &Author) -> Peers {
    match api.pods(&selector(author), LIST_DEADLINE).await {
        Ok(list) => read(&list, author),
        Err(_) => Peers::Unknown,
    }
}

/// Other pods, as far as a start has to know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The API server gave no answer.
    Unknown,
    /// There are none.
    Alone,
    /// There are some, and no agent of them says that it beats on its volume.
    Silent,
    /// The agent of this pod does.
    Beats(String),
}

/// A beat that is younger goes on.
const BEATS: u64 = 3000;

/// Asks the API server for other pods, and their agents whether they beat.
pub async fn presence(api: &ApiServer, author: &Author) -> Presence {
    let Ok(list) = api.pods(&selector(author), LIST_DEADLINE).await else {
        return Presence::Unknown;
    };
    match read(&list, author) {
        Peers::Unknown => return Presence::Unknown,
        Peers::Alone => return Presence::Alone,
        Peers::Others => {}
    }
    let reports = HttpReports::new();
    let asked = others(&list, author).into_iter().map(async |peer| {
        let ReportView::Fresh(report) = reports.report(peer.agent.ip()).await else { return None };
        let age = report.volume.as_ref().and_then(|volume| volume.beat_millis);
        let beats = report.pod_uid == peer.uid && age.is_some_and(|age| age < BEATS);
        beats.then_some(peer.name)
    });
    let beats = join_all(asked).await.into_iter().flatten().next();
    beats.map_or(Presence::Silent, Presence::Beats)
}

/// Asks the other pods' agents whether their brokers hold the lock. With `since`, only what they have
/// seen after that moment counts, and is waited for.
pub async fn claims(api: &ApiServer, author: &Author, since: Option<Instant>) -> Claims {
    let list = match api.pods(&selector(author), DEADLINE).await {
        Ok(list) => list,
        Err(error) => return Claims { silent: Some(error.to_string()), ..Claims::default() },
    };
    let reports = HttpReports::new();
    let answers = others(&list, author).into_iter().map(async |peer| {
        let answer = timeout(DEADLINE, holds(&reports, &peer, since)).await;
        match answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(holds) => Ok(holds.then_some(peer.name)),
            Err(_) if !peer.runs => Ok(None),
            Err(error) => Err(format!("{}: {error}", peer.name)),
        }
    });
    let (told, silent): (Vec<_>, Vec<_>) =
        join_all(answers).await.into_iter().partition(Result::is_ok);
    let held_by = told.into_iter().flatten().flatten().collect();
    Claims { held_by, silent: silent.into_iter().find_map(Result::err) }
}

/// Asks the other pods' agents whether this pod's master may step down, for `to` if it must be that pod.
pub async fn let_step_down(api: &ApiServer, author: &Author, to: Option<&str>) -> bool {
    let Ok(list) = api.pods(&selector(author), LIST_DEADLINE).await else { return false };
    let reports = HttpReports::new();
    let answers = others(&list, author).into_iter().map(async |peer| {
        let answer = timeout(DEADLINE, reports.ask(peer.agent)).await;
        let report = answer.ok().and_then(Result::ok).filter(|said| said.pod_uid == peer.uid);
        Answer { pod: peer.name, runs: peer.runs, report }
    });
    may_step_down(&join_all(answers).await, to)
}

/// What another pod's agent said, if it did.
struct Answer {
    pod: String,
    /// Whether its container runs, as the kubelet last said.
    runs: bool,
    report: Option<Report>,
}

/// A master steps down only for a broker that is said to wait for the lock. If it must be a certain one,
/// no other pod may have a broker that could get the lock first; silence of a container that runs is no
/// proof of that.
fn may_step_down(answers: &[Answer], to: Option<&str>) -> bool {
    let waits = |answer: &Answer| answer.report.as_ref().is_some_and(Report::waits);
    let Some(to) = to else { return answers.iter().any(waits) };
    let has_no_broker = |answer: &Answer| match &answer.report {
        Some(report) => report.child.is_none(),
        None => !answer.runs,
    };
    let (wanted, rest): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.pod == to);
    wanted.into_iter().any(waits) && rest.into_iter().all(has_no_broker)
}

/// Whether its broker holds the lock: a claim that was seen before `since` is asked for again.
async fn holds(reports: &HttpReports, peer: &Peer, since: Option<Instant>) -> Result<bool, String> {
    loop {
        let asked = Instant::now();
        let report = reports.ask(peer.agent).await?;
        if report.pod_uid != peer.uid {
            return Err("another pod answers".to_owned());
        }
        let age = Duration::from_millis(report.lock.age_millis);
        if since.is_none() && report.child.is_some() && report.lock.view == LockView::Unknown {
            return Err("its agent does not see the lock".to_owned());
        }
        match report.claim() {
            Some(_) if since.is_some_and(|since| age > asked - since) => sleep(AGAIN).await,
            claim => return Ok(claim.is_some()),
        }
    }
}

fn group(author: &Author) -> ClusterName {
    ClusterName { namespace: author.pod.namespace.clone(), name: author.cluster.clone() }
}

fn selector(author: &Author) -> String {
    selector_text(&group(author))
}

/// Whether the pod is one of the group's StatefulSet, also of an earlier one of the same name: its broker
/// may hold the lock.
fn is_member(pod: &Value, group: &ClusterName) -> bool {
    let name = pod.pointer("/metadata/name").and_then(Value::as_str);
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is = |owner: &Value, key: &str, wanted: &str| {
        owner.get(key).and_then(Value::as_str) == Some(wanted)
    };
    name.is_some_and(|name| group.ordinal(name).is_some())
        && owners.into_iter().flatten().any(|owner| {
            is(owner, "kind", "StatefulSet")
                && is(owner, "name", &group.main())
                && owner.get("controller").and_then(Value::as_bool) == Some(true)
        })
}

/// The pods of the group in a list; nothing if it is none.
fn members<'a>(list: &'a Value, author: &Author) -> Option<Vec<&'a Value>> {
    let (pods, group) = (list.get("items")?.as_array()?, group(author));
    Some(pods.iter().filter(|pod| is_member(pod, &group)).collect())
}

struct Peer {
    name: String,
    uid: String,
    agent: SocketAddr,
    /// Whether its container runs, as the kubelet last said.
    runs: bool,
}

/// The other pods that have an address: without one, no broker runs.
fn others(list: &Value, author: &Author) -> Vec<Peer> {
    let pods = members(list, author).into_iter().flatten();
    pods.filter_map(peer).filter(|peer| peer.uid != author.pod.uid).collect()
}

fn peer(pod: &Value) -> Option<Peer> {
    let text = |at: &str| pod.pointer(at).and_then(Value::as_str);
    let each = |at: &str| pod.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let containers = each("/spec/containers");
    let mut ports = containers.filter_map(|one| one.get("ports")?.as_array()).flatten();
    let port = ports
        .find(|port| port.get("name").and_then(Value::as_str) == Some("tandem-agent"))
        .and_then(|port| u16::try_from(port.get("containerPort")?.as_u64()?).ok());
    let agent = SocketAddr::new(text("/status/podIP")?.parse().ok()?, port.unwrap_or(AGENT_PORT));
    let mut states = each("/status/containerStatuses");
    let runs = states.any(|status| status.pointer("/state/running").is_some());
    Some(Peer {
        name: text("/metadata/name")?.to_owned(),
        uid: text("/metadata/uid")?.to_owned(),
        agent,
        runs,
    })
}

/// A list of pods. One that is about to end may still wait for the lock, so it counts.
fn read(list: &Value, author: &Author) -> Peers {
    let Some(pods) = members(list, author) else { return Peers::Unknown };
    let uid = |pod: &Value| pod.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
    if pods.iter().any(|pod| uid(pod).as_ref() != Some(&author.pod.uid)) {
        Peers::Others
    } else if pods.is_empty() {
        // Not even this pod: the list is not to be believed.
        Peers::Unknown
    } else {
        Peers::Alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::promotion::Pod;
    use serde_json::json;

    /// Of an agent that answers as told, or does not, while its container runs or does not.
    fn answer(pod: &str, runs: bool, said: Option<(&str, &str, bool)>) -> Answer {
        let child = json!({
            "instance": "i", "pid": 7, "started": "2026-01-01T00:00:00Z", "restarts": 0,
        });
        let report = said.map(|(state, holder, broker)| {
            let report = json!({
                "pod": pod, "podUid": pod, "agentVersion": "1", "state": state,
                "lock": {"view": {"holder": holder}, "ageMillis": 5}, "greeting": "Refused",
                "child": broker.then_some(child), "lastExit": null, "promotion": null, "epoch": 1,
                "message": null,
            });
            serde_json::from_value(report).unwrap()
        });
        Answer { pod: pod.to_owned(), runs, report }
    }

    const WAITS: Option<(&str, &str, bool)> = Some(("Standby", "Other", true));
    const IDLE: Option<(&str, &str, bool)> = Some(("Held", "Other", false));

    #[test]
    fn a_master_steps_down_for_anybody_who_waits() {
        let silent = || answer("orders-1", true, None);
        assert!(may_step_down(&[silent(), answer("orders-2", true, WAITS)], None));
        for said in [None, IDLE, Some(("Standby", "Free", true)), Some(("Someday", "Other", true))]
        {
            assert!(!may_step_down(&[silent(), answer("orders-2", true, said)], None), "{said:?}");
        }
        assert!(!may_step_down(&[], None));
    }

    #[test]
    fn it_steps_down_for_a_certain_one_only_when_no_other_broker_can_be_there() {
        let to = Some("orders-1");
        let with = |said, runs| [answer("orders-1", true, WAITS), answer("orders-2", runs, said)];
        assert!(may_step_down(&with(IDLE, true), to));
        assert!(may_step_down(&with(None, false), to), "its container does not run");
        assert!(may_step_down(&[answer("orders-1", true, WAITS)], to));
        for (said, runs) in [
            (WAITS, true),
            (None, true),
            (Some(("SteppingDown", "Other", true)), true),
            (Some(("Starting", "Unknown", true)), false),
        ] {
            assert!(!may_step_down(&with(said, runs), to), "{said:?} {runs}");
        }
        let not_it = [answer("orders-1", true, IDLE), answer("orders-2", true, IDLE)];
        assert!(!may_step_down(&not_it, to), "it does not wait");
        assert!(!may_step_down(&[answer("orders-2", true, IDLE)], to), "it is not there");
    }

    fn me() -> Author {
        let pod = Pod {
            name: "orders-0".to_owned(),
            namespace: "shop".to_owned(),
            uid: "me".to_owned(),
            ips: Vec::new(),
            node: "node".to_owned(),
        };
        Author { pod, cluster: "orders".to_owned(), ports: Vec::new() }
    }

    /// As the StatefulSet makes it.
    fn metadata(name: &str, uid: &str) -> Value {
        let owner =
            json!([{"kind": "StatefulSet", "name": "orders", "uid": "s", "controller": true}]);
        json!({"name": name, "uid": uid, "ownerReferences": owner})
    }

    #[test]
    fn pods_are_selected_as_the_operator_selects_them() {
        let all = ["instance=orders", "component=broker", "managed-by=tandem"];
        let selector = selector(&me());
        assert!(all.iter().all(|label| selector.contains(&format!("app.kubernetes.io/{label}"))));
    }

    /// A pod that borrowed the labels is nobody: it is not asked, and nothing waits for it.
    #[test]
    fn strangers_with_the_labels_of_the_group_do_not_count() {
        let owned = |name: &str, kind: &str, owner: &str, controller: bool| {
            let owner =
                json!([{"kind": kind, "name": owner, "uid": "s", "controller": controller}]);
            json!({
                "metadata": {"name": name, "uid": "stranger", "ownerReferences": owner},
                "status": {"podIP": "10.0.0.9", "containerStatuses": [{"state": {"running": {}}}]},
            })
        };
        for stranger in [
            owned("orders-1", "StatefulSet", "others", true),
            owned("orders-1", "ReplicaSet", "orders", true),
            owned("orders-1", "StatefulSet", "orders", false),
            owned("orders-kafka", "StatefulSet", "orders", true),
            owned("orders-01", "StatefulSet", "orders", true),
            owned("other-1", "StatefulSet", "orders", true),
            json!({"metadata": {"name": "orders-1", "uid": "stranger"}, "status": {"podIP": "10.0.0.9"}}),
        ] {
            let own = json!({"metadata": metadata("orders-0", "me")});
            let list = json!({"items": [own, stranger]});
            assert_eq!(others(&list, &me()).len(), 0, "{stranger}");
            assert_eq!(read(&list, &me()), Peers::Alone, "{stranger}");
        }
    }

    #[test]
    fn agents_of_other_pods_with_an_address_are_asked_at_their_port() {
        let list = json!({"items": [
            {"metadata": metadata("orders-0", "me"), "status": {"podIP": "10.0.0.1"}},
            {"metadata": metadata("orders-1", "you"), "status": {
                "podIP": "fd00::2", "containerStatuses": [{"state": {"running": {}}}],
            }},
            {"metadata": metadata("orders-2", "new"), "status": {}},
            {"metadata": metadata("orders-3", "odd"),
             "spec": {"containers": [{"ports": [{"name": "tandem-agent", "containerPort": 7}]}]},
             "status": {"podIP": "10.0.0.4", "containerStatuses": [{"state": {"waiting": {}}}]}},
        ]});
        let asked: Vec<_> = others(&list, &me())
            .into_iter()
            .map(|peer| format!("{} {} {}", peer.name, peer.agent, peer.runs))
            .collect();
        assert_eq!(asked, ["orders-1 [fd00::2]:9616 true", "orders-3 10.0.0.4:7 false"]);
    }

    #[test]
    fn only_a_list_of_exactly_this_pod_means_alone() {
        let pod = |name: &str, uid: &str| json!({"metadata": metadata(name, uid)});
        let (own, other) = (pod("orders-0", "me"), pod("orders-1", "you"));
        assert_eq!(read(&json!({"items": [own]}), &me()), Peers::Alone);
        assert_eq!(read(&json!({"items": [own, other]}), &me()), Peers::Others);
        // Of an earlier pod of this name, whose broker may live.
        assert_eq!(read(&json!({"items": [own, pod("orders-0", "old")]}), &me()), Peers::Others);
        assert_eq!(read(&json!({"items": []}), &me()), Peers::Unknown);
        assert_eq!(read(&json!({"kind": "Status"}), &me()), Peers::Unknown);
    }
}
