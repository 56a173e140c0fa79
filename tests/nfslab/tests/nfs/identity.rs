//! Two clients that bear one name are one client to the server.

use std::time::Instant;

use nfslab::wire::{Call, Value};
use nix::errno::Errno;
use tandem::broker::report::{Evidence, LockView};

use crate::world::{
    LOCK, Prober, SOON, asked, fact, holder, lab, lease, looker, until, writes_through,
};

const TEST: &str = "identity";

#[test]
fn a_second_client_of_the_same_name_takes_the_first_ones_lock() {
    let lab = lab();
    let names = [("first", "node"), ("second", "node"), ("third", "third")];
    let [first, second, third] = lab.machines_named(names).unwrap();
    for machine in [&first, &third] {
        machine.mount(nfslab::EXPORT, "/mnt", "vers=4.1").unwrap();
    }
    let mut broker = holder(&first, LOCK);
    let mut canary = holder(&first, "/mnt/canary");
    let mut beside = looker(&first, LOCK);
    let mut prober = Prober::start(&first, LOCK);
    let mut witness = looker(&third, LOCK);
    assert_eq!(asked(&mut witness), Value::HeldBy(0));

    let begun = Instant::now();
    second.mount(nfslab::EXPORT, "/mnt", "vers=4.1").unwrap();
    let mut thief = looker(&second, LOCK);
    until("the lock to be stolen", SOON, || thief.call(&Call::TryLock(0)).unwrap().result.is_ok());
    fact(TEST, &format!("stolen {:.1?} after the second's mount began", begun.elapsed()));

    // Nobody cut anything, and the first's client still tells that it holds the lock.
    assert_eq!(asked(&mut beside), Value::HeldBy(broker.pid()));
    assert_eq!(writes_through(&mut canary, "late"), Err(Errno::EIO), "what the client hears first");
    let view = prober.view(Some(broker.pid()));
    assert_eq!(view, LockView::Mine(Evidence::ClientTable));
    assert_eq!(writes_through(&mut broker, "late"), Err(Errno::EIO));
    for actor in [&mut broker, &mut canary] {
        assert_eq!(actor.done(&Call::ShowsLock(0)).unwrap(), Value::Is(true));
    }
    assert_eq!(asked(&mut beside), Value::HeldBy(broker.pid()));
    assert_eq!(lease(&mut beside).1, 0, "the lease has not run out");
    // The first client has made itself known again meanwhile, which ends the second's state: each
    // takes from the other, and nobody is left with the lock.
    let theirs = writes_through(&mut thief, "theirs");
    fact(
        TEST,
        &format!("the second then writes: {theirs:?}; a third is told {:?}", asked(&mut witness)),
    );
}
