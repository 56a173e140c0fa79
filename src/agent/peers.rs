//! Whether other pods of the group exist, and what their agents say.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::agent::api::ApiServer;
use crate::agent::machine::Peers;
use crate::api::labels;
use crate::core::observed::ReportView;
use crate::core::promotion::Author;
use crate::reports::{HttpReports, Reports as _};

/// The broker waits for the answer.
const DEADLINE: Duration = Duration::from_millis(300);
/// The value of [`labels::COMPONENT`] of broker pods.
const BROKER: &str = "broker";

/// Asks the API server; whatever goes wrong is [`Peers::Unknown`].
pub async fn ask(api: &ApiServer, author: &Author) -> Peers {
    match api.pods(&selector(author), DEADLINE).await {
        Ok(list) => read(&list, &author.pod.uid),
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
    let Ok(list) = api.pods(&selector(author), DEADLINE).await else { return Presence::Unknown };
    match read(&list, &author.pod.uid) {
        Peers::Unknown => return Presence::Unknown,
        Peers::Alone => return Presence::Alone,
        Peers::Others => {}
    }
    let reports = HttpReports::new();
    let asked = addresses(&list, &author.pod.uid).into_iter().map(|at| reports.report(at));
    let beats = join_all(asked).await.into_iter().find_map(|view| match view {
        ReportView::Fresh(report) => {
            let age = report.volume.as_ref().and_then(|volume| volume.beat_millis);
            age.is_some_and(|age| age < BEATS).then_some(report.pod)
        }
        ReportView::Silent(_) => None,
    });
    beats.map_or(Presence::Silent, Presence::Beats)
}

/// The addresses of the other pods.
fn addresses(list: &Value, own_uid: &str) -> Vec<IpAddr> {
    let pods = list.get("items").and_then(Value::as_array).into_iter().flatten();
    let others = pods.filter(|pod| pod.pointer("/metadata/uid").is_none_or(|uid| uid != own_uid));
    let address = |pod: &Value| pod.pointer("/status/podIP")?.as_str()?.parse().ok();
    others.filter_map(address).collect()
}

fn selector(author: &Author) -> String {
    format!("{}={},{}={BROKER}", labels::INSTANCE, author.cluster, labels::COMPONENT)
}

/// A list of pods. One that is about to end may still wait for the lock, so it counts.
fn read(list: &Value, own_uid: &str) -> Peers {
    let Some(pods) = list.get("items").and_then(Value::as_array) else { return Peers::Unknown };
    let uid = |pod: &Value| pod.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
    if pods.iter().any(|pod| uid(pod).as_deref() != Some(own_uid)) {
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
    use serde_json::json;

    #[test]
    fn only_a_list_of_exactly_this_pod_means_alone() {
        let pod = |uid: &str| json!({"metadata": {"uid": uid}});
        assert_eq!(read(&json!({"items": [pod("me")]}), "me"), Peers::Alone);
        assert_eq!(read(&json!({"items": [pod("me"), pod("you")]}), "me"), Peers::Others);
        assert_eq!(read(&json!({"items": [pod("me"), {}]}), "me"), Peers::Others);
        assert_eq!(read(&json!({"items": []}), "me"), Peers::Unknown);
        assert_eq!(read(&json!({"kind": "Status"}), "me"), Peers::Unknown);
    }
}
