//! The promotion record beside the status.

use serde_json::{Value, json};

use super::style::Tone;
use crate::{
    core::record::RecordView,
    plugin::{cluster::Cluster, gather::group::Record},
};

/// Whom the Service leads to, and whether the status says the same.
pub fn line(record: &Record, cluster: &Cluster) -> (Tone, String) {
    let record = match record {
        Record::Read(record) => record,
        Record::None => return (Tone::Plain, "none yet: no broker was ever promoted".to_owned()),
        Record::Unread(why) => return (Tone::Warning, format!("not read: {why}")),
    };
    let leads = leads(record);
    if let Some(mark) = &record.disputed {
        let pods: Vec<&str> = mark.brokers.iter().map(|broker| broker.pod.as_str()).collect();
        let text = format!(
            "{leads}. Marked as disputed since {} by {}: nobody is promoted before it is proven \
             that only one holds the lock",
            mark.at,
            pods.join(" and ")
        );
        return (Tone::Bad, text);
    }
    match disagreement(record, cluster) {
        None => (Tone::Good, format!("{leads}; agrees with the status")),
        Some(difference) => (Tone::Warning, format!("{leads}; {difference}")),
    }
}

fn leads(record: &RecordView) -> String {
    let target = record.target.as_ref();
    let pod = target.and_then(|target| target.pod.as_deref());
    let address = target.and_then(|target| target.address.as_deref());
    let whither = match (pod, address) {
        (Some(pod), Some(address)) => format!("leads clients to {pod} ({address})"),
        (Some(place), None) | (None, Some(place)) => format!("leads clients to {place}"),
        (None, None) => "leads clients nowhere".to_owned(),
    };
    let others = match record.endpoints {
        0 | 1 => String::new(),
        count => format!(" and {} others, which is not Tandem's doing", count - 1),
    };
    format!("{whither}{others}, epoch {}", record.epoch)
}

/// In what the status says otherwise.
fn disagreement(record: &RecordView, cluster: &Cluster) -> Option<String> {
    let target = record.target.as_ref().and_then(|target| target.pod.as_deref());
    let master = cluster.text("/status/master/pod");
    let epoch = cluster.number("/status/master/epoch");
    match (target, master) {
        (Some(target), Some(master)) if target != master => {
            Some(format!("the status names {master}"))
        }
        (None, Some(master)) => Some(format!("the status names {master}")),
        (_, None) => Some("the status names no master".to_owned()),
        _ => epoch
            .filter(|epoch| u64::try_from(*epoch) != Ok(record.epoch))
            .map(|epoch| format!("the status speaks of epoch {epoch}")),
    }
}

/// As data.
pub fn data(record: &Record, cluster: &Cluster) -> Value {
    let Record::Read(record) = record else { return Value::Null };
    let target =
        record.target.as_ref().map(|target| json!({"pod": target.pod, "address": target.address}));
    json!({
        "epoch": record.epoch,
        "master": record.master,
        "since": record.since,
        "leadsTo": target,
        "disputed": record.disputed.is_some(),
        "agrees": disagreement(record, cluster).is_none(),
    })
}
