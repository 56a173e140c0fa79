//! What a command waits for, and what a status says about it. Pure.

use std::collections::BTreeSet;

use super::{cluster::Cluster, render::time::millis};

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// An answer to the request with this id.
    Switchover {
        /// The annotation's value.
        id: String,
    },
    /// The operator keeps its hands off, or no longer.
    Paused(bool),
    /// No pod is left.
    Hibernated,
    /// A master serves again.
    Awake,
    /// The brokers of these pods are down.
    Fenced(Vec<String>),
    /// The brokers of these pods are up again.
    Unfenced(Vec<String>),
    /// None of these pods, by their uids, is left, and the group is whole.
    Restarted(BTreeSet<String>),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is so.
    Done(String),
    /// It will not be so, and what to do.
    Failed(String),
    /// Not yet.
    Going(String),
}

/// What a look at the group shows.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The `BrokerCluster`.
    pub cluster: &'a Cluster,
    /// The uids of its pods; looked at only where a goal is about them.
    pub pods: Option<&'a BTreeSet<String>>,
    /// The generation of the spec that was asked for.
    pub generation: i64,
}

impl Goal {
    /// Whether a look at the pods is needed.
    pub fn is_about_pods(&self) -> bool {
        matches!(self, Self::Restarted(_) | Self::Hibernated)
    }

    /// How far it is.
    pub fn progress(&self, seen: &Seen<'_>) -> Progress {
        let cluster = seen.cluster;
        if let Self::Switchover { id } = self {
            return switchover(cluster, id);
        }
        if !cluster.has_seen(seen.generation) {
            return Progress::Going("the operator has not looked at it yet".to_owned());
        }
        if let Some(obstacle) = self.obstacle(cluster) {
            return Progress::Failed(obstacle);
        }
        let name = &cluster.name().name;
        match self {
            Self::Switchover { .. } => Progress::Going(String::new()),
            Self::Paused(paused) => Self::paused(cluster, *paused),
            Self::Hibernated => hibernated(seen, name),
            Self::Awake if cluster.holds("Ready") => {
                Progress::Done(format!("{name} serves again: {}", master(cluster)))
            }
            Self::Awake => Progress::Going(reason(cluster, "Ready")),
            Self::Fenced(pods) => fenced(cluster, pods),
            Self::Unfenced(pods) => unfenced(cluster, pods),
            Self::Restarted(old) => restarted(seen, old),
        }
    }

    fn paused(cluster: &Cluster, paused: bool) -> Progress {
        let name = &cluster.name().name;
        match (cluster.holds("Paused") == paused, paused) {
            (true, true) => Progress::Done(format!(
                "{name} is paused: the operator changes nothing, failover works"
            )),
            (true, false) => Progress::Done(format!("{name} is no longer paused")),
            (false, _) => Progress::Going("the operator has not said so yet".to_owned()),
        }
    }

    /// What keeps the operator from carrying it out.
    fn obstacle(&self, cluster: &Cluster) -> Option<String> {
        let name = &cluster.name().name;
        let pausing = matches!(self, Self::Paused(_));
        if !pausing && cluster.is("/spec/paused") {
            return Some(format!(
                "{name} is paused, so the operator does nothing about it. It will once you say \
                 `kubectl tandem resume {name}`"
            ));
        }
        let wrong = cluster.condition("ConfigurationValid")?;
        (wrong.status == "False" && wrong.reason == "InvalidSpec").then(|| {
            format!(
                "the spec of {name} is wrong, so the operator changes nothing. {}",
                wrong.message
            )
        })
    }
}

fn switchover(cluster: &Cluster, id: &str) -> Progress {
    let field = |name: &str| cluster.text(&format!("/status/lastSwitchover/{name}"));
    if field("id") != Some(id) {
        return Progress::Going("the operator has not answered yet".to_owned());
    }
    let message = field("message").unwrap_or_default().to_owned();
    let reason = field("reason").unwrap_or("of an unknown kind");
    match field("result") {
        Some("Succeeded") => {
            let outage = cluster.number("/status/lastSwitchover/outageMillis");
            let outage = outage.map_or_else(
                || "how long there was none is not known".to_owned(),
                |outage| format!("there was none for {}", millis(outage)),
            );
            Progress::Done(format!("{message}; {outage}"))
        }
        Some("Refused") => Progress::Failed(format!(
            "refused, {reason}: {message}. {}",
            advice(reason, &cluster.name().name)
        )),
        Some("HandedBack") => Progress::Failed(format!(
            "handed back, {reason}: {message}. See the standby's log: `kubectl tandem logs {} \
             --standby`",
            cluster.name().name
        )),
        _ => Progress::Going(message),
    }
}

/// What to do about a refusal.
fn advice(reason: &str, name: &str) -> String {
    let status = format!("`kubectl tandem status {name}`");
    match reason {
        "NoStandby" => format!(
            "Wait until a pod waits for the lock ({status} says what they do), then ask again"
        ),
        "NoMaster" | "NotConverged" => {
            format!("A failover is under way: wait until {status} says Ready, then ask again")
        }
        "LockDisputed" => format!("See SplitBrain in {status}"),
        "OtherWork" => format!("Wait until {status} says that the update is over, then ask again"),
        "Paused" => format!("Say `kubectl tandem resume {name}`, then ask again"),
        "NoSuchPod" | "AlreadyMaster" => "Name another pod, or none".to_owned(),
        "Hibernated" => format!("Say `kubectl tandem wake {name}`, then ask again"),
        "NotSteppedDown" => format!("See the master's log: `kubectl tandem logs {name} --master`"),
        _ => format!("{status} says more. Nothing will be carried out later: ask again"),
    }
}

fn hibernated(seen: &Seen<'_>, name: &str) -> Progress {
    let left = seen.pods.map_or_else(
        || seen.cluster.number("/status/replicas").unwrap_or_default(),
        |pods| i64::try_from(pods.len()).unwrap_or(i64::MAX),
    );
    match left {
        0 => Progress::Done(format!(
            "{name} is hibernated: no pod is left, and the store is kept. `kubectl tandem wake \
             {name}` starts it again"
        )),
        1 => Progress::Going("1 pod is left".to_owned()),
        count => Progress::Going(format!("{count} pods are left")),
    }
}

/// A broker that is down because its pod is fenced is `Held`.
fn fenced(cluster: &Cluster, pods: &[String]) -> Progress {
    let running: Vec<&str> = pods
        .iter()
        .map(String::as_str)
        .filter(|pod| !matches!(cluster.standby_state(pod), Some("Held" | "NotRunning")))
        .collect();
    if running.is_empty() {
        let (them, are) = (pods.join(" and "), if pods.len() > 1 { "are" } else { "is" });
        return Progress::Done(format!("the broker of {them} {are} down; the pod stays"));
    }
    let state = |pod: &&str| {
        let state = cluster.standby_state(pod).unwrap_or(
            if cluster.text("/status/master/pod") == Some(*pod) { "master" } else { "not known" },
        );
        format!("{pod}: {state}")
    };
    let states: Vec<String> = running.iter().map(state).collect();
    Progress::Going(format!("{}; {}", states.join(", "), reason(cluster, "Progressing")))
}

fn unfenced(cluster: &Cluster, pods: &[String]) -> Progress {
    let master = cluster.text("/status/master/pod");
    let down: Vec<String> = pods
        .iter()
        .filter(|pod| master != Some(pod.as_str()))
        .filter_map(|pod| match cluster.standby_state(pod) {
            Some("Waiting") => None,
            state => Some(format!("{pod}: {}", state.unwrap_or("not known"))),
        })
        .collect();
    if down.is_empty() {
        Progress::Done(format!("{} runs again", pods.join(" and ")))
    } else {
        Progress::Going(down.join(", "))
    }
}

fn restarted(seen: &Seen<'_>, old: &BTreeSet<String>) -> Progress {
    let cluster = seen.cluster;
    let left = seen.pods.map_or(old.len(), |pods| pods.intersection(old).count());
    let whole = cluster.holds("Ready")
        && cluster
            .condition("StandbyReady")
            .is_none_or(|standby| standby.status == "True" || standby.reason == "SinglePod");
    if left == 0 && whole {
        return Progress::Done(format!(
            "all brokers of {} were restarted: {}",
            cluster.name().name,
            master(cluster)
        ));
    }
    // A window has to open, or people delete the pods: nothing that is waited for at a terminal.
    if let Some(scheduled) =
        cluster.condition("Progressing").filter(|it| it.reason == "RolloutScheduled")
    {
        return Progress::Done(format!("asked for, and to be done later: {}", scheduled.message));
    }
    let pods = if left == 1 { "pod is" } else { "pods are" };
    Progress::Going(format!("{left} {pods} to be restarted; {}", reason(cluster, "Progressing")))
}

fn master(cluster: &Cluster) -> String {
    cluster
        .text("/status/master/pod")
        .map_or_else(|| "no master is known".to_owned(), |pod| format!("{pod} is master"))
}

/// Why a condition is as it is.
fn reason(cluster: &Cluster, type_: &str) -> String {
    cluster.condition(type_).map_or_else(
        || "the operator has said nothing yet".to_owned(),
        |condition| format!("{}: {}", condition.reason, condition.message),
    )
}

#[cfg(test)]
#[path = "goal_tests.rs"]
mod tests;
