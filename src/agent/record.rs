//! The record as the machine takes it: of this broker process, of a newer master, or neither; and what it
//! asks of this pod.

use serde_json::Value;

use crate::agent::machine::{RecordView, Side};
use crate::api::labels;
use crate::core::promotion::{Author, epoch, is_newer, is_ours};
use crate::core::split_brain::{Broker, Mark};
use crate::core::switchover::StepDown;

/// What a disputed record asks of this broker process, if it names it.
pub(super) fn side(record: &Value, uid: &str, instance: &str) -> Option<Side> {
    let mark = Mark::of(record)?;
    let ours = |broker: &&Broker| broker.uid == uid && broker.instance == instance;
    mark.brokers.iter().find(ours)?;
    Some(if mark.stays == uid { Side::Stays } else { Side::Yields })
}

/// Whether the record names this pod among those whose brokers are kept down; nothing if that cannot be
/// read. No record names nobody.
pub(super) fn is_fenced(record: Option<&Value>, pod: &str) -> Option<bool> {
    let annotations = record.and_then(|record| record.pointer("/metadata/annotations"));
    let Some(list) = annotations.and_then(|all| all.get(labels::FENCED)) else {
        return Some(false);
    };
    let names: Vec<String> = serde_json::from_str(list.as_str()?).ok()?;
    Some(names.iter().any(|name| name == pod))
}

/// The switchover that the record asks for now. One to the master itself, or to what is no pod of the
/// group by its name, asks nothing of anybody; nor does one while it is disputed who the master is.
pub(super) fn request(record: &Value, author: &Author) -> Option<StepDown> {
    let request = StepDown::of(record)?;
    let of_group = |pod: &str| {
        let ordinal = pod.strip_prefix(&author.cluster).and_then(|rest| rest.strip_prefix('-'));
        ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
    };
    let to = request.to.as_deref();
    let fits = to.is_none_or(|to| to != request.from && of_group(to));
    let asks = request.asks(epoch(record)?) && Mark::of(record).is_none();
    Some(request).filter(|_| fits && asks)
}

/// What the record says of the broker process for which `tried` was written.
pub(super) fn view(record: Option<&Value>, author: &Author, tried: Option<u64>) -> RecordView {
    match record {
        Some(record) if is_ours(record, author, tried) => RecordView::Ours,
        Some(record) if is_newer(record, author, tried) => RecordView::Newer,
        Some(_) | None => RecordView::Astray,
    }
}
