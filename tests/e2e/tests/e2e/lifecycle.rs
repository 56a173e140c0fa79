//! Groups come, serve, go, and come again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, TestClient, objects, wait};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, ServiceAccount},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::{Outcome, input};

/// From `kubectl apply` to clients: conditions, columns, Pod Security, `kubectl wait`.
pub async fn comes_up(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-up").await?;
    let begun = e2e::group::now_millis();
    let example = e2e::lab::project().join("examples/smallest.yaml");
    let example = example.to_str().context("the project's path is no text")?;
    lab.bed.kubectl(&["-n", &group.namespace, "apply", "--validate=strict", "-f", example])?;
    lab.bed.kubectl(&[
        "-n",
        &group.namespace,
        "wait",
        "--for=condition=Ready",
        "bc/orders",
        "--timeout=120s",
    ])?;
    let ready = e2e::group::now_millis() - begun;
    group.await_complete().await?;
    let master = group.master().await?;
    let standby = group.other(&master);
    // The kubelet asks every 2 s: it learns of the standby after the agents' reports have told.
    for pod in [&master, &standby] {
        let pod = format!("pod/{pod}");
        let namespace = &group.namespace;
        lab.bed.kubectl(&[
            "-n",
            namespace,
            "wait",
            "--for=condition=Ready",
            &pod,
            "--timeout=60s",
        ])?;
    }
    let columns =
        lab.bed.kubectl(&["-n", &group.namespace, "get", "bc", "orders", "--no-headers"])?;
    let columns: Vec<&str> = columns.split_whitespace().collect();
    ensure!(columns.get(1..4) == Some(&[master.as_str(), "1/1", "True"]), "columns: {columns:?}");
    let roles = lab.bed.kubectl(&[
        "-n",
        &group.namespace,
        "get",
        "pods",
        "-l",
        "tandem-operator.io/role=master",
        "-o",
        "name",
    ])?;
    ensure!(roles.trim() == format!("pod/{master}"), "role labels: {roles}");
    let clients = TestClient::start_both(&group).await?;
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("Ready after {ready} ms; {account}"))
}

/// A password with everything that means something in a properties file.
const AWKWARD: &str = "s3 cret=#!%";

/// All four protocols with a user's own password, a rotated one without a restart, and no entry
/// without one.
pub async fn protocols(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-protocols").await?;
    users(&group, AWKWARD).await?;
    let spec = json!({"auth": {"usersSecret": {"name": "users"}}, "listeners": listeners_of_all_protocols()});
    group.apply(&spec).await?;
    group.await_complete().await?;
    smoke(&group, "first", &["--user", "alice", "--password", AWKWARD]).await?;
    smoke(&group, "nobody", &["--anonymous"]).await?;
    let (master, epoch) = group.await_master(0).await?;
    users(&group, "changed").await?;
    // The kubelet refreshes mounted Secrets about once a minute, the agent rewrites the login files.
    wait::until("the new password is known", Duration::from_secs(180), async || {
        let name = format!("again-{}", e2e::group::now_millis());
        Ok(smoke(&group, &name, &["--user", "alice", "--password", "changed"])
            .await
            .map_err(|error| error.to_string()))
    })
    .await?;
    ensure!(group.record().await? == (Some(master), epoch), "the rotation cost a failover");
    group.remove().await?;
    Ok("4 protocols with a password, none without, rotation without a failover".to_owned())
}

/// As [`smoke`] expects them.
pub fn listeners_of_all_protocols() -> Value {
    let port = |name: &str, protocol: &str, port: i32| json!({"name": name, "protocol": protocol, "port": port});
    json!([
        port("openwire", "OpenWire", 61616),
        port("amqp", "AMQP", 5672),
        port("mqtt", "MQTT", 1883),
        port("stomp", "STOMP", 61613)
    ])
}

async fn users(group: &Group<'_>, password: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "users", "namespace": group.namespace},
        "stringData": {"alice": password}
    });
    objects::apply(&group.lab.client, &secret).await.map(drop)
}

/// Runs the smoke test of all protocols in a pod, as the administrator if the arguments do not say otherwise,
/// and waits for its success.
pub async fn smoke(group: &Group<'_>, name: &str, arguments: &[&str]) -> Result<()> {
    all_protocols(group, "smoke", name, arguments).await.map(drop)
}

/// Runs a command of the test client that speaks all protocols, waits for its success and returns what it
/// printed.
pub async fn all_protocols(
    group: &Group<'_>,
    command: &str,
    name: &str,
    arguments: &[&str],
) -> Result<String> {
    let name = format!("{command}-{name}");
    let host = format!("{}.{}.svc", group.name, group.namespace);
    let mut all = vec![
        command,
        "--host",
        &host,
        "--openwire",
        "61616",
        "--amqp",
        "5672",
        "--mqtt",
        "1883",
        "--stomp",
        "61613",
    ];
    all.extend(arguments);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": group.namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "smoke", "image": "localhost/tandem-client:1", "imagePullPolicy": "Never", "args": all,
                "env": e2e::client::login(group),
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
            }]
        }
    });
    objects::apply(&group.lab.client, &pod).await?;
    let phase = wait::until(&format!("{name} ends"), Duration::from_secs(60), async || {
        let phase = group
            .pods()
            .get(&name)
            .await?
            .status
            .and_then(|status| status.phase)
            .unwrap_or_default();
        Ok(if phase == "Succeeded" || phase == "Failed" { Ok(phase) } else { Err(phase) })
    })
    .await?;
    let log = group.pods().logs(&name, &kube::api::LogParams::default()).await?;
    ensure!(phase == "Succeeded", "{name}: {log}");
    Ok(log)
}

/// Deleting a BrokerCluster keeps the claim and the messages; one of the same name finds them.
pub async fn recreated(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-recreated").await?;
    let client = TestClient::start(&group, e2e::Address::Service).await?;
    client.consume(false).await?;
    let before = client.stats().await?["acknowledged"].as_i64().unwrap_or_default();
    wait::until("messages are kept in the store", Duration::from_secs(30), async || {
        let now = client.stats().await?["acknowledged"].as_i64().unwrap_or_default();
        Ok(if now > before + 50 { Ok(()) } else { Err(format!("{now}")) })
    })
    .await?;
    let secrets = remember_admin(&group).await?;
    input::remove_cluster(&group).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(lab.client.clone(), &group.namespace);
    ensure!(
        claims.get("orders-store").await?.metadata.deletion_timestamp.is_none(),
        "the claim is gone"
    );
    group.apply(&json!({"auth": {"adminSecret": {"name": secrets}}})).await?;
    group.await_complete().await?;
    client.consume(true).await?;
    let account = client.settle().await?;
    group.remove().await?;
    Ok(format!("{} acknowledged before and after, 0 lost", account.acknowledged))
}

/// Keeps the generated password under another name, because the client goes on with it.
async fn remember_admin(group: &Group<'_>) -> Result<String> {
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(group.lab.client.clone(), &group.namespace);
    let live = secrets.get(&group.admin_secret()).await?;
    let copy = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "kept-admin", "namespace": group.namespace},
        "data": live.data
    });
    objects::apply(&group.lab.client, &copy).await?;
    Ok("kept-admin".to_owned())
}

/// The operator is killed in the midst of making, scaling and deleting ten clusters.
pub async fn operator_killed(lab: &Lab) -> Outcome {
    let namespace = Group::prepare(lab, "e2e-chaos").await?;
    let mut groups = Vec::new();
    for n in 0..10 {
        groups.push(namespace.beside(&format!("c{n}")).await?);
    }
    // Brokers that end at once: what is tested is the operator.
    let spec = json!({
        "broker": {"java": {"options": ["-XX:NoSuchOption"]}},
        "pod": {"resources": {"requests": {"cpu": "1m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}}}
    });
    let mut kills = 0;
    for (n, group) in groups.iter().enumerate() {
        group.apply(&spec).await?;
        if n % 3 == 0 {
            // The first child is there and the last one is not yet.
            await_child::<ServiceAccount>(group, &format!("{}-agent", group.name)).await?;
            kills += kill_operator(lab).await?;
        }
    }
    for group in &groups {
        await_child::<StatefulSet>(group, &group.name).await?;
    }
    let (scaled, deleted) = groups.split_at(5);
    for group in scaled {
        group.edit(&json!({"replicas": 1})).await?;
    }
    kills += kill_operator(lab).await?;
    for group in deleted {
        group.clusters().delete(&group.name, &DeleteParams::default()).await?;
    }
    kills += kill_operator(lab).await?;
    for group in scaled {
        let sets: Api<StatefulSet> = Api::namespaced(lab.client.clone(), &group.namespace);
        wait::until(&format!("{} has one pod", group.name), e2e::group::LIMIT, async || {
            let replicas = sets.get(&group.name).await?.spec.and_then(|spec| spec.replicas);
            Ok(if replicas == Some(1) { Ok(()) } else { Err(format!("{replicas:?}")) })
        })
        .await?;
    }
    let orphans = no_orphans(deleted, groups.len()).await?;
    namespace.remove().await?;
    Ok(format!("operator killed {kills} times; {orphans}"))
}

/// Waits until a child exists.
async fn await_child<K>(group: &Group<'_>, name: &str) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(group.lab.client.clone(), &group.namespace);
    wait::until(&format!("{} {name}", K::kind(&())), e2e::group::LIMIT, async || {
        Ok(if api.get_opt(name).await?.is_some() {
            Ok(())
        } else {
            Err("it is not there".to_owned())
        })
    })
    .await
}

/// Kills the operator's process, if it is there at the moment.
pub async fn kill_operator(lab: &Lab) -> Result<usize> {
    let pods: Api<Pod> = Api::namespaced(lab.client.clone(), e2e::lab::SYSTEM);
    let mut killed = 0;
    for pod in pods.list(&ListParams::default()).await?.items {
        let processes = lab.bed.processes_of_pod(&pod.uid().unwrap_or_default())?;
        if let Some(process) = processes.iter().find(|process| process.name == "tandem") {
            process.signal(nix::sys::signal::Signal::SIGKILL)?;
            killed += 1;
        }
        // A deleted pod is made anew at once: the kubelet's back-off would otherwise grow.
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
            .await
            .map(drop)
            .or_else(|error| match error {
                kube::Error::Api(status) if status.is_not_found() => Ok(()),
                other => Err(other),
            })?;
    }
    Ok(killed)
}

/// Nothing of the deleted clusters is left but their claims.
async fn no_orphans(deleted: &[Group<'_>], claims_made: usize) -> Result<String> {
    let lab = deleted.first().context("no groups")?.lab;
    let deleted: Vec<&str> = deleted.iter().map(|group| group.name.as_str()).collect();
    wait::until("nothing is left of deleted clusters", e2e::group::LIMIT, async || {
        let kinds = "statefulsets,services,configmaps,secrets,endpointslices,poddisruptionbudgets,networkpolicies,serviceaccounts,roles,rolebindings,pods";
        let selector = format!("app.kubernetes.io/instance in ({})", deleted.join(","));
        let left = lab.bed.kubectl(&["-n", "e2e-chaos", "get", kinds, "-l", &selector, "-o", "name"])?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    })
    .await?;
    let claims = lab.bed.kubectl(&["-n", "e2e-chaos", "get", "pvc", "-o", "name"])?;
    ensure!(claims.lines().count() == claims_made, "every claim is kept: {claims}");
    Ok("no orphans, every claim kept".to_owned())
}

/// A newer chart with the same spec restarts no broker.
pub async fn chart_upgrade(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-upgrade").await?;
    let state = async || -> Result<Vec<(String, Option<String>, i32)>> {
        let list = group.pods().list(&ListParams::default()).await?;
        let restarts = |pod: &Pod| {
            pod.status
                .clone()
                .unwrap_or_default()
                .container_statuses
                .unwrap_or_default()
                .iter()
                .map(|s| s.restart_count)
                .sum()
        };
        Ok(list.items.iter().map(|pod| (pod.name_any(), pod.uid(), restarts(pod))).collect())
    };
    let before = (state().await?, group.record().await?);
    // Another image name for the same image stands for a newer operator.
    lab.bed.tag_image("localhost/tandem:dev", "localhost/tandem:next")?;
    lab.install(&["--set", "image.tag=next", "--set", "replicas=2"])?;
    group.edit(&json!({"paused": true})).await?;
    group.await_condition("Paused", "True", "").await?;
    group.edit(&json!({"paused": false})).await?;
    group.await_complete().await?;
    let sets: Api<StatefulSet> = Api::namespaced(lab.client.clone(), &group.namespace);
    wait::until("the new operator has been here", e2e::group::LIMIT, async || {
        let set = serde_json::to_value(sets.get(&group.name).await?)?;
        let image = set
            .pointer("/spec/template/spec/initContainers/0/image")
            .and_then(Value::as_str)
            .map(str::to_owned);
        Ok(if image.as_deref() == Some("localhost/tandem:next") {
            Ok(())
        } else {
            Err(format!("{image:?}"))
        })
    })
    .await?;
    ensure!(
        (state().await?, group.record().await?) == before,
        "brokers were restarted: {before:?} to {:?}",
        state().await?
    );
    lab.install(&[])?;
    group.remove().await?;
    Ok("no broker restarted, two operators side by side".to_owned())
}
