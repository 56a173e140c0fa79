//! The record as the machine takes it: of this broker process, of a newer master, or neither.

use serde_json::Value;

use crate::agent::machine::{RecordView, Side};
use crate::core::promotion::{Author, is_newer, is_ours};
use crate::core::split_brain::{Broker, Mark};
use crate::core::switchover::StepDown;

/// What a disputed record asks of this broker process, if it names it.
pub(super) fn side(record: &Value, uid: &str, instance: &str) -> Option<Side> {
    let mark = Mark::of(record)?;
    let ours = |broker: &&Broker| broker.uid == uid && broker.instance == instance;
    mark.brokers.iter().find(ours)?;
    Some(if mark.stays == uid { Side::Stays } else { Side::Yields })
}

/// Whether the record asks the broker process for which `tried` was written to step down.
pub(super) fn is_asked(record: Option<&Value>, author: &Author, tried: Option<u64>) -> bool {
    let asked = record.filter(|record| is_ours(record, author, tried)).and_then(StepDown::of);
    asked.zip(tried).is_some_and(|(asked, epoch)| asked.asks(epoch))
}

/// What the record says of the broker process for which `tried` was written.
pub(super) fn view(record: Option<&Value>, author: &Author, tried: Option<u64>) -> RecordView {
    match record {
        Some(record) if is_ours(record, author, tried) => RecordView::Ours,
        Some(record) if is_newer(record, author, tried) => RecordView::Newer,
        Some(_) | None => RecordView::Astray,
    }
}
