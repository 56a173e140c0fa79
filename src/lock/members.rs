//! A directory of the volume in which every pod of the group beats, and in which they try its locks.
//!
//! ```text
//! <uid>.beat      what the pod says of itself; locked by it, and written through the locked descriptor
//! <uid>.scratch   locked by a process of its own while another pod tries the volume's locks
//! <uid>.mark      a file whose time is changed meanwhile
//! passed          the mount that pods have tried and found good
//! store-id        the identity of the store
//! elects          what elects the master of its brokers
//! ```
//!
//! The beat is the storage watchdog: a write and `fsync` through a descriptor with a lock succeed only
//! while the server still knows this client and its locks. On NFS nothing else says so: attributes and
//! even the client's own table of locks tell of a lock long after it was given away (decision 10).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::broker::report::{FoundStore, PeerReport, StoreId, StoreProblem, TrialReport};
use crate::clock;
use crate::lock::complaint::explain;
use crate::lock::elector::{Candidate, Elector, Other, Standing};
use crate::lock::elects_file;
use crate::lock::file::holder;
use crate::lock::forgotten;
use crate::lock::mount::Mount;
use crate::lock::nfs_lease;
use crate::lock::owner;
use crate::lock::passed;
use crate::lock::scratch::{attempt, create, hold, lock};
use crate::lock::store_file;
use crate::lock::trial::{Ask, Beat, Deed, Finding, GONE_AFTER, Peers, Seen, Subject, Tester};
use crate::lock::{foreign, fs_type};

/// Every beat takes this many bytes, in place: a store that is full takes it too.
const BEAT_BYTES: usize = 2048;
/// A group has five pods at most. Others are not listened to.
const MOST_PEERS: usize = 64;

/// Who beats, where, and how.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The directory, which is made if it does not exist.
    pub directory: PathBuf,
    /// The store on the same volume, which the pod's broker must be able to write.
    pub store: PathBuf,
    /// The pod's name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// What elects its brokers, if that is known.
    pub elector: Option<Elector>,
}

/// What one beat found.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beaten {
    /// The file system.
    pub mount: Option<Mount>,
    /// Whether only this node's kernel grants its locks.
    pub local: bool,
    /// The other pods.
    pub peers: Vec<PeerReport>,
    /// What the trial found out, if it is over.
    pub finding: Option<Result<TrialReport, StoreProblem>>,
    /// The pod with which the trial goes on.
    pub trying: Option<String>,
    /// Whether pods tried this mount before and found it good. Asked only until this one has itself.
    pub passed_before: bool,
    /// Which store this is.
    pub store: FoundStore,
    /// Whether the volume is of this pod's elector, if that is known.
    pub standing: Option<Standing>,
    /// There is no room on the volume for what a broker writes as it starts.
    pub full: bool,
    /// Another pod waits for this one's next beat, or this one for another's.
    pub busy: bool,
    /// After how long the server gives the locks of a silent node away, if the kernel knows.
    pub lease: Option<Duration>,
}

impl Beaten {
    /// Whether another pod has been heard of lately.
    pub fn hears_others(&self) -> bool {
        let lives = |quiet| Duration::from_millis(quiet) < GONE_AFTER;
        self.peers.iter().any(|peer| peer.quiet_millis.is_some_and(lives))
    }
}

/// What keeps a pod from beating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BeatFailure {
    /// What is wrong.
    pub problem: StoreProblem,
    /// The beats before went through a locked descriptor, and a write through it was refused: the
    /// server has forgotten this client, and with it every lock that it had.
    pub lost: bool,
}

/// One pod's part.
#[derive(Debug)]
pub struct Member {
    identity: Identity,
    /// The program that holds a lock: this binary.
    program: PathBuf,
    begun: Instant,
    beat: Beat,
    file: Option<File>,
    peers: Peers,
    tester: Tester,
    subject: Subject,
    holder: Option<Child>,
    remembered: bool,
    /// The store's identity, once known. Until then the one that a store without would be given.
    store: StoreId,
    candidate: Option<Candidate>,
    /// The own beat's file has its length: no beat needs more room.
    written: bool,
}

impl Member {
    /// Nothing is touched yet.
    pub fn new(identity: Identity, program: PathBuf) -> Self {
        let beat = Beat {
            pod: identity.pod.clone(),
            uid: identity.uid.clone(),
            node: identity.node.clone(),
            elector: identity.elector.clone(),
            ..Beat::default()
        };
        Self {
            candidate: identity.elector.clone().map(Candidate::new),
            identity,
            program,
            begun: Instant::now(),
            beat,
            file: None,
            peers: BTreeMap::new(),
            tester: Tester::default(),
            subject: Subject::default(),
            holder: None,
            remembered: false,
            store: StoreId::of_random(rand::random()),
            written: false,
        }
    }

    /// Beats once, and goes on with what is under way.
    pub fn beat(&mut self) -> Result<Beaten, BeatFailure> {
        let locked = self.file.is_some();
        let prepared = self.prepare();
        // Written also when something else went wrong: only this tells of the lock.
        let written = if locked || prepared.is_ok() { self.write_own() } else { Ok(false) };
        let lost = locked && written.is_err();
        let outcome = written.and_then(|full| self.told(prepared?, full));
        outcome.map_err(|error| {
            // A new lock is taken before the next beat: the one before is not to be trusted, or its
            // directory is gone.
            let gone = matches!(self.identity.directory.try_exists(), Ok(false));
            if lost || !locked || gone {
                self.file = None;
            }
            BeatFailure { problem: explain(&self.identity.directory, &error), lost }
        })
    }

    /// All but the beat itself.
    fn prepare(&mut self) -> io::Result<Duration> {
        if self.file.is_none() {
            fs::create_dir_all(&self.identity.directory)?;
            owner::check(&self.identity.store)?;
            owner::one_mount(&self.identity.directory, &self.identity.store)?;
            self.file = Some(self.open_own()?);
            forgotten::remove(&self.identity.directory, &self.identity.uid);
        }
        let now = self.begun.elapsed();
        self.read_peers(now)?;
        let due = self.subject.next(now, &self.peers, &self.identity.uid);
        if let Some(ask) = due {
            self.do_for(ask)?;
        }
        let node = self.identity.node.clone();
        let wants = self.tester.next(now, &self.peers, &node, rand::random());
        if let Some(peer) = &wants.attempt {
            let attempt = attempt(&self.path(peer, "scratch"))?;
            self.tester.attempted(self.begun.elapsed(), attempt);
        }
        self.beat.ask = wants.ask;
        self.beat.done.clone_from(&self.subject.done);
        Ok(now)
    }

    fn told(&mut self, now: Duration, full: bool) -> io::Result<Beaten> {
        let mount = Mount::of(&self.identity.directory)?;
        let passed = self.identity.directory.join("passed");
        let finding = match &self.tester.finding {
            Finding::Nothing => None,
            Finding::Passed(report) => Some(Ok(report.clone())),
            Finding::Refused(problem) => Some(Err(problem.clone())),
        };
        if let (false, Some(Ok(report)), Some(mount)) = (self.remembered, &finding, &mount)
            && !report.same_node
        {
            passed::remember(&passed, mount)?;
            self.remembered = true;
        }
        let store = self.identify()?;
        let peers = self.peers.iter().map(|(uid, seen)| self.peer(now, uid, seen));
        let peers: Vec<_> = peers.collect();
        let standing = self.stand(now, &peers)?;
        // A trial of its own says more: the storage need not be asked with every beat for ever.
        let tried = matches!(finding, Some(Ok(_)));
        let passed_before =
            !tried && mount.as_ref().is_some_and(|mount| passed::remembers(&passed, mount));
        Ok(Beaten {
            local: fs_type::is_local(&self.identity.directory)?,
            peers,
            finding,
            trying: self.tester.peer(&self.peers).map(|peer| peer.pod.clone()),
            passed_before,
            lease: mount.as_ref().and_then(|mount| nfs_lease::of(&mount.point).ok().flatten()),
            mount,
            store,
            full: full || owner::is_full(&self.identity.directory)?,
            busy: self.tester.is_busy()
                || self.subject.done.is_some()
                || standing == Some(Standing::Unsettled),
            standing,
        })
    }

    /// After the own beat was written: a pod of another elector that writes its name and then looks for beats sees
    /// this one.
    fn stand(&mut self, now: Duration, reports: &[PeerReport]) -> io::Result<Option<Standing>> {
        let Some(candidate) = &mut self.candidate else { return Ok(None) };
        let Identity { directory, uid, .. } = &self.identity;
        let written = elects_file::read(directory)?;
        let others = self.peers.values().zip(reports).map(|(seen, report)| Other {
            pod: seen.beat.pod.clone(),
            elector: seen.beat.elector.clone(),
            beats: seen.lives(now),
            locked: report.locked,
        });
        let others: Vec<_> = others.collect();
        let (standing, next) = candidate.next(now, written.as_ref(), &others);
        if let Some(next) = next {
            elects_file::replace(directory, uid, written.as_ref(), &next)?;
        }
        Ok(Some(standing))
    }

    /// Should the file be removed while this pod runs, the store is given the same identity again.
    fn identify(&mut self) -> io::Result<FoundStore> {
        let Identity { directory, store, uid, .. } = &self.identity;
        let identity = store_file::establish(directory, uid, &self.store)?;
        if let Some(identity) = &identity {
            self.store.clone_from(identity);
        }
        Ok(FoundStore { identity, used: store_file::is_used(store)? })
    }

    fn peer(&self, now: Duration, uid: &str, seen: &Seen) -> PeerReport {
        let quiet = seen.advanced.map(|at| now.saturating_sub(at));
        // Never its own file: closing that would drop the lock on it.
        let locked = foreign::open(&self.path(uid, "beat")).and_then(|file| holder(&file));
        PeerReport {
            pod: seen.beat.pod.clone(),
            uid: uid.to_owned(),
            node: seen.beat.node.clone(),
            quiet_millis: quiet.map(|quiet| u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)),
            known_millis: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            locked: locked.ok().map(|holder| holder.is_some()),
        }
    }

    fn path(&self, uid: &str, kind: &str) -> PathBuf {
        self.identity.directory.join(format!("{uid}.{kind}"))
    }

    /// The own beat's file, locked. A namesake's lock is another file's: uids are never used again.
    fn open_own(&self) -> io::Result<File> {
        let path = self.path(&self.identity.uid, "beat");
        let file = create(&path)?;
        if lock(&file)? {
            Ok(file)
        } else {
            Err(io::Error::other(format!("{} is locked by somebody else", path.display())))
        }
    }

    fn write_own(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotConnected.into()) };
        // Also when something else failed: others see that this pod lives.
        self.beat.count += 1;
        let mut text = serde_json::to_vec(&self.beat)?;
        text.resize(BEAT_BYTES.max(text.len() + 1), b'\n');
        let written = file.write_all_at(&text, 0).and_then(|()| file.sync_data());
        match written {
            // The server has answered, and knows the lock. What is missing is room for the content.
            Err(error) if is_full(&error) && self.written => Ok(true),
            other => other.map(|()| {
                self.written = true;
                false
            }),
        }
    }

    fn read_peers(&mut self, now: Duration) -> io::Result<()> {
        let directory = &self.identity.directory;
        // Asked of the server: a client may have cached an old list of names for a minute.
        let flags = AtFlags::STATX_FORCE_SYNC;
        statx(CWD, directory, flags, StatxFlags::BASIC_STATS)?;
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let Some(uid) = name.to_str().and_then(|name| name.strip_suffix(".beat")) else {
                continue;
            };
            let room = self.peers.len() < MOST_PEERS || self.peers.contains_key(uid);
            if uid == self.identity.uid || !room || !foreign::is_name(uid) {
                continue;
            }
            there.insert(uid.to_owned());
            let Some(beat) = read(&directory.join(&name)) else { continue };
            let mark = fs::metadata(self.path(uid, "mark")).map(|data| data.mtime()).ok();
            let seen = Seen { beat, advanced: None, mark };
            match self.peers.get_mut(uid) {
                Some(known) if known.beat.count == seen.beat.count => known.mark = seen.mark,
                Some(known) => *known = Seen { advanced: Some(now), ..seen },
                None => drop(self.peers.insert(uid.to_owned(), seen)),
            }
        }
        self.peers.retain(|uid, _| there.contains(uid));
        Ok(())
    }

    fn do_for(&mut self, ask: Ask) -> io::Result<()> {
        let own = self.identity.uid.clone();
        self.end_holder()?;
        match ask.deed {
            Deed::Hold => {
                self.holder = Some(hold(&self.program, &self.path(&own, "scratch"))?);
                self.beat.marked = clock::now().as_second().max(self.beat.marked + 1);
                let time = Duration::from_secs(u64::try_from(self.beat.marked).unwrap_or_default());
                let mark = create(&self.path(&own, "mark"))?;
                mark.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + time))?;
                mark.sync_all()?;
            }
            Deed::Kill | Deed::Drop | Deed::Unknown => {}
        }
        self.subject.did(ask);
        Ok(())
    }

    /// By SIGKILL, which is what a broker's end is to look like; and waits for it.
    fn end_holder(&mut self) -> io::Result<()> {
        if let Some(mut holder) = self.holder.take() {
            holder.kill()?;
            holder.wait()?;
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.end_holder());
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT))
}

/// A beat; nothing if it is written at this moment, or was not yet.
fn read(path: &Path) -> Option<Beat> {
    let beat: Beat = serde_json::from_str(foreign::read(path).ok()?.trim_end()).ok()?;
    (foreign::is_name(&beat.pod) && foreign::is_name(&beat.node)).then_some(beat)
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
