//! The promotion record: what of it differs from one to the next, and the real rules for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::LocalKey;

use jiff::Timestamp;
use serde_json::Value;
use tandem::agent::machine::RecordView;
use tandem::broker::settings::RecordPort;
use tandem::core::promotion::{
    Author, Claim, Next, Pod as RecordPod, emptied, is_newer, is_ours, next, shell,
};
use tandem::core::record::RecordView as Seen;

use crate::world::ordinal;

/// What of the promotion record differs from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Record {
    pub version: u32,
    pub epoch: Option<u64>,
    pub uid: Option<u8>,
    /// It leads to that pod; otherwise nowhere.
    pub leads: bool,
}

/// The version of a record that is to be created.
pub const NEW: u32 = u32::MAX;

type Memory<K, V> = LocalKey<RefCell<HashMap<K, V>>>;

thread_local! {
    static VIEWS: RefCell<HashMap<(Option<Record>, u8, Option<u64>), RecordView>> = RefCell::default();
    static NEXTS: RefCell<HashMap<(Record, u8, u64, Option<u64>), Option<Record>>> = RefCell::default();
    static EMPTIED: RefCell<HashMap<(Record, u8), Option<Record>>> = RefCell::default();
}

/// The rules are pure, and most of the time went into JSON: each question is asked once.
fn once<K: Hash + Eq, V: Copy>(memory: &'static Memory<K, V>, key: K, ask: impl Fn(&K) -> V) -> V {
    memory.with_borrow_mut(|known| {
        let answer = known.get(&key).copied();
        answer.unwrap_or_else(|| {
            let answer = ask(&key);
            known.insert(key, answer);
            answer
        })
    })
}

impl Record {
    /// As the API server has it.
    fn to_json(self, reader: u8) -> Value {
        let mut record = shell(&author(self.uid.unwrap_or(reader)));
        record["metadata"]["resourceVersion"] = self.version.to_string().into();
        if let (Some(epoch), Some(uid)) = (self.epoch, self.uid) {
            let claim = claim(epoch - 1, None);
            if let Ok(Next::Write { record: written, .. }) = next(&record, &author(uid), &claim) {
                record = written;
            }
            if !self.leads {
                record["endpoints"] = serde_json::json!([]);
            }
        }
        record
    }

    fn from_json(record: &Value) -> Self {
        let seen = Seen::read(record);
        Self {
            version: seen.resource_version.parse().unwrap_or_default(),
            epoch: Some(seen.epoch).filter(|epoch| *epoch > 0),
            uid: seen.master_uid.and_then(|uid| uid.parse().ok()),
            leads: seen.target.is_some(),
        }
    }

    /// What a promotion of this pod makes of it; nothing if it names it already.
    pub fn next(self, reader: u8, floor: u64, tried: Option<u64>) -> Option<Self> {
        once(&NEXTS, (self, reader, floor, tried), |_| {
            match next(&self.to_json(reader), &author(reader), &claim(floor, tried)) {
                Ok(Next::Ours { .. }) => None,
                Ok(Next::Write { record, .. }) => Some(Self::from_json(&record)),
                Err(error) => panic!("a record of ours: {error}"),
            }
        })
    }

    /// What is left of it when this pod has ended, if that is a change.
    pub fn emptied(self, reader: u8) -> Option<Self> {
        once(&EMPTIED, (self, reader), |_| {
            let rest = emptied(&self.to_json(reader), &author(reader)).expect("a record of ours");
            rest.as_ref().map(Self::from_json)
        })
    }
}

/// What this pod takes the record for.
pub fn view(record: Option<Record>, reader: u8, tried: Option<u64>) -> RecordView {
    once(&VIEWS, (record, reader, tried), |_| match record.map(|record| record.to_json(reader)) {
        Some(record) if is_ours(&record, &author(reader), tried) => RecordView::Ours,
        Some(record) if is_newer(&record, &author(reader), tried) => RecordView::Newer,
        Some(_) | None => RecordView::Astray,
    })
}

fn claim(floor: u64, tried: Option<u64>) -> Claim {
    Claim { floor, tried, takeover_millis: 0, store: None, now: Timestamp::UNIX_EPOCH }
}

fn author(uid: u8) -> Author {
    Author {
        pod: RecordPod {
            name: format!("orders-{}", ordinal(uid)),
            namespace: "shop".to_owned(),
            uid: uid.to_string(),
            ips: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, uid))],
            node: "node".to_owned(),
        },
        cluster: "orders".to_owned(),
        ports: vec![RecordPort { name: "openwire".to_owned(), port: 61616 }],
    }
}
