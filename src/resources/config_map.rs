//! The configuration, immutable and named by its content: a mounted ConfigMap changes under a
//! running pod, and an in-place restart of the broker would load a bad edit.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Kind, Manifest, meta};
use crate::{
    broker::{
        classic::{
            GREETING_PORT,
            config::{BrokerXml, login_config, millis},
            launch, log, paths,
        },
        settings::{
            AgentSettings, CredentialSettings, DatabaseAccess, GreetingSettings, GroupIdentity,
            LeaseSettings, LockSettings, RecordPort, SETTINGS_FILE, SETTINGS_SCHEMA,
            VolumeSettings,
        },
        store::{Database, Server, Store, VolumeLock},
    },
    core::validate::{ValidCluster, short_hash},
};

/// Seconds of a pod's grace period that the agent keeps for itself, beyond the broker's stop: two
/// for the record, the rest for killing and reaping.
const AGENT_SHARE: u64 = 5;

/// The ConfigMap of this spec.
pub fn build(cluster: &ValidCluster) -> Manifest {
    let data = files(cluster);
    let content = data.iter().flat_map(|(name, text)| [name.as_str(), "\0", text, "\0"]);
    let name = cluster.name.config(&short_hash(content.collect::<String>().as_bytes()));
    let object = ConfigMap {
        metadata: meta::owned(cluster, name.clone(), "config"),
        data: Some(data),
        immutable: Some(true),
        binary_data: None,
    };
    Manifest::of(Kind::ConfigMap, name, &object)
}

fn files(cluster: &ValidCluster) -> BTreeMap<String, String> {
    let xml = BrokerXml {
        name: &cluster.name.name,
        listeners: &cluster.spec.listeners,
        store: &cluster.store,
        fragment: &cluster.fragment,
        heap: cluster.sizes.heap,
    };
    let settings = serde_json::to_string_pretty(&agent_settings(cluster)).unwrap_or_default();
    [
        ("activemq.xml", xml.render()),
        ("login.config", login_config()),
        ("log4j2.properties", log::properties(&cluster.store, &cluster.spec.broker.log.levels)),
        (SETTINGS_FILE, settings),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// The agent's settings for this spec.
pub fn agent_settings(cluster: &ValidCluster) -> AgentSettings {
    let spec = &cluster.spec;
    AgentSettings {
        schema: SETTINGS_SCHEMA,
        cluster: cluster.name.name.clone(),
        cluster_uid: Some(cluster.uid.clone()).filter(|uid| !uid.is_empty()),
        child: launch::child(
            &spec.broker.java,
            cluster.store.database().and_then(|database| database.driver_directory.as_deref()),
        ),
        lock: lock(cluster),
        greeting: GreetingSettings::OpenWire { port: GREETING_PORT },
        ports: ports(cluster),
        hang_timeout_millis: millis(&spec.failover.hang_timeout),
        stop_grace_millis: stop_grace(cluster).saturating_mul(1000),
        epoch_floor: cluster.store.claim().map(|_| paths::EPOCH_FLOOR.to_owned()),
        volume: volume(cluster),
        store_note: Some(paths::STORE_NOTE.to_owned()),
        credentials: CredentialSettings {
            admin: paths::ADMIN.to_owned(),
            users: spec.auth.users_secret.as_ref().map(|_| paths::USERS.to_owned()),
            output: paths::LOGIN.to_owned(),
        },
    }
}

fn volume(cluster: &ValidCluster) -> Option<VolumeSettings> {
    let Store::Volume { preflight, lock, .. } = &cluster.store else { return None };
    let (locks, keep_alive_millis) = match lock {
        VolumeLock::File { keep_alive_millis, .. } => (true, *keep_alive_millis),
        VolumeLock::Lease(database) => (false, database.renew_millis),
    };
    let members = paths::MEMBERS.to_owned();
    let store = paths::KAHADB.to_owned();
    Some(VolumeSettings { members, store, preflight: *preflight, locks, keep_alive_millis })
}

fn lock(cluster: &ValidCluster) -> LockSettings {
    let (database, holds_messages) = match &cluster.store {
        Store::Volume {
            lock: VolumeLock::File { poll_millis, keep_alive_millis, fence_after_millis },
            ..
        } => {
            return LockSettings::File {
                path: paths::LOCK.to_owned(),
                poll_millis: *poll_millis,
                keep_alive_millis: *keep_alive_millis,
                fence_after_millis: *fence_after_millis,
            };
        }
        Store::Volume { lock: VolumeLock::Lease(database), .. } => (database, false),
        Store::Database { database, .. } => (database, true),
    };
    match &database.server {
        Server::Other { .. } => {
            LockSettings::Unseen { lease_millis: database.lease_millis, access: access(database) }
        }
        Server::Known(server) => LockSettings::Lease(LeaseSettings {
            server: server.clone(),
            access: access(database),
            schema: database.schema.clone(),
            table_prefix: database.table_prefix.clone(),
            group: Some(Box::new(GroupIdentity {
                namespace: cluster.name.namespace.clone(),
                name: cluster.name.name.clone(),
                uid: cluster.uid.clone(),
            })),
            holds_messages,
            poll_millis: database.poll_millis,
            renew_millis: database.renew_millis,
            lease_millis: database.lease_millis,
        }),
    }
}

fn access(database: &Database) -> DatabaseAccess {
    let jars = paths::JARS.iter().map(|directory| format!("{}/{directory}", paths::HOME));
    DatabaseAccess {
        username: format!("{}/username", paths::DATABASE),
        password: format!("{}/password", paths::DATABASE),
        properties: paths::DATABASE_PROPERTIES.to_owned(),
        driver_class: database.driver_class.clone(),
        driver_directories: database.driver_directory.clone().into_iter().chain(jars).collect(),
        keystore: database.wants_keystore().then(|| paths::DATABASE_KEYSTORE.to_owned()),
    }
}

/// The record's ports for this spec.
pub fn ports(cluster: &ValidCluster) -> Vec<RecordPort> {
    let port = |listener: &crate::api::v1alpha1::Listener| RecordPort {
        name: listener.name.clone(),
        port: u16::try_from(listener.port).unwrap_or_default(),
    };
    cluster.spec.listeners.iter().map(port).collect()
}

fn stop_grace(cluster: &ValidCluster) -> u64 {
    let pod = u64::try_from(super::pod::grace(cluster)).unwrap_or_default();
    pod.saturating_sub(AGENT_SHARE).max(1)
}
