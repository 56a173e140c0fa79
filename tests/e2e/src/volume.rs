//! Groups whose volume is on the bed's network file system, and what its witness tells of them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Act, Seen, Storage, StorageOptions};

use crate::{Group, Lab, Server, Store};

/// Mebibytes of a volume that is soon full; KahaDB's journal is a sparse file of 32 at first.
const SMALL: u32 = 96;
/// Mebibytes of one that never is. In memory: a machine's disk that stalls for longer than a client's
/// patience (2 s) would be a fault that no scenario asked for.
const ROOMY: u32 = 1024;

/// The storage server of a group, mounted on every node; nothing for another store.
///
/// # Errors
/// When it cannot be made.
pub fn make(lab: &Lab, namespace: &str, store: Store, server: Server) -> Result<Option<Storage>> {
    if store != Store::NetworkFile {
        return Ok(None);
    }
    let options = StorageOptions { witness: true, size: Some(ROOMY), ..StorageOptions::default() };
    let (name, options) = match server {
        // Nothing happens to it: it need not be quick to doubt its clients, nor they it.
        Server::Shared => {
            ("shared", StorageOptions { lock_timeout: 30, ping_timeout: 10, ..options })
        }
        Server::Own => (namespace, options),
        Server::Small => (namespace, StorageOptions { size: Some(SMALL), ..options }),
    };
    lab.bed.storage(name, &options).map(Some)
}

/// `lock` of a shared volume on this storage: brokers must be dead before it frees their locks.
pub fn lock(storage: &Storage) -> Value {
    let seconds = storage.options().lock_timeout.saturating_sub(2).max(2);
    json!({"file": {"fenceAfter": format!("{seconds}s")}})
}

impl Group<'_> {
    /// Where every node has the group's volume, if it is on network storage or a directory of the
    /// machine.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn store_directory(&self) -> Result<PathBuf> {
        let volume = self.volume(&format!("{}-store", self.name));
        match &self.storage {
            Some(storage) => Ok(storage.mount_point().join(volume)),
            None => self.lab.bed.volume(&volume),
        }
    }

    /// Runs a shell's command on a node, with the lock file as `$1`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn tamper(&self, node: u8, command: &str) -> Result<()> {
        let lock = self.store_directory()?.join("kahadb/lock");
        let mut sh = self.lab.bed.node(node)?.command("sh")?;
        testbed::shell::run(sh.args(["-c", command, "sh"]).arg(lock))
    }

    /// Checks that of several nodes only the one which was last given the lock has used the store;
    /// tells the turns.
    ///
    /// # Errors
    /// When another one has, or when nobody was seen.
    pub fn check_storage_witness(&self, storage: &Storage) -> Result<String> {
        let directory = format!("{}/kahadb/", self.volume(&format!("{}-store", self.name)));
        let seen = Testimony::of(&storage.seen()?, &directory)?;
        ensure!(seen.writes > 0, "the witness has seen nobody write");
        let turns: Vec<String> = seen.turns.iter().map(|node| format!("n{node}")).collect();
        let turns = turns.join(", ");
        Ok(match seen.last_of_old {
            0 => format!("{} writes, by the lock's holders only: {turns}", seen.writes),
            micros => format!(
                "{} writes, by holders in turn: {turns}; an old one wrote until {} ms after the lock was \
                 another's, who had not looked at the store yet",
                seen.writes,
                micros.div_euclid(1000) + 1
            ),
        })
    }
}

/// What the witness tells of one store.
#[derive(Debug, Default, PartialEq, Eq)]
struct Testimony {
    writes: usize,
    /// The nodes that were given the lock, in turn.
    turns: Vec<u8>,
    /// How long after the lock was another one's a former holder still wrote, in microseconds. That is
    /// harmless only while the other one has not begun: Classic waits for a keep-alive period first, to
    /// leave time for it.
    last_of_old: i64,
}

impl Testimony {
    fn of(seen: &[Seen], directory: &str) -> Result<Self> {
        let mut told = Self::default();
        let (mut locked, mut begun) = (0, false);
        for seen in seen {
            let Some(file) = seen.path.strip_prefix(directory) else { continue };
            let node = seen.node.context("a client that is no node")?;
            let holds = told.turns.last() == Some(&node);
            // What replaces the lock file bears the name that it had before.
            match (if file.starts_with("lock") { "lock" } else { file }, seen.act) {
                ("lock", Act::Lock) => {
                    told.turns.push(node);
                    (locked, begun) = (seen.micros, false);
                }
                ("lock", _) | (_, Act::Lock | Act::Unlock) => {}
                (_, Act::Read { .. }) => begun |= holds,
                (_, Act::Write { .. } | Act::Truncate { .. }) => {
                    ensure!(
                        holds || (!begun && !told.turns.is_empty()),
                        "two writers: n{node} wrote to {file} at {}, {} ms after the lock was given to \
                         {:?}, which uses the store",
                        seen.micros,
                        (seen.micros - locked) / 1000,
                        told.turns.last()
                    );
                    told.writes += 1;
                    if holds {
                        begun = true;
                    } else {
                        told.last_of_old = told.last_of_old.max(seen.micros - locked);
                    }
                }
            }
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Act = Act::Write { offset: 0, length: 1 };
    const READ: Act = Act::Read { offset: 0, length: 1 };

    fn seen(node: u8, file: &str, act: Act) -> Seen {
        let client = std::net::Ipv4Addr::LOCALHOST;
        Seen { micros: 7, client, node: Some(node), path: format!("v/kahadb/{file}"), act }
    }

    fn takeover() -> Vec<Seen> {
        vec![
            seen(1, "lock", Act::Lock),
            seen(1, "db-1.log", WRITE),
            seen(2, "lock", READ),
            seen(2, "lock", Act::Lock),
        ]
    }

    #[test]
    fn holders_write_in_turn() {
        let mut all = takeover();
        all.extend([seen(2, "lock", WRITE), seen(2, "db-1.log", WRITE)]);
        let told = Testimony::of(&all, "v/kahadb/").unwrap();
        assert_eq!(told, Testimony { writes: 2, turns: vec![1, 2], last_of_old: 0 });
        assert_eq!(Testimony::of(&all, "w/kahadb/").unwrap(), Testimony::default());
    }

    #[test]
    fn who_writes_without_the_lock_is_named_once_another_one_has_begun() {
        for begin in [READ, WRITE] {
            let mut all = takeover();
            all.extend([seen(2, "db-1.log", begin), seen(1, "db.data", WRITE)]);
            let error = Testimony::of(&all, "v/kahadb/").unwrap_err().to_string();
            assert!(error.contains("n1 wrote to db.data"), "{error}");
        }
        assert!(Testimony::of(&[seen(1, "db.data", WRITE)], "v/kahadb/").is_err(), "nobody's lock");
    }

    #[test]
    fn a_write_before_the_other_one_begins_is_told() {
        let mut all = takeover();
        all.push(Seen { micros: 9, ..seen(1, "db.data", WRITE) });
        all.extend([seen(1, "db-1.log", READ), seen(2, "db-1.log", READ)]);
        assert_eq!(Testimony::of(&all, "v/kahadb/").unwrap().last_of_old, 2);
    }
}
