//! Agents are asked now and then: no watch tells that a database or a volume fails.
//! The API server is left alone until one of them says something new.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use kube::{core::DeserializeGuard, runtime::reflector::ObjectRef};
use tokio::time::{MissedTickBehavior, interval};

use crate::reports::Reports;
use crate::{
    api::v1alpha1::BrokerCluster,
    broker::report::{DatabaseNote, DatabaseProblem, Report, StoreNote, StoreProblem, TrialReport},
    core::{
        observed::{Observed, ReportView},
        validate::ValidCluster,
    },
};

/// How often agents are asked: their conditions tell of a fault within 30 s.
pub const PERIOD: Duration = Duration::from_secs(10);
/// How many agents are asked at once.
const AT_ONCE: usize = 16;

/// A cluster, as the operator's queue names it.
pub type Name = ObjectRef<DeserializeGuard<BrokerCluster>>;

/// What agents said of their storage in the last pass over each cluster.
#[derive(Debug, Default)]
pub struct Listener {
    groups: Mutex<HashMap<Name, Vec<Heard>>>,
}

/// What the agent at an address said; `None` if it was silent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    address: IpAddr,
    said: Option<Said>,
}

/// What a status is made of; measured times, which change all the time, are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    database: Option<(Option<DatabaseProblem>, Vec<DatabaseNote>)>,
    volume: Option<(Option<StoreProblem>, Vec<StoreNote>, Option<TrialReport>)>,
}

impl Listener {
    /// Remembers what a pass has heard.
    pub fn passed(&self, cluster: &ValidCluster, observed: &Observed) {
        let name = name(&cluster.name.namespace, &cluster.name.name);
        let heard = observed.pods.iter().filter_map(|pod| {
            let address = pod.addresses.first()?.parse().ok()?;
            Some(Heard { address, said: said(&pod.report) })
        });
        self.groups().insert(name, heard.collect());
    }

    /// Does not ask agents of this cluster any more.
    pub fn forget(&self, name: &Name) {
        self.groups().remove(name);
    }

    /// Clusters whose agents say something new now. Each is named once: a pass comes of it, and
    /// begins anew.
    pub async fn news(&self, reports: &impl Reports) -> Vec<Name> {
        let heard: Vec<(Name, Heard)> = {
            let groups = self.groups();
            let all =
                groups.iter().flat_map(|(name, heard)| heard.iter().map(move |it| (name, it)));
            all.map(|(name, heard)| (name.clone(), heard.clone())).collect()
        };
        let ask = heard.into_iter().map(|(name, before)| async move {
            let now = said(&reports.report(before.address).await);
            (now != before.said).then_some(name)
        });
        let changed: Vec<Name> = stream::iter(ask)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        changed.into_iter().filter(|name| self.groups().remove(name).is_some()).collect()
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Vec<Heard>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue's name of a cluster.
pub fn name(namespace: &str, name: &str) -> Name {
    ObjectRef::new(name).within(namespace)
}

fn said(view: &ReportView) -> Option<Said> {
    let of = |report: &Report| Said {
        database: report.database.clone().map(|it| (it.problem, it.notes)),
        volume: report.volume.clone().map(|it| (it.problem, it.notes, it.trial)),
    };
    match view {
        ReportView::Fresh(report) => Some(of(report)),
        ReportView::Silent(_) => None,
    }
}

/// Clusters to look at because of their agents' news, for as long as somebody listens.
pub fn announcements<L, R>(listener: L, reports: R) -> impl Stream<Item = Name> + Send
where
    L: std::ops::Deref<Target = Listener> + Send + Sync + 'static,
    R: Reports + 'static,
{
    let mut rounds = interval(PERIOD);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((rounds, listener, reports), async |(mut rounds, listener, reports)| {
        rounds.tick().await;
        let news = listener.news(&reports).await;
        Some((stream::iter(news), (rounds, listener, reports)))
    })
    .flatten()
}
