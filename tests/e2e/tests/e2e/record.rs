//! The promotion record: repaired when somebody else writes it, and what agents may write.

use anyhow::{Context, Result, ensure};
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

/// A token of an agent's pod writes the record only as the admission policy says.
pub async fn policy(lab: &Lab) -> Outcome {
    let group = Group::up(lab, "e2e-policy").await?;
    let master = group.master().await?;
    let agent = agent_client(&group, &group.other(&master)).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(agent.clone(), &group.namespace);
    let tries = [
        (
            "names another pod",
            json!({"endpoints": [{"addresses": ["10.9.9.9"], "targetRef": {"kind": "Pod", "name": master, "namespace": group.namespace, "uid": "x"}}]}),
        ),
        ("empties it without being its master", json!({"endpoints": []})),
        ("changes its ports", json!({"ports": [{"name": "evil", "port": 1}]})),
        (
            "changes its labels",
            json!({"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}),
        ),
        (
            "lowers the epoch",
            json!({"metadata": {"annotations": {"tandem-operator.io/epoch": "0"}}}),
        ),
    ];
    for (what, patch) in tries {
        let answer = slices.patch(&group.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let refused = matches!(&answer, Err(kube::Error::Api(status)) if status.code == 422 || status.code == 403);
        ensure!(refused, "an agent {what}: {answer:?}");
    }
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(agent, &group.namespace);
    let answer = pods.delete(&master, &DeleteParams::default()).await;
    ensure!(
        matches!(&answer, Err(kube::Error::Api(status)) if status.is_forbidden()),
        "an agent deletes a pod: {answer:?}"
    );
    ensure!(group.master().await? == master, "the record is as it was");
    group.remove().await?;
    Ok("five forbidden writes refused".to_owned())
}

/// A client with a token that is bound to a pod, as the kubelet makes them.
async fn agent_client(group: &Group<'_>, pod: &str) -> Result<kube::Client> {
    use k8s_openapi::api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(group.lab.client.clone(), &group.namespace);
    let live = group.pods().get(pod).await?;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.to_owned()),
                uid: live.metadata.uid,
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let name = format!("{}-agent", group.name);
    let answer =
        accounts.create_token_request(&name, &kube::api::PostParams::default(), &request).await?;
    let token = answer.status.context("no token")?.token;
    group.lab.client_with(&token).await
}
