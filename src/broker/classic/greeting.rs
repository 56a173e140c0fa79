//! The greeting of an `OpenWire` listener: the server speaks first, with a `WireFormatInfo`.

/// So many bytes tell a greeting: length (4), command type (1), magic (8).
pub const GREETING_LENGTH: usize = 13;

const WIRE_FORMAT_INFO: u8 = 1;
const MAGIC: &[u8] = b"ActiveMQ";

/// Whether these first bytes of a connection are a `WireFormatInfo`. Brokers of every version send
/// it loosely encoded, because the encoding is only negotiated by it.
pub fn is_greeting(first: &[u8; GREETING_LENGTH]) -> bool {
    let [_, _, _, _, command, magic @ ..] = first;
    *command == WIRE_FORMAT_INFO && magic == MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_activemq_sends_first_is_a_greeting() {
        // Captured from 5.17.2: length 0x152, WireFormatInfo, the magic.
        let first = [0, 0, 1, 0x52, 1, 0x41, 0x63, 0x74, 0x69, 0x76, 0x65, 0x4d, 0x51];
        assert!(is_greeting(&first));
    }

    #[test]
    fn other_protocols_and_commands_are_not() {
        assert!(!is_greeting(b"HTTP/1.1 400 "));
        assert!(!is_greeting(b"\0\0\x01\x52\x02ActiveMQ"));
        assert!(!is_greeting(b"\0\0\x01\x52\x01activemq"));
    }
}
