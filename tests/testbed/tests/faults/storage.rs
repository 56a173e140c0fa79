//! What storage servers do to those who hold locks: docs/decisions/0009.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{Act, Bed, From, Seen, Storage, StorageOptions, wait};

use crate::program::Program;

/// Long enough for a client to come back, and for a lock to be freed, on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);
/// How long an answer that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(500);

/// The storage that most of this is shown with.
pub fn shared(bed: &Bed) -> Storage {
    bed.storage("shared", &StorageOptions { witness: true, ..StorageOptions::default() }).unwrap()
}

/// Everything that takes no node's power.
pub fn shown(bed: &Bed, storage: &Storage) {
    let directory = storage.directory("locks").unwrap();
    seen_at_once(bed, storage, &directory.join("seen"));
    told_of_locks(bed, &directory.join("told"));
    healed_in_time(bed);
    cut_from_holder(bed, storage, &directory.join("cut"));
    restarted(bed, storage, &directory.join("restarted"));
    late_writes(bed);
    full(bed);
}

/// Nodes see each other's locks and writes without delay, and the witness tells them apart.
fn seen_at_once(bed: &Bed, storage: &Storage, file: &Path) {
    let (mut one, mut two) = pair(bed, file);
    assert_eq!(one.ask("lock"), "done");
    assert_eq!(two.ask("lock"), "EAGAIN");
    assert_eq!(one.ask("write one"), "done");
    assert_eq!(two.ask("read"), "one");
    assert_eq!(one.ask("look"), two.ask("look"), "inode and time are the same everywhere");
    assert_eq!(one.ask("unlock"), "done");
    assert_eq!(two.ask("lock"), "done");
    assert_eq!(two.ask("write two!"), "done");
    assert_eq!(one.ask("read"), "two!");
    // Of the same length: what was read before is still in the kernel.
    assert_eq!(two.ask("write 2wo!"), "done");
    assert_eq!(one.ask("read"), "2wo!");
    let write = |length| Act::Write { offset: 0, length };
    let expected = [
        (Some(1), Act::Lock),
        (Some(1), write(3)),
        (Some(1), Act::Unlock),
        (Some(2), Act::Lock),
        (Some(2), write(4)),
        (Some(2), write(4)),
    ];
    await_acts(storage, "locks/seen", "everything in its order", |acts| acts == expected);
    let read = |seen: &Seen| seen.path == "locks/seen" && matches!(seen.act, Act::Read { .. });
    let readers: Vec<_> =
        storage.seen().unwrap().into_iter().filter(read).filter_map(|seen| seen.node).collect();
    assert!(readers.contains(&1) && readers.contains(&2), "read by {readers:?}");
}

/// Who is told what of a lock on node 1.
fn told_of_locks(bed: &Bed, file: &Path) {
    let (mut holder, mut far) = pair(bed, file);
    assert_eq!(holder.ask("lock"), "done");
    assert_eq!(holder.ask("holder"), "free", "its own lock is not in its way");
    assert_eq!(holder.ask("shown"), "false false", "neither in fdinfo nor in /proc/locks");
    let node = bed.node(1).unwrap();
    let mut near = Program::start(&node, file);
    assert_eq!(near.ask("holder"), holder.pid);
    // A process number that does not exist where one looks from.
    let mut elsewhere = Program::start_by(&node, &["unshare", "--pid", "--fork"], file);
    assert_eq!(elsewhere.ask("holder"), "0");
    // On another node the number is that of some process there, or of none.
    assert_ne!(far.ask("holder"), "free");
    drop((near, elsewhere));
    assert_eq!(far.ask("lock"), "EAGAIN", "a look and a close on the same node disturb nothing");
}

/// Short silences of the network and of the server take no lock away, if the client is patient.
fn healed_in_time(bed: &Bed) {
    let options = StorageOptions { ping_timeout: 30, ..StorageOptions::default() };
    let storage = bed.storage("patient", &options).unwrap();
    let file = storage.directory("kept").unwrap().join("lock");
    let (mut holder, mut other) = pair(bed, &file);
    assert_eq!(holder.ask("lock"), "done");
    let node = bed.node(1).unwrap();
    let mut near = Program::start(&node, &file);
    let doomed = Program::start(&node, &file);
    node.cut(From::Storage).unwrap();
    thread::sleep(Duration::from_secs(1));
    node.heal().unwrap();
    assert_eq!(near.ask("holder"), holder.pid);
    assert_eq!(other.ask("lock"), "EAGAIN");

    storage.freeze().unwrap();
    near.tell("holder");
    assert_eq!(near.answer(SILENCE), None, "every question goes to the server");
    shell(bed, 1, &format!("kill -KILL {}", doomed.pid));
    thread::sleep(SILENCE);
    assert!(exists(bed, 1, &doomed.pid), "also the end of a program, which closes its files");
    storage.thaw().unwrap();
    assert_eq!(near.answer(LIMIT), Some(holder.pid.clone()));
    wait::until("the killed one's end", LIMIT, || Ok((!exists(bed, 1, &doomed.pid)).then_some(())))
        .unwrap();
    assert_eq!(other.ask("lock"), "EAGAIN");
    drop((holder, other, near, doomed));
    storage.remove().unwrap();
}

/// A holder that is cut off loses its lock when the timeout is over, not before; after the cut it can
/// write on without the lock.
fn cut_from_holder(bed: &Bed, storage: &Storage, file: &Path) {
    let (mut holder, mut other) = pair(bed, file);
    assert_eq!(holder.ask("lock"), "done");
    assert_eq!(holder.ask("write mine"), "done");
    let node = bed.node(1).unwrap();
    let mut near = Program::start(&node, file);
    let mut doomed = Program::start(&node, file);
    let begun = Instant::now();
    node.cut(From::Storage).unwrap();
    near.tell("holder");
    doomed.tell("write dead");
    await_lock(&mut other);
    let taken = begun.elapsed();
    // The last packet may have passed two seconds before the cut, and the kernel looks once a second.
    assert!(taken > Duration::from_secs(4), "the lock was free after {taken:?}");
    assert!(taken < Duration::from_secs(15), "the lock was free after {taken:?}");
    assert_eq!(other.ask("write ours"), "done");
    assert_eq!(near.answer(LIMIT).as_deref(), Some("ENOTCONN"), "the client has given up");
    assert_eq!(doomed.answer(LIMIT).as_deref(), Some("ENOTCONN"));

    node.heal().unwrap();
    await_open(&mut near);
    assert_ne!(near.ask("holder"), "free");
    assert_eq!(holder.ask("lock"), "EAGAIN");
    assert_eq!(other.ask("read"), "ours", "what was under way is lost");
    assert_eq!(holder.ask("write late"), "done", "storage does not keep it from writing");
    assert_eq!(other.ask("read"), "late");
    await_acts(storage, "locks/cut", "a write of node 1 after the lock of node 2", |acts| {
        let locked = acts.iter().position(|act| *act == (Some(2), Act::Lock));
        locked.is_some_and(|at| {
            acts[at..].iter().any(|act| matches!(act, (Some(1), Act::Write { .. })))
        })
    });
}

/// A server that starts again has forgotten all locks.
fn restarted(bed: &Bed, storage: &Storage, file: &Path) {
    let (mut holder, mut other) = pair(bed, file);
    assert_eq!(holder.ask("lock"), "done");
    assert_eq!(holder.ask("write mine"), "done");
    storage.restart().unwrap();
    await_open(&mut other);
    assert_eq!(other.ask("holder"), "free");
    assert_eq!(other.ask("lock"), "done");
    assert_eq!(other.ask("read"), "mine");
}

/// What a healed node's kernel had kept arrives late. Where clients are strict, the descriptor that
/// had the lock is of no use any more; the others are.
fn late_writes(bed: &Bed) {
    let options =
        StorageOptions { writeback: true, strict_locks: true, witness: true, ..Default::default() };
    let storage = bed.storage("late", &options).unwrap();
    let directory = storage.directory("late").unwrap();
    let (mut holder, mut other) = pair(bed, &directory.join("lock"));
    let node = bed.node(1).unwrap();
    let mut journal = Program::start(&node, &directory.join("journal"));
    assert_eq!(holder.ask("lock"), "done");
    assert_eq!(journal.ask("write late"), "done");
    node.cut(From::Storage).unwrap();
    await_lock(&mut other);
    node.heal().unwrap();
    let mut near = Program::start(&node, &directory.join("other"));
    await_open(&mut near);
    assert_eq!(holder.ask("write late"), "EBADFD");
    assert_eq!(journal.ask("flush"), "done");
    // In the order of both files: the journal is written after the lock was taken.
    let order = || -> Result<Vec<(Option<u8>, Act)>> {
        let seen = storage.seen()?.into_iter().filter(|seen| seen.path.starts_with("late/"));
        Ok(changes(seen))
    };
    let write = Act::Write { offset: 0, length: 4 };
    let expected = [(Some(1), Act::Lock), (Some(2), Act::Lock), (Some(1), write)];
    wait::until("a late write", LIMIT, || Ok((order()? == expected).then_some(()))).unwrap();
    drop((holder, other, journal, near));
    storage.remove().unwrap();
}

/// A server of limited size beside the others.
fn full(bed: &Bed) {
    let options = StorageOptions { size: Some(16), ..StorageOptions::default() };
    let storage = bed.storage("small", &options).unwrap();
    let mut writer =
        Program::start(&bed.node(1).unwrap(), &storage.directory("small").unwrap().join("file"));
    let write = format!("write {}", "x".repeat(50_000));
    storage.fill().unwrap();
    assert_eq!(writer.ask(&write), "ENOSPC");
    storage.restart().unwrap();
    await_open(&mut writer);
    assert_eq!(writer.ask(&write), "ENOSPC", "the disk outlives the server");
    storage.drain().unwrap();
    assert_eq!(writer.ask(&write), "done");
    drop(writer);
    let point = storage.mount_point();
    storage.remove().unwrap();
    assert!(bed.known_storage("small").is_err());
    for node in [1, 2] {
        assert!(!shell(bed, node, "cat /proc/mounts").contains(point.to_str().unwrap()));
    }
}

/// A holder on a node that is about to lose its power, and somebody on the other node.
pub fn before_power_loss(bed: &Bed, storage: &Storage) -> (Program, Program) {
    let file = storage.directory("power").unwrap().join("lock");
    let (mut holder, mut other) = pair(bed, &file);
    assert_eq!(holder.ask("lock"), "done");
    assert_eq!(other.ask("lock"), "EAGAIN");
    (holder, other)
}

/// The other one gets the lock.
pub fn await_lock(program: &mut Program) {
    wait::until("the lock", LIMIT, || Ok((program.ask("lock") == "done").then_some(()))).unwrap();
}

/// The node's client has come back to the server.
pub fn await_open(program: &mut Program) {
    wait::until("the server", LIMIT, || Ok((program.ask("open") == "done").then_some(()))).unwrap();
}

/// Programs on both nodes.
fn pair(bed: &Bed, file: &Path) -> (Program, Program) {
    let [one, two] = [1, 2].map(|number| Program::start(&bed.node(number).unwrap(), file));
    (one, two)
}

/// Everything but what was read.
fn changes(seen: impl Iterator<Item = Seen>) -> Vec<(Option<u8>, Act)> {
    seen.map(|seen| (seen.node, seen.act))
        .filter(|(_, act)| !matches!(act, Act::Read { .. }))
        .collect()
}

fn await_acts(
    storage: &Storage,
    path: &str,
    what: &str,
    good: impl Fn(&[(Option<u8>, Act)]) -> bool,
) {
    let mut acts = Vec::new();
    let result = wait::until(what, LIMIT, || {
        let seen = storage.seen()?.into_iter().filter(|seen| seen.path == path);
        acts = changes(seen);
        Ok(good(&acts).then_some(()))
    });
    assert!(result.is_ok(), "{path}: {what}: {acts:?}");
}

fn shell(bed: &Bed, node: u8, command: &str) -> String {
    let mut shell = bed.node(node).unwrap().command("sh").unwrap();
    testbed::shell::output(shell.args(["-c", command])).unwrap()
}

fn exists(bed: &Bed, node: u8, pid: &str) -> bool {
    shell(bed, node, &format!("test -e /proc/{pid} && echo yes || true")) == "yes\n"
}
