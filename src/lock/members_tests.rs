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

/// Whoever can write to the volume may put anything into the directory.
#[test]
fn what_is_no_beat_is_not_heard_and_keeps_no_beat_from_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    nix::unistd::mkfifo(&path("pipe.beat"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("link.beat")).unwrap();
    fs::create_dir(path("directory.beat")).unwrap();
    File::create(path("long.beat")).unwrap().set_len(1 << 40).unwrap();
    fs::write(path("passed"), vec![b'['; 1 << 20]).unwrap();
    let hostile = Beat { pod: "a\nb\u{1b}[2J".to_owned(), count: u64::MAX, ..Beat::default() };
    fs::write(path("hostile.beat"), serde_json::to_vec(&hostile).unwrap()).unwrap();
    fs::write(path("a\nb.beat"), serde_json::to_vec(&Beat::default()).unwrap()).unwrap();
    for number in 0..100 {
        let name = format!("peer-{number}.beat");
        fs::write(path(&name), serde_json::to_vec(&Beat::default()).unwrap()).unwrap();
    }
    let beaten = member(directory.path()).beat().unwrap();
    assert_eq!(beaten.peers.len(), MOST_PEERS);
    assert!(beaten.peers.iter().all(|peer| peer.uid.starts_with("peer-")));
    assert!(!beaten.hears_others() && !beaten.passed_before);
}

proptest::proptest! {
    #[test]
    fn no_content_of_another_file_makes_a_beat_fail(content in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["other.beat", "passed"] {
            fs::write(directory.path().join(name), &content).unwrap();
        }
        let beaten = member(directory.path()).beat().unwrap();
        proptest::prop_assert!(!beaten.hears_others() && !beaten.passed_before);
        proptest::prop_assert_eq!(beaten.finding, None);
    }
}
