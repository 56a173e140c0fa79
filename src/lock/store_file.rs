//! The identity of a store on a volume: a file beside the messages, written once, and whether a broker has
//! written there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use crate::broker::report::StoreId;
use crate::lock::foreign;

/// The file in the directory of the agents.
const NAME: &str = "store-id";
/// KahaDB's index. Its journal is `db-<number>.log` (`KahaDBStore`, 6.3.1).
const INDEX: &str = "db.data";

/// The store's identity, which is made if there is none: `made` becomes it. Of several pods that make one at
/// the same time one succeeds, and all are told that one. Nothing while a file is there that holds no identity:
/// it is being written.
///
/// # Errors
/// When the volume does not take it, or does not say.
pub fn establish(directory: &Path, pod: &str, made: &StoreId) -> io::Result<Option<StoreId>> {
    let path = directory.join(NAME);
    if let Some(text) = read(&path)? {
        return Ok(StoreId::read(&text));
    }
    // A link never replaces a file, and appears with its whole content. The name is the pod's own.
    let scratch = directory.join(format!("{pod}.store"));
    write(&mut foreign::create_anew(&scratch)?, made)?;
    let linked = fs::hard_link(&scratch, &path);
    drop(fs::remove_file(&scratch));
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // Not all file systems have links. A reader may see the file before its content then.
        Err(_) => match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => write(&mut file, made)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        },
    }
    File::open(directory)?.sync_all()?;
    // Read back: over NFS a link that was made can be reported as one that was there.
    Ok(read(&path)?.as_deref().and_then(StoreId::read))
}

fn write(file: &mut File, identity: &StoreId) -> io::Result<()> {
    writeln!(file, "{identity}")?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match foreign::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a broker has written messages there: an index, or a file of the journal.
///
/// # Errors
/// When the volume does not say.
pub fn is_used(store: &Path) -> io::Result<bool> {
    if store.join(INDEX).try_exists()? {
        return Ok(true);
    }
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let journal = name.to_str().is_some_and(|name| {
            let number = name.strip_prefix("db-").and_then(|rest| rest.strip_suffix(".log"));
            number.is_some_and(|number| number.parse::<u64>().is_ok())
        });
        if journal {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn id(n: u128) -> StoreId {
        StoreId::of_random(n)
    }

    #[test]
    fn pods_that_begin_together_end_with_one_identity() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let gate = Barrier::new(4);
            let told: Vec<_> = thread::scope(|scope| {
                let pods = (0..4_u8).map(|pod| {
                    let (gate, path) = (&gate, directory.path());
                    scope.spawn(move || {
                        gate.wait();
                        establish(path, &format!("uid-{pod}"), &id(pod.into())).unwrap()
                    })
                });
                let pods: Vec<_> = pods.collect();
                pods.into_iter().map(|pod| pod.join().unwrap().unwrap()).collect()
            });
            assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
            let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
            assert_eq!(files.len(), 1, "{files:?}");
        }
    }

    #[test]
    fn an_identity_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(establish(path, "a", &id(1)).unwrap(), Some(id(1)));
        assert_eq!(establish(path, "b", &id(2)).unwrap(), Some(id(1)));
    }

    #[test]
    fn a_file_without_an_identity_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join(NAME), "").unwrap();
        assert_eq!(establish(path, "a", &id(1)).unwrap(), None);
        assert_eq!(fs::read(path.join(NAME)).unwrap(), b"");
    }

    #[test]
    fn an_index_or_a_journal_is_use_and_a_lock_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("kahadb");
        assert!(!is_used(&store).unwrap());
        fs::create_dir(&store).unwrap();
        for other in ["lock", "db.redo", "db-1.log.bak", "db-x.log"] {
            fs::write(store.join(other), "").unwrap();
            assert!(!is_used(&store).unwrap(), "{other}");
        }
        for used in ["db.data", "db-33.log"] {
            fs::write(store.join(used), "").unwrap();
            assert!(is_used(&store).unwrap(), "{used}");
            fs::remove_file(store.join(used)).unwrap();
        }
    }
}
