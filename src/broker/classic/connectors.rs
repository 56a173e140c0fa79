//! The ports of a broker: how many clients may connect, how much one may send, in proportion to the heap.

use crate::{
    api::v1alpha1::{Listener, Protocol, QuantityValue, mebibytes, whole},
    broker::classic::GREETING_PORT,
};

const MEBIBYTE: u64 = 1 << 20;
/// The sizes of ActiveMQ's own configuration (6.3.1).
const STOCK_CONNECTIONS: u64 = 1000;
const STOCK_FRAME: u64 = 10 * MEBIBYTE;
/// Twenty clients that send persistent messages of this part of the heap at once do not exhaust it: each
/// message is in it several times while it is stored, and the messages in the queue have up to half of it
/// (docs/decisions/0022).
const FRAMES_IN_A_HEAP: u64 = 256;
/// One message that is larger than this part of the heap could end the JVM alone.
const LARGEST_FRAMES_IN_A_HEAP: u64 = 8;
const SMALLEST_FRAME: u64 = 64 << 10;
/// MQTT's wire format keeps its limit as an `int`, and counts no larger messages.
const LARGEST_FRAME: u64 = 256 * MEBIBYTE;
/// Heap for a connection: 56 KiB were measured for an idle one with a consumer, and as much for what is on
/// its way (docs/decisions/0022).
const CONNECTION: u64 = MEBIBYTE / 8;

/// The element `<transportConnectors>`.
///
/// The agent's own listener comes last: connectors start in order, so when it greets, all the users'
/// listeners are open. Without `maximumConnections` a broker takes as many as there come
/// (`TcpTransportServer`).
pub fn render(listeners: &[Listener], heap: u64) -> String {
    let connector =
        |name: &str, uri: &str| format!(r#"<transportConnector name="{name}" uri="{uri}"/>"#);
    let listeners = listeners.iter().map(|listener| {
        let uri = format!(
            "{}://0.0.0.0:{}?maximumConnections={}&amp;wireFormat.maxFrameSize={}",
            scheme(listener.protocol),
            listener.port,
            connections(listener, heap),
            frame(listener, heap),
        );
        connector(&listener.name, &uri)
    });
    let greeting = connector("tandem-greeting", &format!("tcp://127.0.0.1:{GREETING_PORT}"));
    let connectors: Vec<String> = listeners.chain([greeting]).collect();
    format!("<transportConnectors>{}</transportConnectors>", connectors.concat())
}

fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::OpenWire => "tcp",
        Protocol::AMQP => "amqp",
        Protocol::MQTT => "mqtt",
        Protocol::STOMP => "stomp",
    }
}

/// How many clients may connect to a listener.
fn connections(listener: &Listener, heap: u64) -> u64 {
    listener.max_connections.map_or_else(|| STOCK_CONNECTIONS.min(carried(heap)), u64::from)
}

/// How many connections fit into the part of the heap that is not for messages, which is 30 %.
fn carried(heap: u64) -> u64 {
    (heap / 10 * 3 / CONNECTION).max(1)
}

/// The largest frame of a listener in bytes.
fn frame(listener: &Listener, heap: u64) -> u64 {
    let theirs = listener.max_frame_size.as_ref().and_then(QuantityValue::amount).map(whole);
    theirs.unwrap_or_else(|| STOCK_FRAME.min(heap / FRAMES_IN_A_HEAP))
}

/// What of a listener does not fit the heap, and what to do.
pub fn problem(listener: &Listener, heap: u64) -> Option<String> {
    let name = &listener.name;
    let (connections, carried) = (connections(listener, heap), carried(heap));
    if connections > carried {
        let text = format!(
            "maxConnections of {name} is {connections}, and a heap of {} carries {carried}; lower it, or raise \
             broker.java.heap to {}",
            mebibytes(heap),
            mebibytes(connections.saturating_mul(CONNECTION) / 3 * 10 + MEBIBYTE),
        );
        return Some(text);
    }
    let (frame, largest) =
        (frame(listener, heap), (heap / LARGEST_FRAMES_IN_A_HEAP).min(LARGEST_FRAME));
    let size = listener.max_frame_size.as_ref().map_or("", |size| &size.0);
    if frame > largest {
        let text = format!(
            "maxFrameSize of {name} is {size}, and a heap of {} takes frames of {} at most; lower it, or raise \
             broker.java.heap to {}",
            mebibytes(heap),
            mebibytes(largest),
            mebibytes(frame.saturating_mul(LARGEST_FRAMES_IN_A_HEAP)),
        );
        return Some(text);
    }
    (listener.max_frame_size.is_some() && frame < SMALLEST_FRAME).then(|| {
        format!("maxFrameSize of {name} is {size}; write at least 64Ki, or clients cannot connect")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_frames_are_in_proportion_to_the_heap() {
        let listener = |more: &str| -> Listener {
            serde_saphyr::from_str(&format!("{{name: a, protocol: STOMP, port: 2000{more}}}"))
                .unwrap()
        };
        let stock = listener("");
        for (heap, connections_, frame_) in [
            (64, 153, 256 << 10),
            (384, 921, 1_572_864),
            (512, 1000, 2 << 20),
            (8192, 1000, 10 << 20),
        ] {
            let heap = heap * MEBIBYTE;
            assert_eq!((connections(&stock, heap), frame(&stock, heap)), (connections_, frame_));
            assert_eq!(problem(&stock, heap), None);
        }
        let ours = listener(", maxConnections: 1200, maxFrameSize: 64Mi");
        assert_eq!((connections(&ours, 0), frame(&ours, 0)), (1200, 64 << 20));
        assert_eq!(problem(&ours, 512 * MEBIBYTE), None);
        for (more, words) in [
            (", maxConnections: 1300", "maxConnections of a is 1300"),
            (", maxFrameSize: 65Mi", "raise broker.java.heap to 520Mi"),
            (", maxFrameSize: 1", "at least 64Ki"),
            (", maxFrameSize: -1", "at least 64Ki"),
        ] {
            let text = problem(&listener(more), 512 * MEBIBYTE).expect(more);
            assert!(text.contains(words), "{more}: {text}");
        }
    }
}
