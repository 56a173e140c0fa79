//! The conditions of a `BrokerCluster`: closed sets of types and reasons, and how they are merged.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Condition types, in the order in which they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// A master serves and clients reach it.
    Ready,
    /// A broker holds the lock and greets.
    MasterElected,
    /// Every other pod is proven to wait for the lock; False means that HA is degraded.
    StandbyReady,
    /// The record, the lock and the agents' reports agree.
    ServiceConverged,
    /// The spec and what it refers to can be carried out.
    ConfigurationValid,
    /// The lock that elects the master holds between nodes, and the storage does what it must.
    StorageLockVerified,
    /// Several brokers hold the lock at the same time.
    SplitBrain,
    /// The group is on its way to the spec.
    Progressing,
    /// The operator keeps its hands off.
    Paused,
    /// The volume is as large as was asked for; only where Tandem makes the claim.
    VolumeSized,
}

/// True, False or Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A master serves through the Service.
    Serving,
    /// No broker holds the lock and greets.
    NoMaster,
    /// A broker holds the lock and recovers its store.
    Recovering,
    /// The master is not reached through the Service yet.
    NotConverged,
    /// Exactly one broker holds the lock and greets.
    LockHeld,
    /// The agents cannot tell who holds the lock.
    LockUnknown,
    /// Two agents claim the lock.
    LockDisputed,
    /// Several brokers hold the lock at the same time; clients are led to none of them.
    SeveralHoldTheLock,
    /// It is not proven yet that only one broker holds the lock again.
    NotProvenOver,
    /// At most one broker holds the lock.
    OneAtMost,
    /// An agent does not answer.
    AgentSilent,
    /// All standbys wait for the lock.
    AllWaiting,
    /// A standby does not wait for the lock.
    StandbyMissing,
    /// The group is meant to have no standby.
    SinglePod,
    /// The record names the lock's holder.
    RecordMatches,
    /// The record names another pod, or none.
    RecordStale,
    /// Another EndpointSlice sends traffic of the Service elsewhere.
    ForeignSlice,
    /// Everything asked for can be carried out.
    Accepted,
    /// A field of the spec is wrong.
    InvalidSpec,
    /// A name is taken by an object of somebody else.
    NameTaken,
    /// The claim does not exist.
    ClaimMissing,
    /// The claim cannot be mounted on more than one node.
    ClaimNotShared,
    /// The claim is not bound to a volume.
    ClaimPending,
    /// Another group uses the claim.
    ClaimTaken,
    /// A Secret or ConfigMap does not exist or lacks a key.
    SecretMissing,
    /// The API server refused an object.
    ApplyRefused,
    /// The database elects the master, and refuses writes of any other broker if it holds the messages.
    LeaseVerified,
    /// The database does not refuse writes of a broker that has lost its lease.
    WritesNotFenced,
    /// A failure of the database may lose commits.
    CommitsMayBeLost,
    /// A node's clock and the database's differ.
    ClockSkew,
    /// No agent has asked the database yet.
    NotObserved,
    /// Agents cannot ask this kind of database.
    LockNotObservable,
    /// The database does not answer, or not in time.
    DatabaseUnreachable,
    /// The database refuses the user or the password.
    AuthenticationRefused,
    /// The database's certificate is not believed, or it does not speak TLS.
    TlsRefused,
    /// The database's user lacks a right.
    RightsMissing,
    /// There is no such database on the server.
    DatabaseMissing,
    /// The JDBC driver is not in the broker's container.
    DriverMissing,
    /// The tables are those of another version.
    TablesMismatch,
    /// The lock's row is gone, and is being put back.
    LockRowMissing,
    /// The database or the volume takes no writes.
    ReadOnly,
    /// A pooler shares the database's sessions between clients.
    PoolerBetween,
    /// The database's tables are those of another group.
    DatabaseInUse,
    /// The database's server was promoted, restored or replaced; the lock is nobody's for one lease.
    ServerChanged,
    /// It is not known whether a pooler shares the database's sessions between clients.
    SessionsNotProven,
    /// The storage gives the lock of a lost node away before its broker would be killed.
    FenceTooLate,
    /// An agent of a later version says something that this operator has no word for: the message is the
    /// agent's own.
    ReportedByNewerAgent,
    /// The volume's locks hold between nodes.
    LockVerified,
    /// Two pods have not tried the volume's locks together yet.
    NotVerified,
    /// The pods that tried the volume's locks are on one node.
    SameNode,
    /// Each node grants the volume's locks by itself: two brokers would write.
    LocksLocal,
    /// The lock of a lost node is never freed.
    LocksNeverFreed,
    /// A killed process's lock was not freed in time.
    LocksNotFreed,
    /// Who holds a lock of the volume cannot be seen.
    LocksUnseen,
    /// The volume's file system grants no locks.
    LocksUnsupported,
    /// What one pod writes to the volume, another does not see.
    WritesNotSeen,
    /// Pods have different directories or volumes under the same path.
    DifferentStores,
    /// The store that the group served from is not there, or has lost its messages.
    StoreMissing,
    /// Another store is in the place of the one that the group served from.
    StoreReplaced,
    /// Brokers of another cluster, or elected by other means, may run on the volume.
    ElectedOtherwise,
    /// The broker's user may not write to the volume.
    NotWritable,
    /// No room is left on the volume.
    StorageFull,
    /// The volume does not answer.
    StorageHangs,
    /// The volume fails in another way.
    StorageFailed,
    /// What a lost node has not written yet arrives after a failover.
    LateWrites,
    /// The volume's client answers though the server is away.
    AnswersFromMemory,
    /// Changes of the volume's files are seen late.
    AttributesCached,
    /// It took long until a lock was freed or a write was seen.
    StorageSlow,
    /// The group is as the spec says.
    UpToDate,
    /// The children are being made or changed.
    Deploying,
    /// Pods are replaced one at a time.
    RollingUpdate,
    /// A pod does not get along with the changed spec.
    RolloutStuck,
    /// Replacing a pod now would not be safe.
    RolloutWaiting,
    /// Pods are replaced when a window opens, or when people delete them.
    RolloutScheduled,
    /// A pod of the changed spec did not get along, and all are as the master is.
    RolloutHalted,
    /// `spec.hibernated` is true, and no broker runs.
    Hibernated,
    /// `spec.hibernated` is true, and brokers are ending.
    Hibernating,
    /// People want the broker down: `spec.fencedPods`.
    Fenced,
    /// `spec.paused` is true.
    SpecPaused,
    /// `spec.paused` is false.
    Active,
    /// The volume has the size that was asked for, or more.
    SizeReached,
    /// The claim, which was found again, asks for more than the spec: it stays as it is.
    LargerThanAsked,
    /// The volume is being grown.
    Resizing,
    /// The API server does not let the claim grow.
    ExpansionRefused,
    /// The claim is not grown while nothing may be changed.
    GrowthHeldBack,
}

impl Reason {
    /// What keeps the storage or its lock from working.
    pub const STORAGE_PROBLEMS: [Self; 27] = [
        Self::DatabaseUnreachable,
        Self::AuthenticationRefused,
        Self::TlsRefused,
        Self::RightsMissing,
        Self::DatabaseMissing,
        Self::DriverMissing,
        Self::TablesMismatch,
        Self::LockRowMissing,
        Self::PoolerBetween,
        Self::DatabaseInUse,
        Self::ServerChanged,
        Self::ReadOnly,
        Self::FenceTooLate,
        Self::LocksLocal,
        Self::LocksNeverFreed,
        Self::LocksNotFreed,
        Self::LocksUnseen,
        Self::LocksUnsupported,
        Self::WritesNotSeen,
        Self::DifferentStores,
        Self::StoreMissing,
        Self::StoreReplaced,
        Self::ElectedOtherwise,
        Self::NotWritable,
        Self::StorageFull,
        Self::StorageHangs,
        Self::StorageFailed,
    ];
    /// What people should know of storage that works.
    pub const STORAGE_NOTES: [Self; 8] = [
        Self::WritesNotFenced,
        Self::CommitsMayBeLost,
        Self::ClockSkew,
        Self::SessionsNotProven,
        Self::LateWrites,
        Self::AnswersFromMemory,
        Self::AttributesCached,
        Self::StorageSlow,
    ];

    /// As published, and as a metric label.
    pub fn as_str(self) -> String {
        format!("{self:?}")
    }
}

/// A condition before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which condition.
    pub type_: Type,
    /// Its status.
    pub truth: Truth,
    /// Why.
    pub reason: Reason,
    /// What is so, and what to do about it.
    pub message: String,
}

impl Verdict {
    /// A verdict; the message says what is so and what to do about it.
    pub fn new(
        type_: Type,
        truth: impl Into<Truth>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, truth: truth.into(), reason, message: message.into() }
    }
}

/// Turns verdicts into conditions. A condition's transition time changes exactly when its status
/// does; conditions of other types that were there before are dropped.
pub fn merge(
    previous: &[Condition],
    verdicts: &[Verdict],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .iter()
        .map(|verdict| {
            let type_ = format!("{:?}", verdict.type_);
            let status = verdict.truth.as_str().to_owned();
            let since = previous
                .iter()
                .find(|old| old.type_ == type_ && old.status == status)
                .map_or(Time(now), |old| old.last_transition_time.clone());
            Condition {
                type_,
                status,
                reason: verdict.reason.as_str(),
                message: verdict.message.clone(),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    proptest! {
        #[test]
        fn transition_time_moves_exactly_when_the_status_does(before in 0..3u8, after in 0..3u8) {
            let truth = |n| [Truth::True, Truth::False, Truth::Unknown][usize::from(n)];
            let verdict = |t| vec![Verdict::new(Type::Ready, t, Reason::Serving, "")];
            let old = merge(&[], &verdict(truth(before)), Some(1), at(1));
            let new = merge(&old, &verdict(truth(after)), Some(2), at(2));
            let expected = if before == after { at(1) } else { at(2) };
            prop_assert_eq!(new[0].last_transition_time.0, expected);
            prop_assert_eq!(new[0].observed_generation, Some(2));
        }
    }
}
