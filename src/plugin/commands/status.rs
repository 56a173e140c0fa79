//! `status`.

use anyhow::bail;
use futures::StreamExt;

use crate::{
    clock,
    plugin::{
        args::{Output, StatusArgs},
        cluster::Cluster,
        gather::{
            Session, find,
            group::record,
            watch::{self, Change},
        },
        render::status,
        screen::Screen,
    },
};

pub(super) async fn run(
    session: &Session,
    args: &StatusArgs,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let cluster = find::find(session, args.name.as_deref()).await?;
    if args.watch {
        return follow(session, &cluster.name().name, screen).await;
    }
    let Some(output) = args.output else { return show(session, &cluster, screen).await };
    let data = status::data(&cluster, &record(session, &cluster.name()).await);
    let text = match output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&data)?),
        Output::Yaml => serde_saphyr::to_string(&data)?,
    };
    Ok(screen.print(&text)?)
}

async fn show(session: &Session, cluster: &Cluster, screen: &mut Screen) -> anyhow::Result<()> {
    let record = record(session, &cluster.name()).await;
    Ok(screen.print(&status::page(cluster, &record, clock::now(), screen.style))?)
}

/// A new page for every change, until the user has seen enough.
async fn follow(session: &Session, name: &str, screen: &mut Screen) -> anyhow::Result<()> {
    let mut changes = std::pin::pin!(watch::changes(session, name));
    let mut first = true;
    while let Some(change) = changes.next().await {
        match change {
            Change::Now(cluster) => {
                if screen.redraws {
                    screen.clear()?;
                } else if !first {
                    screen.line(&format!("\n--- {}\n", clock::now()))?;
                }
                first = false;
                show(session, &cluster, screen).await?;
            }
            Change::Gone => bail!("{name} was deleted"),
            Change::Lost(why) => screen.note(&format!("{why}. Trying again")),
            Change::Refused(refused) => return Err((*refused).into()),
        }
    }
    Ok(())
}
