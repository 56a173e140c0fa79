//! Which file systems' lock tables are proof.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::{Statfs, statfs};

use crate::broker::report::Evidence;

/// Magic numbers of file systems whose locks only this kernel grants (statfs(2), linux/magic.h).
/// A list of the proven, not of the doubtful: an unknown file system's table is a hint only.
const LOCAL: [u64; 9] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0x794C_7630, // overlayfs
    0x2FC1_2FC1, // zfs
    0xF2F5_2010, // f2fs
    0xCA45_1A4E, // bcachefs
];

/// statfs(2)'s number of file systems that a program provides.
const FUSE: u64 = 0x6573_5546;

/// Whether only this kernel grants locks on the file system of `path`, which need not exist yet.
pub fn is_local(path: &Path) -> nix::Result<bool> {
    let mut answer = Err(Errno::ENOENT);
    for existing in path.ancestors() {
        answer = statfs(existing);
        if !matches!(answer, Err(Errno::ENOENT)) {
            break;
        }
    }
    Ok(classify(magic(answer?)))
}

/// Whether the kernel's lock table may be empty although locks are held: a program that grants locks
/// itself is asked each time, and no process's fdinfo shows them (docs/decisions/0009).
pub fn hides_locks(path: &Path) -> nix::Result<bool> {
    Ok(magic(statfs(path)?) == FUSE)
}

fn magic(file_system: Statfs) -> u64 {
    u64::try_from(file_system.filesystem_type().0).unwrap_or_default()
}

/// What the kernel's lock table is worth.
pub fn evidence(local: bool) -> Evidence {
    if local { Evidence::Kernel } else { Evidence::ClientTable }
}

fn classify(magic: u64) -> bool {
    LOCAL.contains(&magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_prove_and_network_ones_hint() {
        assert!(classify(0xEF53));
        for (name, magic) in [
            ("nfs", 0x6969),
            ("cifs", 0xFF53_4D42),
            ("smb2", 0xFE53_4D42),
            ("ceph", 0x00C3_6400),
            ("fuse", 0x6573_5546),
            ("9p", 0x0102_1997),
            ("unknown", 0x1234_5678),
        ] {
            assert!(!classify(magic), "{name}");
        }
    }

    #[test]
    fn the_kernel_s_own_file_systems_hide_no_locks() {
        assert!(!hides_locks(Path::new("/proc")).unwrap());
    }
}
