//! `lock`.

use crate::{
    clock,
    core::lock::judge,
    plugin::{
        gather::{Session, find, group},
        render::lock::{self, Scene},
        screen::Screen,
    },
};

pub(super) async fn run(
    session: &Session,
    name: Option<&str>,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let cluster = find::find(session, name).await?;
    let name = cluster.name();
    let record = group::record(session, &name).await;
    let pods = group::pods(session, &name).await?;
    let reports = group::reports(session, &pods).await;
    let observed = group::observed(&pods, &reports, &record);
    let scene = Scene {
        cluster: &cluster,
        record: &record,
        reports: &reports,
        verdict: &judge(&observed),
        observed: &observed,
    };
    Ok(screen.print(&lock::page(&scene, clock::now(), screen.style))?)
}
