//! Where the pods are to go, and where that stands: what size, template and windows come to together.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    lock::{Group, Lock},
    observed::Observed,
    rollout::{self, Aim, Rollout},
    size::{self, Size},
    switchover::Switchover,
    template::{self, Template},
    validate::ValidCluster,
    windows::{self, Window},
    wish,
};
use crate::{
    api::labels,
    resources::{self, Kind, Manifest, Settings},
};

/// What the StatefulSet is to be now, and whether its pods may be replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Its template.
    pub template: Template,
    /// How many pods it has, and which of their brokers are kept down.
    pub size: Size,
    /// Whether brokers that do their part may be replaced.
    pub window: Window,
}

impl Shape {
    /// What it is to be.
    pub fn of(
        cluster: &ValidCluster,
        observed: &Observed,
        group: &Group,
        lock: &Lock,
        now: Timestamp,
    ) -> Self {
        let window = windows::now(&cluster.spec.update.windows, now);
        Self {
            template: template::choose(cluster, observed, group, window, now),
            size: size::now(cluster, observed, group, lock),
            window,
        }
    }

    /// Whether the template is another one than the spec's.
    pub fn keeps_template(&self) -> bool {
        self.template != Template::Fresh
    }

    /// The StatefulSet to apply.
    pub fn stateful_set(
        &self,
        cluster: &ValidCluster,
        observed: &Observed,
        settings: &Settings,
    ) -> Manifest {
        let live = observed.child(Kind::StatefulSet, &cluster.name.main());
        let (keep, halt) = match &self.template {
            Template::Fresh => (None, None),
            Template::Kept(_) => (live.and_then(|live| live.pointer("/spec/template")), None),
            Template::Last { template, halt } => (Some(template), Some(halt)),
        };
        let replicas = self.size.replicas;
        let mut manifest = resources::stateful_set::build(cluster, settings, keep, replicas);
        if let Some(halt) = halt {
            manifest.annotate(labels::HALTED, &serde_json::json!(halt).to_string());
        }
        manifest
    }
}

/// Where the pods are to go, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course<'a> {
    /// What they are to become.
    pub aim: Aim<'a>,
    /// Where that stands.
    pub rollout: Rollout,
}

impl<'a> Course<'a> {
    /// The course of this pass.
    pub fn set(
        cluster: &'a ValidCluster,
        observed: &Observed,
        settings: &'a Settings,
        group: &Group,
        shape: &'a Shape,
    ) -> Self {
        let aim = aim(cluster, observed, settings, shape);
        let waits = shape.size.waits.clone();
        if cluster.spec.hibernated {
            return Self { aim, rollout: waits.unwrap_or(Rollout::Done) };
        }
        let next = match &shape.template {
            Template::Kept(why) => return Self { aim, rollout: why.clone() },
            Template::Fresh | Template::Last { .. } => {
                rollout::next(cluster, observed, group, &aim)
            }
        };
        let rollout = match (next, &shape.template, waits) {
            (Rollout::Done | Rollout::Scheduled(_), _, Some(waits)) => waits,
            (Rollout::Done, Template::Last { halt, .. }, None) => halt.told(),
            (next, _, _) => next,
        };
        Self { aim, rollout }
    }
}

/// What the pods are to become. A newer agent is brought only where people have said when brokers may be
/// restarted, and only once the StatefulSet has it.
fn aim<'a>(
    cluster: &'a ValidCluster,
    observed: &Observed,
    settings: &'a Settings,
    shape: &'a Shape,
) -> Aim<'a> {
    let live = observed.child(Kind::StatefulSet, &cluster.name.main());
    let installs = |set: &Value| {
        set.pointer("/spec/template/spec/initContainers/0/image").and_then(Value::as_str)
            == Some(&settings.agent_image)
    };
    let comes =
        !shape.keeps_template() && shape.window == Window::Open && live.is_some_and(installs);
    let revision = match &shape.template {
        Template::Fresh | Template::Kept(_) => cluster.revision.as_str(),
        Template::Last { template, .. } => template::revision(template),
    };
    let agent = comes.then_some(settings.agent_image.as_str());
    Aim { revision, agent, window: shape.window }
}

/// A switchover of the operator's own that may not begin holds up what it is for; and one that is under way is
/// no reason to wait for anybody.
pub fn held_up(rollout: Rollout, switchover: &Switchover) -> Rollout {
    let (wish, why) = match (switchover, &rollout) {
        (Switchover::UnderWay, Rollout::Waiting(_)) => {
            return Rollout::Moving("the mastership is being handed over".to_owned());
        }
        (Switchover::Held(wish, why), _) => (wish, why),
        _ => return rollout,
    };
    let what = match wish.reason {
        // Nothing waits for it: the drain goes on in its own way.
        wish::Reason::People | wish::Reason::Cordon => return rollout,
        wish::Reason::Fence => "a pod of spec.fencedPods is the master, and stays so",
        wish::Reason::Scale => "the group is not made smaller, because its master would be removed",
        wish::Reason::Update => "the last pod that is to be replaced is the master, and stays so",
    };
    match rollout {
        Rollout::Replace(_) | Rollout::Stuck(_) => rollout,
        Rollout::Done
        | Rollout::SwitchOver(_)
        | Rollout::Moving(_)
        | Rollout::Waiting(_)
        | Rollout::Scheduled(_)
        | Rollout::Halted(_) => Rollout::Waiting(format!("{what}: {why}")),
    }
}
