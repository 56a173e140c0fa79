#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::broker::report::Evidence;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MINE: LockView = LockView::Mine(Evidence::Kernel);

/// Not a test: a process that locks the file named by `LOCK_FILE` as Java does, until it is killed.
#[test]
#[ignore = "started by the other tests"]
fn hold_the_lock() {
    let Ok(path) = std::env::var("LOCK_FILE") else { return };
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    // Descriptors like a broker's, among which the locked one is to be found.
    let _others: Vec<_> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
    let lock = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 8,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLK(&lock)).unwrap();
    std::thread::sleep(Duration::from_mins(1));
}

struct Holder(Child);

impl Holder {
    fn start(path: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "lock::file::tests::hold_the_lock"])
            .env("LOCK_FILE", path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn wait_for(lock: &mut FileLock, child: Option<i32>, view: LockView) -> Observation {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = lock.look(child);
        if seen.view == view {
            return seen;
        }
        assert!(Instant::now() < end, "{view:?} did not come: {seen:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lock_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    fs::write(&path, [0; 8]).unwrap();
    (directory, path)
}

#[test]
fn the_child_s_lock_is_mine_by_the_kernel_s_own_table_and_free_after_its_death() {
    let (_directory, path) = lock_file();
    let mut lock = FileLock::new(&path);
    assert_eq!(lock.look(Some(1)).view, LockView::Free);
    let holder = Holder::start(&path);
    let pid = holder.pid();
    let seen = wait_for(&mut lock, Some(pid), MINE);
    assert_eq!(seen.file.unwrap().inode, fs::metadata(&path).unwrap().ino());
    drop(holder);
    assert_eq!(lock.look(Some(pid)).view, LockView::Free);
}

#[test]
fn another_process_s_lock_is_other() {
    let (_directory, path) = lock_file();
    let mut lock = FileLock::new(&path);
    let _holder = Holder::start(&path);
    wait_for(&mut lock, None, LockView::Other);
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(lock.look(Some(own)).view, LockView::Other);
}

#[test]
fn a_replaced_lock_file_is_free_although_the_child_still_holds_the_old_one() {
    let (directory, path) = lock_file();
    let mut lock = FileLock::new(&path);
    let holder = Holder::start(&path);
    let before = wait_for(&mut lock, Some(holder.pid()), MINE).file.unwrap();
    let other = directory.path().join("other");
    fs::write(&other, [0; 8]).unwrap();
    fs::rename(other, &path).unwrap();
    let after = lock.look(Some(holder.pid()));
    assert_eq!(after.view, LockView::Free);
    assert!(!before.same_file(&after.file.unwrap()));
}

#[test]
fn a_missing_lock_file_is_free_and_an_unreadable_one_is_unknown() {
    let (directory, path) = lock_file();
    fs::remove_file(&path).unwrap();
    let seen = FileLock::new(&path).look(None);
    assert_eq!((seen.view, seen.file), (LockView::Free, None));
    let seen = FileLock::new(directory.path().join("lock/inside")).look(None);
    assert_eq!(seen.view, LockView::Free);
    fs::write(&path, []).unwrap();
    let seen = FileLock::new(directory.path().join("lock/inside")).look(None);
    assert_eq!(seen.view, LockView::Unknown);
    assert!(seen.error.is_some());
}

#[test]
fn looking_neither_writes_nor_locks() {
    let (_directory, path) = lock_file();
    let before = fs::metadata(&path).unwrap();
    let mut lock = FileLock::new(&path);
    for _ in 0..100 {
        lock.look(None);
    }
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.mtime_nsec(), before.ino()), (after.mtime_nsec(), after.ino()));
    let _holder = Holder::start(&path);
    wait_for(&mut lock, None, LockView::Other);
}

#[test]
fn only_a_posix_write_lock_on_this_inode_counts() {
    let line = "lock:\t1: POSIX  ADVISORY  WRITE 4242 fe:01:131075 0 7";
    assert!(is_write_lock(line, 131_075));
    assert!(!is_write_lock(line, 131_076));
    assert!(!is_write_lock(&line.replace("WRITE", "READ "), 131_075));
    assert!(!is_write_lock(&line.replace("POSIX", "FLOCK"), 131_075));
    assert!(!is_write_lock("flags:\t0100002", 131_075));
    assert!(!is_write_lock("lock:", 131_075));
}
