//! What looks at the lock file mean, one after the other.
//!
//! Classic writes the lock file right *after* the kernel grants the lock, so the modification time
//! of a fresh acquisition still changes once. It is held against the broker only from its greeting
//! on; the inode, which that write keeps, from the first look that shows the lock as ours.

use crate::broker::report::LockView;
use crate::lock::{FileIdentity, FileView, Observation};

/// The broker process that a look was made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Counts the agent's starts of a broker; also rises when one ends.
    pub generation: u32,
    /// Process number, if it runs.
    pub pid: Option<i32>,
    /// What makes its lease's holder id its own; 0 without one.
    pub nonce: u32,
    /// Whether it has greeted while it held the lock.
    pub greeted: bool,
}

/// What a look means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who holds the lock.
    pub view: LockView,
    /// The lock file is not the one that the running broker locked.
    pub changed: bool,
    /// The lock file compared with the look before, while no broker runs and it could be seen.
    pub file: Option<FileView>,
    /// Only this machine's kernel grants and takes the lock.
    pub local: bool,
}

/// Compares looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Track {
    generation: u32,
    /// The file as locked by the running broker; its modification time counts once `settled`.
    locked: Option<FileIdentity>,
    settled: bool,
    /// Whether anything was seen without a broker, and the file as last seen then.
    looked: bool,
    seen: Option<FileIdentity>,
}

impl Track {
    /// What `found` means, if it was looked for on behalf of `life`. Looks must come in the order
    /// in which they were made.
    pub fn judge(&mut self, life: Life, found: &Observation) -> Verdict {
        if life.generation < self.generation {
            return Verdict { view: found.view, changed: false, file: None, local: found.local };
        }
        if life.generation > self.generation {
            *self = Self { generation: life.generation, ..Self::default() };
        }
        let changed = life.pid.is_some() && self.changed(life.greeted, found);
        let file = if life.pid.is_none() { self.compare(found) } else { None };
        Verdict { view: found.view, changed, file, local: found.local }
    }

    fn changed(&mut self, greeted: bool, found: &Observation) -> bool {
        if found.view == LockView::Unknown {
            return false;
        }
        match (self.locked, found.file) {
            (None, Some(file)) => {
                if matches!(found.view, LockView::Mine(_)) {
                    self.locked = Some(file);
                    self.settled = greeted;
                }
                false
            }
            (None, None) => false,
            (Some(_), None) => true,
            (Some(locked), Some(file)) if self.settled => locked != file,
            (Some(locked), Some(file)) => {
                let replaced = !locked.same_file(&file);
                if !replaced {
                    self.locked = Some(file);
                    self.settled = greeted;
                }
                replaced
            }
        }
    }

    fn compare(&mut self, found: &Observation) -> Option<FileView> {
        if found.view == LockView::Unknown {
            return None;
        }
        let looked = std::mem::replace(&mut self.looked, true);
        let before = std::mem::replace(&mut self.seen, found.file);
        Some(match found.file {
            file if looked && file == before => FileView::Same,
            Some(_) => FileView::Changed,
            None => FileView::Absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::report::Evidence;
    use FileView::{Absent, Changed, Same};

    const MINE: LockView = LockView::Mine(Evidence::Kernel);

    #[allow(clippy::unnecessary_wraps, reason = "what a look finds is optional")]
    fn file(inode: u64, modified_nanos: i64) -> Option<FileIdentity> {
        Some(FileIdentity { device: 1, inode, modified_seconds: 0, modified_nanos })
    }

    fn found(view: LockView, file: Option<FileIdentity>) -> Observation {
        Observation { view, file, local: true, error: None }
    }

    fn life(greeted: bool) -> Life {
        Life { generation: 1, pid: Some(9), nonce: 0, greeted }
    }

    #[test]
    fn the_write_at_the_acquisition_is_no_loss() {
        let mut track = Track::default();
        assert!(!track.judge(life(false), &found(MINE, file(1, 1))).changed);
        assert!(!track.judge(life(false), &found(MINE, file(1, 2))).changed);
        assert!(!track.judge(life(true), &found(MINE, file(1, 3))).changed);
    }

    #[test]
    fn a_touch_after_the_greeting_is_a_loss() {
        let mut track = Track::default();
        assert!(!track.judge(life(true), &found(MINE, file(1, 1))).changed);
        assert!(track.judge(life(true), &found(MINE, file(1, 2))).changed);
    }

    #[test]
    fn a_replaced_or_deleted_file_is_a_loss_even_before_the_greeting() {
        for after in [file(2, 1), None] {
            let mut track = Track::default();
            assert!(!track.judge(life(false), &found(MINE, file(1, 1))).changed);
            assert!(track.judge(life(false), &found(LockView::Free, after)).changed);
        }
    }

    #[test]
    fn a_look_without_an_answer_changes_nothing() {
        let mut track = Track::default();
        assert!(!track.judge(life(true), &found(MINE, file(1, 1))).changed);
        assert!(!track.judge(life(true), &found(LockView::Unknown, None)).changed);
        assert!(!track.judge(life(true), &found(MINE, file(1, 1))).changed);
    }

    #[test]
    fn the_next_broker_starts_afresh() {
        let mut track = Track::default();
        assert!(!track.judge(life(true), &found(MINE, file(1, 1))).changed);
        let next = Life { generation: 2, ..life(false) };
        assert!(!track.judge(next, &found(LockView::Other, file(1, 2))).changed);
        assert!(!track.judge(life(true), &found(MINE, file(1, 3))).changed, "a late look");
    }

    #[test]
    fn without_a_broker_the_file_is_compared_with_the_look_before() {
        let mut track = Track::default();
        let nobody = Life { generation: 1, ..Life::default() };
        let views: Vec<_> = [None, None, file(1, 1), file(1, 1), file(1, 2), None, file(1, 2)]
            .into_iter()
            .map(|file| track.judge(nobody, &found(LockView::Other, file)).file)
            .collect();
        let wanted = [Absent, Same, Changed, Same, Changed, Absent, Changed].map(Some).to_vec();
        assert_eq!(views, wanted);
    }
}
