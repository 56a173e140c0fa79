//! Agents on storage that is not of this kernel alone: a FUSE mount stands for it. What real network
//! file systems answer is shown elsewhere; here is what the agent makes of no answer.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tandem::broker::report::{AgentState, Evidence, ExitReason, LockView};
use testbed::cache::Cache;
use testbed::packages;

use crate::api::FakeApi;
use crate::pod::{Fault, Group};

/// Something mounted at a directory, until it is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// One directory as another, over FUSE. What is locked there, only it knows.
    pub fn new(behind: &Path, at: &Path) -> Self {
        packages::ensure(&Cache::open().unwrap(), &["bindfs"]).unwrap();
        Self::by(Command::new("bindfs").arg(behind).arg(at), at)
    }

    /// A file system in memory, with such options.
    pub fn in_memory(options: &str, at: &Path) -> Self {
        Self::by(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at), at)
    }

    fn by(command: &mut Command, at: &Path) -> Self {
        let status = command.status().unwrap();
        assert!(status.success(), "{command:?}: {status}");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: an agent that is still ending may have a file open.
        let status = Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap();
        assert!(status.success(), "umount: {status}");
    }
}

#[test]
#[ignore = "needs FUSE: make test runs it"]
fn a_broker_whose_network_storage_does_not_answer_is_killed_and_comes_back_with_it() {
    let api = FakeApi::start();
    let group = Group::on_network("network", &api);
    let (first, second) = group.master_and_standby();
    assert_eq!(first.report().lock.view, LockView::Mine(Evidence::ClientTable));

    let cut = Instant::now();
    first.inflict(Fault::FreezeProbe);
    let report = first.wait_until("the end of its broker", |report| report.last_exit.is_some());
    println!("killed {:?} after the last answers", cut.elapsed());
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::StorageUnproven);
    api.wait_for("the other pod", crate::SOON, |api| api.target() == "network-1");
    second.wait_for(AgentState::Master);
    let fenced = first.report();
    assert_eq!((fenced.state, fenced.child), (AgentState::Fenced, None), "nothing is seen yet");
    assert!(!first.ready());

    first.inflict(Fault::ThawProbe);
    first.wait_for(AgentState::Standby);
    assert_eq!(second.report().state, AgentState::Master);
    assert_eq!(api.epoch(), 2);
}

#[test]
#[ignore = "needs FUSE: make test runs it"]
fn a_standby_that_might_have_got_the_lock_unseen_is_killed_too_and_the_master_is_not() {
    let api = FakeApi::start();
    let group = Group::on_network("network", &api);
    let (first, second) = group.master_and_standby();
    second.inflict(Fault::FreezeProbe);
    let report = second.wait_until("the end of its broker", |report| report.last_exit.is_some());
    assert_eq!(report.last_exit.unwrap().reason, ExitReason::StorageUnproven);
    second.inflict(Fault::ThawProbe);
    second.wait_for(AgentState::Standby);
    assert_eq!((first.report().state, api.epoch()), (AgentState::Master, 1));
}
