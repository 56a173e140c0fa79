//! What a client is told of a lock while nothing is broken.

use nfslab::wire::{Call, Value};
use nix::errno::Errno;
use tandem::broker::report::{Evidence, LockView};

use crate::world::{
    LOCK, Prober, SOON, asked, clients, fact, holder, is_refused, lab, looker, until,
};

const TEST: &str = "view";

#[test]
fn held_free_and_mine() {
    let lab = lab();
    let [a, b] = clients(&lab, ["a", "b"], "vers=4.1");
    let mut probers = [Prober::start(&a, LOCK), Prober::start(&b, LOCK)];
    assert_eq!(probers[1].view(None), LockView::Free, "no file yet");

    let mut broker = holder(&a, LOCK);
    let (mut beside, mut other) = (looker(&a, LOCK), looker(&b, LOCK));
    // The kernel of the holder knows the process, any other only that there is one.
    assert_eq!(asked(&mut beside), Value::HeldBy(broker.pid()));
    assert_eq!(asked(&mut other), Value::HeldBy(0));
    assert_eq!(asked(&mut broker), Value::Free, "one's own lock is no obstacle");
    assert!(is_refused(&mut beside) && is_refused(&mut other));
    assert_eq!(broker.done(&Call::ShowsLock(0)).unwrap(), Value::Is(true));

    let mine = LockView::Mine(Evidence::ClientTable);
    assert_eq!(probers[0].view(Some(broker.pid())), mine);
    assert_eq!(probers[0].view(Some(1)), LockView::Other);
    assert_eq!(probers[1].view(None), LockView::Other);
    assert_eq!(probers[1].view(Some(broker.pid())), LockView::Other, "another machine's process");

    broker.kill().unwrap();
    let freed = until("the killed holder's lock", SOON, || asked(&mut other) == Value::Free);
    fact(TEST, &format!("free {freed:.1?} after the holder's SIGKILL"));
    assert_eq!(probers[1].view(None), LockView::Free);
    other.done(&Call::TryLock(0)).unwrap();
    assert_eq!(probers[0].view(None), LockView::Other);
}

/// Closing any descriptor of the file frees the process's locks on it, on NFS as anywhere.
#[test]
fn what_is_written_and_closed_is_seen_by_the_other() {
    let lab = lab();
    let [a, b] = clients(&lab, ["a", "b"], "vers=4.1");
    let [cached, fresh] = ["/mnt", "/fresh"].map(|at| format!("{at}/lock"));
    b.mount(nfslab::EXPORT, "/fresh", "vers=4.1,noac").unwrap();
    let mut writer = holder(&a, LOCK);
    let mut reader = b.actor().unwrap();
    let calls = [
        ("stat, attributes cached", Call::Stat(cached.clone())),
        ("open and fstat", Call::OpenStat(cached.clone())),
        ("statx FORCE_SYNC", Call::StatForced(cached)),
        ("stat with noac", Call::Stat(fresh)),
    ];
    for (name, call) in calls {
        let before = reader.done(&call).unwrap();
        writer.done(&Call::Write(0, format!("written for {name}"))).unwrap();
        writer.done(&Call::Sync(0)).unwrap();
        let took = until("the change", SOON, || reader.done(&call).unwrap() != before);
        fact(TEST, &format!("{name}: the other's write is seen after {took:.1?}"));
    }
    let mut other = looker(&b, LOCK);
    assert!(is_refused(&mut other));
    writer.done(&Call::OpenToRead(LOCK.to_owned())).unwrap();
    writer.done(&Call::CloseAll).unwrap();
    until("the closed file's lock", SOON, || asked(&mut other) == Value::Free);
    assert_eq!(writer.call(&Call::TryLock(0)).unwrap().result, Err(Errno::EBADF));
}
