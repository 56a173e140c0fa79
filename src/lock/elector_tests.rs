use proptest::prelude::*;

use super::*;

fn elector(by: &str, uid: &str) -> Elector {
    Elector {
        by: by.to_owned(),
        namespace: "shop".to_owned(),
        cluster: "orders".to_owned(),
        uid: uid.to_owned(),
    }
}

fn written(uid: &str, former: Option<&str>) -> Written {
    Written { elector: elector("file", uid), former: former.map(|uid| elector("file", uid)) }
}

fn other(uid: Option<&str>, beats: bool, locked: Option<bool>) -> Other {
    let elector = uid.map(|uid| elector("file", uid));
    Other { pod: "orders-0".to_owned(), elector, beats, locked }
}

const LATER: Duration = Duration::from_mins(1);

fn next(written: &Written, others: &[Other]) -> (Standing, Option<Written>) {
    Candidate::new(elector("file", "new")).next(LATER, Some(written), others)
}

#[test]
fn a_newcomer_waits_while_a_pod_of_the_former_elector_may_live() {
    for (beats, locked) in [(true, Some(false)), (false, Some(true)), (false, None)] {
        for uid in [Some("old"), None] {
            let (standing, write) = next(&written("old", None), &[other(uid, beats, locked)]);
            assert!(matches!(standing, Standing::Elsewhere { .. }), "{standing:?}");
            assert_eq!(write, None);
        }
    }
    // Other newcomers start nothing, and are in nobody's way.
    for gone in
        [&[][..], &[other(Some("old"), false, Some(false))], &[other(Some("x"), true, None)]]
    {
        let taken = Some(written("new", Some("old")));
        assert_eq!(next(&written("old", None), gone), (Standing::Unsettled, taken));
    }
}

#[test]
fn the_same_cluster_by_another_means_is_another_elector() {
    let lease = Written { elector: elector("lease:PostgreSQL/db:5432/mq/", "new"), former: None };
    let serves = Other { elector: Some(lease.elector.clone()), ..other(None, true, Some(true)) };
    let (standing, _) = next(&lease, &[serves]);
    assert!(matches!(standing, Standing::Elsewhere { .. }), "{standing:?}");
}

#[test]
fn the_owner_goes_on_whatever_newcomers_there_are() {
    let newcomer = other(Some("x"), true, Some(true));
    assert_eq!(next(&written("new", None), &[newcomer]), (Standing::Ours, None));
}

#[test]
fn a_former_pod_that_turns_up_gets_the_volume_back() {
    let (standing, back) =
        next(&written("new", Some("old")), &[other(Some("old"), true, Some(true))]);
    assert!(matches!(standing, Standing::Elsewhere { .. }), "{standing:?}");
    assert_eq!(back, Some(written("old", None)));
}

/// A pod of one of three electors. A beat is two steps, so that anything can happen between them.
#[derive(Clone, Debug)]
struct Pod {
    uid: usize,
    candidate: Candidate,
    born: u64,
    /// When it last wrote its beat.
    beat: u64,
    read: Option<Read>,
    /// What it saw last, and when it read it.
    standing: Option<(Standing, u64)>,
    runs: bool,
    lives: bool,
}

/// What the volume said when the pod had written its beat.
#[derive(Clone, Debug)]
struct Read(Option<Written>);

#[derive(Clone, Copy, Debug)]
enum Step {
    Born(usize),
    Write(usize),
    Look(usize),
    Start(usize),
    Dies(usize),
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..3_usize).prop_map(Step::Born),
        8 => (0..6_usize).prop_map(Step::Write),
        8 => (0..6_usize).prop_map(Step::Look),
        4 => (0..6_usize).prop_map(Step::Start),
        1 => (0..6_usize).prop_map(Step::Dies),
        6 => (0..3000_u64).prop_map(Step::Time),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Default)]
struct Volume {
    now: u64,
    written: Option<Written>,
    pods: Vec<Pod>,
}

impl Volume {
    fn carry_out(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Time(millis) => self.now += millis,
            Step::Born(uid) if self.pods.len() < 6 => self.pods.push(Pod {
                uid,
                candidate: Candidate::new(elector("file", NAMES[uid])),
                born: now,
                beat: now,
                read: None,
                standing: None,
                runs: false,
                lives: true,
            }),
            Step::Write(p) => {
                let written = self.written.clone();
                if let Some(pod) = self.pods.get_mut(p).filter(|pod| pod.lives) {
                    (pod.beat, pod.read) = (now, Some(Read(written)));
                }
            }
            Step::Look(p) => self.look(p),
            Step::Start(p) => {
                if let Some(pod) = self.pods.get_mut(p).filter(|pod| pod.lives)
                    && let Some((Standing::Ours, at)) = pod.standing
                    && now - at < 5000
                {
                    pod.runs = true;
                }
            }
            Step::Dies(p) => {
                if let Some(pod) = self.pods.get_mut(p) {
                    (pod.lives, pod.runs) = (false, false);
                }
            }
            Step::Born(_) => {}
        }
    }

    fn look(&mut self, p: usize) {
        let now = self.now;
        let Some(pod) = self.pods.get(p).filter(|pod| pod.lives) else { return };
        let Some(Read(read)) = pod.read.clone() else { return };
        let others = self.pods.iter().enumerate().filter(|(n, _)| *n != p);
        let others: Vec<_> = others
            .map(|(_, other)| Other {
                pod: other.uid.to_string(),
                elector: Some(elector("file", NAMES[other.uid])),
                beats: now - other.beat < 5000,
                locked: Some(other.lives),
            })
            .collect();
        let pod = &mut self.pods[p];
        let age = Duration::from_millis(now - pod.born);
        let (standing, next) = pod.candidate.next(age, read.as_ref(), &others);
        pod.standing = Some((standing, pod.beat));
        pod.read = None;
        if let Some(next) = next
            && self.written == read
        {
            self.written = Some(next);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// S12: brokers of two electors never run on one store.
    #[test]
    fn brokers_of_two_electors_never_run_together(steps in prop::collection::vec(step(), 0..120)) {
        let mut volume = Volume::default();
        for step in steps {
            volume.carry_out(step);
            let mut running: Vec<_> =
                volume.pods.iter().filter(|pod| pod.runs).map(|pod| pod.uid).collect();
            running.dedup();
            running.sort_unstable();
            running.dedup();
            prop_assert!(running.len() < 2, "{running:?}");
        }
    }

    /// Once all of the former elector are gone, a newcomer gets the volume, and only a while later.
    #[test]
    fn a_newcomer_gets_a_volume_that_was_left(others in 0..3_usize) {
        let mut volume = Volume::default();
        for step in [Step::Born(0), Step::Write(0), Step::Look(0), Step::Write(0), Step::Look(0), Step::Start(0)] {
            volume.carry_out(step);
        }
        prop_assert!(volume.pods[0].runs);
        volume.carry_out(Step::Dies(0));
        volume.carry_out(Step::Born(1));
        for _ in 0..others {
            volume.carry_out(Step::Born(2));
        }
        let mut rounds = 0;
        while !volume.pods.iter().any(|pod| pod.runs) {
            rounds += 1;
            prop_assert!(rounds < 100);
            for p in 1..=others + 1 {
                for step in [Step::Write(p), Step::Look(p), Step::Start(p)] {
                    volume.carry_out(step);
                }
            }
            volume.carry_out(Step::Time(1000));
        }
        prop_assert!(volume.now >= 10_000, "{}", volume.now);
    }
}
