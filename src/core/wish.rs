//! Who wants another master: people, by the annotation; and the operator, because of what people want
//! otherwise. The first wish of this order counts: people's request, a master that is to be fenced, one that
//! a smaller group would not have, one on a cordoned node, one that is the last to be replaced.

use super::{
    course::Course,
    lock::Group,
    observed::{Observed, PodView},
    rollout::Rollout,
    validate::ValidCluster,
};

/// A wish for another master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What tells wishes apart: people's own words, or the operator's reason.
    pub id: String,
    /// Whose it is.
    pub reason: Reason,
    /// The pod that people name.
    pub to: Option<String>,
    /// Pods that may take over.
    pub takers: Vec<String>,
}

/// Whose wish it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asks for it.
    People,
    /// The master is one of `spec.fencedPods`.
    Fence,
    /// `spec.replicas` is too small for the master's ordinal.
    Scale,
    /// The master's node is cordoned.
    Cordon,
    /// The master is the last one to be replaced.
    Update,
}

impl Wish {
    /// Whether people have asked.
    pub fn is_of_people(&self) -> bool {
        self.reason == Reason::People
    }

    /// Whether this pod may take over.
    pub fn accepts(&self, pod: &PodView) -> bool {
        self.takers.contains(&pod.name)
    }
}

/// The first wish.
pub fn first(
    cluster: &ValidCluster,
    observed: &Observed,
    group: &Group,
    course: &Course<'_>,
) -> Option<Wish> {
    let wish = |reason: Reason, id: String, accepts: &dyn Fn(&PodView) -> bool| Wish {
        id,
        reason,
        to: None,
        takers: takers(cluster, observed, accepts),
    };
    if let Some(id) = new_request(cluster, observed) {
        let to = named(&id);
        let accepts = |pod: &PodView| to.as_ref().is_none_or(|to| *to == pod.name);
        return Some(Wish { to: to.clone(), ..wish(Reason::People, id, &accepts) });
    }
    let Group::Serving(master) = group else { return None };
    let pod = observed.pod(master)?;
    let stays = |pod: &PodView| cluster.keeps(&pod.name);
    let cordoned = |pod: &PodView| pod.node.as_ref().is_some_and(|n| observed.cordoned.contains(n));
    if cluster.spec.hibernated {
        None
    } else if cluster.fences(master) {
        Some(wish(Reason::Fence, format!("fence: {master}"), &stays))
    } else if !stays(pod) {
        Some(wish(Reason::Scale, format!("scale: {}", cluster.spec.replicas), &stays))
    } else if cluster.spec.update.switchover_on_cordon && cordoned(pod) {
        let node = pod.node.as_deref().unwrap_or_default();
        let accepts = |pod: &PodView| !cordoned(pod) && stays(pod);
        Some(wish(Reason::Cordon, format!("cordon: {node}"), &accepts))
    } else if matches!(course.rollout, Rollout::SwitchOver(_)) {
        let aim = &course.aim;
        let id = format!("update: {} {}", aim.revision, aim.agent.unwrap_or_default());
        let accepts = |pod: &PodView| aim.is_met(pod) && stays(pod);
        Some(wish(Reason::Update, id.trim_end().to_owned(), &accepts))
    } else {
        None
    }
}

fn takers(
    cluster: &ValidCluster,
    observed: &Observed,
    accepts: &dyn Fn(&PodView) -> bool,
) -> Vec<String> {
    let pods = observed.pods.iter().filter(|pod| !cluster.fences(&pod.name) && accepts(pod));
    pods.map(|pod| pod.name.clone()).collect()
}

/// People's request, if it was not dealt with yet.
fn new_request(cluster: &ValidCluster, observed: &Observed) -> Option<String> {
    let last = observed.record.as_ref().and_then(|record| record.step_down.as_ref());
    let answered = last.and_then(|last| last.answered.as_ref());
    cluster.switchover.clone().filter(|id| answered != Some(id))
}

/// The pod that a request names.
fn named(id: &str) -> Option<String> {
    id.split([' ', ',', ';']).find_map(|word| word.strip_prefix("to=")).map(str::to_owned)
}
