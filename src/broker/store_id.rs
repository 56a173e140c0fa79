//! The identity of a store.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest identity that is read; longer text is somebody else's.
const LONGEST: usize = 64;

/// The identity of a store: a random UUID, made once, at the store's first use, and kept beside the messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(String);

impl StoreId {
    /// A version 4 UUID (RFC 9562) of 128 random bits.
    pub fn of_random(bits: u128) -> Self {
        let bits = bits & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
        let hex = format!("{bits:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
        Self([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
    }

    /// Reads an identity: letters, digits and dashes. Other text is none, such as that of a file which is being
    /// written.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let valid = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(fits);
        valid.then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bits_become_a_uuid() {
        assert_eq!(StoreId::of_random(0).as_str(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(StoreId::of_random(u128::MAX).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = StoreId::of_random(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(StoreId::read(&format!("{id}\n")), Some(id));
    }

    #[test]
    fn other_text_is_no_identity() {
        for text in ["", " \n", "{}", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(StoreId::read(text), None, "{text}");
        }
    }
}
