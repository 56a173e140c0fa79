//! A group that has served finds another store: it serves from it neither by itself nor by chance, and goes on with
//! all messages when its own one is back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Address, Group, Lab, TestClient, objects, wait};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::Outcome;

const CLAIM: &str = "orders-store";
const LIMIT: Duration = Duration::from_secs(60);

/// The claim is deleted and made anew on another volume; then its own one is given back, as
/// docs/guides/operations.md says.
pub async fn claim_made_anew(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-claim-anew").await?;
    let client = TestClient::start(&group, Address::List).await?;
    client.consume(false).await?;
    client.await_sent(20).await?;
    let served = group.status().await?.store_identity.context("the status names no store")?;
    let (_, epoch) = group.await_master(0).await?;

    asleep(&group).await?;
    let (own, other) =
        (format!("{}-{CLAIM}", group.namespace), format!("{}-other", group.namespace));
    std::fs::remove_dir_all(lab.bed.volume(&other)?)?;
    let directory = lab.bed.volume(&other)?;
    let directory = directory.to_str().context("the volume's path is no text")?;
    let volume = objects::volume(&other, directory, &group.namespace, CLAIM);
    objects::apply(&lab.client, &volume).await?;
    claim_again(&group, &other).await?;
    group.edit(&json!({"hibernated": false})).await?;
    let message = group.await_condition("StorageLockVerified", "False", "StoreMissing").await?;
    ensure!(message.contains(&served), "{message}");
    group.await_condition("Ready", "False", "NoMaster").await?;
    ensure!(group.record().await? == (None, epoch), "somebody was promoted on an empty store");

    asleep(&group).await?;
    let volumes: Api<PersistentVolume> = Api::all(lab.client.clone());
    volumes.delete(&other, &DeleteParams::default()).await?;
    let reserve = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
    volumes.patch(&own, &PatchParams::default(), &Patch::Merge(reserve)).await?;
    claim_again(&group, &own).await?;
    group.edit(&json!({"hibernated": false})).await?;
    group.await_complete().await?;
    ensure!(group.status().await?.store_identity == Some(served), "it is another store");
    client.consume(true).await?;
    let account = client.settle().await?;
    group.remove().await?;
    Ok(format!("refused, given back, {} acknowledged, 0 lost", account.acknowledged))
}

async fn asleep(group: &Group<'_>) -> Result<()> {
    group.edit(&json!({"hibernated": true})).await?;
    group.await_condition("Progressing", "False", "Hibernated").await.map(drop)
}

/// Deletes the claim, and waits until the operator has made it anew and it is bound to this volume.
async fn claim_again(group: &Group<'_>, volume: &str) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(group.lab.client.clone(), &group.namespace);
    claims.delete(CLAIM, &DeleteParams::default()).await?;
    wait::until("the claim is bound to the volume", LIMIT, async || {
        let claim = claims.get_opt(CLAIM).await?;
        let bound = claim.and_then(|claim| claim.spec?.volume_name);
        Ok(if bound.as_deref() == Some(volume) { Ok(()) } else { Err(format!("{bound:?}")) })
    })
    .await
}
