//! Which template the StatefulSet gets. It makes *any* lost pod from it, also one that no update has come to
//! yet; so
//! * a changed one is applied only when its rollout may start: the state of the group is proven, no standby
//!   is missing that would come up by itself, and a window is open;
//! * when a pod of it does not come to wait for the lock, the master's own comes back, and stays until the
//!   spec changes again. Which revision was given up stands on the StatefulSet, so that an operator that
//!   starts anew knows it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    lock::Group,
    observed::{ContainerView, Observed, PodView},
    rollout::{Rollout, describe, spoilt},
    validate::ValidCluster,
    windows::Window,
};
use crate::{
    api::{labels, v1alpha1::UpdateStrategy},
    resources::Kind,
};

/// A pod that will not come up by itself is given up after so long: registries and storage have their
/// moments.
const HOPELESS_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Which template the StatefulSet gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// That of the spec.
    Fresh,
    /// The one that it has, for now; why.
    Kept(Rollout),
    /// The master's, because the spec's was given up.
    Last {
        /// The template.
        template: Value,
        /// What was given up, and why.
        halt: Halt,
    },
}

/// A revision of the spec that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Halt {
    /// The revision.
    pub revision: String,
    /// The pod that did not get along with it.
    pub pod: String,
    /// How it failed.
    pub why: String,
}

impl Halt {
    /// What stands on a StatefulSet. What cannot be read was not given up.
    fn of(stateful_set: &Value) -> Option<Self> {
        let text = stateful_set.pointer("/metadata/annotations")?.get(labels::HALTED)?.as_str()?;
        serde_json::from_str(text).ok()
    }

    /// For people.
    pub fn told(&self) -> Rollout {
        Rollout::Halted(format!(
            "the update was halted: {} of the changed spec did not come to wait for the lock: {}. All \
             pods are as the master is. Correct the spec to go on, or set the annotation {} to a new value \
             to try again",
            self.pod,
            self.why,
            labels::RESTART
        ))
    }
}

/// The revision of a pod template.
pub fn revision(template: &Value) -> &str {
    let annotations = template.pointer("/metadata/annotations");
    let hash = annotations.and_then(|annotations| annotations.get(labels::TEMPLATE_HASH));
    hash.and_then(Value::as_str).unwrap_or_default()
}

/// Which template the StatefulSet gets.
pub fn choose(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    window: Window,
    now: Timestamp,
) -> Template {
    let Some(live) = observed.child(Kind::StatefulSet, &cluster.name.main()) else {
        return Template::Fresh;
    };
    let current = live.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(halt) = Halt::of(live).filter(|halt| halt.revision == cluster.revision) {
        // Somebody else may have put the given up one back.
        let last = if revision(&current) == cluster.revision {
            masters(observed, group, &cluster.revision)
        } else {
            Some(current)
        };
        return last.map_or(Template::Fresh, |template| Template::Last { template, halt });
    }
    if revision(&current) == cluster.revision {
        let given_up = give_up(cluster, observed, group, now);
        return given_up.unwrap_or(Template::Fresh);
    }
    match may_change(cluster, observed, group, revision(&current), window) {
        Ok(()) => Template::Fresh,
        Err(why) => Template::Kept(why),
    }
}

/// The template that the serving master was made from, if it is another than this one.
fn masters(observed: &Observed, group: &Group, other_than: &str) -> Option<Value> {
    let Group::Serving(master) = group else { return None };
    let name = observed.pod(master)?.controller_revision.as_ref()?;
    let template = observed.templates.get(name)?;
    (revision(template) != other_than).then(|| template.clone())
}

/// The update is given up when a pod of the changed spec does not come to wait for the lock, and the
/// template of a serving master is there to go back to.
fn give_up(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    now: Timestamp,
) -> Option<Template> {
    if cluster.spec.update.strategy == UpdateStrategy::OnDelete {
        return None;
    }
    let template = masters(observed, group, &cluster.revision)?;
    let limit = Duration::from(cluster.spec.update.halt_after);
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    let new = observed.pods.iter().filter(|pod| pod.revision == cluster.revision);
    let failed = new.filter(|pod| !pod.terminating && !cluster.fences(&pod.name)).find(|pod| {
        let idle = observed.idle_since.get(&pod.uid).map(|since| now.duration_since(*since));
        let spoilt = spoilt(pod) && idle > Some(HOPELESS_AFTER);
        is_heard_of(pod) && (spoilt || idle > Some(limit))
    })?;
    let (pod, why) = (failed.name.clone(), describe(failed));
    Some(Template::Last { template, halt: Halt { revision: cluster.revision.clone(), pod, why } })
}

/// Of a pod whose agent is silent nothing is known; its node may be lost.
fn is_heard_of(pod: &PodView) -> bool {
    pod.report().is_some() || matches!(pod.container, ContainerView::NotRunning { .. })
}

/// Whether the StatefulSet may be given the template of the spec.
fn may_change(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    current: &str,
    window: Window,
) -> Result<(), Rollout> {
    let not_while = |why: &str| {
        Err(Rollout::Waiting(format!("the changed spec is not rolled out while {why}")))
    };
    let master = match group {
        Group::Dead => return Ok(()),
        Group::InTransit(why) => return not_while(why),
        Group::Serving(master) => master,
    };
    let others =
        || observed.pods.iter().filter(|pod| pod.name != *master && !cluster.fences(&pod.name));
    // Only a changed spec brings these up, so that they need no window and nobody need wait for them.
    if others().any(|pod| pod.revision == current && spoilt(pod)) {
        return Ok(());
    }
    let under_way = observed.pods.iter().any(|pod| pod.revision != current);
    if let Some(pod) = others().find(|pod| !under_way && !pod.waits()) {
        return not_while(&format!("{} is not waiting for the lock: {}", pod.name, describe(pod)));
    }
    match window {
        Window::Closed { opens } if cluster.spec.update.strategy != UpdateStrategy::OnDelete => {
            Err(Rollout::Scheduled(format!(
                "the changed spec is rolled out when a window of update.windows is open{}",
                opens.map(|opens| format!(": from {opens}")).unwrap_or_default()
            )))
        }
        Window::Always | Window::Open | Window::Closed { .. } => Ok(()),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
