//! A server that restarts knows its clients again.

use std::time::Instant;

use nfslab::wire::Call;

use crate::world::{LOCK, SOON, clients, fact, holder, is_refused, lab, looker};

const TEST: &str = "restart";

#[test]
fn a_lock_outlives_its_servers_restart() {
    let mut lab = lab();
    let [a, b] = clients(&lab, ["a", "b"], "vers=4.1");
    let mut broker = holder(&a, LOCK);
    let mut canary = holder(&a, "/mnt/canary");
    let mut other = looker(&b, LOCK);
    assert!(is_refused(&mut other));
    other.begin(&Call::WaitForLock(0)).unwrap();

    let begun = Instant::now();
    lab.server.restart().unwrap();
    for actor in [&mut broker, &mut canary] {
        actor.begin(&Call::Write(0, "after".to_owned())).unwrap();
        actor.begin(&Call::Sync(0)).unwrap();
        for _ in 0..2 {
            actor.answer(SOON).unwrap().expect("an answer").result.unwrap();
        }
    }
    fact(TEST, &format!("the holder writes on {:.1?} after the restart began", begun.elapsed()));
    lab.server.await_locks().unwrap();
    fact(TEST, &format!("new locks are granted after {:.1?}", begun.elapsed()));
    // It has tried all the while.
    assert_eq!(other.answer(std::time::Duration::from_secs(3)).unwrap(), None);
    broker.done(&Call::CloseAll).unwrap();
    other.answer(SOON).unwrap().expect("the lock").result.unwrap();
}
