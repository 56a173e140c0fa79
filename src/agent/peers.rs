//! Whether other pods of the group exist.

use std::time::Duration;

use serde_json::Value;

use crate::agent::api::ApiServer;
use crate::agent::machine::Peers;
use crate::api::labels;
use crate::core::promotion::Author;

/// The broker waits for the answer.
const DEADLINE: Duration = Duration::from_millis(300);
/// The value of [`labels::COMPONENT`] of broker pods.
const BROKER: &str = "broker";

/// Asks the API server; whatever goes wrong is [`Peers::Unknown`].
pub async fn ask(api: &ApiServer, author: &Author) -> Peers {
    let selector =
        format!("{}={},{}={BROKER}", labels::INSTANCE, author.cluster, labels::COMPONENT);
    match api.pods(&selector, DEADLINE).await {
        Ok(list) => read(&list, &author.pod.uid),
        Err(_) => Peers::Unknown,
    }
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
