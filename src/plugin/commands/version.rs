//! `version`.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    api::labels,
    broker::report::Report,
    plugin::{
        args::VersionArgs,
        gather::{
            Ask, Session, find,
            group::{self, Unheard},
        },
        render::{
            style::Style,
            table::{Cell, Table},
        },
        screen::Screen,
    },
};

pub(super) async fn run(
    session: &Session,
    args: &VersionArgs,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let operators = operators(session, args.operator_namespace.as_deref()).await;
    let mut agents = Vec::new();
    match find::list(session).await {
        Ok(clusters) => {
            for cluster in clusters {
                match group::pods(session, &cluster.name()).await {
                    Ok(pods) => {
                        let reports = group::reports(session, &pods).await;
                        agents.extend(self::agents(&pods, &reports));
                    }
                    Err(refused) => agents.push((cluster.name().to_string(), refused.to_string())),
                }
            }
        }
        Err(error) => agents.push(("not known".to_owned(), format!("{error:#}"))),
    }
    Ok(screen.print(&page(&operators, &agents))?)
}

/// A place and what runs there.
pub(super) type Version = (String, String);

/// The operators, by the image of their Deployments.
pub(super) async fn operators(session: &Session, namespace: Option<&str>) -> Vec<Version> {
    let client = session.client.clone();
    let (api, ask): (Api<Deployment>, Ask) = match namespace {
        Some(namespace) => {
            (Api::namespaced(client, namespace), Ask::all("list", "deployments.apps", namespace))
        }
        None => (Api::all(client), Ask::everywhere("list", "deployments.apps", "")),
    };
    let params = ListParams::default().labels(&format!("{}=tandem", labels::APP_NAME));
    match ask.send(api.list(&params)).await {
        Ok(list) if list.items.is_empty() => {
            vec![(
                "not found".to_owned(),
                "no Deployment is labelled app.kubernetes.io/name=tandem".to_owned(),
            )]
        }
        Ok(list) => list.items.iter().map(operator).collect(),
        Err(refused) => vec![("not known".to_owned(), refused.to_string())],
    }
}

fn operator(deployment: &Deployment) -> Version {
    let place = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let image = template.and_then(|pod| pod.containers.first()?.image.clone());
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    (place, format!("{}, {ready} ready", image.unwrap_or_else(|| "no image".to_owned())))
}

/// The agents, by what they say.
pub(super) fn agents(pods: &[Pod], reports: &[Result<Report, Unheard>]) -> Vec<Version> {
    let version = |report: &Result<Report, Unheard>| match report {
        Ok(report) => report.agent_version.clone(),
        Err(unheard) => unheard.why.clone(),
    };
    pods.iter().zip(reports).map(|(pod, report)| (pod.name_any(), version(report))).collect()
}

/// The page.
pub(super) fn page(operators: &[Version], agents: &[Version]) -> String {
    let mut table = Table::default();
    table.row(["Plugin".into(), Cell::default(), env!("CARGO_PKG_VERSION").into()]);
    for (what, versions) in [("Operator", operators), ("Agent", agents)] {
        for (place, version) in versions {
            table.row([what.into(), place.as_str().into(), version.as_str().into()]);
        }
    }
    table.render(Style::default())
}
