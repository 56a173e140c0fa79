//! Where an agent's lock and epoch floor are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::database_acts::Access;
use crate::agent::helper::Helper;
use crate::agent::lease_watch::{Holders, Lease, LogWatch};
use crate::agent::lock_watch::Lock;
use crate::agent::machine::{Deadline, LockKind};
use crate::agent::prepare::Preparer;
use crate::agent::probe::ProbeArgs;
use crate::agent::promote::Floor;
use crate::agent::reap::Kept;
use crate::agent::timing::Timing;
use crate::agent::volume_watch::Volume;
use crate::broker::settings::{
    AgentSettings, DatabaseAccess, DatabaseServer, DatabaseTls, LeaseSettings, LockSettings,
    VolumeSettings,
};
use crate::core::promotion::Pod;
use crate::database::Database;
use crate::lock::elector::Elector;

/// Everything that depends on the kind of the lock.
pub(super) struct Sources {
    pub(super) kind: LockKind,
    pub(super) lock: Lock,
    pub(super) floor: Floor,
    pub(super) access: Option<Access>,
    pub(super) volume: Option<Volume>,
}

impl Sources {
    pub(super) fn new(settings: &AgentSettings, pod: &Pod, kept: &Kept) -> Self {
        let volume = settings.volume.clone().map(|volume| watched(volume, settings, pod, kept));
        Self { volume, ..Self::of_lock(settings, pod, kept) }
    }

    fn of_lock(settings: &AgentSettings, pod: &Pod, kept: &Kept) -> Self {
        let floor = settings.epoch_floor.as_ref().map(PathBuf::from);
        match &settings.lock {
            LockSettings::File { path, .. } => {
                let helper = helper(Some(path.into()), floor, kept);
                let floor = Floor::File(helper.clone());
                Self {
                    kind: LockKind::File,
                    lock: Lock::File(helper),
                    floor,
                    access: None,
                    volume: None,
                }
            }
            LockSettings::Lease(lease) => Self::with_lease(lease, floor, pod, kept),
            LockSettings::Unseen { access, .. } => {
                let preparer = preparer(access, kept);
                let holders = Holders::new(pod);
                Self {
                    kind: LockKind::Log,
                    lock: Lock::Log(LogWatch::default()),
                    floor: floor.map_or(Floor::Nobody, |floor| {
                        Floor::File(helper(None, Some(floor), kept))
                    }),
                    access: Some(Access { preparer, holders, holds_messages: false }),
                    volume: None,
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
                Some(floor) => Floor::File(helper(None, Some(floor), kept)),
                None => Floor::Database(database),
            },
            access: Some(Access { preparer, holders, holds_messages: settings.holds_messages }),
            volume: None,
        }
    }
}

fn preparer(access: &DatabaseAccess, kept: &Kept) -> Preparer {
    Preparer { access: access.clone(), database: None, authority: None, kept: kept.clone() }
}

fn helper(lock: Option<PathBuf>, floor: Option<PathBuf>, kept: &Kept) -> Helper {
    Helper::start(ProbeArgs { lock, floor, ..ProbeArgs::default() }, kept.clone())
}

/// A helper process of its own: a beat that hangs must not keep the lock from being looked at.
fn watched(volume: VolumeSettings, settings: &AgentSettings, pod: &Pod, kept: &Kept) -> Volume {
    let args = ProbeArgs {
        lock: None,
        floor: None,
        members: Some(PathBuf::from(&volume.members)),
        store: Some(PathBuf::from(&volume.store)),
        pod: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        node: Some(pod.node.clone()),
        elector: elector(settings, pod).and_then(|elector| serde_json::to_string(&elector).ok()),
    };
    let fence_after = Timing::new(settings).of(Deadline::Proof);
    Volume::new(Helper::start(args, kept.clone()), volume, fence_after)
}

/// What elects this pod's brokers, if the operator says of which cluster it is.
fn elector(settings: &AgentSettings, pod: &Pod) -> Option<Elector> {
    let by = match &settings.lock {
        LockSettings::File { .. } => "file".to_owned(),
        LockSettings::Lease(LeaseSettings { server, table_prefix, .. }) => {
            let DatabaseServer { kind, host, port, name, .. } = server;
            format!("lease:{kind:?}/{host}:{port}/{name}/{table_prefix}")
        }
        LockSettings::Unseen { access, .. } => format!("lease:{}", access.driver_class),
    };
    Some(Elector {
        by,
        namespace: pod.namespace.clone(),
        cluster: settings.cluster.clone(),
        uid: settings.cluster_uid.clone()?,
    })
}
