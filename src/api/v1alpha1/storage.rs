//! Where the messages are kept and what elects the master. The comments of the fields are the user's
//! documentation.

use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Database, DatabaseLock, QuantityValue, defaults};

/// Where the messages are kept: on a volume that all brokers mount, or in a database.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.sharedVolume) != has(self.database)").message("storage needs exactly one of sharedVolume (a volume that all brokers mount) and database"))]
#[x_kube(validation = Rule::new("has(self.database) == has(oldSelf.database)")
    .message("storage cannot go from a volume to a database or back: the messages would stay behind; make a new BrokerCluster and let clients drain the old one"))]
pub struct Storage {
    /// A volume that all brokers mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_volume: Option<SharedVolume>,
    /// A database that holds the messages and the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
}

/// A volume that all brokers mount. Name an existing claim or describe one to be made.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.claimName) != has(self.claim)").message("storage.sharedVolume needs exactly one of claimName (an existing PersistentVolumeClaim) and claim (one to be made)"))]
#[x_kube(validation = Rule::new("has(self.claimName) == has(oldSelf.claimName) && (!has(self.claimName) || self.claimName == oldSelf.claimName)")
    .message("storage.sharedVolume.claimName cannot be changed: brokers on two volumes would be two masters; make a new BrokerCluster"))]
#[x_kube(validation = Rule::new("self.retention != 'Delete' || has(self.claim)")
    .message("storage.sharedVolume.retention: Delete is only for a claim that Tandem makes (claim), not for one that you name (claimName): leave it at Retain and delete the PersistentVolumeClaim yourself"))]
pub struct SharedVolume {
    /// An existing PersistentVolumeClaim in the same namespace, ReadWriteMany if there is more than one pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: Option<String>,
    /// A claim to be made, named `<cluster>-store`. Unless `retention` says otherwise it is kept when
    /// the BrokerCluster is deleted, and found again by a BrokerCluster of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// What becomes of the claim, and of the messages on its volume, when the BrokerCluster is deleted.
    #[serde(default)]
    pub retention: Retention,
    /// The lock that elects the master.
    #[serde(default)]
    pub lock: Lock,
    /// What is done about a volume whose locks do not hold between nodes, or that should not be used
    /// for another reason. Two pods try that before their first broker is started, and every new pod
    /// tries it again.
    #[serde(default)]
    pub preflight: Preflight,
}

/// What becomes of the claim when the BrokerCluster is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retention {
    /// It stays, with all messages.
    #[default]
    Retain,
    /// It is deleted, and what becomes of its volume is up to the storage class (`reclaimPolicy`). Only
    /// for a claim that Tandem made. The operator has to run: until it does, the BrokerCluster stays.
    Delete,
}

/// What is done about a volume that should not be used.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preflight {
    /// No broker is started on it, and the condition `StorageLockVerified` says why.
    #[default]
    Required,
    /// Brokers are started all the same; the condition and an Event say what is wrong. For experts:
    /// two brokers may write, which destroys the store.
    Warn,
}

/// A claim to be made.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
    .message("storage.sharedVolume.claim.storageClassName cannot be changed; make a new BrokerCluster on a new claim"))]
#[x_kube(validation = Rule::new("self.accessModes == oldSelf.accessModes").message("storage.sharedVolume.claim.accessModes cannot be changed; make a new BrokerCluster on a new claim"))]
pub struct Claim {
    /// The storage class; without it the Kubernetes cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// How the volume may be mounted. More than one pod needs ReadWriteMany.
    #[serde(default = "defaults::access_modes")]
    #[schemars(length(min = 1, max = 4), inner(length(max = 32)))]
    pub access_modes: Vec<String>,
    /// How large the volume is.
    pub resources: ClaimResources,
}

/// How large a volume is.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimResources {
    /// What is asked for.
    pub requests: ClaimRequests,
}

/// What is asked for.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimRequests {
    /// The size, for example `20Gi`. It may be raised, if the storage class allows that
    /// (`allowVolumeExpansion`): the volume grows while brokers run, and the condition `VolumeSized`
    /// tells how far that is. It cannot be lowered, but for a growth that was refused.
    pub storage: QuantityValue,
}

/// The lock that elects the master. Give at most one; without one it is the file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.file) || !has(self.database)").message("storage.sharedVolume.lock takes one of file and database; remove the other"))]
#[x_kube(validation = Rule::new("has(self.database) == has(oldSelf.database)")
    .message("storage.sharedVolume.lock cannot go from a file to a database or back: during the change there would be two masters; make a new BrokerCluster on the same claim after the old one is deleted"))]
pub struct Lock {
    /// A lock on a file of the shared volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileLock>,
    /// A lease in a database, for volumes whose own locks are not to be trusted or are held too long
    /// after the loss of a node. The messages stay on the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseLock>,
}

/// A lock on a file of the shared volume. The defaults are safe and fast on local and network file
/// systems alike whose attributes are not cached.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileLock {
    /// How often a standby tries to get the lock, from `50ms` to `10s`.
    #[serde(default = "defaults::poll")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('50ms') && duration(self) <= duration('10s')").message("lock.file.poll must be from 50ms to 10s"))]
    pub poll: Duration,
    /// How often a master checks that the lock is still its own, and how long a new master holds off
    /// after it got the lock: from `200ms` to `1m`. It must be longer than the time in which a write
    /// on one node is seen on another.
    #[serde(default = "defaults::keep_alive")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('200ms') && duration(self) <= duration('1m')").message("lock.file.keepAlive must be from 200ms to 1m; 0 would let two masters write"))]
    pub keep_alive: Duration,
    /// On network storage, how long a broker may go on after its agent last saw the storage answer:
    /// then it is killed, because the server may give its lock to another one. From `2s` to `10m`. It
    /// must be at least `2s` shorter than the time after which the server gives up a client that it
    /// does not hear of. On a local file system nobody does so, and this has no effect.
    #[serde(default = "defaults::fence_after")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('2s') && duration(self) <= duration('10m')").message("lock.file.fenceAfter must be from 2s to 10m"))]
    pub fence_after: Duration,
}
