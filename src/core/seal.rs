//! What stands on pods for a database's credentials, so that it is seen when those change: a keyed hash. The
//! key is in a Secret of its own, so whoever may look at pods can try out no password on it.
//!
//! Pods are restarted when their mark differs from the credentials' mark now. So a seal that is new (the first
//! one of a group that ran before there were seals, or after the Secret was deleted) remembers the mark that
//! pods have, and which credentials it stands for.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::Value;
use sha2::Sha256;

use super::validate::short_hash;

/// The keys of the Secret's data.
const KEY: &str = "key";
const KEPT_MARK: &str = "keptMark";
const KEPT_HASH: &str = "keptHash";
/// What a mark begins with; those before there were seals had ten hexadecimal digits only.
const PREFIX: char = 'k';

/// The key, and what is remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    key: Vec<u8>,
    kept: Option<Kept>,
}

/// The mark that pods have, and the keyed hash of the credentials that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    mark: String,
    hash: String,
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seal").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Seal {
    /// A new one with this random key. `applied` is the mark of the pods' template, if there is one.
    pub fn new(key: [u8; 32], credentials: &[u8], applied: Option<&str>) -> Self {
        let mut seal = Self { key: key.to_vec(), kept: None };
        // A mark by a lost key cannot be compared: a deleted Secret replaces no pod.
        let same = |mark: &&str| mark.starts_with(PREFIX) || **mark == short_hash(credentials);
        seal.kept = applied
            .filter(same)
            .map(|mark| Kept { mark: mark.to_owned(), hash: seal.hash(credentials) });
        seal
    }

    /// The seal that a Secret holds; nothing if it holds none.
    pub fn of(secret: &Value) -> Option<Self> {
        let data = serde_json::from_value::<Secret>(secret.clone()).ok()?.data?;
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let key = data.get(KEY)?.0.clone();
        let kept = text(KEPT_MARK).zip(text(KEPT_HASH)).map(|(mark, hash)| Kept { mark, hash });
        Some(Self { key, kept }).filter(|seal| !seal.key.is_empty())
    }

    /// The Secret's data.
    pub fn data(&self) -> std::collections::BTreeMap<String, ByteString> {
        let kept = self.kept.iter().flat_map(|kept| {
            [(KEPT_MARK, kept.mark.as_bytes()), (KEPT_HASH, kept.hash.as_bytes())]
        });
        let all = kept.chain([(KEY, self.key.as_slice())]);
        all.map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).collect()
    }

    /// The keyed hash of these credentials.
    pub fn hash(&self, credentials: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(credentials);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(5).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// The mark for credentials of this hash. The remembered one only while nothing else changes: pods that
    /// are restarted anyway get a mark by the key.
    pub fn mark(&self, hash: &str, applied: Option<&str>) -> String {
        match &self.kept {
            Some(kept) if kept.hash == hash && applied == Some(&*kept.mark) => kept.mark.clone(),
            Some(_) | None => format!("{PREFIX}{hash}"),
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
