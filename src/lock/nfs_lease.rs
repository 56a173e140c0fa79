//! After how long an NFS server gives the locks of a silent client away, as the client's kernel shows it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Servers count whole seconds, and the lease is counted from an answer that the client saw later.
const MARGIN: Duration = Duration::from_secs(2);

/// The lease of the NFS 4 mount at `point`; nothing for other file systems, or if the kernel does not tell.
pub fn of(point: &Path) -> io::Result<Option<Duration>> {
    Ok(find(&fs::read_to_string("/proc/self/mountstats")?, point))
}

/// The longest time without proof after which a broker can be killed before its lock is another's; nothing
/// if the lease is too short for any.
pub fn longest_fence(lease: Duration) -> Option<Duration> {
    lease.checked_sub(MARGIN).filter(|longest| !longest.is_zero())
}

/// Linux shows it since 2.6.36 (`show_lease` in fs/nfs/super.c):
///
/// ```text
/// device server:/export mounted on /store with fstype nfs4 statvers=1.1
///     nfsv4: bm0=0xfdffafff,acl=0x1,sessions,pnfs=not configured,lease_time=90,lease_expired=0
/// ```
fn find(table: &str, point: &Path) -> Option<Duration> {
    let mut here = false;
    let mut found = None;
    for line in table.lines() {
        if let Some((_, mounted)) = line.split_once(" mounted on ") {
            here = mounted
                .split_once(" with fstype ")
                .is_some_and(|(at, _)| Path::new(&unescaped(at)) == point);
            if here {
                // Of several at one place the last covers the others.
                found = None;
            }
        } else if let Some(facts) = line.trim_start().strip_prefix("nfsv4:").filter(|_| here) {
            found = facts.trim_start().split(',').find_map(|fact| {
                let seconds = fact.strip_prefix("lease_time=")?.parse().ok()?;
                Some(Duration::from_secs(seconds))
            });
        }
    }
    found
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
pub(super) fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Linux wrote it in the machine of `tests/nfslab`.
    const RECORDED: &str = include_str!("../../tests/nfslab/recorded/mountstats");

    #[test]
    fn the_lease_of_a_mount_is_read_as_the_kernel_wrote_it() {
        let lease = |point: &str| find(RECORDED, Path::new(point));
        assert_eq!(lease("/mnt/vers=4.1,noac"), Some(Duration::from_secs(10)));
        assert_eq!(lease("/mnt/vers=3"), None);
        assert_eq!(lease("/proc"), None);
        assert_eq!(lease("/elsewhere"), None);
    }

    #[test]
    fn the_last_mount_at_a_place_counts() {
        let nfs = |point: &str, lease: u32| {
            format!(
                "device s:/x mounted on {point} with fstype nfs4 statvers=1.1\n\
                 \tnfsv4:\tbm0=0x0,lease_time={lease},lease_expired=0\n"
            )
        };
        let two = nfs("/two\\040words", 90) + &nfs("/two\\040words", 15);
        assert_eq!(find(&two, Path::new("/two words")), Some(Duration::from_secs(15)));
        let covered = nfs("/store", 90) + "device tmpfs mounted on /store with fstype tmpfs\n";
        assert_eq!(find(&covered, Path::new("/store")), None);
    }

    #[test]
    fn a_fence_ends_two_seconds_before_the_lease() {
        let longest = |lease| longest_fence(Duration::from_secs(lease)).map(|it| it.as_secs());
        assert_eq!(
            [longest(90), longest(15), longest(2), longest(0)],
            [Some(88), Some(13), None, None]
        );
    }

    proptest! {
        #[test]
        fn any_table_is_survived(table in "[a-z0-9 =:,\\t\\n]{0,200}", point in "/[a-z]{0,8}") {
            find(&format!("device x mounted on {point}{table}"), Path::new(&point));
        }
    }
}
