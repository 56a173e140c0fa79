//! A client that is cut off loses its lock, and what it is told of that.

use std::time::{Duration, Instant};

use nfslab::wire::{Call, Value};
use nfslab::{Actor, LEASE, Machine};
use nix::errno::Errno;
use tandem::broker::report::{Evidence, LockView};
use tandem::lock::Observation;

use crate::world::{
    LATE, Prober, SOON, asked, clients, fact, holder, is_refused, lab, lease, looker, until,
    writes_through,
};

const TEST: &str = "loss";
const MINE: LockView = LockView::Mine(Evidence::ClientTable);

/// What runs on the machine that will be cut off.
struct Victim {
    machine: Machine,
    version: &'static str,
    lock: String,
    /// Holds the lock, as a broker does.
    broker: Actor,
    /// Holds the lock of a file that nobody else wants, as an agent may.
    canary: Actor,
    beside: Actor,
    prober: Prober,
    /// What the prober saw at first.
    seen: Observation,
}

impl Victim {
    fn new(machine: Machine, version: &'static str) -> Self {
        machine.mount(nfslab::EXPORT, "/mnt", &format!("vers={version}")).unwrap();
        let lock = format!("/mnt/lock-{version}");
        let broker = holder(&machine, &lock);
        let canary = holder(&machine, &format!("/mnt/canary-{version}"));
        let beside = looker(&machine, &lock);
        let mut prober = Prober::start(&machine, &lock);
        let seen = prober.look(Some(broker.pid()));
        assert_eq!(seen.view, MINE);
        Self { machine, version, lock, broker, canary, beside, prober, seen }
    }

    fn says(&self, text: &str) {
        fact(TEST, &format!("NFS {}: {text}", self.version));
    }

    /// The locks are as they were.
    fn assert_whole(&mut self, other: &mut Actor) {
        assert!(is_refused(other));
        for actor in [&mut self.broker, &mut self.canary] {
            actor.done(&Call::Write(0, "after".to_owned())).unwrap();
            actor.done(&Call::Sync(0)).unwrap();
        }
    }

    /// Cuts it off, and says when its last word to the server began.
    fn cut(&mut self) -> Instant {
        assert_eq!(lease(&mut self.beside), (LEASE.as_secs(), 0));
        let spoke = Instant::now();
        self.beside.done(&Call::StatForced(self.lock.clone())).unwrap();
        self.machine.set_link(false).unwrap();
        spoke
    }

    /// What its own client tells while it is cut off: nothing has changed.
    fn assert_unaware(&mut self) {
        assert_eq!(asked(&mut self.beside), Value::HeldBy(self.broker.pid()));
        assert_eq!(self.broker.done(&Call::ShowsLock(0)).unwrap(), Value::Is(true));
    }

    /// The prober hung; now it tells what the client's table tells. Only the file itself shows that
    /// somebody else was there.
    fn assert_hint_is_wrong(&mut self) {
        let looked = self.prober.answer(LATE).expect("an answer of the prober");
        let (before, after) = (self.seen.file.unwrap(), looked.file.unwrap());
        assert_eq!(looked.view, MINE);
        assert!(after.same_file(&before) && after != before, "{before:?} {after:?}");
    }

    /// What its own client tells when it is back, and another holds the lock.
    fn assert_lost(&mut self, healed: Instant) {
        let written = self.canary.answer(LATE).unwrap().expect("the canary's write").result;
        let synced = self.canary.answer(LATE).unwrap().expect("the canary's fsync").result;
        assert_eq!(written.and(synced), Err(Errno::EIO), "its file was locked, too");
        let forced = self.broker.answer(LATE).unwrap().expect("the forced stat that hung");
        forced.result.unwrap();
        self.says(&format!("answers {:.1?} after the healing", healed.elapsed()));
        // Only the process that locked the file asks the server, others get to hear the client's.
        let own = self.broker.call(&Call::AskLock(0)).unwrap().result;
        self.says(&format!("the old holder's own F_GETLK: {own:?}"));
        assert!(matches!(own, Ok(Value::HeldBy(0)) | Err(Errno::EIO)), "{own:?}");
        self.assert_unaware();
        self.assert_hint_is_wrong();
        // A round trip succeeds: it does not prove the lock.
        self.beside.done(&Call::StatForced(self.lock.clone())).unwrap();
        assert_eq!(lease(&mut self.beside), (LEASE.as_secs(), 0), "a new lease, without the lock");
        assert_eq!(writes_through(&mut self.broker, "late"), Err(Errno::EIO));
        for actor in [&mut self.broker, &mut self.canary] {
            assert_eq!(actor.done(&Call::ShowsLock(0)).unwrap(), Value::Is(true));
        }
    }
}

#[test]
fn a_lock_is_lost_after_a_partition() {
    let lab = lab();
    let [one, two, zero, taker] = lab.machines(["v41", "v42", "v40", "taker"]).unwrap();
    taker.mount(nfslab::EXPORT, "/mnt", "vers=4.1").unwrap();
    let mut victims = [Victim::new(one, "4.1"), Victim::new(two, "4.2"), Victim::new(zero, "4.0")];
    let mut others: Vec<Actor> =
        victims.iter().map(|victim| looker(&taker, &victim.lock)).collect();
    for other in &mut others {
        assert!(is_refused(other));
    }

    let last_words = victims.each_mut().map(Victim::cut);
    let begun = Instant::now();
    for (victim, other) in victims.iter_mut().zip(&others) {
        other.begin(&Call::WaitForLock(0)).unwrap();
        victim.prober.begin(Some(victim.broker.pid()));
        victim.assert_unaware();
    }
    for ((victim, other), spoke) in victims.iter_mut().zip(&mut others).zip(last_words) {
        let won = other.answer(LATE).unwrap().expect("the lock");
        let at_most = spoke.elapsed();
        won.result.unwrap();
        let after = begun.duration_since(spoke) + won.took;
        victim.says(&format!("taken over {after:.1?} after the last word's start"));
        // The server counts whole seconds.
        assert!(at_most > LEASE.saturating_sub(Duration::from_secs(1)), "{at_most:?}");
        victim.assert_unaware();
        until("the client to know better", SOON, || lease(&mut victim.beside).1 > 0);
        // As Classic does at every acquisition.
        other.done(&Call::Write(0, "theirs".to_owned())).unwrap();
        other.done(&Call::Sync(0)).unwrap();
        // What reaches the server first when the cable is in again.
        victim.canary.begin(&Call::Write(0, "late".to_owned())).unwrap();
        victim.canary.begin(&Call::Sync(0)).unwrap();
        victim.broker.begin(&Call::StatForced(victim.lock.clone())).unwrap();
        assert_eq!(victim.prober.answer(Duration::ZERO), None, "the prober hangs");
    }

    let healed = Instant::now();
    for victim in &victims {
        victim.machine.set_link(true).unwrap();
    }
    for victim in &mut victims {
        victim.assert_lost(healed);
    }
    for (victim, other) in victims.iter().zip(&mut others) {
        let path = lab.server.export().join(format!("lock-{}", victim.version));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "theirs");
        other.done(&Call::Write(0, "still theirs".to_owned())).unwrap();
    }
}

#[test]
fn a_cut_shorter_than_the_lease_costs_nothing() {
    let lab = lab();
    let [taker] = clients(&lab, ["taker"], "vers=4.1");
    let [machine] = lab.machines(["victim"]).unwrap();
    let mut victim = Victim::new(machine, "4.1");
    let mut other = looker(&taker, &victim.lock);
    short_cut(&mut victim);
    victim.assert_whole(&mut other);
    nobody_wants_it(&mut victim, &mut other);
}

fn short_cut(victim: &mut Victim) {
    // The lease has just begun anew.
    victim.cut();
    victim.broker.begin(&Call::StatForced(victim.lock.clone())).unwrap();
    let early = victim.broker.answer(Duration::from_secs(2)).unwrap();
    assert_eq!(early, None, "the cable is out");
    victim.machine.set_link(true).unwrap();
    let healed = victim.broker.answer(SOON).unwrap().expect("an answer");
    victim.says(&format!("a stat that a cut of 2 s held up took {:.1?}", healed.took));
}

/// The lease runs out, and nobody takes the lock meanwhile: it is lost all the same.
fn nobody_wants_it(victim: &mut Victim, other: &mut Actor) {
    let before = victim.prober.look(Some(victim.broker.pid()));
    victim.machine.set_link(false).unwrap();
    std::thread::sleep(3 * LEASE);
    let healed = Instant::now();
    victim.machine.set_link(true).unwrap();
    victim.broker.begin(&Call::StatForced(victim.lock.clone())).unwrap();
    victim.broker.answer(LATE).unwrap().expect("an answer").result.unwrap();
    victim.says(&format!("back {:.1?} after a cut of three leases", healed.elapsed()));
    let own = victim.broker.call(&Call::AskLock(0)).unwrap().result;
    victim.says(&format!("nobody took it; the old holder's own F_GETLK: {own:?}"));
    let looked = victim.prober.look(Some(victim.broker.pid()));
    assert_eq!((looked.view, looked.file), (MINE, before.file), "nothing shows there");
    let broker = writes_through(&mut victim.broker, "late");
    let canary = writes_through(&mut victim.canary, "late");
    victim.says(&format!("nobody took it; broker writes: {broker:?}, canary: {canary:?}"));
    assert_eq!((broker, canary), (Err(Errno::EIO), Err(Errno::EIO)));
    assert_eq!(asked(other), Value::Free);
    until("the lock that is shown and not held", SOON, || !is_refused(other));
}
