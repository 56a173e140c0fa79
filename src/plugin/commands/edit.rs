//! Commands that ask the operator for something.

use std::time::Duration;

use anyhow::{anyhow, bail};
use kube::api::{Patch, PatchParams};

use super::wait::{Wait, uids};
use crate::{
    clock,
    plugin::{
        args::{EditArgs, FenceArgs, HibernateArgs, SwitchoverArgs, Waiting},
        cluster::Cluster,
        gather::{Ask, Session, ask::BROKER_CLUSTERS, find},
        goal::Goal,
        requests::{self, Request},
        screen::Screen,
    },
};

/// Who writes, for the API server's book of fields.
const MANAGER: &str = "kubectl-tandem";
/// So often a list is read again because somebody else changed the object.
const ATTEMPTS: usize = 5;
/// For what the operator does by itself.
const SOON: Duration = Duration::from_mins(1);
/// For what takes starts and stops of brokers.
const LATER: Duration = Duration::from_mins(10);

pub(super) struct Editor<'a> {
    pub(super) session: &'a Session,
    pub(super) screen: &'a mut Screen,
}

impl Editor<'_> {
    pub(super) async fn switchover(self, args: &SwitchoverArgs) -> anyhow::Result<()> {
        let cluster = self.find(args.name.as_deref()).await?;
        let id = value(args.to.as_deref());
        let goal = Goal::Switchover { id: id.clone() };
        self.ask(cluster, Request::Switchover(id), goal, (&args.waiting, SOON)).await
    }

    pub(super) async fn fence(self, args: &FenceArgs) -> anyhow::Result<()> {
        let cluster = self.group_of(&args.pods).await?;
        let strangers = requests::strangers(&cluster, &args.pods);
        if !strangers.is_empty() {
            let name = cluster.name().name;
            let own = cluster.pods().join(", ");
            bail!("{name} has no pod {}: its pods are {own}", strangers.join(" and "));
        }
        let request = Request::Fence(args.pods.clone());
        let goal = Goal::Fenced(args.pods.clone());
        self.ask(cluster, request, goal, (&args.waiting, LATER)).await
    }

    pub(super) async fn unfence(self, args: &FenceArgs) -> anyhow::Result<()> {
        let cluster = self.group_of(&args.pods).await?;
        // One that was scaled away since is only taken off the list; nothing comes up then.
        let own = cluster.pods();
        let present = args.pods.iter().filter(|pod| own.contains(pod)).cloned().collect();
        let request = Request::Unfence(args.pods.clone());
        self.ask(cluster, request, Goal::Unfenced(present), (&args.waiting, LATER)).await
    }

    async fn group_of(&self, pods: &[String]) -> anyhow::Result<Cluster> {
        let name = requests::group_of(pods).map_err(|why| anyhow!(why))?;
        self.find(Some(&name)).await
    }

    pub(super) async fn pause(self, args: &EditArgs, paused: bool) -> anyhow::Result<()> {
        let cluster = self.find(args.name.as_deref()).await?;
        let request = Request::Pause(paused);
        self.ask(cluster, request, Goal::Paused(paused), (&args.waiting, SOON)).await
    }

    pub(super) async fn wake(self, args: &EditArgs) -> anyhow::Result<()> {
        let cluster = self.find(args.name.as_deref()).await?;
        let request = Request::Hibernate(false);
        self.ask(cluster, request, Goal::Awake, (&args.waiting, LATER)).await
    }

    pub(super) async fn hibernate(self, args: &HibernateArgs) -> anyhow::Result<()> {
        let cluster = self.find(args.name.as_deref()).await?;
        let name = cluster.name();
        let question =
            format!("Stop all brokers of {name}? Clients cannot connect until it is woken.");
        if !args.yes && !cluster.is("/spec/hibernated") && !self.screen.confirm(&question) {
            bail!("nothing was done: all brokers of {name} would stop. Say --yes if that is meant");
        }
        let request = Request::Hibernate(true);
        self.ask(cluster, request, Goal::Hibernated, (&args.waiting, LATER)).await
    }

    pub(super) async fn restart(self, args: &EditArgs) -> anyhow::Result<()> {
        let cluster = self.find(args.name.as_deref()).await?;
        if cluster.is("/spec/hibernated") {
            let name = cluster.name().name;
            bail!("{name} is hibernated, so no broker runs: say `kubectl tandem wake {name}`");
        }
        let old = uids(self.session, &cluster.name()).await?;
        let request = Request::Restart(value(None));
        self.ask(cluster, request, Goal::Restarted(old), (&args.waiting, LATER)).await
    }

    async fn find(&self, name: Option<&str>) -> anyhow::Result<Cluster> {
        find::find(self.session, name).await
    }

    /// Writes the request, and waits for what comes of it.
    async fn ask(
        self,
        cluster: Cluster,
        request: Request,
        goal: Goal,
        (waiting, patience): (&Waiting, Duration),
    ) -> anyhow::Result<()> {
        let name = cluster.name();
        let generation = match write(self.session, cluster, &request).await? {
            Written::Now(cluster) => {
                self.screen.note(&format!("asked: {}", describe(&request, &name.name)));
                cluster.generation()
            }
            Written::Already(cluster) => {
                self.screen.note(&format!("was asked before: {}", describe(&request, &name.name)));
                cluster.generation()
            }
        };
        if waiting.no_wait {
            return Ok(());
        }
        let timeout = waiting.timeout.unwrap_or(patience);
        Wait { name, goal, generation, timeout }.run(self.session, self.screen).await
    }
}

fn value(to: Option<&str>) -> String {
    let user = std::env::var("USER").ok();
    requests::value(clock::now(), user.as_deref(), to)
}

fn describe(request: &Request, name: &str) -> String {
    match request {
        Request::Pause(true) => format!("the operator changes nothing about {name}"),
        Request::Pause(false) => format!("the operator goes on with {name}"),
        Request::Hibernate(true) => format!("all brokers of {name} stop"),
        Request::Hibernate(false) => format!("the brokers of {name} run"),
        Request::Fence(pods) => format!("{} fenced", pods.join(" and ")),
        Request::Unfence(pods) => format!("{} not fenced", pods.join(" and ")),
        Request::Restart(_) => format!("all brokers of {name} are restarted, one after the other"),
        Request::Switchover(id) => format!("a switchover of {name}, \"{id}\""),
    }
}

enum Written {
    /// As it is after that.
    Now(Cluster),
    /// As it was.
    Already(Cluster),
}

/// Writes the request; after a conflict again, on what is there then.
async fn write(
    session: &Session,
    mut cluster: Cluster,
    request: &Request,
) -> anyhow::Result<Written> {
    let name = cluster.name().name;
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    for attempt in 1.. {
        let Some(patch) = requests::patch(&cluster, request) else {
            return Ok(Written::Already(cluster));
        };
        let ask = Ask::one("patch", BROKER_CLUSTERS, &session.namespace, &name);
        let api = find::api(session);
        match ask.send(api.patch(&name, &params, &Patch::Merge(&patch))).await {
            Ok(object) => return Ok(Written::Now(Cluster(serde_json::to_value(object)?))),
            Err(refused) if refused.source.is_conflict() && attempt < ATTEMPTS => {
                cluster = find::find(session, Some(&name)).await?;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    bail!("{name} is changed by others all the time. Try again")
}
