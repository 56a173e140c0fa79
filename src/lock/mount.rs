//! What the kernel says of the file system that a path is on, and what that means for a store with a
//! lock. docs/decisions/0010 has the evidence.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::report::{StoreNote, StoreNoteKind, StoreProblem, StoreProblemKind};
use crate::lock::nfs_lease::unescaped;
use crate::secret;

/// A mounted file system: a line of `/proc/self/mountinfo` (proc(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type, such as `nfs4`.
    pub kind: String,
    /// What is mounted, such as `server:/export`.
    pub source: String,
    /// Options of the mount and of the file system.
    pub options: Vec<String>,
}

/// What a mount means for the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why brokers must not be started on it.
    pub problem: Option<StoreProblem>,
    /// What people should know.
    pub notes: Vec<StoreNote>,
}

impl Mount {
    /// The file system that `path` is on; a path that does not exist is on its parent's.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self::find(&table, path))
    }

    fn find(table: &str, path: &Path) -> Option<Self> {
        let mounts = table.lines().filter_map(Self::parse);
        let around = mounts.filter(|mount| path.starts_with(&mount.point));
        // Of several at one place the last covers the others.
        around.max_by_key(|mount| mount.point.components().count())
    }

    /// `36 35 98:0 /root /point rw,noatime shared:1 - nfs4 server:/export rw,vers=4.1`
    fn parse(line: &str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(4);
        let (point, mount_options) = (head.next()?, head.next()?);
        let mut tail = tail.split(' ');
        let (kind, source) = (tail.next()?, tail.next()?);
        let options = mount_options.split(',').chain(tail.next().unwrap_or_default().split(','));
        Some(Self {
            point: PathBuf::from(unescaped(point)),
            kind: kind.to_owned(),
            source: unescaped(source),
            options: options.filter(|option| !option.is_empty()).map(str::to_owned).collect(),
        })
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|had| had == option)
    }

    fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().find_map(|had| had.strip_prefix(option)?.strip_prefix('='))
    }

    /// Whether it is the same file system mounted in the same way, maybe on another node.
    pub fn is_like(&self, other: &Self) -> bool {
        let own = |option: &&String| !option.starts_with("clientaddr=");
        let options = |mount: &Self| mount.options.iter().filter(own).cloned().collect::<Vec<_>>();
        (&self.kind, &self.source) == (&other.kind, &other.source)
            && options(self) == options(other)
    }

    /// In words.
    pub fn describe(&self) -> String {
        format!("{} from {}", self.kind, secret::without_userinfo(&self.source, "..."))
    }

    /// Whether a broker's store may be on it, and with what risk. `locks`: whether a lock on a file
    /// of it elects the master.
    pub fn judge(&self, locks: bool) -> Judgement {
        let mut judgement = match self.kind.as_str() {
            "nfs" | "nfs4" => self.judge_nfs(locks),
            "cifs" | "smb3" if locks && self.has("nobrl") => Judgement::refused(
                StoreProblemKind::LocksLocal,
                "it is mounted with nobrl: each node grants locks by itself, and two brokers would \
                 write. Mount it without nobrl, or use another volume",
            ),
            _ => Judgement::default(),
        };
        if self.has("ro") {
            judgement.problem = Some(problem(
                StoreProblemKind::ReadOnly,
                "it is mounted read-only: brokers must write",
            ));
        }
        judgement
    }

    fn judge_nfs(&self, locks: bool) -> Judgement {
        let version = self.value("vers").unwrap_or_default();
        if locks {
            let local = match self.value("local_lock") {
                Some("posix" | "all") => Some("local_lock"),
                Some(_) | None => self.has("nolock").then_some("nolock"),
            };
            if let Some(option) = local {
                return Judgement::refused(
                    StoreProblemKind::LocksLocal,
                    &format!(
                        "it is mounted with {option}: each node grants locks by itself, and two \
                         brokers would write. Remove it from the mount options, and use nfsvers=4.1"
                    ),
                );
            }
            if version.starts_with(['2', '3']) {
                return Judgement::refused(
                    StoreProblemKind::LocksNeverFreed,
                    &format!(
                        "it is mounted by NFS {version}: the lock of a node that is lost is never \
                         freed. Use nfsvers=4.1 in the StorageClass's mountOptions"
                    ),
                );
            }
        }
        let mut judgement = Judgement::default();
        let writes_through = self.has("sync") || self.has("noac");
        let late = match (writes_through, self.has("hard")) {
            (true, false) => None,
            (true, true) => Some("one write that was under way arrives"),
            (false, _) => Some("seconds of its writes arrive"),
        };
        if let Some(late) = late {
            judgement.note(
                StoreNoteKind::LateWrites,
                &format!(
                    "when a node that was cut off comes back after a failover, {late}: use the \
                     mount options noac and soft, or storage that fences lost nodes"
                ),
            );
        }
        if self.has("softerr") || self.has("softreval") {
            judgement.note(
                StoreNoteKind::AnswersFromMemory,
                "with softerr or softreval the client answers from memory while the server is \
                 away: use soft instead",
            );
        }
        judgement
    }
}

impl Judgement {
    fn refused(kind: StoreProblemKind, message: &str) -> Self {
        Self { problem: Some(problem(kind, message)), notes: Vec::new() }
    }

    fn note(&mut self, kind: StoreNoteKind, message: &str) {
        self.notes.push(StoreNote { kind, message: message.to_owned() });
    }
}

fn problem(kind: StoreProblemKind, message: &str) -> StoreProblem {
    StoreProblem { kind, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &str) -> Mount {
        let line = format!("1 2 0:50 / /store rw,relatime shared:3 - {kind} server:/x {options}");
        Mount::find(&line, Path::new("/store/kahadb/lock")).unwrap()
    }

    fn problem_of(kind: &str, options: &str) -> Option<StoreProblemKind> {
        mount(kind, options).judge(true).problem.map(|problem| problem.kind)
    }

    fn notes_of(options: &str) -> Vec<StoreNoteKind> {
        mount("nfs4", options).judge(true).notes.into_iter().map(|note| note.kind).collect()
    }

    #[test]
    fn the_innermost_and_last_mount_counts() {
        let table = "1 0 8:1 / / rw - ext4 /dev/vda rw\n\
                     2 1 0:50 / /store rw - nfs4 a:/one rw,vers=4.1\n\
                     3 2 0:51 /sub /store rw - nfs4 b:/two\\040words rw,vers=4.2\n\
                     4 1 0:52 / /storehouse rw - tmpfs none rw\n";
        let found = |path: &str| Mount::find(table, Path::new(path)).unwrap();
        assert_eq!(found("/store/kahadb").source, "b:/two words");
        assert_eq!(found("/storehouse/x").kind, "tmpfs");
        assert_eq!(found("/elsewhere").kind, "ext4");
    }

    #[test]
    fn locks_of_one_node_only_are_refused() {
        use StoreProblemKind::{LocksLocal, LocksNeverFreed, ReadOnly};
        for (kind, options, wanted) in [
            ("nfs", "rw,vers=3,nolock,local_lock=all", Some(LocksLocal)),
            ("nfs", "rw,vers=3,local_lock=posix", Some(LocksLocal)),
            ("nfs", "rw,vers=3,hard,local_lock=none", Some(LocksNeverFreed)),
            ("nfs", "rw,vers=3,hard,local_lock=flock", Some(LocksNeverFreed)),
            ("nfs4", "rw,vers=4.1,hard,local_lock=none", None),
            ("cifs", "rw,vers=3.1.1,nobrl", Some(LocksLocal)),
            ("cifs", "rw,vers=3.1.1", None),
            ("nfs4", "ro,vers=4.1", Some(ReadOnly)),
            ("ext4", "rw", None),
            ("ceph", "rw", None),
        ] {
            assert_eq!(problem_of(kind, options), wanted, "{kind} {options}");
        }
    }

    #[test]
    fn without_a_lock_on_it_a_volume_needs_no_locks() {
        assert_eq!(mount("nfs", "rw,vers=3,nolock,sync,soft").judge(false), Judgement::default());
    }

    #[test]
    fn what_arrives_late_is_told() {
        use StoreNoteKind::{AnswersFromMemory, LateWrites};
        for (options, wanted) in [
            ("rw,vers=4.1,hard", vec![LateWrites]),
            ("rw,vers=4.1,soft", vec![LateWrites]),
            ("rw,vers=4.1,sync,hard", vec![LateWrites]),
            ("rw,vers=4.1,noac,soft", vec![]),
            ("rw,vers=4.1,noac,softerr", vec![AnswersFromMemory]),
        ] {
            assert_eq!(notes_of(options), wanted, "{options}");
        }
    }
}
