//! The configuration, immutable and named by its content: a mounted ConfigMap changes under a
//! running pod, and an in-place restart of the broker would load a bad edit.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Kind, Manifest, meta};
use crate::{
    broker::{
        classic::{
            GREETING_PORT,
            config::{BrokerXml, log_config, login_config, millis},
            launch, paths,
        },
        settings::{
            AgentSettings, CredentialSettings, GreetingSettings, LockSettings, RecordPort,
            SETTINGS_FILE, SETTINGS_SCHEMA,
        },
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
        lock: &cluster.spec.storage.shared_volume.lock.file,
        fragment: &cluster.fragment,
    };
    let settings = serde_json::to_string_pretty(&agent_settings(cluster)).unwrap_or_default();
    [
        ("activemq.xml", xml.render()),
        ("login.config", login_config()),
        ("log4j2.properties", log_config().to_owned()),
        (SETTINGS_FILE, settings),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// The agent's settings for this spec.
pub fn agent_settings(cluster: &ValidCluster) -> AgentSettings {
    let spec = &cluster.spec;
    let lock = &spec.storage.shared_volume.lock.file;
    AgentSettings {
        schema: SETTINGS_SCHEMA,
        cluster: cluster.name.name.clone(),
        child: launch::child(&spec.broker.java),
        lock: LockSettings::File {
            path: paths::LOCK.to_owned(),
            poll_millis: millis(&lock.poll),
            keep_alive_millis: millis(&lock.keep_alive),
        },
        greeting: GreetingSettings::OpenWire { port: GREETING_PORT },
        ports: ports(cluster),
        hang_timeout_millis: millis(&spec.failover.hang_timeout),
        stop_grace_millis: stop_grace(cluster).saturating_mul(1000),
        epoch_floor: Some(paths::EPOCH_FLOOR.to_owned()),
        credentials: CredentialSettings {
            admin: paths::ADMIN.to_owned(),
            users: spec.auth.users_secret.as_ref().map(|_| paths::USERS.to_owned()),
            output: paths::LOGIN.to_owned(),
        },
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
