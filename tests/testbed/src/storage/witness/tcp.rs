//! From packets to the records that went through a TCP connection.

use std::net::{Ipv4Addr, SocketAddrV4};

/// How much of a record is kept: the rest of a long one is what was written.
const HEAD: usize = 512;
/// How much may wait for a packet that came out of turn or was missed.
const PATIENCE: usize = 16 << 20;

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) sequence: u32,
    /// Whether it opens a connection: its data begins with the next number.
    pub(super) begins: bool,
    pub(super) data: &'a [u8],
}

/// Reads an IPv4 packet (RFC 791) with TCP in it (RFC 9293).
pub(super) fn parse(packet: &[u8]) -> Option<Segment<'_>> {
    let byte = |at: usize| packet.get(at).copied();
    if byte(0)? >> 4 != 4 || byte(9)? != 6 {
        return None;
    }
    let start = usize::from(byte(0)? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([byte(2)?, byte(3)?]));
    let address = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let segment = packet.get(start..total)?;
    let port = |at: usize| Some(u16::from_be_bytes(segment.get(at..at + 2)?.try_into().ok()?));
    let data = usize::from(segment.get(12)? >> 4) * 4;
    Some(Segment {
        from: SocketAddrV4::new(address(12)?, port(0)?),
        to: SocketAddrV4::new(address(16)?, port(2)?),
        sequence: u32::from_be_bytes(segment.get(4..8)?.try_into().ok()?),
        begins: segment.get(13)? & 0x02 != 0,
        data: segment.get(data..)?,
    })
}

/// A packet was missed.
#[derive(Debug)]
pub(super) struct Missed;

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Stream {
    /// The number of the next byte; unknown until the connection's first segment was seen.
    next: Option<u32>,
    /// What came before its turn.
    early: Vec<(u32, Vec<u8>)>,
    records: Records,
}

impl Stream {
    /// The records that this segment completes.
    pub(super) fn take(&mut self, segment: &Segment) -> Result<Vec<Vec<u8>>, Missed> {
        if segment.begins {
            *self = Self { next: Some(segment.sequence.wrapping_add(1)), ..Self::default() };
        }
        let mut complete = Vec::new();
        if self.next.is_none() || segment.data.is_empty() {
            return Ok(complete);
        }
        self.early.push((segment.sequence, segment.data.to_vec()));
        while let Some(place) = self.early.iter().position(|(at, _)| self.distance(*at) <= 0) {
            let (at, data) = self.early.swap_remove(place);
            let known = usize::try_from(-self.distance(at)).unwrap_or_default();
            let fresh = data.get(known..).unwrap_or_default();
            let length = u32::try_from(fresh.len()).unwrap_or_default();
            self.next = self.next.map(|next| next.wrapping_add(length));
            self.records.push(fresh, &mut complete);
        }
        let waiting: usize = self.early.iter().map(|(_, data)| data.len()).sum();
        if waiting > PATIENCE { Err(Missed) } else { Ok(complete) }
    }

    /// How far this number is after the next byte's; numbers wrap around.
    fn distance(&self, at: u32) -> i64 {
        let next = self.next.unwrap_or_default();
        i64::from(at.wrapping_sub(next).cast_signed())
    }
}

/// Cuts a stream into records (RFC 5531, section 11): fragments with their length before them, whose
/// topmost bit says that the record ends.
#[derive(Default)]
struct Records {
    mark: Vec<u8>,
    /// How much of the fragment is to come.
    rest: usize,
    last: bool,
    head: Vec<u8>,
}

impl Records {
    fn push(&mut self, mut data: &[u8], complete: &mut Vec<Vec<u8>>) {
        while !data.is_empty() {
            if self.rest == 0 {
                let (mark, after) = data.split_at(data.len().min(4 - self.mark.len()));
                self.mark.extend_from_slice(mark);
                data = after;
                let Ok(mark) = <[u8; 4]>::try_from(self.mark.as_slice()) else { return };
                self.mark.clear();
                let mark = u32::from_be_bytes(mark);
                self.last = mark >> 31 == 1;
                self.rest = usize::try_from(mark & 0x7fff_ffff).unwrap_or_default();
            }
            let (part, after) = data.split_at(data.len().min(self.rest));
            let room = HEAD.saturating_sub(self.head.len());
            self.head.extend_from_slice(&part[..part.len().min(room)]);
            self.rest -= part.len();
            data = after;
            if self.rest == 0 && self.last {
                complete.push(std::mem::take(&mut self.head));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, data: &[u8]) -> Segment<'_> {
        let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Segment { from: nobody, to: nobody, sequence, begins: false, data }
    }

    #[test]
    fn records_are_whole_whatever_the_packets_and_the_numbers() {
        let bytes = [&[0x80, 0, 0, 3][..], b"one", &[0, 0, 0, 2], b"tw", &[0x80, 0, 0, 1], b"o"];
        let bytes = bytes.concat();
        for size in 1..bytes.len() {
            let mut stream = Stream::default();
            let start = u32::MAX - 5;
            stream.take(&Segment { begins: true, ..segment(start, b"") }).unwrap();
            let mut records = Vec::new();
            let mut pieces: Vec<(u32, &[u8])> = Vec::new();
            for (number, piece) in bytes.chunks(size).enumerate() {
                let offset = u32::try_from(number * size).unwrap();
                pieces.push((start.wrapping_add(1).wrapping_add(offset), piece));
            }
            // Every other one comes after the one behind it.
            for pair in pieces.chunks_mut(2) {
                pair.reverse();
            }
            for (at, piece) in pieces {
                records.extend(stream.take(&segment(at, piece)).unwrap());
            }
            assert_eq!(records, [b"one".to_vec(), b"two".to_vec()], "pieces of {size}");
        }
    }

    #[test]
    fn a_missed_packet_is_noticed() {
        let mut stream = Stream::default();
        stream.take(&Segment { begins: true, ..segment(0, b"") }).unwrap();
        let much = vec![0; PATIENCE / 2];
        stream.take(&segment(2, &much)).unwrap();
        assert!(stream.take(&segment(2, &[&much[..], &much, b"x"].concat())).is_err());
    }

    #[test]
    fn of_a_packet_its_padding_is_left_out() {
        let mut packet = vec![0x45, 0, 0, 43, 0, 0, 0, 0, 64, 6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        packet.extend([0, 80, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0]);
        packet.extend(b"abcPADDING");
        let segment = parse(&packet).unwrap();
        assert_eq!((segment.from.to_string(), segment.to.port()), ("1.2.3.4:80".to_owned(), 256));
        assert_eq!((segment.sequence, segment.begins, segment.data), (9, true, &b"abc"[..]));
    }
}
