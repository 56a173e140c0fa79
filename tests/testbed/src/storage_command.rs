//! `testbed storage`.

use anyhow::Result;
use clap::Subcommand;
use testbed::{Act, Bed, STORAGE_PORT, Seen, Storage, StorageOptions};

/// What can be done with a storage server.
#[derive(Subcommand)]
pub enum StorageAction {
    /// Make or start a server, heal it, mount it on every node, and tell where.
    Up {
        /// The server's name.
        #[arg(default_value = "shared")]
        server: String,
        /// How it behaves; fixed when it is made.
        #[command(flatten)]
        options: StorageOptions,
    },
    /// Make an empty directory which every user may write to, and tell its path on the nodes; what
    /// there was goes first.
    Directory {
        /// The server.
        server: String,
        /// The directory.
        name: String,
    },
    /// End the server at once, as a crash would.
    Stop {
        /// The server.
        server: String,
    },
    /// Start the server with the data it had.
    Start {
        /// The server.
        server: String,
    },
    /// End the server at once and start it again.
    Restart {
        /// The server.
        server: String,
    },
    /// Stop the server in its tracks.
    Freeze {
        /// The server.
        server: String,
    },
    /// Let a frozen server go on.
    Thaw {
        /// The server.
        server: String,
    },
    /// Drop the server's packets from and to a node, until it is healed.
    Cut {
        /// The server.
        server: String,
        /// The node, by number [default: all nodes].
        #[arg(long = "from")]
        node: Option<u8>,
    },
    /// Undo every cut of the server.
    Heal {
        /// The server.
        server: String,
    },
    /// Take all room that is left on a server of limited size.
    Fill {
        /// The server.
        server: String,
    },
    /// Give back the room that was taken.
    Drain {
        /// The server.
        server: String,
    },
    /// Show what the witness has seen.
    Seen {
        /// The server.
        server: String,
    },
    /// Unmount the volume everywhere and remove the server with its data.
    Remove {
        /// The server.
        server: String,
    },
}

/// Does it.
pub fn carry_out(bed: &Bed, action: StorageAction) -> Result<()> {
    let known = |name: &str| bed.known_storage(name);
    match action {
        StorageAction::Up { server, options } => {
            tell(bed, &bed.storage(&server, &options)?);
            Ok(())
        }
        StorageAction::Directory { server, name } => {
            println!("{}", known(&server)?.directory(&name)?.display());
            Ok(())
        }
        StorageAction::Stop { server } => known(&server)?.stop(),
        StorageAction::Start { server } => known(&server)?.start(),
        StorageAction::Restart { server } => known(&server)?.restart(),
        StorageAction::Freeze { server } => known(&server)?.freeze(),
        StorageAction::Thaw { server } => known(&server)?.thaw(),
        StorageAction::Cut { server, node: None } => known(&server)?.cut(),
        StorageAction::Cut { server, node: Some(node) } => {
            bed.node(node)?;
            known(&server)?.cut_from(&[node])
        }
        StorageAction::Heal { server } => known(&server)?.heal(),
        StorageAction::Fill { server } => known(&server)?.fill(),
        StorageAction::Drain { server } => known(&server)?.drain(),
        StorageAction::Seen { server } => {
            known(&server)?.seen()?.iter().for_each(|seen| println!("{}", in_words(seen)));
            Ok(())
        }
        StorageAction::Remove { server } => known(&server)?.remove(),
    }
}

fn tell(bed: &Bed, server: &Storage) {
    println!("{} {}:{STORAGE_PORT}", server.name(), server.address());
    println!("mounted at {}", server.mount_point().display());
    println!("log {}", server.log().display());
    for node in bed.nodes() {
        println!("log of {} {}", node.name(), server.client_log(node.layout().number()).display());
    }
}

fn in_words(seen: &Seen) -> String {
    let client = seen.node.map_or_else(|| seen.client.to_string(), |node| format!("n{node}"));
    let act = match seen.act {
        Act::Read { offset, length } => format!("read {length} bytes at {offset}"),
        Act::Write { offset, length } => format!("write {length} bytes at {offset}"),
        Act::Truncate { length } => format!("truncate to {length}"),
        Act::Lock => "lock".to_owned(),
        Act::Unlock => "unlock".to_owned(),
    };
    let (seconds, micros) = (seen.micros / 1_000_000, seen.micros % 1_000_000);
    format!("{seconds}.{micros:06} {client} {} {act}", seen.path)
}
