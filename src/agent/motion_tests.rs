use super::*;
use proptest::prelude::*;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Of a group on a volume, by the defaults.
const PATIENCE: Patience = Patience {
    poll: millis(100),
    tries: millis(2300),
    hang: millis(10_000),
    works: Some(millis(60_000)),
};

/// What is proven last of a process of which this is seen at these times.
fn seen(samples: impl IntoIterator<Item = (u64, Sample)>) -> Motion {
    let mut trace = Trace::default();
    let samples = samples.into_iter().map(|(at, sample)| (millis(at), sample));
    samples.fold(Motion::default(), |_, (at, sample)| trace.see(at, Some(sample), PATIENCE))
}

/// Every 250 ms, from 0 to `end`.
fn every(end: u64, of: impl Fn(u64) -> Sample) -> impl Iterator<Item = (u64, Sample)> {
    (0..=end / 250).map(move |count| (250 * count, of(250 * count)))
}

fn idle() -> Sample {
    Sample { io: Some(0), ..Sample::default() }
}

fn waking(period: u64) -> impl Fn(u64) -> Sample {
    move |at| Sample { wakes: at / period, ..idle() }
}

fn still_for(sign: Sign) -> u64 {
    match sign {
        Sign::Still(still) => u64::try_from(still.as_millis()).unwrap(),
        Sign::Unknown | Sign::Moves => 0,
    }
}

#[test]
fn a_standby_that_polls_moves_within_a_second() {
    assert_eq!(seen(every(750, waking(100))).tries, Sign::Moves);
    assert_eq!(seen(every(60_000, waking(100))).tries, Sign::Moves);
}

/// Measured with JDK 17: `main` wakes up once a second to look at the monitor again.
#[test]
fn a_main_thread_that_is_blocked_on_a_monitor_stands_still_though_it_wakes_up() {
    let polls = every(5_000, waking(100));
    let blocked =
        (1..=40).map(|count| (5_000 + 250 * count, Sample { wakes: 50 + count / 4, ..idle() }));
    let still = still_for(seen(polls.chain(blocked)).tries);
    assert!((9_000..=10_250).contains(&still), "{still}");
}

#[test]
fn a_stopped_process_is_told_at_the_next_sample() {
    let stopped = Sample { wakes: 20, stopped: true, ..idle() };
    let motion = seen(every(2_000, waking(100)).chain([(2_250, stopped)]));
    assert_eq!(still_for(motion.tries), 250);
    assert!(!motion.hangs(AgentState::Standby, PATIENCE));
}

#[test]
fn nothing_is_proven_of_a_process_that_cannot_be_seen_or_of_one_that_the_agent_did_not_watch() {
    let mut trace = Trace::default();
    for at in 0..100 {
        assert_eq!(trace.see(millis(250 * at), None, PATIENCE), Motion::default());
    }
    // The node stood still for a minute, with everything on it.
    let thawed = seen(every(3_000, waking(100)).chain([(63_000, waking(100)(3_000))]));
    assert_eq!((thawed.tries, thawed.works), (Sign::Unknown, Sign::Unknown));
}

#[test]
fn a_standby_whose_storage_stands_still_is_no_standby_and_is_not_killed() {
    let blocked = |at: u64| Sample { wakes: at.min(2_000) / 100, blocked: at > 2_000, ..idle() };
    let motion = seen(every(30_000, blocked));
    assert!(still_for(motion.tries) > 20_000);
    assert!(!motion.hangs(AgentState::Standby, PATIENCE));
    assert!(!motion.hangs(AgentState::Promoting, PATIENCE));
}

#[test]
fn a_broker_that_does_nothing_before_its_greeting_hangs_after_its_patience() {
    let begins = |at: u64| Sample { cpu: millis(at.min(3_000)), ..idle() };
    let hangs = |end| seen(every(end, begins)).hangs(AgentState::Promoting, PATIENCE);
    assert!(!hangs(60_000));
    assert!(hangs(66_000));
    // Where its messages are in a database, a long statement looks just like that.
    let patience = Patience { works: None, ..PATIENCE };
    let mut trace = Trace::default();
    let motions = every(200_000, begins).map(|(at, it)| trace.see(millis(at), Some(it), patience));
    assert!(motions.into_iter().all(|motion| !motion.hangs(AgentState::Promoting, patience)));
}

#[test]
fn a_process_whose_input_and_output_may_not_be_read_is_held_to_nothing() {
    let motion = seen(every(200_000, |_| Sample::default()));
    assert_eq!(motion.works, Sign::Unknown);
}

#[test]
fn what_the_kernel_says_is_read() {
    let status = |state: &str, wakes: u32| {
        format!(
            "Name:\tjava (x)\nState:\t{state}\nvoluntary_ctxt_switches:\t{wakes}\n\
             nonvoluntary_ctxt_switches:\t9\n"
        )
    };
    let stat = "7 (java) x) S 1 7 7 0 -1 4194560 8 0 0 0 250 50 0 0 20 0 30 0 100 0 0";
    let io = "rchar: 1\nwchar: 2\nsyscr: 64\nsyscw: 64\nread_bytes: 4\nwrite_bytes: 8\n";
    let statuses = [status("S (sleeping)", 1), status("D (disk sleep)", 40)];
    let wanted = Sample {
        wakes: 41,
        cpu: Duration::from_secs(3),
        io: Some(15),
        stopped: false,
        blocked: true,
    };
    assert_eq!(read(&statuses, stat, Some(io)), Some(wanted));
    assert_eq!(read(&statuses, stat, None), Some(Sample { io: None, ..wanted }));
    let stopped = [status("T (stopped)", 1)];
    assert!(read(&stopped, stat, None).unwrap().stopped);
    assert_eq!(read(&[], stat, None), None);
    assert_eq!(read(&["State:\tS".to_owned()], stat, None), None);
    assert_eq!(read(&statuses, "7 (java) S 1", None), None);
}

/// This test's own thread is one of the first two, or the process waits for it in the first.
#[test]
fn this_process_can_be_seen() {
    let own = sample(i32::try_from(std::process::id()).unwrap()).unwrap();
    assert!(own.io.is_some() && !own.stopped, "{own:?}");
    assert_eq!(sample(i32::MAX), None);
}

proptest! {
    /// However slow: what uses the processor, reads or writes, or waits for a device is never killed.
    #[test]
    fn whatever_works_is_never_killed_for_slowness(
        steps in prop::collection::vec((0_u64..3, 1_u64..200), 1..60),
    ) {
        let (mut sample, mut at, mut samples) = (idle(), 0, Vec::new());
        for (kind, count) in steps {
            for turn in 0..count {
                at += 250;
                sample.blocked = kind == 0;
                match kind {
                    // One byte within 50 s.
                    1 if turn == 0 => sample.io = sample.io.map(|bytes| bytes + 1),
                    2 => sample.cpu += millis(10),
                    _ => {}
                }
                samples.push((at, sample));
            }
        }
        let mut trace = Trace::default();
        for (at, sample) in samples {
            let motion = trace.see(millis(at), Some(sample), PATIENCE);
            prop_assert!(!motion.hangs(AgentState::Promoting, PATIENCE), "{at} {sample:?}");
            prop_assert!(!motion.hangs(AgentState::Starting, PATIENCE), "{at} {sample:?}");
        }
    }

    /// A sign of life is never older than the patience, and its absence never younger.
    #[test]
    fn a_standby_is_told_to_stand_still_when_it_is_and_never_when_it_polls(
        gaps in prop::collection::vec(200_u64..600, 1..200),
        freezes in any::<prop::sample::Index>(),
        recheck in any::<bool>(),
    ) {
        let frozen_from: u64 = gaps.iter().take(freezes.index(gaps.len())).sum();
        let (mut trace, mut at) = (Trace::default(), 0);
        for gap in gaps {
            at += gap;
            let rechecks = if recheck { at.saturating_sub(frozen_from) / 1000 } else { 0 };
            let sample = Sample { wakes: at.min(frozen_from) / 100 + rechecks, ..idle() };
            let motion = trace.see(millis(at), Some(sample), PATIENCE);
            let frozen_for = at.saturating_sub(frozen_from);
            if frozen_for == 0 {
                prop_assert!(!matches!(motion.tries, Sign::Still(_)), "{at}");
            }
            // Two samples and the wakes before that have not been counted yet.
            if frozen_for > 2300 + 1200 {
                prop_assert!(motion.tries != Sign::Moves, "{at}");
            }
            prop_assert!(still_for(motion.tries) <= frozen_for + 1200);
        }
    }

    #[test]
    fn only_brokers_that_wait_start_or_take_over_can_hang(
        still in 0_u64..200_000,
        blocked in any::<bool>(),
    ) {
        use AgentState::*;
        let sign = Sign::Still(millis(still));
        let motion = Motion { tries: sign, works: sign, blocked };
        for state in [Preflight, Master, SteppingDown, Fenced, Backoff, Held, Stopped, Unknown] {
            prop_assert!(!motion.hangs(state, PATIENCE));
        }
        prop_assert_eq!(
            motion.hangs(Standby, PATIENCE),
            !blocked && still > 10_000
        );
    }
}
