//! What is published: made of one pass's findings and, for transition times, the reason of the last
//! failover and whether an update goes on, of what was published before.

use jiff::Timestamp;

use super::{
    claim,
    lock::{Group, Lock},
    observed::{ContainerView, Observed, PodView},
    plan::Findings,
    rollout::describe,
    switchover,
    validate::{Invalid, ValidCluster},
    verdicts, volume_verdict,
};
use crate::{
    api::{
        conditions::{self, Reason, Type},
        v1alpha1::{
            BrokerClusterStatus, EndpointStatus, FailoverStatus, LockKind, LockStatus,
            MasterStatus, Protocol, StandbyState, StandbyStatus,
        },
    },
    broker::{classic::paths, report::AgentState},
    resources::selector_text,
};

/// Options of the published OpenWire list: the client's own defaults would back off to 30 s between
/// attempts.
pub const OPENWIRE_LIST: &str =
    "?initialReconnectDelay=100&maxReconnectDelay=200&maxReconnectAttempts=-1&randomize=false";
/// Options of each address in that list: the client's own defaults would wait 30 s for a vanished node
/// to answer, and 30 s for a broker that accepts and says nothing. A connection to a vanished node ends
/// after two to three times the inactivity limit: the client's first look after the last message only
/// notes it. `Inital` is how the client spells it.
pub const OPENWIRE_ADDRESS: &str = "?connectionTimeout=1000&connectAttemptTimeout=5000\
    &wireFormat.maxInactivityDuration=3500&wireFormat.maxInactivityDurationInitalDelay=3500";
/// The same for Qpid JMS.
const AMQP_LIST: &str = "?failover.initialReconnectDelay=100&failover.maxReconnectDelay=200&failover.maxReconnectAttempts=-1";
const AMQP_ADDRESS: &str = "?transport.connectTimeout=1000&amqp.idleTimeout=10000";

/// What a pass came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// What was concluded.
    pub findings: &'a Findings,
    /// What the API server refused to write, if something.
    pub refused: Option<&'a str>,
    /// What it refused when the claim was to grow.
    pub growth_refused: Option<&'a str>,
}

/// The status of a valid cluster.
pub fn status(
    cluster: &ValidCluster,
    observed: &Observed,
    outcome: Outcome<'_>,
    previous: Option<&BrokerClusterStatus>,
    now: Timestamp,
) -> BrokerClusterStatus {
    let Outcome { findings, refused, growth_refused } = outcome;
    let old = previous.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let updating = old.iter().any(|condition| {
        condition.type_ == format!("{:?}", Type::Progressing)
            && condition.reason == Reason::RollingUpdate.as_str()
    });
    let mut verdicts = verdicts::of_cluster(cluster, observed, findings, refused, updating);
    verdicts.extend(claim::verdict(cluster, findings, growth_refused));
    let waiting = observed.pods.iter().filter(|pod| pod.waits()).count();
    BrokerClusterStatus {
        observed_generation: cluster.generation,
        replicas: i32::try_from(observed.pods.len()).unwrap_or(i32::MAX),
        selector: Some(selector_text(&cluster.name)),
        master: master(observed, findings),
        standbys: standbys(observed, findings),
        standbys_waiting: Some(format!("{waiting}/{}", cluster.spec.replicas.saturating_sub(1))),
        endpoints: endpoints(cluster),
        last_failover: last_failover(observed, previous),
        failovers: observed.record.as_ref().map_or(0, |record| record.failovers),
        last_switchover: switchover::outcome(
            observed,
            previous.and_then(|status| status.last_switchover.as_ref()),
        ),
        lock: Some(lock_status(cluster, observed, findings)),
        store_identity: observed
            .record
            .as_ref()
            .and_then(|record| record.store.as_ref())
            .map(ToString::to_string),
        conditions: conditions::merge(old, &verdicts, cluster.generation, now),
    }
}

fn lock_status(cluster: &ValidCluster, observed: &Observed, findings: &Findings) -> LockStatus {
    let (kind, path) = match cluster.store.database() {
        Some(database) => (LockKind::Lease, database.lock_place()),
        None => (LockKind::File, paths::LOCK.to_owned()),
    };
    let holder = match &findings.lock {
        Lock::Held { by } => Some(by.clone()),
        Lock::Free | Lock::Disputed(_) | Lock::Unknown(_) => None,
    };
    let volume = volume_verdict::verified(observed);
    let millis = |millis: Option<u64>| millis.and_then(|millis| i64::try_from(millis).ok());
    let of_file = kind == LockKind::File;
    LockStatus {
        kind,
        path,
        holder,
        verified: volume.holds.filter(|_| of_file),
        file_system: volume.file_system,
        release_millis: millis(volume.release_millis).filter(|_| of_file),
        visible_millis: millis(volume.visible_millis),
    }
}

/// The status of a cluster whose spec is wrong: what was there, with one condition changed.
pub fn rejected(
    problems: &[Invalid],
    generation: Option<i64>,
    previous: Option<&BrokerClusterStatus>,
    now: Timestamp,
) -> BrokerClusterStatus {
    let mut status = previous.cloned().unwrap_or_default().known();
    let new =
        conditions::merge(&status.conditions, &[verdicts::of_invalid(problems)], generation, now);
    status
        .conditions
        .retain(|condition| condition.type_ != format!("{:?}", Type::ConfigurationValid));
    status.conditions.extend(new);
    status.observed_generation = generation;
    status
}

/// The promoted broker: the record and the proof must agree.
fn master(observed: &Observed, findings: &Findings) -> Option<MasterStatus> {
    let Group::Serving(name) = &findings.group else { return None };
    let pod = observed.pod(name)?;
    let record = observed.record.as_ref().filter(|record| record.leads_to(pod))?;
    Some(MasterStatus {
        pod: name.clone(),
        node: pod.node.clone(),
        address: record.target.as_ref().and_then(|target| target.address.clone()),
        epoch: i64::try_from(record.epoch).unwrap_or(i64::MAX),
        since: record.since.clone(),
    })
}

fn standbys(observed: &Observed, findings: &Findings) -> Vec<StandbyStatus> {
    let master = match &findings.group {
        Group::Serving(master) => Some(master),
        Group::Dead | Group::InTransit(_) => None,
    };
    observed
        .pods
        .iter()
        .filter(|pod| Some(&pod.name) != master)
        .map(|pod| {
            let state = standby_state(pod);
            StandbyStatus {
                pod: pod.name.clone(),
                node: pod.node.clone(),
                state,
                message: (state != StandbyState::Waiting).then(|| describe(pod)),
            }
        })
        .collect()
}

fn standby_state(pod: &PodView) -> StandbyState {
    match (&pod.container, pod.report()) {
        (ContainerView::NotRunning { .. }, _) => StandbyState::NotRunning,
        (ContainerView::Running, None) => StandbyState::Silent,
        (ContainerView::Running, Some(_)) if pod.waits() => StandbyState::Waiting,
        (ContainerView::Running, Some(report)) => match report.state {
            AgentState::Standby if report.stands_still() => StandbyState::Stalled,
            AgentState::Preflight | AgentState::Starting | AgentState::Standby => {
                StandbyState::Starting
            }
            AgentState::Promoting | AgentState::Master => StandbyState::Promoting,
            AgentState::SteppingDown
            | AgentState::Fenced
            | AgentState::Backoff
            | AgentState::Stopped => StandbyState::Restarting,
            AgentState::Held => StandbyState::Held,
            AgentState::Unknown => StandbyState::Silent,
        },
    }
}

fn endpoints(cluster: &ValidCluster) -> Vec<EndpointStatus> {
    cluster
        .spec
        .listeners
        .iter()
        .map(|listener| EndpointStatus {
            name: listener.name.clone(),
            protocol: listener.protocol,
            host: cluster.name.service_host(),
            port: listener.port,
            failover_url: failover_url(cluster, listener.protocol, listener.port),
        })
        .collect()
}

/// The list of all brokers in the form that the protocol's own Java client takes.
fn failover_url(cluster: &ValidCluster, protocol: Protocol, port: i32) -> Option<String> {
    let (scheme, address, list) = match protocol {
        Protocol::OpenWire => ("tcp", OPENWIRE_ADDRESS, OPENWIRE_LIST),
        Protocol::AMQP => ("amqp", AMQP_ADDRESS, AMQP_LIST),
        Protocol::MQTT | Protocol::STOMP => return None,
    };
    let hosts: Vec<String> = (0..cluster.spec.replicas)
        .map(|ordinal| format!("{scheme}://{}:{port}{address}", cluster.name.pod_host(ordinal)))
        .collect();
    Some(format!("failover:({}){list}", hosts.join(",")))
}

/// The last change of master. The record tells who and when; why is known by the old master's agent
/// only, and only for a while, so a reason once published for an epoch is kept.
fn last_failover(
    observed: &Observed,
    previous: Option<&BrokerClusterStatus>,
) -> Option<FailoverStatus> {
    let record = observed.record.as_ref().filter(|record| record.failovers > 0)?;
    let epoch = i64::try_from(record.epoch).unwrap_or(i64::MAX);
    let before = previous.and_then(|status| status.last_failover.clone());
    let to = record.master.clone()?;
    if record.previous.as_ref() == Some(&to) {
        return before; // a new epoch of the same master is no change of master
    }
    let told = record
        .previous
        .as_ref()
        .and_then(|name| observed.pod(name))
        .and_then(PodView::report)
        .and_then(|report| report.last_exit.as_ref())
        .filter(|exit| exit.was_master)
        .map(|exit| format!("{:?}", exit.reason));
    let kept =
        before.filter(|old| old.epoch == epoch && old.reason != "Unknown").map(|old| old.reason);
    Some(FailoverStatus {
        epoch,
        from: record.previous.clone(),
        to,
        reason: kept.or(told).unwrap_or_else(|| "Unknown".to_owned()),
        at: record.since.clone(),
        takeover_millis: record.takeover_millis,
    })
}
