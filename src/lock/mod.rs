//! The lock that elects the master, read but never touched.
//!
//! A [`Probe`] says who holds the lock. Every kind of lock has one; all of them run in the helper
//! process, because a look at a dead mount can hang for ever.

use serde::{Deserialize, Serialize};

use crate::broker::report::LockView;

mod complaint;
pub mod elector;
mod elects_file;
pub mod file;
pub mod floor;
mod foreign;
mod forgotten;
pub mod fs_type;
pub mod lease;
pub mod members;
pub mod mount;
pub mod nfs_lease;
mod owner;
mod passed;
pub mod scratch;
mod store_file;
pub mod track;
pub mod trial;

/// One look at a lock.
pub trait Probe {
    /// Who holds the lock, given the process number of our own broker, if it runs.
    ///
    /// Never takes, writes or touches the lock. May hang as long as the storage does.
    fn look(&mut self, child: Option<i32>) -> Observation;
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// Who holds the lock.
    pub view: LockView,
    /// The lock file; absent when there is none or it cannot be seen.
    pub file: Option<FileIdentity>,
    /// Only this machine's kernel grants and takes this lock: no server gives it to another one.
    pub local: bool,
    /// Why the view is unknown, for people.
    pub error: Option<String>,
}

/// What changes when a lock file is deleted, replaced, touched, or locked by another broker:
/// Classic writes the file at every acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileIdentity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Modification time: whole seconds since 1970.
    pub modified_seconds: i64,
    /// Modification time: nanoseconds of the second.
    pub modified_nanos: i64,
}

/// The lock file, compared with the look before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileView {
    /// There is none, for the first time: nobody has ever taken the lock, or somebody deleted the file
    /// under its holder.
    Absent,
    /// As it was; perhaps there was none.
    Same,
    /// Seen for the first time, or another inode or modification time.
    Changed,
}

impl FileIdentity {
    /// Whether both are the same file, whatever its modification time.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}
