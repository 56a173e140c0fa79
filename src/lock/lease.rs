//! A lease in a database: what a look at its row proves, and for how long.
//!
//! The database's clock alone writes and judges the row. A look is counted from its *start*: the
//! database read its clock no earlier, so a lease that had `left_millis` left then runs at least so
//! long after the start of the look.

use std::time::Duration;

use crate::broker::report::{Evidence, LockView};

/// The holder that agents write when they put a missing row back: a lease that nobody holds. A broker
/// whose row was deleted sees that it is not its own before anybody can take it.
pub const REPAIR: &str = "tandem-repair";

/// The lease's row, as the database answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The holder's id; absent when nobody holds the lease.
    pub holder: Option<String>,
    /// How long it still ran when the database read the row, by its own clock. 0 or less: run out.
    pub left_millis: i64,
    /// Why nobody may obtain the lease for now, if so.
    pub nobody: Option<Nobody>,
    /// This node's clock minus the database's.
    pub clock_offset_millis: i64,
}

/// Why nobody may obtain the lease for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// The row was gone; a lease that nobody holds is in its place and still runs.
    RowMissing,
    /// The server is another one than that on which the lease was given.
    NewHistory,
}

impl Row {
    /// Whether somebody's lease runs.
    pub fn runs(&self) -> bool {
        self.left_millis > 0
    }
}

/// Who holds the lease, given the holder id of our own broker, if it runs.
pub fn judge(row: &Row, ours: Option<&str>) -> LockView {
    match (&row.holder, ours) {
        (Some(holder), _) if !row.runs() || holder.is_empty() => LockView::Free,
        (Some(holder), Some(ours)) if holder == ours => LockView::Mine(Evidence::Lease),
        (Some(_), _) => LockView::Other,
        (None, _) => LockView::Free,
    }
}

/// What a look means for the agent's machine: who holds the lease, and whether the lease of our broker
/// ran out without having been given back. `ours` is our running broker's holder id, `of_this_pod`
/// whether the row bears one of this pod's.
pub fn seen(row: &Row, ours: Option<&str>, of_this_pod: bool) -> (LockView, bool) {
    let view = judge(row, ours);
    // Given back, it would bear no name.
    let ran_out = ours.is_some() && row.holder.as_deref() == ours && view == LockView::Free;
    if ours.is_none() && view == LockView::Other && of_this_pod {
        // Of a dead broker, and not given back yet: nobody has taken over, and its sessions may
        // still live.
        return (LockView::Unknown, false);
    }
    (view, ran_out)
}

/// How long after the *start* of the look that found `row` it is certain that nobody else than our
/// broker `ours` is the master, if that broker runs.
///
/// While the row is ours: until it runs out. While it is not, our broker may obtain it right after
/// the look and knows nothing of a lease before that: until a lease's length after the start.
pub fn proven_for(row: &Row, ours: &str, lease: Duration) -> Duration {
    match judge(row, Some(ours)) {
        LockView::Mine(_) => {
            let left = Duration::from_millis(u64::try_from(row.left_millis).unwrap_or(0));
            left.saturating_sub(margin(lease))
        }
        LockView::Other | LockView::Free | LockView::Unknown => lease.saturating_sub(margin(lease)),
    }
}

/// How long before the end of what is proven a broker is killed: it must be dead by then.
pub fn margin(lease: Duration) -> Duration {
    (lease / 5).max(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(holder: Option<&str>, left_millis: i64) -> Row {
        Row { holder: holder.map(str::to_owned), left_millis, nobody: None, clock_offset_millis: 0 }
    }

    #[test]
    fn a_running_lease_is_its_holders() {
        let mine = LockView::Mine(Evidence::Lease);
        let table = [
            (row(Some("a"), 1), Some("a"), mine),
            (row(Some("a"), 1), Some("b"), LockView::Other),
            (row(Some("a"), 1), None, LockView::Other),
            (row(Some("a"), 0), Some("a"), LockView::Free),
            (row(Some("a"), -1), Some("b"), LockView::Free),
            (row(None, 1), Some("a"), LockView::Free),
            (row(Some(""), 1), Some(""), LockView::Free),
            (row(Some(REPAIR), 1), Some("a"), LockView::Other),
        ];
        for (row, ours, wanted) in table {
            assert_eq!(judge(&row, ours), wanted, "{row:?} {ours:?}");
        }
    }

    #[test]
    fn a_lease_of_ours_is_proven_until_the_margin_before_its_end() {
        let lease = Duration::from_secs(5);
        let proven = |row| proven_for(&row, "a", lease).as_millis();
        assert_eq!(proven(row(Some("a"), 4_200)), 3_200);
        assert_eq!(proven(row(Some("a"), 700)), 0);
        assert_eq!(proven(row(Some("b"), 700)), 4_000);
        assert_eq!(margin(Duration::from_secs(2)), Duration::from_millis(500));
    }

    fn any_row() -> impl Strategy<Value = Row> {
        let holder = prop::option::of(prop::sample::select(vec!["a", "b", "A", "a ", "", REPAIR]));
        (holder, -100_000_i64..100_000).prop_map(|(holder, left)| row(holder, left))
    }

    proptest! {
        #[test]
        fn never_ours_when_anothers_or_run_out(row in any_row()) {
            if judge(&row, Some("a")) == LockView::Mine(Evidence::Lease) {
                prop_assert_eq!(row.holder.as_deref(), Some("a"));
                prop_assert!(row.left_millis > 0);
            }
        }

        #[test]
        fn without_a_broker_nothing_is_ours(row in any_row()) {
            prop_assert!(!matches!(judge(&row, None), LockView::Mine(_)));
        }

        /// Also when the row's end lies further away than a lease, which only a foreign hand does.
        #[test]
        fn nothing_is_proven_beyond_the_rows_end(row in any_row(), lease in 2_000_u64..60_000) {
            let lease = Duration::from_millis(lease);
            let proven = proven_for(&row, "a", lease);
            if judge(&row, Some("a")) == LockView::Mine(Evidence::Lease) {
                prop_assert!(proven.as_millis() < row.left_millis.unsigned_abs().into());
            } else {
                // Nobody's lease obtained after the look's start ends earlier than this.
                prop_assert!(proven < lease);
            }
        }
    }
}
