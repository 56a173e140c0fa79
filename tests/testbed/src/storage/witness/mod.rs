//! A witness of what clients do to the files of a storage server: it reads the packets at the
//! server's end of the cable and notes what the server has answered, with the kernel's time of the
//! answer. It knows nothing of Tandem and takes no part in what it sees.
//!
//! `GlusterFS`'s own `debug/trace` does not name clients, and version 10.3 of it ends the server with
//! a segmentation fault when a directory is listed.

mod names;
mod packets;
mod rpc;
mod tcp;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::layout::ServerLayout;
use crate::node::kill_all_in;
use crate::storage::{PORT, brick};
use crate::{cache, cgroup, daemon, network, wait};
use names::Names;
use rpc::{Call, Message};
use tcp::{Segment, Stream};

/// The hidden command by which the test bed's program becomes a witness.
pub const WITNESS_COMMAND: &str = "storage-witness";

/// Something that a client did, and that the server answered with success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When the answer left the server, in microseconds since 1970.
    pub micros: i64,
    /// The client's address.
    pub client: Ipv4Addr,
    /// The number of the node that has this address.
    pub node: Option<u8>,
    /// The file as it was called when it was first seen, from the top of the volume.
    pub path: String,
    /// What was done to it.
    pub act: Act,
}

/// What a client can do to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// It was given what the file holds there. What a node's kernel has kept is not asked for.
    Read {
        /// The first byte's place.
        offset: u64,
        /// How many bytes it wanted.
        length: u32,
    },
    /// It wrote so many bytes there.
    Write {
        /// The first byte's place.
        offset: u64,
        /// How many bytes.
        length: u32,
    },
    /// It set the file's length.
    Truncate {
        /// The new length.
        length: u64,
    },
    /// It was given a record lock.
    Lock,
    /// It gave a record lock back. A lock is also gone with the last close of its holder and with its
    /// connection.
    Unlock,
}

/// What the witness's process is called.
pub(super) fn process(server: &ServerLayout) -> String {
    format!("{}-witness", server.part())
}

/// Starts the witness unless it runs, and waits until it looks.
pub(super) fn start(server: &ServerLayout) -> Result<()> {
    let bed = server.bed();
    if daemon::running(bed, &process(server))?.is_some() {
        return Ok(());
    }
    let group = format!("{}/witness", server.cgroup());
    cgroup::create(&group)?;
    kill_all_in(&group)?;
    cache::remove(&ready(server))?;
    let mut command = network::command(&server.network(), bed.program());
    command.args(["--name", bed.name(), WITNESS_COMMAND]).arg(server.number().to_string());
    daemon::start(bed, &process(server), &group, &command)?;
    wait::until("the witness to look", Duration::from_secs(20), || {
        ensure!(daemon::running(bed, &process(server))?.is_some(), "it ended");
        Ok(ready(server).exists().then_some(()))
    })
    .with_context(|| format!("see {}", bed.log(&process(server)).display()))
}

/// What the witness has noted so far.
pub(super) fn read(server: &ServerLayout) -> Result<Vec<Seen>> {
    ensure!(
        daemon::running(server.bed(), &process(server))?.is_some(),
        "the witness ended; see {}",
        server.bed().log(&process(server)).display()
    );
    let text = fs::read_to_string(notes(server)).context("reading what the witness noted")?;
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).context("reading a note")).collect()
}

/// Looks and notes until it is ended; ends by itself only when it has missed something.
pub fn run(server: &ServerLayout) -> Result<()> {
    let socket = packets::open()?;
    let path = notes(server);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    File::create(ready(server)).context("saying that the witness looks")?;
    let mut listener = Listener::new(server)?;
    let mut buffer = packets::buffer();
    loop {
        let (micros, packet) = packets::next(&socket, &mut buffer)?;
        let Some(segment) = tcp::parse(packet) else { continue };
        for seen in listener.hear(micros, &segment)? {
            let mut line = serde_json::to_vec(&seen)?;
            line.push(b'\n');
            file.write_all(&line).with_context(|| format!("writing {}", path.display()))?;
        }
    }
}

fn notes(server: &ServerLayout) -> PathBuf {
    server.directory().join("seen.jsonl")
}

fn ready(server: &ServerLayout) -> PathBuf {
    server.directory().join("witness-looks")
}

/// Both directions of one client's connection.
#[derive(Default)]
struct Conversation {
    calls: Stream,
    answers: Stream,
    /// What the client asked for and was not answered yet, by the call's number.
    open: HashMap<u32, Call>,
}

/// Follows all connections with the server.
struct Listener {
    server: SocketAddrV4,
    /// Addresses of the bed's nodes.
    nodes: HashMap<Ipv4Addr, u8>,
    names: Names,
    conversations: HashMap<SocketAddrV4, Conversation>,
}

impl Listener {
    fn new(server: &ServerLayout) -> Result<Self> {
        let mut nodes = HashMap::new();
        for number in 1..=9 {
            nodes.insert(server.bed().node(number).address().parse()?, number);
        }
        Ok(Self {
            server: SocketAddrV4::new(server.address().parse()?, PORT),
            nodes,
            names: Names::new(brick(server)),
            conversations: HashMap::new(),
        })
    }

    fn hear(&mut self, micros: i64, segment: &Segment) -> Result<Vec<Seen>> {
        let to_server = segment.to == self.server;
        if !to_server && segment.from != self.server {
            return Ok(Vec::new());
        }
        let client = if to_server { segment.from } else { segment.to };
        // The first segment of a connection, from the side that asks for it.
        if segment.begins && to_server {
            self.conversations.insert(client, Conversation::default());
        }
        let Some(conversation) = self.conversations.get_mut(&client) else { return Ok(Vec::new()) };
        let stream = if to_server { &mut conversation.calls } else { &mut conversation.answers };
        let Ok(records) = stream.take(segment) else { bail!("packets of {client} were missed") };
        let mut seen = Vec::new();
        for record in records {
            match rpc::parse(&record) {
                Some(Message::Call(number, call)) => {
                    conversation.open.insert(number, call);
                }
                Some(Message::Answer(number, good)) => {
                    let Some(call) = conversation.open.remove(&number).filter(|_| good) else {
                        continue;
                    };
                    let node = self.nodes.get(client.ip()).copied();
                    let path = self.names.of(&call.file);
                    seen.push(Seen { micros, client: *client.ip(), node, path, act: call.act });
                }
                None => {}
            }
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, Role};

    const LOCK: &str = "800000a8000006e300000000000000020013d005000001900000001a0005f3980000002c\
        00000141000000000000000000000000000000000000000000000000000000000000000893867ddefeb2b46c\
        0000000000000000df56f9557b704c29b350e2a7226cd3a60000000000000000000000010000000100000001\
        0000000000000000000000000000000000000000000001410000000893867ddefeb2b46c00000000ffffffff\
        00000000";
    const GRANTED: &str = "80000054000006e300000001000000000000000000000000000000000000000000000000\
        00000000ffffffff00000000000000010000000000000000000000000000000000000000000001410000000893867ddefeb2b46c";
    const WRITE: &str = "8000008c000006e400000000000000020013d005000001900000000d0005f39800000028\
        000001410000000000000000000000000000000000000000000000000000000000000004410100000000000000000000\
        df56f9557b704c29b350e2a7226cd3a600000000000000000000000000000003000000080000800200000000ffffffff\
        000000006162636465666768";
    const WRITTEN: &str =
        "80000020 000006e4 00000001 00000000 00000000 00000000 00000000 00000008 00000000";
    const REFUSED: &str =
        "80000020 000006e3 00000001 00000000 00000000 00000000 00000000 ffffffff 0000000b";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn listener() -> Listener {
        Listener::new(&Layout::new("x").unwrap().server(Role::Storage, 1)).unwrap()
    }

    fn segment(from_client: bool, sequence: u32, data: &[u8]) -> Segment<'_> {
        let client = "172.30.0.12:1000".parse().unwrap();
        let server = "172.30.0.201:24007".parse().unwrap();
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        Segment { from, to, sequence, begins: false, data }
    }

    #[test]
    fn answered_calls_are_noted_with_their_client() {
        let mut listener = listener();
        let (lock, write) = (bytes(LOCK), bytes(WRITE));
        let mut hear = |segment: Segment| listener.hear(7, &segment).unwrap();
        assert!(hear(Segment { begins: true, ..segment(true, 99, b"") }).is_empty());
        assert!(hear(Segment { begins: true, ..segment(false, 4, b"") }).is_empty());
        // The write comes before the rest of the lock; both ends are seen twice.
        let after = 100 + u32::try_from(lock.len()).unwrap();
        assert!(hear(segment(true, 100, &lock[..50])).is_empty());
        assert!(hear(segment(true, after, &write)).is_empty());
        assert!(hear(segment(true, 120, &lock[20..])).is_empty());
        let granted = bytes(GRANTED);
        let seen = hear(segment(false, 5, &granted));
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].node, seen[0].act, seen[0].micros), (Some(2), Act::Lock, 7));
        assert!(hear(segment(false, 5, &granted)).is_empty());
        let next = 5 + u32::try_from(granted.len()).unwrap();
        let seen = hear(segment(false, next, &bytes(WRITTEN)));
        assert_eq!(seen[0].act, Act::Write { offset: 3, length: 8 });
        assert_eq!(seen[0].path, "df56f955-7b70-4c29-b350-e2a7226cd3a6");
    }

    #[test]
    fn what_was_refused_is_not_noted() {
        let mut listener = listener();
        let mut hear = |segment: Segment| listener.hear(7, &segment).unwrap();
        hear(Segment { begins: true, ..segment(true, 99, b"") });
        hear(Segment { begins: true, ..segment(false, 4, b"") });
        hear(segment(true, 100, &bytes(LOCK)));
        assert!(hear(segment(false, 5, &bytes(REFUSED))).is_empty());
    }
}
