//! What users get wrong, and what others have named alike.

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, lab::project, objects};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::Outcome;

/// Objects of somebody else that bear a child's name stay as they are, and the condition names them.
pub async fn foreign(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-foreign").await?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "orders", "namespace": group.namespace},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
    });
    objects::apply(&lab.client, &service).await?;
    group.apply(&json!({})).await?;
    let message = group.await_condition("ConfigurationValid", "False", "NameTaken").await?;
    ensure!(message.contains("Service orders"), "{message}");
    let services: Api<k8s_openapi::api::core::v1::Service> =
        Api::namespaced(lab.client.clone(), &group.namespace);
    let live = services.get("orders").await?;
    ensure!(
        live.spec.and_then(|spec| spec.selector).is_some_and(|s| s.contains_key("app")),
        "their Service was changed"
    );
    ensure!(group.pods().list(&ListParams::default()).await?.items.is_empty(), "pods were made");
    services.delete("orders", &DeleteParams::default()).await?;
    group.await_complete().await?;
    group.remove().await?;
    Ok("left alone; complete once the name was free".to_owned())
}

/// Refused at admission where CEL can say it, else named in a condition; a running group is never
/// disturbed.
pub async fn bad(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-input").await?;
    let refused = refused_at_admission(&group).await?;
    named_in_a_condition(&group).await?;
    let running = running_group_is_not_disturbed(&group).await?;
    group.remove().await?;
    Ok(format!("{refused} refused at admission, 4 named in a condition; {running}"))
}

async fn refused_at_admission(group: &Group<'_>) -> Result<usize> {
    let volume = |volume: Value| json!({"storage": {"sharedVolume": volume}});
    let claim = json!({"resources": {"requests": {"storage": "1Gi"}}});
    let port = |name: &str, port: i32| json!({"name": name, "protocol": "AMQP", "port": port});
    let tries = [
        (volume(json!({"claimName": "a", "claim": claim})), "exactly one of claimName"),
        (volume(json!({"claim": null})), "exactly one of claimName"),
        (
            volume(json!({"claimName": "a", "claim": null, "retention": "Delete"})),
            "only for a claim that Tandem makes",
        ),
        (volume(json!({"claim": {"accessModes": ["ReadWriteOnce"]}})), "ReadWriteMany"),
        (json!({"listeners": [port("a", 5672), port("b", 5672)]}), "every port"),
        (json!({"listeners": [port("a", 9616)]}), "used by Tandem"),
        (json!({"replicas": 6}), "replicas"),
        (json!({"failover": {"hangTimeout": "1ms"}}), "hangTimeout"),
        (json!({"noSuchField": 1}), "noSuchField"),
    ];
    for (spec, words) in &tries {
        let answer = group.apply(spec).await;
        let text = answer
            .err()
            .map(|error| format!("{error:#}"))
            .context(format!("{spec} was accepted"))?;
        ensure!(text.contains(words), "{spec}: {text}");
    }
    let long = group.namesake(&"o".repeat(53), None);
    let text =
        long.apply(&json!({})).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(text.contains("metadata.name"), "a long name: {text}");
    Ok(tries.len() + 1)
}

async fn named_in_a_condition(group: &Group<'_>) -> Result<()> {
    let xml = |xml: &str| json!({"broker": {"config": {"xml": xml}}});
    group.apply(&xml("<a>")).await?;
    group.await_condition("ConfigurationValid", "False", "spec.broker.config.xml").await?;
    group.apply(&xml("<persistenceAdapter/>")).await?;
    group.await_condition("ConfigurationValid", "False", "spec.storage").await?;
    remove_cluster(group).await?;
    group
        .apply(&json!({"storage": {"sharedVolume": {"claim": null, "claimName": "no-such-claim"}}}))
        .await?;
    let message = group.await_condition("ConfigurationValid", "False", "ClaimMissing").await?;
    ensure!(message.contains("no-such-claim") && message.contains("create it"), "{message}");
    remove_cluster(group).await?;
    group.add_volume("rwo").await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "rwo", "namespace": group.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "shared", "resources": {"requests": {"storage": "1Gi"}}}
    });
    objects::apply(&group.lab.client, &claim).await?;
    group.apply(&json!({"storage": {"sharedVolume": {"claim": null, "claimName": "rwo"}}})).await?;
    group.await_condition("ConfigurationValid", "False", "ClaimNotShared").await?;
    remove_cluster(group).await
}

/// Deletes the BrokerCluster and waits until its pods are gone.
pub async fn remove_cluster(group: &Group<'_>) -> Result<()> {
    group.clusters().delete(&group.name, &DeleteParams::default()).await?;
    e2e::wait::until(&format!("{} is gone", group.name), e2e::group::LIMIT, async || {
        let gone = group.clusters().get_opt(&group.name).await?.is_none();
        let left = group
            .pods()
            .list(&ListParams::default().labels("app.kubernetes.io/component=broker"))
            .await?
            .items;
        Ok(if gone && left.is_empty() { Ok(()) } else { Err(format!("{} pods left", left.len())) })
    })
    .await
}

async fn running_group_is_not_disturbed(group: &Group<'_>) -> Result<String> {
    group.apply(&json!({})).await?;
    group.await_complete().await?;
    let uids = async || -> Result<Vec<Option<String>>> {
        let list = group.pods().list(&ListParams::default()).await?;
        Ok(list.items.iter().map(ResourceExt::uid).collect())
    };
    let before = uids().await?;
    group.edit(&json!({"broker": {"config": {"xml": "<a>"}}})).await?;
    group.await_condition("ConfigurationValid", "False", "InvalidSpec").await?;
    ensure!(uids().await? == before, "pods were replaced for an invalid spec");
    let ready = group.status().await?.conditions.into_iter().find(|c| c.type_ == "Ready");
    ensure!(ready.is_some_and(|c| c.status == "True"), "the group is not Ready any more");
    group.edit(&json!({"broker": {"config": {"xml": null}}})).await?;
    group.await_complete().await?;
    ensure!(uids().await? == before, "pods were replaced for a correction to what was there");
    Ok("a running group was not disturbed".to_owned())
}

/// Every manifest under `examples/` is accepted by the API server, strictly.
pub async fn examples(lab: &Lab) -> Outcome {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(project().join("examples"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let file = path.to_str().context("a path that is no text")?;
            lab.bed.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", file])?;
            names.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    ensure!(names.len() >= 3, "examples: {names:?}");
    Ok(names.join(", "))
}
