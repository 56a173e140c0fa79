//! `KahaDB`'s journal on the disk, as far as tests look into it.
//!
//! A journal is batches, one after the other. Each begins with a control record: a header that is always
//! the same, the size of what follows, and its checksum. A broker writes a batch by one call and
//! acknowledges what is in it when that has returned and the file is synced.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Size and type of a control record, and its magic.
const HEADER: &[u8] = b"\0\0\0\x1c\x02WRITE BATCH";
/// The header, a size of four bytes and a checksum of eight.
const CONTROL: usize = HEADER.len() + 12;

/// A journal's end: where the next batch goes, and what stands there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What the last batch was followed by: the mark of the end, or zeros.
    Clean(usize),
    /// The beginning of a batch that was not written to its end.
    Torn {
        /// Where the batch begins.
        at: usize,
        /// How long its header says that it is.
        promised: usize,
    },
}

/// The newest journal file in a store's directory.
///
/// # Errors
/// When there is none.
pub fn newest(directory: &Path) -> Result<PathBuf> {
    let list =
        fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let files = list.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix("db-")?.strip_suffix(".log")?;
        Some((number.parse::<u32>().ok()?, entry.path()))
    });
    files
        .max()
        .map(|(_, path)| path)
        .with_context(|| format!("no journal in {}", directory.display()))
}

/// Where a journal ends.
pub fn end(journal: &[u8]) -> End {
    let mut at = 0;
    while let Some((size, sum)) = control(journal, at) {
        let data = at + CONTROL;
        match journal.get(data..data + size) {
            // A sum of 0 is none.
            Some(bytes) if sum == 0 || sum == u64::from(adler32(bytes)) => at = data + size,
            _ => return End::Torn { at, promised: size },
        }
    }
    End::Clean(at)
}

/// Leaves in a journal whose broker is gone what one leaves that dies while it writes: the first half of
/// a batch.
///
/// # Errors
/// When the file cannot be written.
pub fn tear(file: &Path) -> Result<usize> {
    const SIZE: usize = 64 << 10;
    let (End::Clean(at) | End::Torn { at, .. }) = end(&fs::read(file)?);
    let mut batch = HEADER.to_vec();
    batch.extend((SIZE as u32).to_be_bytes());
    batch.extend(1_u64.to_be_bytes());
    batch.extend([b'x'; SIZE / 2]);
    let mut journal = fs::OpenOptions::new().write(true).open(file)?;
    journal.seek(SeekFrom::Start(at as u64))?;
    journal.write_all(&batch)?;
    journal.sync_all()?;
    Ok(at)
}

/// Size and checksum that a control record at this place tells, if there is one.
fn control(journal: &[u8], at: usize) -> Option<(usize, u64)> {
    let rest = journal.get(at..at + CONTROL)?.strip_prefix(HEADER)?;
    let (size, sum) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    Some((size, u64::from_be_bytes(sum.try_into().ok()?)))
}

fn adler32(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 65_521;
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % PRIME;
        (low, (high + low) % PRIME)
    });
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(data: &[u8]) -> Vec<u8> {
        let mut batch = HEADER.to_vec();
        batch.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        batch.extend(u64::from(adler32(data)).to_be_bytes());
        batch.extend(data);
        batch
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn a_journal_ends_after_its_last_whole_batch() {
        let whole = [batch(b"one"), batch(b"two")].concat();
        assert_eq!(end(&[whole.as_slice(), b"-qMa4", &[0; 99]].concat()), End::Clean(whole.len()));
        assert_eq!(end(&[]), End::Clean(0));
        let three = batch(b"three");
        let torn = [whole.as_slice(), &three[..three.len() - 1], &[0; 99]].concat();
        assert_eq!(end(&torn), End::Torn { at: whole.len(), promised: 5 });
    }
}
