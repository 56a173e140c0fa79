//! NFSv3's locks have no lease: nobody takes the lock of a client that is gone.

use nfslab::wire::Call;
use nfslab::{LEASE, Machine};
use tandem::broker::report::{Evidence, LockView};

use crate::world::{LATE, LOCK, Prober, asked, fact, holder, is_refused, lab, looker};

const TEST: &str = "version 3";

#[test]
fn a_lost_clients_lock_is_never_freed() {
    let lab = lab();
    let [a, b] = lab.machines(["a", "b"]).unwrap();
    for machine in [&a, &b] {
        machine.start_lock_daemons().unwrap();
        machine.mount(nfslab::EXPORT, "/mnt", "vers=3").unwrap();
    }
    let mut broker = holder(&a, LOCK);
    let mut other = looker(&b, LOCK);
    assert!(is_refused(&mut other));
    fact(TEST, &format!("another client is told: {:?}", asked(&mut other)));
    let mut prober = Prober::start(&b, LOCK);
    assert_eq!(prober.view(None), LockView::Other);
    let view = Prober::start(&a, LOCK).view(Some(broker.pid()));
    assert_eq!(view, LockView::Mine(Evidence::ClientTable));

    a.set_link(false).unwrap();
    assert_never_free(&b);
    a.set_link(true).unwrap();
    broker.begin(&Call::StatForced(LOCK.to_owned())).unwrap();
    broker.answer(LATE).unwrap().expect("an answer").result.unwrap();
    broker.done(&Call::Write(0, "still mine".to_owned())).unwrap();
    broker.done(&Call::Sync(0)).unwrap();
    assert!(is_refused(&mut other));

    power_off(a);
    assert_never_free(&b);
    assert_eq!(prober.view(None), LockView::Other);
    fact(
        TEST,
        "not freed within three leases of NFSv4, of a client cut off nor of one powered off",
    );
}

fn power_off(machine: Machine) {
    machine.set_link(false).unwrap();
    drop(machine);
}

fn assert_never_free(machine: &Machine) {
    let mut other = looker(machine, LOCK);
    other.begin(&Call::WaitForLock(0)).unwrap();
    assert_eq!(other.answer(3 * LEASE).unwrap(), None);
    other.kill().unwrap();
}
