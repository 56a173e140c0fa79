//! Groups whose volume is on the bed's network file system, and what its witness tells of them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Act, Seen, Storage, StorageOptions};

use crate::{Group, Lab, Server, Store};

/// The storage server of a group, mounted on every node; nothing for another store.
///
/// # Errors
/// When it cannot be made.
pub fn make(lab: &Lab, namespace: &str, store: Store, server: Server) -> Result<Option<Storage>> {
    if store != Store::NetworkFile {
        return Ok(None);
    }
    let name = match server {
        Server::Shared => "shared",
        Server::Own => namespace,
    };
    let options = StorageOptions { witness: true, ..StorageOptions::default() };
    lab.bed.storage(name, &options).map(Some)
}

/// `lock` of a shared volume on this storage: brokers must be dead before it frees their locks.
pub fn lock(storage: &Storage) -> Value {
    let seconds = (storage.options().lock_timeout / 2).max(2);
    json!({"file": {"fenceAfter": format!("{seconds}s")}})
}

impl Group<'_> {
    /// Checks that only the node which was last given the lock has written to the store; tells the
    /// turns.
    ///
    /// # Errors
    /// When another one has, or when nobody was seen.
    pub fn check_storage_witness(&self, storage: &Storage) -> Result<String> {
        let directory = format!("{}/kahadb/", self.volume(&format!("{}-store", self.name)));
        let (writes, turns) = turns(&storage.seen()?, &directory)?;
        ensure!(writes > 0, "the witness has seen nobody write");
        let turns: Vec<String> = turns.iter().map(|node| format!("n{node}")).collect();
        Ok(format!("{writes} writes, by the lock's holders only: {}", turns.join(", ")))
    }
}

/// How many writes there were below this directory, and which nodes were given the lock, in turn.
fn turns(seen: &[Seen], directory: &str) -> Result<(usize, Vec<u8>)> {
    let (mut writes, mut turns) = (0, Vec::new());
    for seen in seen {
        let Some(file) = seen.path.strip_prefix(directory) else { continue };
        let node = seen.node.context("a client that is no node")?;
        match (file, seen.act) {
            ("lock", Act::Lock) => turns.push(node),
            ("lock", _) => {}
            _ => {
                let holder = turns.last();
                ensure!(
                    holder == Some(&node),
                    "n{node} wrote to {file} at {} while the lock was given to {holder:?}",
                    seen.micros
                );
                writes += 1;
            }
        }
    }
    Ok((writes, turns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: u8, file: &str, act: Act) -> Seen {
        let client = std::net::Ipv4Addr::LOCALHOST;
        Seen { micros: 0, client, node: Some(node), path: format!("v/kahadb/{file}"), act }
    }

    #[test]
    fn who_writes_without_the_lock_is_named() {
        let write = Act::Write { offset: 0, length: 1 };
        let mut all = vec![
            seen(1, "lock", Act::Lock),
            seen(1, "db-1.log", write),
            seen(2, "lock", write),
            seen(2, "lock", Act::Lock),
            seen(2, "db-1.log", write),
        ];
        assert_eq!(turns(&all, "v/kahadb/").unwrap(), (2, vec![1, 2]));
        assert_eq!(turns(&all, "w/kahadb/").unwrap(), (0, vec![]));
        all.push(seen(1, "db.data", write));
        let error = turns(&all, "v/kahadb/").unwrap_err().to_string();
        assert!(error.contains("n1 wrote to db.data"), "{error}");
    }
}
