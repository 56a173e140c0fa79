//! Leader election against the fake API server, in paused time: two candidates never lead at once,
//! however slow, lossy or frozen the server is, and however they begin and end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use serde_json::json;
use support::{
    fake_api::{FakeApi, Fault, How, Refuse, When},
    store::path,
};
use tandem::operator::election::{Candidate, DURATION, GIVE_UP, PERIOD};
use tokio::time::{Instant, sleep, timeout};

fn candidate(api: &FakeApi, identity: &str) -> Candidate {
    Candidate::new(api.client(), "tandem-system", "tandem-operator", identity.into())
}

fn holder(api: &FakeApi) -> Option<String> {
    let lease = api.state().store.get(&path("leases", "tandem-system", "tandem-operator"))?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_leads_at_once_and_the_second_waits() {
    let api = FakeApi::default();
    candidate(&api, "a").elected().await;
    let mut second = candidate(&api, "b");
    assert!(timeout(DURATION.saturating_sub(PERIOD), second.elected()).await.is_err());
    assert_eq!(holder(&api).as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_leaders_lease_is_taken_after_its_duration() {
    let api = FakeApi::default();
    candidate(&api, "a").elected().await; // and never renews
    let started = Instant::now();
    candidate(&api, "b").elected().await;
    assert!(
        started.elapsed() > DURATION && started.elapsed() <= DURATION + PERIOD * 2,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let api = FakeApi::default();
    let mut first = candidate(&api, "a");
    first.elected().await;
    let mut second = candidate(&api, "b");
    assert!(timeout(PERIOD * 2, second.elected()).await.is_err());
    first.release().await;
    assert_eq!(holder(&api), None);
    let started = Instant::now();
    second.elected().await;
    assert!(started.elapsed() <= PERIOD);
    first.release().await;
    assert_eq!(holder(&api).as_deref(), Some("b"), "what is another's is not released");
}

#[tokio::test(start_paused = true)]
async fn a_leader_holds_for_long_and_keeps_the_candidate_waiting() {
    let api = FakeApi::default();
    let mut first = candidate(&api, "a");
    let since = first.elected().await;
    let mut second = candidate(&api, "b");
    tokio::select! {
        () = first.hold(since) => panic!("given up"),
        _ = second.elected() => panic!("taken over"),
        () = sleep(Duration::from_hours(1)) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_gives_up_within_its_limit_when_the_api_server_freezes_or_fails() {
    // Whatever the phase between its renewals and the trouble, and however long an error takes.
    for (hangs, millis, error_millis) in [
        (true, 0, 0),
        (true, 1, 0),
        (true, 1999, 0),
        (false, 0, 0),
        (false, 1999, 400),
        (false, 500, 900),
    ] {
        let api = FakeApi::default();
        let mut leader = candidate(&api, "a");
        let since = leader.elected().await;
        let troubled = api.clone();
        let trouble = async move {
            sleep(Duration::from_millis(millis)).await;
            let mut state = troubled.state();
            state.hangs = hangs;
            state.refuse = Some(Refuse { resource: "leases", code: 403, message: "no" });
            state.latency =
                Some(Box::new(move || (Duration::from_millis(error_millis), Duration::ZERO)));
        };
        let ((), ()) = tokio::join!(trouble, leader.hold(since));
        assert!(
            since.elapsed() <= GIVE_UP,
            "{:?} with {hangs} {millis} {error_millis}",
            since.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_taking_costs_nothing_but_a_look() {
    for how in [How::Error, How::Dropped, How::Hang] {
        let api = FakeApi::default();
        api.state().fault = Some(Fault { write: 1, when: When::After, how });
        let started = Instant::now();
        candidate(&api, "a").elected().await;
        assert!(started.elapsed() <= PERIOD * 3, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_lease_with_odd_content_is_only_waited_for() {
    let api = FakeApi::default();
    let lease = json!({"metadata": {"name": "tandem-operator", "namespace": "tandem-system"}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": -5}});
    api.state()
        .store
        .create(&path("leases", "tandem-system", "tandem-operator"), "x", lease)
        .unwrap();
    let started = Instant::now();
    candidate(&api, "a").elected().await;
    assert!(started.elapsed() > DURATION);
}

/// How the server and the candidates behave in one run.
#[derive(Clone, Debug)]
struct Schedule {
    /// Milliseconds before and after the server acts on a request, taken in turn.
    latencies: Vec<(u64, u64)>,
    /// When the server freezes, for how long, in milliseconds.
    freezes: Vec<(u64, u64)>,
    /// How long each candidate waits before it begins, and how long it leads before it lets go.
    candidates: Vec<(u64, u64)>,
    /// Which write loses its answer.
    lost: usize,
}

prop_compose! {
    fn schedules()(
        latencies in prop::collection::vec(prop_oneof![4 => (0..50u64, 0..50u64), 1 => (0..6000u64, 0..6000u64)], 1..30),
        freezes in prop::collection::vec((0..60_000u64, 0..30_000u64), 0..3),
        candidates in prop::collection::vec((0..20_000u64, 0..60_000u64), 2..4),
        lost in 0..40usize,
    ) -> Schedule {
        Schedule { latencies, freezes, candidates, lost }
    }
}

/// Every candidate leads and ends as often as it can; the number that lead at once is watched.
async fn run(schedule: Schedule) -> u32 {
    let api = FakeApi::default();
    let mut turn = schedule.latencies.clone().into_iter().cycle();
    {
        let mut state = api.state();
        state.latency = Some(Box::new(move || {
            let (before, after) = turn.next().unwrap();
            (Duration::from_millis(before), Duration::from_millis(after))
        }));
        state.fault = Some(Fault { write: schedule.lost, when: When::After, how: How::Dropped });
    }
    let leading = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for (index, (delay, term)) in schedule.candidates.into_iter().enumerate() {
        let (api, leading, most) = (api.clone(), Arc::clone(&leading), Arc::clone(&most));
        tasks.spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            for life in 0.. {
                let mut candidate = candidate(&api, &format!("{index}-{life}"));
                let since = candidate.elected().await;
                most.fetch_max(leading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let ended = timeout(Duration::from_millis(term), candidate.hold(since)).await;
                leading.fetch_sub(1, Ordering::SeqCst);
                // A process that is told to end lets the Lease go; one that lost it just dies.
                if ended.is_err() && life % 2 == 0 {
                    candidate.release().await;
                }
            }
        });
    }
    for (at, length) in schedule.freezes {
        let api = api.clone();
        tasks.spawn(async move {
            sleep(Duration::from_millis(at)).await;
            api.state().hangs = true;
            sleep(Duration::from_millis(length)).await;
            api.state().hangs = false;
        });
    }
    sleep(Duration::from_mins(2)).await;
    most.load(Ordering::SeqCst)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn never_do_two_lead_and_somebody_does(schedule in schedules()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let most = runtime.block_on(run(schedule));
        prop_assert!(most <= 1, "{most} lead at once");
    }
}
