//! Calls of `GlusterFS`'s protocol (ONC RPC, RFC 5531), as far as the witness notes them.

use crate::storage::witness::Act;

/// "GlusterFS 4.x v1", the program of file operations.
const PROGRAM: u32 = 1_298_437;
const VERSION: u32 = 400;

/// Procedures (`enum gf_fop_procnum`).
const TRUNCATE: u32 = 10;
const READ: u32 = 12;
const WRITE: u32 = 13;
const FTRUNCATE: u32 = 24;
const LOCK: u32 = 26;

/// Of a lock: the question who holds it (`GF_LK_GETLK`), and the wish to give it back
/// (`GF_LK_F_UNLCK`).
const QUESTION: u32 = 0;
const UNLOCK: u32 = 2;

/// What the server calls a file, for ever.
pub(super) type FileId = [u8; 16];

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) file: FileId,
    pub(super) act: Act,
}

/// A record of a connection, with the number that joins call and answer.
#[derive(Debug)]
pub(super) enum Message {
    Call(u32, Call),
    /// Whether it was done.
    Answer(u32, bool),
}

/// Reads the beginning of a record; nothing when it is not of interest.
pub(super) fn parse(record: &[u8]) -> Option<Message> {
    let mut reader = Reader(record);
    let number = reader.u32()?;
    match reader.u32()? {
        0 => call(reader).map(|call| Message::Call(number, call)),
        _ => answer(reader).map(|good| Message::Answer(number, good)),
    }
}

fn call(mut reader: Reader) -> Option<Call> {
    let (_rpc, program, version) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let procedure = reader.u32()?;
    if (program, version) != (PROGRAM, VERSION) {
        return None;
    }
    // Who calls, and a proof of it that nobody gives.
    for _ in 0..2 {
        reader.u32()?;
        reader.opaque()?;
    }
    let file = reader.take(16)?.try_into().ok()?;
    let act = match procedure {
        WRITE => {
            reader.u64()?;
            Act::Write { offset: reader.u64()?, length: reader.u32()? }
        }
        READ => {
            reader.u64()?;
            Act::Read { offset: reader.u64()?, length: reader.u32()? }
        }
        TRUNCATE => Act::Truncate { length: reader.u64()? },
        FTRUNCATE => {
            reader.u64()?;
            Act::Truncate { length: reader.u64()? }
        }
        LOCK => {
            reader.u64()?;
            let (command, _kind, kind) = (reader.u32()?, reader.u32()?, reader.u32()?);
            match (command, kind) {
                (QUESTION, _) => return None,
                (_, UNLOCK) => Act::Unlock,
                _ => Act::Lock,
            }
        }
        _ => return None,
    };
    Some(Call { file, act })
}

/// Accepted, no proof, carried out; then the operation's own result, negative when it failed.
fn answer(mut reader: Reader) -> Option<bool> {
    let accepted = reader.u32()? == 0;
    reader.u32()?;
    reader.opaque()?;
    let carried_out = reader.u32()? == 0;
    let result = reader.u32()?.cast_signed();
    Some(accepted && carried_out && result >= 0)
}

/// Reads XDR (RFC 4506): big-endian numbers, everything in fours.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn opaque(&mut self) -> Option<()> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length.next_multiple_of(4)).map(drop)
    }
}
