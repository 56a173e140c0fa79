use proptest::prelude::*;

use super::*;

const LEASE: i64 = 5_000;

#[test]
fn a_server_is_believed_when_it_is_the_recorded_one_or_was_seen_for_a_lease() {
    for (recorded, seen, wanted) in [
        (Some("a"), None, Step::Known),
        (Some("a"), Some(("b", 9_000)), Step::Known),
        (None, None, Step::Note),
        (Some("b"), None, Step::Note),
        // Noted before another change.
        (Some("b"), Some(("c", 9_000)), Step::Note),
        (Some("b"), Some(("a", 0)), Step::Wait(LEASE)),
        (Some("b"), Some(("a", 4_999)), Step::Wait(1)),
        (Some("b"), Some(("a", 5_000)), Step::Record),
        // The clock went back.
        (Some("b"), Some(("a", -1)), Step::Note),
    ] {
        assert_eq!(judge("a", recorded, seen, LEASE), wanted, "{recorded:?} {seen:?}");
    }
}

/// Looks, and failovers to a server that has the rows as they are or as they were when they were last
/// copied. Each failover begins a history that never was before, as PostgreSQL's timelines do.
#[derive(Clone, Debug)]
enum Act {
    Look,
    Wait(i64),
    FailOver { to_the_copy: bool },
    Copy,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => Just(Act::Look),
        3 => (1_i64..4_000).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(|to_the_copy| Act::FailOver { to_the_copy }),
        1 => Just(Act::Copy),
    ];
    prop::collection::vec(act, 1..80)
}

/// History, and when it was seen first.
#[derive(Clone, Default)]
struct Rows {
    recorded: String,
    seen: Option<(String, i64)>,
}

proptest! {
    /// The invariant: what is obtained on a server is obtained a lease after everything that another one
    /// gave, because that was before the last failover.
    #[test]
    fn nothing_is_obtained_within_a_lease_of_another_server_s_end(acts in acts()) {
        let (mut now, mut history, mut since) = (0_i64, 0_u32, -LEASE);
        let mut rows = Rows { recorded: "0".to_owned(), seen: None };
        let mut copy = rows.clone();
        for act in acts {
            match act {
                Act::Wait(millis) => now += millis,
                Act::Copy => copy = rows.clone(),
                Act::FailOver { to_the_copy } => {
                    (history, since) = (history + 1, now);
                    if to_the_copy {
                        rows = copy.clone();
                    }
                }
                Act::Look => {
                    let current = history.to_string();
                    let seen = rows.seen.as_ref().map(|(it, at)| (it.as_str(), now - at));
                    match judge(&current, Some(&rows.recorded), seen, LEASE) {
                        Step::Known => rows.seen = None,
                        Step::Note => rows.seen = Some((current, now)),
                        Step::Wait(left) => prop_assert!(left > 0 && left <= LEASE),
                        Step::Record => rows.recorded = current,
                    }
                }
            }
            if rows.recorded == history.to_string() {
                prop_assert!(now - since >= LEASE, "{} ms after the failover", now - since);
            }
        }
    }
}
