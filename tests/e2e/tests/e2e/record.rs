//! The promotion record: repaired when somebody else writes it, and what agents may write.

use anyhow::{Context, ensure};
use e2e::{Group, Lab, TestClient};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::Outcome;

/// Edited to the wrong pod, emptied, deleted: right again, with a higher epoch.
pub async fn repaired(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-record").await?;
    let clients = TestClient::start_both(&group).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(lab.client.clone(), &group.namespace);
    let (master, mut epoch) = group.await_master(0).await?;
    let other = group.pods().get(&group.other(&master)).await?;
    let address = other.status.and_then(|status| status.pod_ip).context("no address")?;
    let wrong = json!({"endpoints": [{
        "addresses": [address],
        "conditions": {"ready": true},
        "targetRef": {"kind": "Pod", "namespace": group.namespace, "name": group.other(&master), "uid": other.metadata.uid}
    }]});
    for patch in [wrong, json!({"endpoints": []})] {
        slices.patch(&group.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let (now, higher) = group.await_master(epoch).await?;
        ensure!(now == master, "{now} is named, {master} is master");
        epoch = higher;
    }
    slices.delete(&group.name, &DeleteParams::default()).await?;
    let (now, higher) = group.await_master(epoch).await?;
    ensure!(now == master, "{now} is named, {master} is master");
    group.await_complete().await?;
    let owner = slices.get(&group.name).await?.metadata.owner_references.unwrap_or_default();
    ensure!(owner.len() == 1, "the operator owns the record again");
    for client in &clients {
        client.await_flow().await?;
    }
    let account = group.settle(&clients).await?;
    group.remove().await?;
    Ok(format!("epoch {higher} after three repairs; {account}"))
}

/// Another EndpointSlice on the Service is named, and forgotten when it is gone.
pub async fn foreign_slice(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-slice").await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "theirs", "namespace": group.namespace, "labels": {"kubernetes.io/service-name": "orders"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.9.9"]}],
        "ports": [{"name": "openwire", "port": 61616}]
    });
    e2e::objects::apply(&lab.client, &slice).await?;
    let message = group.await_condition("ServiceConverged", "False", "ForeignSlice").await?;
    ensure!(message.contains("theirs"), "{message}");
    let slices: Api<EndpointSlice> = Api::namespaced(lab.client.clone(), &group.namespace);
    slices.delete("theirs", &DeleteParams::default()).await?;
    group.await_condition("ServiceConverged", "True", "").await?;
    group.remove().await?;
    Ok("named, and forgotten when it was gone".to_owned())
}
