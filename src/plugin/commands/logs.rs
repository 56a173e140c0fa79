//! `logs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
};

use anyhow::bail;
use futures::{AsyncBufReadExt, Stream, StreamExt, stream::SelectAll};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::LogParams,
    runtime::{WatchStreamExt, watcher},
};

use crate::{
    api::{labels, names::ClusterName},
    plugin::{
        args::LogsArgs,
        gather::{Ask, Refused, Session, find, group, watch},
        render::style::Tone,
        screen::Screen,
    },
    resources::{pod::BROKER, selector_text},
};

/// Lines of one pod, with its name.
type Lines = Pin<Box<dyn Stream<Item = (String, io::Result<String>)> + Send>>;

pub(super) async fn run(
    session: &Session,
    args: &LogsArgs,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let cluster = find::find(session, args.name.as_deref()).await?;
    let name = cluster.name();
    if let Some(pod) = args.pod.as_ref().filter(|pod| !cluster.pods().contains(pod)) {
        bail!("{} has no pod {pod}: its pods are {}", name.name, cluster.pods().join(", "));
    }
    if args.follow {
        follow(session, &name, args, screen).await
    } else {
        past(session, &name, args, screen).await
    }
}

/// What was logged, one pod after the other.
async fn past(
    session: &Session,
    name: &ClusterName,
    args: &LogsArgs,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let mut pods = group::pods(session, name).await?;
    pods.retain(|pod| is_wanted(args, &pod.name_any(), role(pod)));
    if pods.is_empty() {
        bail!("no pod fits: `kubectl tandem status {}` shows who does what", name.name);
    }
    let mut read = 0;
    for pod in &pods {
        let mut lines = match lines(session, pod, &parameters(args)).await {
            Ok(lines) => lines,
            Err(refused) => {
                screen.note(&refused.to_string());
                continue;
            }
        };
        read += 1;
        while let Some((pod_name, line)) = lines.next().await {
            print(screen, &pod_name, role(pod), &line?)?;
        }
    }
    if read == 0 {
        bail!("no log could be read");
    }
    Ok(())
}

/// What is logged from now on, by every container that starts, until the user has seen enough.
async fn follow(
    session: &Session,
    name: &ClusterName,
    args: &LogsArgs,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(session.client.clone(), &name.namespace);
    let ask = Ask::all("watch", "pods", &name.namespace);
    let selector = watcher::Config::default().labels(&selector_text(name));
    let mut pods = std::pin::pin!(watcher(api, selector).default_backoff().applied_objects());
    let mut logs: SelectAll<Lines> = SelectAll::new();
    let mut roles: BTreeMap<String, String> = BTreeMap::new();
    let mut containers = BTreeSet::new();
    loop {
        tokio::select! {
            Some(event) = pods.next() => {
                let pod = match event {
                    Ok(pod) => pod,
                    Err(error) => {
                        screen.note(&format!("{}. Trying again", watch::broken(&ask, error)?));
                        continue;
                    }
                };
                roles.insert(pod.name_any(), role(&pod).to_owned());
                let new = container(&pod).is_some_and(|container| containers.insert(container));
                if new && args.pod.as_ref().is_none_or(|wanted| *wanted == pod.name_any()) {
                    match lines(session, &pod, &parameters(args)).await {
                        Ok(lines) => logs.push(lines),
                        Err(refused) => screen.note(&refused.to_string()),
                    }
                }
            }
            Some((pod, line)) = logs.next(), if !logs.is_empty() => {
                let role = roles.get(&pod).map(String::as_str).unwrap_or_default();
                match line {
                    Ok(line) if is_wanted(args, &pod, role) => print(screen, &pod, role, &line)?,
                    Ok(_) => {}
                    Err(error) => screen.note(&format!("the log of {pod} broke off: {error}")),
                }
            }
        }
    }
}

fn role(pod: &Pod) -> &str {
    pod.labels().get(labels::ROLE).map(String::as_str).unwrap_or_default()
}

/// Which start of the broker's container runs.
fn container(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let broker = statuses.iter().find(|status| status.name == BROKER)?;
    broker.state.as_ref()?.running.as_ref()?;
    Some(format!("{} {}", pod.uid()?, broker.restart_count))
}

fn is_wanted(args: &LogsArgs, pod: &str, role: &str) -> bool {
    (!args.master || role == "master")
        && (!args.standby || role == "standby")
        && args.pod.as_ref().is_none_or(|wanted| wanted == pod)
}

fn parameters(args: &LogsArgs) -> LogParams {
    LogParams {
        container: Some(BROKER.to_owned()),
        follow: args.follow,
        previous: args.previous,
        since_seconds: args.since.map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        tail_lines: args.tail.map(i64::from),
        ..LogParams::default()
    }
}

async fn lines(session: &Session, pod: &Pod, parameters: &LogParams) -> Result<Lines, Refused> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let api: Api<Pod> = Api::namespaced(session.client.clone(), &namespace);
    let ask = Ask::one("get", "pods/log", &namespace, &name);
    let log = ask.send(api.log_stream(&name, parameters)).await?;
    Ok(Box::pin(log.lines().map(move |line| (name.clone(), line))))
}

fn print(screen: &mut Screen, pod: &str, role: &str, line: &str) -> io::Result<()> {
    let tone = if role == "master" { Tone::Good } else { Tone::Faint };
    let role = if role.is_empty() { "-" } else { role };
    let prefix = screen.style.paint(tone, &format!("[{pod} {role}]"));
    screen.line(&format!("{prefix} {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_chosen_by_role_or_name() {
        let all = LogsArgs::default();
        assert!(is_wanted(&all, "orders-0", "") && is_wanted(&all, "orders-1", "master"));
        let master = LogsArgs { master: true, ..LogsArgs::default() };
        assert!(
            is_wanted(&master, "orders-1", "master") && !is_wanted(&master, "orders-0", "standby")
        );
        let one = LogsArgs { pod: Some("orders-0".into()), ..LogsArgs::default() };
        assert!(is_wanted(&one, "orders-0", "") && !is_wanted(&one, "orders-1", "master"));
    }

    #[test]
    fn a_container_that_was_restarted_is_another_one() {
        let pod = |restarts: i32, state: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "orders-0", "uid": "u"},
                "status": {"containerStatuses": [{
                    "name": BROKER, "restartCount": restarts, "state": state,
                    "image": "", "imageID": "", "ready": true,
                }]},
            }))
            .unwrap()
        };
        let runs = serde_json::json!({"running": {}});
        assert_eq!(container(&pod(0, runs.clone())).as_deref(), Some("u 0"));
        assert_eq!(container(&pod(1, runs)).as_deref(), Some("u 1"));
        assert_eq!(container(&pod(1, serde_json::json!({"waiting": {}}))), None);
    }
}
