//! The claim grows where its class allows that, goes with its cluster where it is asked to, and serves
//! another group afterwards. The test plays the resizer: the bed's volumes are directories.

use anyhow::{Context, Result, ensure};
use e2e::{Address, Group, Lab, TestClient, objects, wait};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    events::v1::Event,
    storage::v1::StorageClass,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{Outcome, faults};

const CLAIM: &str = "orders-store";

/// A claim that asks for so much of a class of this scenario.
fn storage(class: &str, size: &str) -> Value {
    let claim = json!({"storageClassName": class, "resources": {"requests": {"storage": size}}});
    json!({"storage": {"sharedVolume": {"claim": claim}}})
}

/// A class that nobody provides volumes for, and the group's volume in it, with 1 GiB.
async fn volume_of_class(group: &Group<'_>, class: &str, grows: bool) -> Result<()> {
    let class_object = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": class},
        "provisioner": "e2e.tandem-operator.io/by-hand",
        "allowVolumeExpansion": grows
    });
    objects::apply(&group.lab.client, &class_object).await?;
    let change = json!({"spec": {"storageClassName": class, "capacity": {"storage": "1Gi"}}});
    let volumes: Api<PersistentVolume> = Api::all(group.lab.client.clone());
    let name = format!("{}-{CLAIM}", group.namespace);
    volumes.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await.map(drop)?;
    Ok(())
}

fn claims(group: &Group<'_>) -> Api<PersistentVolumeClaim> {
    Api::namespaced(group.lab.client.clone(), &group.namespace)
}

async fn requested(group: &Group<'_>) -> Result<String> {
    let claim = serde_json::to_value(claims(group).get(CLAIM).await?)?;
    let size = claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str);
    Ok(size.context("a claim without a size")?.to_owned())
}

/// What the external resizer of a driver does when the volume has grown.
async fn resize(group: &Group<'_>, size: &str) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(group.lab.client.clone());
    let name = format!("{}-{CLAIM}", group.namespace);
    let capacity = json!({"capacity": {"storage": size}});
    let params = PatchParams::default();
    volumes.patch(&name, &params, &Patch::Merge(json!({"spec": capacity}))).await?;
    let status = Patch::Merge(json!({"status": capacity}));
    claims(group).patch_status(CLAIM, &params, &status).await.map(drop)?;
    Ok(())
}

async fn events(group: &Group<'_>, prefix: &str) -> Result<Vec<String>> {
    let events: Api<Event> = Api::namespaced(group.lab.client.clone(), &group.namespace);
    let reasons = events.list(&ListParams::default()).await?.items.into_iter();
    Ok(reasons.filter_map(|event| event.reason).filter(|text| text.starts_with(prefix)).collect())
}

/// Grown while clients go on; a smaller size is refused at admission; another class does not allow it,
/// which is named and can be taken back.
pub async fn grows(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-claim-grows").await?;
    volume_of_class(&group, "e2e-grows", true).await?;
    group.start(&storage("e2e-grows", "1Gi")).await?;
    group.await_condition("VolumeSized", "True", "SizeReached").await?;
    let record = group.record().await?;
    let clients = TestClient::start_both(&group).await?;
    group.edit(&storage("e2e-grows", "2Gi")).await?;
    group.await_condition("VolumeSized", "False", "Resizing").await?;
    wait::until("the claim asks for more", e2e::group::LIMIT, async || {
        let size = requested(&group).await?;
        Ok(if size == "2Gi" { Ok(()) } else { Err(size) })
    })
    .await?;
    let smaller = group.edit(&storage("e2e-grows", "1Gi")).await;
    let refusal = smaller.err().map(|error| format!("{error:#}")).context("it may shrink")?;
    ensure!(refusal.contains("put the old size back"), "{refusal}");
    resize(&group, "2Gi").await?;
    group.await_condition("VolumeSized", "True", "SizeReached").await?;
    let account = group.settle(&clients).await?;
    ensure!(group.record().await? == record, "growing cost a failover");
    let told = events(&group, "VolumeGr").await?;
    ensure!(told.contains(&"VolumeGrown".to_owned()), "Events: {told:?}");
    group.remove().await?;
    let refused = refused(lab).await?;
    let classes: Api<StorageClass> = Api::all(lab.client.clone());
    for class in ["e2e-grows", "e2e-fixed"] {
        classes.delete(class, &DeleteParams::default()).await?;
    }
    Ok(format!("grown, {account}; {refused}"))
}

async fn refused(lab: &Lab) -> Result<String> {
    let group = Group::prepare(lab, "e2e-claim-refused").await?;
    volume_of_class(&group, "e2e-fixed", false).await?;
    group.start(&storage("e2e-fixed", "1Gi")).await?;
    let change = json!({"replicas": 1});
    let mut larger = storage("e2e-fixed", "2Gi");
    objects::merge(&mut larger, &change);
    group.edit(&larger).await?;
    let message = group.await_condition("VolumeSized", "False", "ExpansionRefused").await?;
    ensure!(message.contains("allowVolumeExpansion: true"), "{message}");
    // What else was asked for is done, and the group is well.
    group.await_condition("StandbyReady", "False", "SinglePod").await?;
    group.await_condition("Progressing", "False", "UpToDate").await?;
    group.await_condition("Ready", "True", "").await?;
    group.edit(&storage("e2e-fixed", "1Gi")).await?;
    group.await_condition("VolumeSized", "True", "SizeReached").await?;
    group.remove().await?;
    Ok("refused, named, taken back".to_owned())
}

/// With `retention: Delete` the claim goes when its pods have gone, also when the operator was away; with
/// the default another group goes on with it.
pub async fn deleted_with_its_cluster(lab: &Lab) -> Outcome {
    let group = Group::prepare(lab, "e2e-claim-deleted").await?;
    let retention =
        |retention: &str| json!({"storage": {"sharedVolume": {"retention": retention}}});
    group.start(&retention("Delete")).await?;
    faults::scale_operator(lab, 0).await?;
    group.clusters().delete(&group.name, &DeleteParams::default()).await?;
    ensure!(claims(&group).get_opt(CLAIM).await?.is_some(), "the claim went without the operator");
    faults::scale_operator(lab, 1).await?;
    wait::until("the claim is gone", e2e::group::LIMIT, async || {
        let cluster = group.clusters().get_opt(&group.name).await?.is_some();
        let claim = claims(&group).get_opt(CLAIM).await?.is_some();
        Ok(if cluster || claim { Err(format!("{cluster} {claim}")) } else { Ok(()) })
    })
    .await?;
    let told = events(&group, "Claim").await?;
    ensure!(told == ["ClaimDeleted"], "Events: {told:?}");
    let attached = attached(&group).await?;
    group.remove().await?;
    Ok(format!("deleted once the operator was back; {attached}"))
}

/// A group on the claim of another one: refused while that one lives, and on the same store afterwards.
async fn attached(group: &Group<'_>) -> Result<String> {
    group.add_volume(CLAIM).await?;
    group.start(&json!({})).await?;
    let client = TestClient::start(group, Address::List).await?;
    client.settle().await?;
    let heir = group.namesake("heir", None);
    let spec = json!({"storage": {"sharedVolume": {"claim": null, "claimName": CLAIM}}});
    heir.apply(&spec).await?;
    let message = heir.await_condition("ConfigurationValid", "False", "ClaimTaken").await?;
    ensure!(message.contains("BrokerCluster orders"), "{message}");
    let of_heir = ListParams::default().labels("app.kubernetes.io/instance=heir");
    let pods = group.pods().list(&of_heir).await?.items;
    ensure!(pods.is_empty(), "pods were made on a claim in use");
    group.clusters().delete(&group.name, &DeleteParams::default()).await?;
    heir.await_complete().await?;
    let epoch = heir.record().await?.1;
    ensure!(epoch > 1, "the heir began anew, at epoch {epoch}");
    Ok(format!("its claim serves another group, from epoch {epoch} on"))
}
