//! `status`: a group on one page.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::{
    record,
    style::{Style, Tone},
    table::{Cell, Table, toned},
    time::{age, age_of, millis},
};
use crate::plugin::{
    cluster::{Cluster, text},
    gather::group::Record,
};

/// Conditions for which `False` is as it should be.
const BETTER_FALSE: [&str; 3] = ["SplitBrain", "Progressing", "Paused"];

/// The page.
pub fn page(cluster: &Cluster, record: &Record, now: Timestamp, style: Style) -> String {
    let mut head = Table::default();
    head.row(["BrokerCluster".into(), toned(Tone::Heading, title(cluster))]);
    for note in notes(cluster) {
        head.row([Cell::default(), toned(Tone::Warning, note)]);
    }
    head.row(["Ready".into(), ready(cluster)]);
    head.row(["Master".into(), master(cluster, now)]);
    head.row([
        "Standbys".into(),
        cluster
            .text("/status/standbysWaiting")
            .map_or_else(
                || "not known".to_owned(),
                |waiting| format!("{waiting} wait for the lock"),
            )
            .into(),
    ]);
    let mut page = head.render(style);
    page += &standbys(cluster).render(style);
    let mut body = Table::default();
    body.row(["Lock         ".into(), lock(cluster)]);
    if let Some(store) = cluster.text("/status/storeIdentity") {
        body.row(["Store".into(), store.into()]);
    }
    let (tone, line) = record::line(record, cluster);
    body.row(["Record".into(), toned(tone, line)]);
    body.row(["Update".into(), update(cluster)]);
    body.row(["Last failover".into(), failover(cluster, now).into()]);
    body.row(["Switchover".into(), switchover(cluster, now)]);
    page += &body.render(style);
    page += &section("Clients", clients(cluster).as_ref(), style);
    page += &section("Conditions", conditions(cluster, now).as_ref(), style);
    page
}

/// As data: see the help of `status`.
pub fn data(cluster: &Cluster, record: &Record) -> Value {
    let unread = match record {
        Record::Unread(why) => vec![why.clone()],
        Record::Read(_) | Record::None => Vec::new(),
    };
    json!({
        "brokerCluster": cluster.0,
        "record": record::data(record, cluster),
        "unread": unread,
    })
}

fn section(title: &str, table: Option<&Table>, style: Style) -> String {
    table.map_or_else(String::new, |table| {
        format!("\n{}\n{}", style.paint(Tone::Heading, title), table.render(style))
    })
}

fn title(cluster: &Cluster) -> String {
    let flavor = cluster.text("/spec/broker/flavor").unwrap_or("Classic");
    let version = cluster.text("/spec/broker/version").unwrap_or("of unknown version");
    let pods = match cluster.replicas() {
        1 => "1 pod".to_owned(),
        count => format!("{count} pods"),
    };
    format!("{}, ActiveMQ {flavor} {version}, {pods}", cluster.name())
}

/// What was asked of the group that changes how the rest is to be read.
fn notes(cluster: &Cluster) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(split) = cluster.condition("SplitBrain").filter(|split| split.status != "False") {
        notes.push(format!("SPLIT BRAIN {}, {}: {}", split.status, split.reason, split.message));
    }
    if cluster.text("/metadata/deletionTimestamp").is_some() {
        notes.push("is being deleted".to_owned());
    }
    if cluster.is("/spec/paused") {
        notes.push("paused: the operator changes nothing; failover works".to_owned());
    }
    if cluster.is("/spec/hibernated") {
        notes.push(
            "hibernated: no broker is meant to run; `kubectl tandem wake` starts them".to_owned(),
        );
    }
    let fenced = cluster.fenced();
    if !fenced.is_empty() {
        notes.push(format!("fenced: {}", fenced.join(", ")));
    }
    if cluster.0.get("status").is_none() {
        notes.push(
            "without a status: the operator has not looked at it yet, or does not run".to_owned(),
        );
    } else if !cluster.has_seen(cluster.generation()) {
        notes.push("the status is older than the last change of the spec".to_owned());
    }
    notes
}

fn ready(cluster: &Cluster) -> Cell {
    match cluster.condition("Ready") {
        Some(ready) => {
            let (tone, word) = match ready.status.as_str() {
                "True" => (Tone::Good, "yes"),
                "False" => (Tone::Bad, "no"),
                _ => (Tone::Warning, "not known"),
            };
            toned(tone, format!("{word}, {}: {}", ready.reason, ready.message))
        }
        // A spec that was wrong from the beginning is all that is known then.
        None => {
            match cluster.condition("ConfigurationValid").filter(|valid| valid.status == "False") {
                Some(wrong) => toned(Tone::Bad, format!("no, {}: {}", wrong.reason, wrong.message)),
                None => toned(Tone::Warning, "not known"),
            }
        }
    }
}

fn master(cluster: &Cluster, now: Timestamp) -> Cell {
    let Some(pod) = cluster.text("/status/master/pod") else {
        return toned(if cluster.is("/spec/hibernated") { Tone::Plain } else { Tone::Bad }, "none");
    };
    let node = cluster.text("/status/master/node").map(|node| format!(" on {node}"));
    let address = cluster.text("/status/master/address").map(|address| format!(" ({address})"));
    let epoch = cluster.number("/status/master/epoch").map(|epoch| format!(", epoch {epoch}"));
    let since = cluster.text("/status/master/since");
    let since = since.map(|since| format!(", for {} (since {since})", age_of(since, now)));
    joined([Some(pod.to_owned()), node, address, epoch, since]).into()
}

/// The parts that there are.
fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect()
}

fn standbys(cluster: &Cluster) -> Table {
    let mut table = Table::indented(15);
    for standby in cluster.list("/status/standbys") {
        let state = text(standby, "/state").unwrap_or("?");
        let tone = match state {
            "Waiting" => Tone::Good,
            "Silent" | "Stalled" | "NotRunning" => Tone::Bad,
            _ => Tone::Warning,
        };
        table.row([
            text(standby, "/pod").unwrap_or("?").into(),
            text(standby, "/node").map(|node| format!("on {node}")).unwrap_or_default().into(),
            toned(tone, state),
            text(standby, "/message").unwrap_or_default().into(),
        ]);
    }
    table
}

fn lock(cluster: &Cluster) -> Cell {
    let Some(kind) = cluster.text("/status/lock/kind") else { return "not known".into() };
    let kind = match kind {
        "File" => "file",
        "Lease" => "lease in a database:",
        other => other,
    };
    let path = cluster.text("/status/lock/path").unwrap_or_default();
    let holder = cluster.text("/status/lock/holder");
    let holder =
        holder.map_or_else(|| "no known holder".to_owned(), |pod| format!("held by {pod}"));
    let system = cluster.text("/status/lock/fileSystem").map(|system| format!("; on {system}"));
    let verified = cluster.0.pointer("/status/lock/verified").and_then(Value::as_bool);
    let (tone, holds) = match verified {
        Some(true) => (Tone::Plain, Some("; its locks hold between nodes".to_owned())),
        Some(false) => (Tone::Bad, Some("; ITS LOCKS DO NOT HOLD BETWEEN NODES".to_owned())),
        None => (Tone::Plain, None),
    };
    let measured = |field: &str, words: &str| {
        let millis = cluster.number(&format!("/status/lock/{field}"))?;
        Some(format!(", {words} {millis} ms"))
    };
    let released = measured("releaseMillis", "freed after");
    let visible = measured("visibleMillis", "writes seen after");
    let line = format!("{kind} {path}, {holder}");
    toned(tone, joined([Some(line), system, holds, released, visible]))
}

fn update(cluster: &Cluster) -> Cell {
    let Some(progress) = cluster.condition("Progressing") else { return "not known".into() };
    let tone = match (progress.status.as_str(), progress.reason.as_str()) {
        ("True", _) => Tone::Warning,
        (_, "UpToDate") => Tone::Good,
        _ => Tone::Warning,
    };
    toned(tone, format!("{}: {}", progress.reason, progress.message))
}

fn failover(cluster: &Cluster, now: Timestamp) -> String {
    let Some(to) = cluster.text("/status/lastFailover/to") else { return "none".to_owned() };
    let field = |name: &str| cluster.text(&format!("/status/lastFailover/{name}"));
    let at = field("at").map(|at| format!("{} ago ({at}), ", age_of(at, now)));
    let pods = match field("from") {
        Some(from) => format!("from {from} to {to}"),
        None => format!("to {to}"),
    };
    let reason = field("reason").map(|reason| format!(", {reason}"));
    let took = cluster.number("/status/lastFailover/takeoverMillis");
    let took = took.map(|took| format!(", served {} after it had the lock", millis(took)));
    let count = cluster.number("/status/failovers").filter(|count| *count > 1);
    let count = count.map(|count| format!("; {count} in all"));
    joined([at, Some(pods), reason, took, count])
}

fn switchover(cluster: &Cluster, now: Timestamp) -> Cell {
    let field = |name: &str| cluster.text(&format!("/status/lastSwitchover/{name}"));
    let Some(result) = field("result") else { return "none was asked for".into() };
    let tone = match result {
        "Succeeded" => Tone::Plain,
        "InProgress" => Tone::Warning,
        _ => Tone::Bad,
    };
    let at = field("at").map(|at| format!(" {} ago", age_of(at, now))).unwrap_or_default();
    let reason = field("reason").unwrap_or("?");
    let line = format!("{result}{at}, {reason}: {}", field("message").unwrap_or_default());
    let outage = cluster.number("/status/lastSwitchover/outageMillis");
    let outage = outage.map(|outage| format!("; no master for {}", millis(outage)));
    toned(tone, joined([Some(line), outage]))
}

fn clients(cluster: &Cluster) -> Option<Table> {
    let endpoints = cluster.list("/status/endpoints");
    let mut table = Table::indented(2).headed(&["LISTENER", "PROTOCOL", "ADDRESS"]);
    for endpoint in endpoints {
        let port = endpoint.pointer("/port").and_then(Value::as_i64).unwrap_or_default();
        table.row([
            text(endpoint, "/name").unwrap_or("?").into(),
            text(endpoint, "/protocol").unwrap_or("?").into(),
            format!("{}:{port}", text(endpoint, "/host").unwrap_or("?")).into(),
        ]);
        if let Some(url) = text(endpoint, "/failoverUrl") {
            table.row([Cell::default(), Cell::default(), url.into()]);
        }
    }
    (!endpoints.is_empty()).then_some(table)
}

fn conditions(cluster: &Cluster, now: Timestamp) -> Option<Table> {
    let conditions = cluster.conditions();
    let mut table = Table::indented(2).headed(&["TYPE", "STATUS", "REASON", "AGE", "MESSAGE"]);
    for condition in &conditions {
        table.row([
            condition.type_.as_str().into(),
            toned(tone(condition), condition.status.as_str()),
            condition.reason.as_str().into(),
            age(now.duration_since(condition.last_transition_time.0)).into(),
            condition.message.as_str().into(),
        ]);
    }
    (!conditions.is_empty()).then_some(table)
}

fn tone(condition: &Condition) -> Tone {
    let better_false = BETTER_FALSE.contains(&condition.type_.as_str());
    match (condition.status.as_str(), better_false) {
        ("True", false) | ("False", true) => Tone::Good,
        ("False", false) => Tone::Bad,
        ("True", true) if condition.type_ == "SplitBrain" => Tone::Bad,
        _ => Tone::Warning,
    }
}
