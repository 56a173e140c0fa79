//! `lock`: who holds the lock, and how that is known.

use jiff::Timestamp;

use super::{
    record,
    style::{Style, Tone},
    table::{Cell, Table, toned},
    time::age,
};
use crate::{
    broker::report::{Evidence, GreetingView, LockView, Report},
    core::{
        lock::Lock,
        observed::{ContainerView, Observed, PodView},
    },
    plugin::{
        cluster::Cluster,
        gather::group::{Record, Unheard},
    },
};

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The `BrokerCluster`.
    pub cluster: &'a Cluster,
    /// Its record.
    pub record: &'a Record,
    /// What each pod's agent says, in the order of `observed.pods`.
    pub reports: &'a [Result<Report, Unheard>],
    /// What the operator would conclude of that.
    pub verdict: &'a Lock,
    /// What the judgement rests on.
    pub observed: &'a Observed,
}

/// The page.
pub fn page(scene: &Scene<'_>, now: Timestamp, style: Style) -> String {
    let mut head = Table::default();
    let cluster = scene.cluster;
    let place = cluster.text("/status/lock/path").unwrap_or("not known");
    let kind = cluster.text("/status/lock/kind").unwrap_or("kind not known");
    head.row([
        "Lock".into(),
        toned(Tone::Heading, format!("of {}: {place} ({kind})", cluster.name())),
    ]);
    head.row(["Verdict".into(), verdict(scene)]);
    let (tone, line) = record::line(scene.record, cluster);
    head.row(["Record".into(), toned(tone, line)]);
    let mut page = head.render(style);
    if !scene.observed.pods.is_empty() {
        page += "\n";
        page += &pods(scene, now).render(style);
    }
    page += &remarks(scene, style);
    page
}

fn verdict(scene: &Scene<'_>) -> Cell {
    match scene.verdict {
        Lock::Held { by } => {
            let report = scene.observed.pod(by).and_then(PodView::report);
            let proof = match report.map(|report| report.lock.view) {
                Some(LockView::Mine(evidence)) => format!(", by {}", words(evidence)),
                Some(LockView::Other | LockView::Free | LockView::Unknown) | None => String::new(),
            };
            let serves = scene.observed.pod(by).is_some_and(PodView::serves);
            let serves = if serves { "and serves" } else { "and does not serve yet" };
            toned(Tone::Good, format!("{by} holds it{proof}, {serves}"))
        }
        Lock::Free => toned(Tone::Warning, "nobody holds it: every agent says so"),
        Lock::Disputed(pods) => toned(
            Tone::Bad,
            format!(
                "{} claim it. A handover may look like that for a moment; if it stays, see SplitBrain in \
                 `kubectl tandem status {}`",
                pods.join(" and "),
                scene.cluster.name().name
            ),
        ),
        Lock::Unknown(why) => toned(Tone::Warning, format!("cannot be told: {why}")),
    }
}

fn words(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Kernel => "the kernel's table of a local file system (proof)",
        Evidence::ClientTable => "the table of a network file system's client (a hint)",
        Evidence::Lease => "the lease's row in the database (proof until it ends)",
        Evidence::Log => "the broker's own log (a hint)",
        Evidence::Unknown => "an evidence that this plugin is too old to know",
    }
}

fn pods(scene: &Scene<'_>, now: Timestamp) -> Table {
    let columns =
        ["POD", "NODE", "AGENT", "SEES THE LOCK", "LOOKED", "GREETS", "BROKER", "LAST EXIT"];
    let mut table = Table::default().headed(&columns);
    for (pod, report) in scene.observed.pods.iter().zip(scene.reports) {
        let name: Cell = pod.name.as_str().into();
        let node: Cell = pod.node.as_deref().unwrap_or("-").into();
        let cells = match report {
            Ok(report) => row(report, now),
            Err(_) => [
                toned(Tone::Warning, "not heard"),
                "-".into(),
                "-".into(),
                "-".into(),
                container(pod),
                "-".into(),
            ],
        };
        let [agent, lock, looked, greets, broker, exit] = cells;
        table.row([name, node, agent, lock, looked, greets, broker, exit]);
    }
    table
}

fn container(pod: &PodView) -> Cell {
    match &pod.container {
        ContainerView::Running => "its container runs".into(),
        ContainerView::NotRunning { .. } => "its container does not run".into(),
    }
}

fn row(report: &Report, now: Timestamp) -> [Cell; 6] {
    let lock = match report.lock.view {
        LockView::Mine(evidence) => toned(Tone::Good, format!("mine ({evidence:?})")),
        LockView::Other => "held by another".into(),
        LockView::Free => "free".into(),
        LockView::Unknown => toned(Tone::Warning, "unknown"),
    };
    let greets = match report.greeting {
        GreetingView::Ok => "yes",
        GreetingView::Refused => "no",
        GreetingView::Silent => "silent",
        GreetingView::Unknown => "unknown",
    };
    let broker = report.child.as_ref().map_or_else(
        || "does not run".to_owned(),
        |child| {
            let up = age(now.duration_since(child.started));
            format!("pid {}, up {up}, {} restarts", child.pid, child.restarts)
        },
    );
    let exit = report.last_exit.as_ref().map_or_else(
        || "-".to_owned(),
        |exit| {
            let ago = age(now.duration_since(exit.at));
            format!("{:?} ({}) {ago} ago", exit.reason, exit.status)
        },
    );
    [
        format!("{:?}", report.state).into(),
        lock,
        format!("{} ms ago", report.lock.age_millis).into(),
        greets.into(),
        broker.into(),
        exit.into(),
    ]
}

/// What the agents add, and what could not be asked.
fn remarks(scene: &Scene<'_>, style: Style) -> String {
    let mut table = Table::default();
    for (pod, report) in scene.observed.pods.iter().zip(scene.reports) {
        match report {
            Ok(report) if report.pod_uid != pod.uid => {
                table.row([pod.name.as_str().into(), "another pod of that name answered".into()]);
            }
            Ok(report) => {
                if let Some(message) = &report.message {
                    table.row([pod.name.as_str().into(), message.as_str().into()]);
                }
            }
            Err(unheard) => {
                table.row([pod.name.as_str().into(), toned(Tone::Warning, unheard.why.as_str())]);
            }
        }
    }
    let mut text = String::new();
    for part in [table, fallback(scene)] {
        let lines = part.render(style);
        if !lines.is_empty() {
            text.push('\n');
            text += &lines;
        }
    }
    text
}

/// Where agents could not be asked, the operator can, and publishes what it concludes.
fn fallback(scene: &Scene<'_>) -> Table {
    let mut table = Table::default();
    let unheard: Vec<&Unheard> =
        scene.reports.iter().filter_map(|report| report.as_ref().err()).collect();
    if unheard.is_empty() {
        return table;
    }
    let holder = scene.cluster.text("/status/lock/holder");
    let holder = holder.map_or_else(
        || "the operator knows no holder".to_owned(),
        |pod| format!("the operator says that {pod} holds it"),
    );
    let why = if unheard.iter().any(|one| one.forbidden) {
        format!(
            "To ask agents you need the right `get` on `pods/proxy` in namespace {}.",
            scene.cluster.name().namespace
        )
    } else {
        "The API server must reach port 9616 of the pods: a NetworkPolicy may keep it from that."
            .to_owned()
    };
    let name = scene.cluster.name().name;
    let line = format!("{why} In the status, {holder}: `kubectl tandem status {name}`.");
    table.row([line.into()]);
    table
}
