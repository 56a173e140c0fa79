//! Fake agents: they answer for the brokers of the simulated group.

use std::net::IpAddr;

use jiff::Timestamp;
use tandem::{
    broker::report::{
        AgentState, ChildReport, Evidence, GreetingView, LockReport, LockView, PeerReport, Report,
        TrialReport, VolumeReport,
    },
    core::observed::ReportView,
    reports::Reports,
};

use super::{
    fake_api::FakeApi,
    group::{Broker, Group, Phase, Says},
};

/// The agents of all pods of the fake API server.
pub struct FakeAgents(pub FakeApi);

impl Reports for FakeAgents {
    async fn report(&self, address: IpAddr) -> ReportView {
        let mut state = self.0.state();
        let answers = state.group.answers_left.is_none_or(|left| left > 0);
        state.group.answers_left = state.group.answers_left.map(|left| left.saturating_sub(1));
        let broker = state.group.brokers.values().find(|broker| broker.address == address);
        match broker.filter(|_| answers).and_then(|broker| state.group.report(broker)) {
            Some(report) => ReportView::Fresh(Box::new(report)),
            None => ReportView::Silent(format!("agent at {address}: no answer within 1 s")),
        }
    }
}

impl Group {
    fn volume(&self, broker: &Broker) -> VolumeReport {
        let others = self.brokers.values().filter(|other| other.uid != broker.uid);
        let peers = others.map(|other| {
            let quiet = self.quiet.get(&other.pod).copied();
            let (quiet, locked) = quiet.unwrap_or((100, Some(true)));
            PeerReport {
                pod: other.pod.clone(),
                uid: other.uid.clone(),
                node: String::new(),
                quiet_millis: Some(quiet),
                known_millis: 60_000,
                locked,
            }
        });
        let trial = TrialReport {
            peer: "another".into(),
            peer_node: String::new(),
            same_node: false,
            release_millis: 5,
            visible_millis: 100,
            stale_millis: Some(0),
        };
        let problem = self.refusals.get(&broker.uid).cloned();
        let peers = peers.collect();
        VolumeReport { peers, trial: Some(trial), problem, ..VolumeReport::default() }
    }

    pub(super) fn report(&self, broker: &Broker) -> Option<Report> {
        let said = self.says.get(&broker.pod);
        if said == Some(&Says::Silence) || broker.phase == Phase::Pending {
            return None;
        }
        let view = match (said, &self.lock) {
            (Some(Says::View(view)), _) => *view,
            (_, Some(holder)) if *holder == broker.uid => LockView::Mine(Evidence::Kernel),
            (_, Some(_)) => LockView::Other,
            (_, None) => LockView::Free,
        };
        let state = match broker.phase {
            Phase::Starting if self.refusals.contains_key(&broker.uid) => AgentState::Preflight,
            Phase::Pending | Phase::Starting => AgentState::Starting,
            Phase::Waiting => AgentState::Standby,
            Phase::Promoting => AgentState::Promoting,
            Phase::Master => AgentState::Master,
            Phase::Crashed => AgentState::Backoff,
            Phase::Held => AgentState::Held,
            Phase::Ending => AgentState::SteppingDown,
        };
        let greets = broker.phase == Phase::Master;
        let refused = self.refusals.contains_key(&broker.uid);
        let runs = !refused && !matches!(broker.phase, Phase::Crashed | Phase::Held);
        Some(Report {
            pod: broker.pod.clone(),
            pod_uid: broker.uid.clone(),
            agent_version: "test".into(),
            state,
            lock: LockReport { view, age_millis: 1 },
            greeting: if greets { GreetingView::Ok } else { GreetingView::Refused },
            child: runs.then(|| ChildReport {
                instance: if self.restarted.contains(&broker.pod) { "two" } else { "one" }.into(),
                pid: 7,
                started: Timestamp::UNIX_EPOCH,
                restarts: 0,
            }),
            motion: None,
            last_exit: None,
            promotion: None,
            epoch: self.epoch,
            message: None,
            database: self.database.clone(),
            volume: self.database.is_none().then(|| self.volume(broker)),
            store: self.store.clone(),
        })
    }
}
