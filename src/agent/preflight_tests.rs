use proptest::prelude::*;

use super::*;
use crate::broker::report::{FoundStore, TrialReport};
use crate::lock::mount::Mount;

const SETTINGS: fn(Preflight) -> VolumeSettings = |preflight| VolumeSettings {
    members: "/store/tandem-members".to_owned(),
    store: "/store/kahadb".to_owned(),
    preflight,
    locks: true,
    keep_alive_millis: 250,
};

const FENCE_AFTER: Duration = Duration::from_secs(20);

fn beaten() -> Beaten {
    Beaten {
        mount: Some(Mount { kind: "nfs4".to_owned(), ..Mount::default() }),
        local: false,
        peers: Vec::new(),
        finding: None,
        trying: None,
        passed_before: false,
        store: FoundStore::default(),
        standing: None,
        full: false,
        busy: false,
        lease: None,
    }
}

fn trial() -> TrialReport {
    TrialReport {
        peer: "orders-1".to_owned(),
        peer_node: "n2".to_owned(),
        same_node: false,
        release_millis: 20,
        visible_millis: 200,
        stale_millis: Some(0),
    }
}

fn refusal() -> StoreProblem {
    StoreProblem { kind: StoreProblemKind::LocksLocal, message: "no".to_owned() }
}

fn judge(preflight: Preflight, beaten: &Beaten, lonely: u64, presence: &Presence) -> Gate {
    let facts = Facts {
        beaten: Ok(beaten),
        beat_age: Some(Duration::ZERO),
        lonely: Duration::from_secs(lonely),
        unseen: Some(Duration::from_secs(lonely)),
        used: false,
        presence,
        fence_after: FENCE_AFTER,
    };
    gate(&SETTINGS(preflight), &facts)
}

fn refused(gate: &Gate) -> Option<StoreProblemKind> {
    match gate {
        Gate::Refused(problem) => Some(problem.kind),
        Gate::Open | Gate::Wait(_) => None,
    }
}

#[test]
fn no_broker_is_started_without_room() {
    for preflight in [Preflight::Required, Preflight::Warn] {
        let full = Beaten { full: true, finding: Some(Ok(trial())), ..beaten() };
        let gate = judge(preflight, &full, 0, &Presence::Alone);
        assert_eq!(refused(&gate), Some(StoreProblemKind::Full));
    }
}

#[test]
fn a_passed_trial_opens_and_a_failed_one_shuts_unless_warn() {
    let passed = Beaten { finding: Some(Ok(trial())), ..beaten() };
    let failed = Beaten { finding: Some(Err(refusal())), ..beaten() };
    let silent = Presence::Silent;
    assert_eq!(judge(Preflight::Required, &passed, 0, &silent), Gate::Open);
    assert_eq!(judge(Preflight::Required, &failed, 99, &silent), Gate::Refused(refusal()));
    assert_eq!(judge(Preflight::Warn, &failed, 0, &silent), Gate::Open);
}

#[test]
fn without_another_pod_it_waits_for_as_long_as_what_is_known_of_it_asks_for() {
    let fresh = beaten();
    let before = Beaten { passed_before: true, ..beaten() };
    let waits = |beaten: &Beaten, presence: Presence| {
        (0..100).find(|lonely| judge(Preflight::Required, beaten, *lonely, &presence) == Gate::Open)
    };
    assert_eq!(waits(&fresh, Presence::Alone), Some(2));
    assert_eq!(waits(&fresh, Presence::Silent), Some(30));
    assert_eq!(waits(&before, Presence::Silent), Some(5));
    assert_eq!(waits(&before, Presence::Unknown), Some(5));
    assert_eq!(waits(&fresh, Presence::Unknown), None);
    assert_eq!(waits(&before, Presence::Beats("orders-1".to_owned())), None);
}

#[test]
fn pods_that_beat_unseen_have_different_stores() {
    let presence = Presence::Beats("orders-1".to_owned());
    let gate = |lonely| judge(Preflight::Required, &beaten(), lonely, &presence);
    assert!(matches!(gate(9), Gate::Wait(_)));
    assert_eq!(refused(&gate(10)), Some(StoreProblemKind::DifferentStores));
    assert_eq!(judge(Preflight::Warn, &beaten(), 10, &presence), Gate::Open);
}

#[test]
fn a_volume_that_does_not_work_is_refused_even_with_warn() {
    let problem = StoreProblem { kind: StoreProblemKind::Full, message: String::new() };
    let presence = Presence::Alone;
    let facts = |beaten, age| Facts {
        beaten,
        beat_age: age,
        lonely: Duration::from_secs(99),
        unseen: None,
        used: false,
        presence: &presence,
        fence_after: FENCE_AFTER,
    };
    let warn = SETTINGS(Preflight::Warn);
    let failed = gate(&warn, &facts(Err(&problem), Some(Duration::ZERO)));
    assert_eq!(refused(&failed), Some(StoreProblemKind::Full));
    let beaten = beaten();
    let stalled = gate(&warn, &facts(Ok(&beaten), Some(HANGS + Duration::from_millis(1))));
    assert_eq!(refused(&stalled), Some(StoreProblemKind::Hangs));
}

/// The pod has the same mount for its whole life.
#[test]
fn a_volume_that_this_pod_has_used_needs_nobody_s_word_again() {
    let untried = Beaten { finding: None, trying: None, passed_before: false, ..beaten() };
    let gate = |used, presence: &Presence| {
        let facts = Facts {
            beaten: Ok(&untried),
            beat_age: Some(Duration::ZERO),
            lonely: AS_BEFORE,
            unseen: None,
            used,
            presence,
            fence_after: FENCE_AFTER,
        };
        gate(&SETTINGS(Preflight::Required), &facts)
    };
    for presence in [Presence::Unknown, Presence::Silent] {
        assert!(matches!(gate(false, &presence), Gate::Wait(_)), "{presence:?}");
        assert_eq!(gate(true, &presence), Gate::Open, "{presence:?}");
    }
    let unseen = Presence::Beats("orders-1".to_owned());
    assert!(matches!(gate(true, &unseen), Gate::Wait(_)));
}

#[test]
fn only_a_lock_on_the_volume_asks_for_locks() {
    let unlocked = VolumeSettings { locks: false, ..SETTINGS(Preflight::Required) };
    let failed = Beaten { finding: Some(Err(refusal())), ..beaten() };
    let presence = Presence::Alone;
    let facts = Facts {
        beaten: Ok(&failed),
        beat_age: Some(Duration::ZERO),
        lonely: Duration::from_secs(2),
        unseen: None,
        used: false,
        presence: &presence,
        fence_after: FENCE_AFTER,
    };
    assert_eq!(gate(&unlocked, &facts), Gate::Open);
}

#[test]
fn slow_and_outdated_answers_are_told() {
    let kinds = |trial: TrialReport| -> Vec<_> {
        let beaten = Beaten { mount: None, finding: Some(Ok(trial)), ..beaten() };
        let notes = notes(&SETTINGS(Preflight::Required), &beaten);
        notes.into_iter().map(|note| note.kind).collect()
    };
    assert_eq!(kinds(trial()), vec![]);
    assert_eq!(kinds(TrialReport { release_millis: 2001, ..trial() }), [StoreNoteKind::Slow]);
    let stale = TrialReport { stale_millis: None, ..trial() };
    assert_eq!(kinds(stale), [StoreNoteKind::AttributesCached]);
}

proptest! {
    /// With Required no broker is ever started on a volume that was found wanting.
    #[test]
    fn required_means_required(
        lonely in 0..200_u64, before: bool, found in 0..3_u8, alone: bool, options in 0..3_usize,
    ) {
        let options = [["vers=4.1"], ["local_lock=all"], ["vers=3"]][options];
        let mount = Mount {
            kind: "nfs".to_owned(),
            options: options.map(str::to_owned).to_vec(),
            ..Mount::default()
        };
        let bad = mount.judge(true).problem.is_some();
        let finding = match found {
            0 => None,
            1 => Some(Ok(trial())),
            _ => Some(Err(refusal())),
        };
        let failed = matches!(finding, Some(Err(_)));
        let beaten = Beaten { mount: Some(mount), finding, passed_before: before, ..beaten() };
        let presence = if alone { Presence::Alone } else { Presence::Silent };
        let open = judge(Preflight::Required, &beaten, lonely, &presence) == Gate::Open;
        prop_assert!(!(open && (bad || failed)));
    }
}

/// A node that is cut off writes until its broker is killed: by then nobody else may have the lock.
#[test]
fn a_lease_that_ends_before_the_fence_is_refused_with_the_value_to_set() {
    let with = |lease: Option<u64>| Beaten {
        finding: Some(Ok(trial())),
        lease: lease.map(Duration::from_secs),
        ..beaten()
    };
    let gate_of = |lease, preflight| judge(preflight, &with(lease), 0, &Presence::Alone);
    for lease in [None, Some(90), Some(22)] {
        assert_eq!(gate_of(lease, Preflight::Required), Gate::Open, "{lease:?}");
    }
    for (lease, words) in
        [(21, "fenceAfter to 19 s"), (15, "fenceAfter to 13 s"), (1, "a longer lease")]
    {
        let gate = gate_of(Some(lease), Preflight::Required);
        let Gate::Refused(problem) = gate else { panic!("{lease}: {gate:?}") };
        assert_eq!(problem.kind, StoreProblemKind::FenceTooLate);
        assert!(problem.message.contains(words), "{}", problem.message);
        assert_eq!(gate_of(Some(lease), Preflight::Warn), Gate::Open);
    }
    // A lock in a database has a lease of its own.
    let unlocked = VolumeSettings { locks: false, ..SETTINGS(Preflight::Required) };
    let (short, presence) = (with(Some(1)), Presence::Alone);
    let facts = Facts {
        beaten: Ok(&short),
        beat_age: Some(Duration::ZERO),
        lonely: Duration::ZERO,
        unseen: None,
        used: false,
        presence: &presence,
        fence_after: FENCE_AFTER,
    };
    assert_eq!(gate(&unlocked, &facts), Gate::Open);
}
