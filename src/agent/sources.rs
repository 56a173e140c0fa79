//! Where an agent's lock and epoch floor are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::database_acts::Access;
use crate::agent::helper::Helper;
use crate::agent::lease_watch::{Holders, Lease, LogWatch};
use crate::agent::lock_watch::Lock;
use crate::agent::machine::LockKind;
use crate::agent::prepare::Preparer;
use crate::agent::probe::ProbeArgs;
use crate::agent::promote::Floor;
use crate::agent::reap::Kept;
use crate::broker::settings::{
    AgentSettings, DatabaseAccess, DatabaseTls, LeaseSettings, LockSettings,
};
use crate::core::promotion::Pod;
use crate::database::Database;

/// Everything that depends on the kind of the lock.
pub(super) struct Sources {
    pub(super) kind: LockKind,
    pub(super) lock: Lock,
    pub(super) floor: Floor,
    pub(super) access: Option<Access>,
}

impl Sources {
    pub(super) fn new(settings: &AgentSettings, pod: &Pod, kept: &Kept) -> Self {
        let floor = settings.epoch_floor.as_ref().map(PathBuf::from);
        match &settings.lock {
            LockSettings::File { path, .. } => {
                let helper = helper(path.into(), floor.unwrap_or_default(), kept);
                let floor = Floor::File(helper.clone());
                Self { kind: LockKind::File, lock: Lock::File(helper), floor, access: None }
            }
            LockSettings::Lease(lease) => Self::with_lease(lease, floor, pod, kept),
            LockSettings::Unseen { access, .. } => {
                let preparer = preparer(access, kept);
                let holders = Holders::new(pod);
                Self {
                    kind: LockKind::Log,
                    lock: Lock::Log(LogWatch::default()),
                    floor: floor.map_or(Floor::Nobody, |floor| {
                        Floor::File(helper(PathBuf::new(), floor, kept))
                    }),
                    access: Some(Access { preparer, holders, holds_messages: false }),
                }
            }
        }
    }

    fn with_lease(
        settings: &LeaseSettings,
        floor: Option<PathBuf>,
        pod: &Pod,
        kept: &Kept,
    ) -> Self {
        let database = Arc::new(Database::new(settings.clone()));
        let holders = Holders::new(pod);
        let length = Duration::from_millis(settings.lease_millis);
        let authority = match &settings.server.tls {
            DatabaseTls::Verified { ca } => Some(PathBuf::from(ca)),
            DatabaseTls::Off | DatabaseTls::Encrypted => None,
        };
        let preparer = Preparer {
            database: Some(Arc::clone(&database)),
            authority,
            ..preparer(&settings.access, kept)
        };
        Self {
            kind: LockKind::Lease,
            lock: Lock::Lease(Lease {
                database: Arc::clone(&database),
                holders: holders.clone(),
                length,
            }),
            floor: match floor {
                Some(floor) => Floor::File(helper(PathBuf::new(), floor, kept)),
                None => Floor::Database(database),
            },
            access: Some(Access { preparer, holders, holds_messages: settings.holds_messages }),
        }
    }
}

fn preparer(access: &DatabaseAccess, kept: &Kept) -> Preparer {
    Preparer { access: access.clone(), database: None, authority: None, kept: kept.clone() }
}

fn helper(lock: PathBuf, floor: PathBuf, kept: &Kept) -> Helper {
    Helper::start(ProbeArgs { lock, floor }, kept.clone())
}
