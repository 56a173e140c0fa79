//! Two pods on an imagined volume: what it does to locks, writes and times is the tests' to say.

use proptest::prelude::*;

use super::*;
use crate::broker::report::StoreProblemKind as Kind;

/// What an imagined volume does.
#[derive(Clone, Copy, Debug)]
struct Nature {
    /// Locks of one pod are refused to another.
    exclusive: bool,
    /// A look shows them.
    shown: bool,
    /// Rounds until a killed holder's lock is free.
    freed_after: u32,
    /// Rounds until a write is seen; none if never.
    seen_after: Option<u32>,
    /// Rounds until a changed time is seen; none if never.
    mark_after: Option<u32>,
}

const GOOD: Nature = Nature {
    exclusive: true,
    shown: true,
    freed_after: 0,
    seen_after: Some(0),
    mark_after: Some(0),
};

const ROUND: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Pod {
    beat: Beat,
    tester: Tester,
    subject: Subject,
    peers: Peers,
    /// The round since which its scratch lock is free.
    free_since: Option<u32>,
    holds: bool,
    /// Its beats, by round.
    said: Vec<Beat>,
    marked_at: u32,
}

fn pod(name: &str, node: &str) -> Pod {
    let beat = Beat {
        pod: name.to_owned(),
        uid: format!("uid-{name}"),
        node: node.to_owned(),
        ..Beat::default()
    };
    Pod { beat, ..Pod::default() }
}

/// So many rounds in which `pods` beat in turn. `dies`: the last pod says no more from this round on.
fn play(nature: Nature, pods: &mut [Pod], rounds: u32, dies: Option<u32>) {
    for round in 0..rounds {
        let now = ROUND * round;
        for at in 0..pods.len() {
            if at + 1 == pods.len() && dies.is_some_and(|end| round >= end) {
                continue;
            }
            read(nature, pods, at, round);
            let me = &mut pods[at];
            if let Some(ask) = me.subject.next(now, &me.peers, &me.beat.uid.clone()) {
                me.holds = ask.deed == Deed::Hold;
                me.free_since = (!me.holds).then_some(round);
                if me.holds {
                    me.beat.marked += 1;
                    me.marked_at = round;
                }
                me.subject.did(ask);
            }
            let node = me.beat.node.clone();
            let wants = me.tester.next(now, &me.peers, &node, round);
            if let Some(uid) = wants.attempt {
                let other = pods.iter().find(|pod| pod.beat.uid == uid).unwrap();
                let free = other.free_since.is_some_and(|at| round >= at + nature.freed_after);
                let attempt = match (free || !nature.exclusive, nature.shown) {
                    (true, _) => Attempt::Granted,
                    (false, true) => Attempt::Refused,
                    (false, false) => Attempt::RefusedUnseen,
                };
                pods[at].tester.attempted(now, attempt);
            }
            let me = &mut pods[at];
            me.beat.count += 1;
            me.beat.ask = wants.ask;
            me.beat.done.clone_from(&me.subject.done);
            let beat = me.beat.clone();
            me.said.push(beat);
        }
    }
}

fn read(nature: Nature, pods: &mut [Pod], at: usize, round: u32) {
    let Some(delay) = nature.seen_after else { return };
    let seen: Vec<_> = pods
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != at)
        .filter_map(|(_, pod)| {
            let beat = pod.said.iter().rev().nth(usize::try_from(delay).unwrap())?.clone();
            let fresh = nature.mark_after.is_some_and(|after| round >= pod.marked_at + after);
            Some((beat, if fresh { pod.beat.marked } else { pod.beat.marked - 1 }))
        })
        .collect();
    for (beat, mark) in seen {
        let known = pods[at].peers.get(&beat.uid);
        let advanced = match known {
            Some(known) if known.beat.count == beat.count => known.advanced,
            Some(_) => Some(ROUND * round),
            None => None,
        };
        let uid = beat.uid.clone();
        pods[at].peers.insert(uid, Seen { beat, advanced, mark: Some(mark) });
    }
}

fn kind(pod: &Pod) -> Option<Kind> {
    match &pod.tester.finding {
        Finding::Refused(problem) => Some(problem.kind),
        Finding::Nothing | Finding::Passed(_) => None,
    }
}

fn passed(pod: &Pod) -> &TrialReport {
    match &pod.tester.finding {
        Finding::Passed(report) => report,
        other @ (Finding::Nothing | Finding::Refused(_)) => panic!("{other:?}"),
    }
}

fn pair() -> [Pod; 2] {
    [pod("orders-0", "n1"), pod("orders-1", "n2")]
}

#[test]
fn a_good_volume_passes_within_two_seconds_on_both_sides() {
    let mut pods = pair();
    play(GOOD, &mut pods, 20, None);
    for pod in &pods {
        let report = passed(pod);
        assert!(report.release_millis <= 200 && report.visible_millis <= 500, "{report:?}");
        assert!(report.stale_millis.is_some_and(|millis| millis <= 200), "{report:?}");
        assert!(!report.same_node);
    }
}

#[test]
fn locks_that_do_not_hold_are_refused() {
    let mut pods = pair();
    play(Nature { exclusive: false, ..GOOD }, &mut pods, 30, None);
    assert_eq!((kind(&pods[0]), kind(&pods[1])), (Some(Kind::LocksLocal), Some(Kind::LocksLocal)));
}

#[test]
fn locks_that_nobody_sees_are_refused() {
    let mut pods = pair();
    play(Nature { shown: false, ..GOOD }, &mut pods, 30, None);
    assert_eq!(kind(&pods[0]), Some(Kind::LocksUnseen));
}

#[test]
fn locks_that_stay_after_their_holders_death_are_refused() {
    let mut pods = pair();
    play(Nature { freed_after: 1000, ..GOOD }, &mut pods, 150, None);
    assert_eq!(kind(&pods[0]), Some(Kind::LocksNotFreed));
}

#[test]
fn a_late_release_and_late_times_are_measured() {
    let mut pods = pair();
    play(Nature { freed_after: 30, mark_after: None, ..GOOD }, &mut pods, 80, None);
    let report = passed(&pods[0]);
    assert!((2900..3300).contains(&report.release_millis), "{report:?}");
    assert_eq!(report.stale_millis, None);
}

#[test]
fn nothing_is_concluded_while_nobody_else_is_seen() {
    let mut pods = pair();
    play(Nature { seen_after: None, ..GOOD }, &mut pods, 300, None);
    assert_eq!(pods[0].tester.finding, Finding::Nothing);
    assert!(!pods[0].tester.is_busy());
}

#[test]
fn a_peer_that_does_not_see_our_writes_is_told() {
    let mut pods = pair();
    // The second reads nothing, but writes.
    for round in 0..150 {
        play_one_sided(&mut pods, round);
    }
    assert_eq!(kind(&pods[0]), Some(Kind::WritesNotSeen));
}

fn play_one_sided(pods: &mut [Pod; 2], round: u32) {
    pods[1].beat.count += 1;
    let beat = pods[1].beat.clone();
    pods[1].said.push(beat);
    read(GOOD, pods, 0, round);
    let me = &mut pods[0];
    let wants = me.tester.next(ROUND * round, &me.peers, "n1", 7);
    assert_eq!(wants.attempt, None);
}

#[test]
fn two_pods_of_one_node_show_less_and_another_node_is_tried_later() {
    let mut pods = [pod("orders-0", "n1"), pod("orders-1", "n1")];
    play(GOOD, &mut pods, 30, None);
    assert!(passed(&pods[0]).same_node);
    let mut pods = [pod("orders-0", "n1"), pod("orders-1", "n1"), pod("orders-2", "n2")];
    play(GOOD, &mut pods, 60, None);
    assert_eq!(passed(&pods[0]).peer, "orders-2");
}

#[test]
fn a_subject_lets_go_when_its_tester_is_gone() {
    let mut subject = Subject::default();
    let mut peers = Peers::new();
    let ask = |deed| Some(Ask { peer: "me".to_owned(), trial: 3, deed });
    let beat = Beat { uid: "you".to_owned(), ask: ask(Deed::Hold), ..Beat::default() };
    peers.insert("you".to_owned(), Seen { beat, advanced: Some(Duration::ZERO), mark: None });
    let due = subject.next(ROUND, &peers, "me").unwrap();
    assert_eq!((due.deed, due.peer.as_str()), (Deed::Hold, "you"));
    subject.did(due);
    assert_eq!(subject.next(ROUND, &peers, "me"), None);
    let due = subject.next(GONE_AFTER, &peers, "me").unwrap();
    assert_eq!(due.deed, Deed::Drop);
    subject.did(due);
    assert_eq!(subject.done, None);
}

proptest! {
    /// Whatever happens, a volume whose locks do not hold never passes, and a good one is never refused.
    #[test]
    fn a_verdict_is_never_wrong(
        exclusive: bool, shown: bool, freed_after in 0..60_u32, seen_after in 0..8_u32,
        mark_after in proptest::option::of(0..30_u32), count in 2..5_usize,
        dies in proptest::option::of(0..60_u32),
    ) {
        let nature = Nature { exclusive, shown, freed_after, seen_after: Some(seen_after), mark_after };
        let mut pods: Vec<_> =
            (0..count).map(|n| pod(&format!("orders-{n}"), &format!("n{n}"))).collect();
        play(nature, &mut pods, 600, dies);
        for pod in &pods {
            match &pod.tester.finding {
                Finding::Passed(report) => {
                    prop_assert!(exclusive && shown);
                    let late = u64::from(seen_after + 2) * 100;
                    prop_assert!(report.release_millis + late >= u64::from(freed_after) * 100);
                }
                Finding::Refused(problem) => {
                    prop_assert!(!exclusive || !shown, "{:?} of {:?}", problem, nature);
                }
                Finding::Nothing => prop_assert!(dies.is_some(), "no verdict of {nature:?}"),
            }
        }
    }
}

/// A pod whose beats go on.
fn living(uid: &str, now: Duration, ask: Option<Ask>, done: Option<Ask>) -> Peers {
    let beat = Beat { uid: uid.to_owned(), ask, done, ..Beat::default() };
    [(uid.to_owned(), Seen { beat, advanced: Some(now), mark: None })].into()
}

#[test]
fn nothing_is_done_about_a_deed_of_a_newer_pod() {
    let now = Duration::from_secs(1);
    let asked =
        |deed| living("you", now, Some(Ask { peer: "me".to_owned(), trial: 7, deed }), None);
    let mut subject = Subject::default();
    assert_eq!(subject.next(now, &asked(Deed::Unknown), "me"), None);
    let hold = subject.next(now, &asked(Deed::Hold), "me").unwrap();
    subject.did(hold.clone());
    assert_eq!(subject.next(now, &asked(Deed::Unknown), "me"), None, "it goes on to hold");
    assert_eq!(subject.done, Some(hold));
}

#[test]
fn nothing_is_concluded_from_what_a_newer_pod_says_it_did() {
    let mut tester = Tester::default();
    for second in 0..60 {
        let now = Duration::from_secs(second);
        let done = Ask { peer: "me".to_owned(), trial: 7, deed: Deed::Unknown };
        tester.next(now, &living("you", now, None, Some(done)), "node", 7);
        tester.attempted(now, Attempt::Granted);
        assert_eq!(tester.finding, Finding::Nothing);
    }
}
