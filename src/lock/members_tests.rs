//! What a beat that fails says of the own lock.

use super::*;

fn member(directory: &Path) -> Member {
    let identity = Identity {
        directory: directory.to_owned(),
        store: directory.join("store"),
        pod: "orders-0".to_owned(),
        uid: "own".to_owned(),
        node: "node-0".to_owned(),
        elector: None,
    };
    Member::new(identity, directory.join("no such program"))
}

/// Another pod, which asks for a lock to be held.
fn ask(directory: &Path, count: u64) {
    let ask = Ask { peer: "own".to_owned(), trial: 1, deed: Deed::Hold };
    let beat = Beat { uid: "other".to_owned(), count, ask: Some(ask), ..Beat::default() };
    fs::write(directory.join("other.beat"), serde_json::to_vec(&beat).unwrap()).unwrap();
}

#[test]
fn what_fails_beside_the_write_through_the_locked_file_is_no_lost_lock() {
    let directory = tempfile::tempdir().unwrap();
    let mut member = member(directory.path());
    member.beat().unwrap();
    ask(directory.path(), 1);
    member.beat().unwrap();
    // It lives, and is served: the process that is to hold the lock cannot be started.
    ask(directory.path(), 2);
    assert!(!member.beat().unwrap_err().lost);
    // The lock from before is still what the next write goes through.
    assert!(member.file.is_some());
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let members = directory.path().join("members");
    let mut member = member(&members);
    member.beat().unwrap();
    fs::remove_dir_all(&members).unwrap();
    assert!(!member.beat().unwrap_err().lost);
    member.beat().unwrap();
    assert!(members.join("own.beat").exists());
}

#[test]
fn a_write_that_is_refused_is_a_lost_lock_until_another_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut member = member(directory.path());
    member.beat().unwrap();
    // Takes no writes.
    member.file = Some(File::open(directory.path().join("own.beat")).unwrap());
    assert!(member.beat().unwrap_err().lost);
    member.beat().unwrap();
    // Also when something else fails at the same time.
    ask(directory.path(), 1);
    member.beat().unwrap();
    member.file = Some(File::open(directory.path().join("own.beat")).unwrap());
    ask(directory.path(), 2);
    assert!(member.beat().unwrap_err().lost);
}
