//! Waits until the status says that what was asked for is so, and tells how far it is.

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;
use futures::StreamExt;
use kube::ResourceExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    api::names::ClusterName,
    plugin::{
        cluster::Cluster,
        gather::{
            Session, group,
            watch::{self, Change},
        },
        goal::{Goal, Progress, Seen},
        screen::Screen,
    },
};

/// Something to wait for.
pub(super) struct Wait {
    pub(super) name: ClusterName,
    pub(super) goal: Goal,
    /// The generation of the spec that was asked for.
    pub(super) generation: i64,
    pub(super) timeout: Duration,
}

impl Wait {
    /// Until it is so; the last line says that.
    pub(super) async fn run(&self, session: &Session, screen: &mut Screen) -> anyhow::Result<()> {
        let begun = Instant::now();
        let end = begun + self.timeout;
        let mut changes = std::pin::pin!(watch::changes(session, &self.name.name));
        let mut told = "nothing was heard from the API server".to_owned();
        while let Ok(Some(change)) = timeout_at(end, changes.next()).await {
            let news = match change {
                Change::Now(cluster) => match self.look(session, &cluster).await? {
                    Progress::Done(text) => return Ok(screen.line(&text)?),
                    Progress::Failed(text) => bail!(text),
                    Progress::Going(text) => text,
                },
                Change::Gone => bail!("{} was deleted", self.name),
                Change::Lost(why) => format!("{why}. Trying again"),
                Change::Refused(refused) => return Err((*refused).into()),
            };
            if news != told {
                screen.note(&format!("{:5.1}s  {news}", begun.elapsed().as_secs_f64()));
                told = news;
            }
        }
        bail!(self.unknown(&told))
    }

    async fn look(&self, session: &Session, cluster: &Cluster) -> anyhow::Result<Progress> {
        let pods =
            if self.goal.is_about_pods() { Some(uids(session, &self.name).await?) } else { None };
        let seen = Seen { cluster, pods: pods.as_ref(), generation: self.generation };
        Ok(self.goal.progress(&seen))
    }

    fn unknown(&self, told: &str) -> String {
        format!(
            "not so after {} s. The last that is known: {told}. What was asked stands; `kubectl tandem \
             status {}` shows what comes of it. If the operator does not answer, look whether it \
             runs: `kubectl get deployments -A -l app.kubernetes.io/name=tandem`",
            self.timeout.as_secs(),
            self.name.name
        )
    }
}

/// The uids of a group's pods.
pub(super) async fn uids(
    session: &Session,
    name: &ClusterName,
) -> anyhow::Result<BTreeSet<String>> {
    let pods = group::pods(session, name).await?;
    Ok(pods.iter().filter_map(ResourceExt::uid).collect())
}
