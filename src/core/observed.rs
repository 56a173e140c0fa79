//! What was seen of a group in one pass, with nothing concluded from it yet.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::{record::RecordView, seal::Seal, split_brain::Claim};
use crate::{
    broker::report::{AgentState, GreetingView, Report},
    resources::Kind,
};

/// Everything a pass has seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Objects that bear a child's name, and all others with the group's labels.
    pub children: BTreeMap<(Kind, String), Value>,
    /// The group's pods, by name.
    pub pods: Vec<PodView>,
    /// The promotion record, if there is one that is ours.
    pub record: Option<RecordView>,
    /// EndpointSlices of the client Service that are not the record.
    pub other_slices: Vec<String>,
    /// The claim of the store, if it has one.
    pub claim: ClaimView,
    /// Other groups that use the claim and came first, in words.
    pub claim_holders: Vec<String>,
    /// Secrets and ConfigMaps the spec needs that are missing or lack a key, in words.
    pub secret_problems: Vec<String>,
    /// What stands for the content of the database's credentials, if they were seen.
    pub credentials: Option<Sealed>,
    /// Claims of the lock by several pods that were proven to be made at the same time.
    pub dispute: Vec<Claim>,
    /// Pod templates of earlier specs that pods were made from, by the name of their `ControllerRevision`.
    pub templates: BTreeMap<String, Value>,
    /// Nodes on which no new pods are scheduled because somebody has cordoned them.
    pub cordoned: BTreeSet<String>,
    /// Since when pods, by uid, neither serve nor wait for the lock, as this process remembers it.
    pub idle_since: BTreeMap<String, Timestamp>,
    /// Since when the record has not named the proven master, as this process remembers it.
    pub disagreement_since: Option<Timestamp>,
}

/// What stands for the content of a database's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// With the key.
    pub seal: Seal,
    /// Whether its Secret has yet to be created.
    pub is_new: bool,
    /// The keyed hash.
    pub hash: String,
}

/// The claim of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClaimView {
    /// It does not exist.
    #[default]
    Missing,
    /// It exists.
    Found {
        /// Its access modes.
        access_modes: Vec<String>,
        /// `Bound`, `Pending` or `Lost`; `Terminating` if it is being deleted.
        phase: String,
    },
}

/// One pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The revision of the spec that it was made from.
    pub revision: String,
    /// Its node.
    pub node: Option<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether it is being deleted, or the StatefulSet that made it is gone.
    pub terminating: bool,
    /// The value of the role label.
    pub role_label: Option<String>,
    /// The record's ports that fit its configuration, as annotated.
    pub ports_annotation: Option<String>,
    /// The `ControllerRevision` with the template that it was made from.
    pub controller_revision: Option<String>,
    /// The image that brought its agent.
    pub agent_image: Option<String>,
    /// The ConfigMap that it mounts.
    pub config_map: Option<String>,
    /// The broker's container.
    pub container: ContainerView,
    /// What its agent said in this pass.
    pub report: ReportView,
    /// Its node; looked at only when its agent did not answer.
    pub node_state: NodeView,
}

/// A node, as far as a silent pod makes it of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeView {
    /// Not looked at, or not to be told.
    #[default]
    Unknown,
    /// It is ready.
    Ready,
    /// It has not been since then.
    NotReady {
        /// When that began, by the API server's clock.
        since: Timestamp,
    },
    /// Somebody has marked it with the taint `node.kubernetes.io/out-of-service`: it is certainly off.
    OutOfService,
    /// There is no such node.
    Gone,
}

/// The broker's container as the kubelet last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerView {
    /// It has never run, or has ended and does not run now: it holds nothing.
    NotRunning {
        /// Why, in the kubelet's words.
        why: String,
        /// Whether waiting longer will not help: a missing image, a refused configuration.
        stuck: bool,
    },
    /// It runs.
    Running,
}

/// What an agent said.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportView {
    /// The report, asked for in this pass.
    Fresh(Box<Report>),
    /// It did not answer in time: nothing is known.
    Silent(String),
}

impl PodView {
    /// The report, if there is one.
    pub fn report(&self) -> Option<&Report> {
        match &self.report {
            ReportView::Fresh(report) if report.pod_uid == self.uid => Some(report),
            ReportView::Fresh(_) | ReportView::Silent(_) => None,
        }
    }

    /// Proven to hold nothing: no container, or an agent that says that no broker runs.
    pub fn holds_nothing(&self) -> bool {
        match &self.container {
            ContainerView::NotRunning { .. } => true,
            ContainerView::Running => self.report().is_some_and(|report| report.child.is_none()),
        }
    }

    /// Proven to wait for a lock that another one holds.
    pub fn waits(&self) -> bool {
        !self.terminating && self.report().is_some_and(Report::waits)
    }

    /// Proven to serve: its broker lives, holds the lock and greets.
    pub fn serves(&self) -> bool {
        self.report().is_some_and(|report| {
            report.state == AgentState::Master
                && report.holds()
                && report.greeting == GreetingView::Ok
                && report.child.is_some()
        })
    }
}

impl Observed {
    /// The pod of this name.
    pub fn pod(&self, name: &str) -> Option<&PodView> {
        self.pods.iter().find(|pod| pod.name == name)
    }

    /// Whether the record leads clients to this pod, and to it alone.
    pub fn record_leads_to(&self, name: &str) -> bool {
        self.pod(name).zip(self.record.as_ref()).is_some_and(|(pod, record)| record.leads_to(pod))
    }

    /// A live child, by kind and name.
    pub fn child(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.children.get(&(kind, name.to_owned()))
    }
}
