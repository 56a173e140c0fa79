//! The admission policy for agents: every case of `tests/agent_policy/cases.yaml`, with real
//! accounts and tokens that are bound to pods, as the kubelet makes them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::{Group, Lab, lab::project, objects};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::Outcome;

const NAMESPACE: &str = "e2e-policy";
const ELSEWHERE: &str = "e2e-policy-elsewhere";

/// All cases.
pub async fn cases(lab: &Lab) -> Outcome {
    let home = Group::prepare(lab, NAMESPACE).await?;
    let away = Group::prepare(lab, ELSEWHERE).await?;
    let agents = Agents::make(lab).await?;
    let text = std::fs::read_to_string(project().join("tests/agent_policy/cases.yaml"))?;
    let document: Value = serde_saphyr::from_str(&agents.filled_in(&text))?;
    let cases = document["cases"].as_array().context("no cases")?;
    let mut wrong = Vec::new();
    for case in cases {
        let verdict = agents.carry_out(&document["base"], case).await?;
        wrong.extend(verdict.err().map(|why| format!("{}: {why}", case["name"])));
    }
    ensure!(wrong.is_empty(), "{} of {} cases: {}", wrong.len(), cases.len(), wrong.join("\n"));
    ensure!(cases.len() >= 40, "only {} cases", cases.len());
    home.remove().await?;
    away.remove().await?;
    Ok(format!("{} cases of what agents may write", cases.len()))
}

/// Clients of agents, and the uids of their pods.
struct Agents {
    administrator: Client,
    clients: BTreeMap<String, Client>,
    uids: BTreeMap<String, String>,
}

impl Agents {
    async fn make(lab: &Lab) -> Result<Self> {
        let mut agents = Self {
            administrator: lab.client.clone(),
            clients: BTreeMap::new(),
            uids: BTreeMap::new(),
        };
        agents.account(lab, NAMESPACE, "orders-agent").await?;
        agents.account(lab, NAMESPACE, "other-agent").await?;
        agents.account(lab, ELSEWHERE, "orders-agent").await?;
        for (pod, account) in
            [("orders-0", "orders-agent"), ("orders-1", "orders-agent"), ("other-0", "other-agent")]
        {
            let uid = agents.pod(lab, NAMESPACE, pod, account).await?;
            agents.uids.insert(pod.to_owned(), uid);
            agents.client(lab, pod, (NAMESPACE, account), Some(pod)).await?;
        }
        agents.pod(lab, ELSEWHERE, "orders-0", "orders-agent").await?;
        agents.client(lab, "elsewhere", (ELSEWHERE, "orders-agent"), Some("orders-0")).await?;
        agents.client(lab, "unbound", (NAMESPACE, "orders-agent"), None).await?;
        Ok(agents)
    }

    /// An account with all rights on endpoint slices, so that the policy is seen to act where RBAC
    /// would not.
    async fn account(&self, lab: &Lab, namespace: &str, name: &str) -> Result<()> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}
        });
        objects::apply(&lab.client, &account).await?;
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "all-slices", "namespace": NAMESPACE},
            "rules": [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["*"]}]
        });
        objects::apply(&lab.client, &role).await?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{namespace}-{name}"), "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all-slices"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
        });
        objects::apply(&lab.client, &binding).await.map(drop)
    }

    /// A pod for a token to be bound to; it need not run.
    async fn pod(&self, lab: &Lab, namespace: &str, name: &str, account: &str) -> Result<String> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "serviceAccountName": account,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "pause", "image": "localhost/pause:1", "imagePullPolicy": "Never",
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
                }]
            }
        });
        objects::apply(&lab.client, &pod).await?;
        let pods: Api<Pod> = Api::namespaced(lab.client.clone(), namespace);
        pods.get(name).await?.metadata.uid.context("a pod without uid")
    }

    async fn client(
        &mut self,
        lab: &Lab,
        name: &str,
        (namespace, account): (&str, &str),
        pod: Option<&str>,
    ) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(lab.client.clone(), namespace);
        let uid = match pod {
            Some(pod) => pods.get(pod).await?.metadata.uid,
            None => None,
        };
        let bound_object_ref = pod.map(|pod| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.to_owned()),
            uid,
        });
        let spec = TokenRequestSpec { bound_object_ref, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(lab.client.clone(), namespace);
        let answer =
            accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.context("no token")?.token;
        self.clients.insert(name.to_owned(), lab.client_with(&token).await?);
        Ok(())
    }

    fn filled_in(&self, text: &str) -> String {
        let text = text.replace("{namespace}", NAMESPACE);
        self.uids.iter().fold(text, |text, (pod, uid)| text.replace(&format!("{{uid:{pod}}}"), uid))
    }

    /// Carries a case out; the inner error says how it ended otherwise than expected.
    async fn carry_out(&self, base: &Value, case: &Value) -> Result<Result<(), String>> {
        let before = merged(base, &case["before"]);
        let name = before["metadata"]["name"].as_str().context("a slice without name")?.to_owned();
        let administrator = slices(&self.administrator);
        if let Err(kube::Error::Api(status)) =
            administrator.delete(&name, &DeleteParams::default()).await
        {
            ensure!(status.is_not_found(), "{status:?}");
        }
        let agent =
            case["as"].as_str().and_then(|name| self.clients.get(name)).context("no such agent")?;
        let answer = if case.get("before").is_some() {
            let live = administrator.create(&PostParams::default(), &object(&before)?).await?;
            let mut next = object(&merged(&before, &case["replace"]))?;
            next.metadata.resource_version = live.metadata.resource_version;
            slices(agent).replace(&name, &PostParams::default(), &next).await
        } else {
            let mut shell = merged(base, &case["apply"]);
            if let Some(fields) =
                shell.as_object_mut().filter(|fields| fields["endpoints"].is_null())
            {
                fields.remove("endpoints");
            }
            let params = PatchParams::apply("tandem-agent");
            slices(agent).patch(&name, &params, &Patch::Apply(&shell)).await
        };
        Ok(judge(&answer, case["refused"].as_str()))
    }
}

fn judge(answer: &Result<DynamicObject, kube::Error>, refused: Option<&str>) -> Result<(), String> {
    match (answer, refused) {
        (Ok(_), None) => Ok(()),
        (Err(error), Some(words)) if error.to_string().contains(words) => Ok(()),
        (Ok(_), Some(words)) => Err(format!("allowed, expected: {words}")),
        (Err(error), _) => Err(error.to_string()),
    }
}

fn slices(client: &Client) -> Api<DynamicObject> {
    let slice =
        ApiResource::from_gvk(&GroupVersionKind::gvk("discovery.k8s.io", "v1", "EndpointSlice"));
    Api::namespaced_with(client.clone(), NAMESPACE, &slice)
}

fn object(value: &Value) -> Result<DynamicObject> {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.entry("endpoints").or_insert(Value::Null);
    }
    Ok(serde_json::from_value(value)?)
}

/// RFC 7386; no patch changes nothing.
fn merged(base: &Value, patch: &Value) -> Value {
    let mut base = base.clone();
    if !patch.is_null() {
        e2e::objects::merge(&mut base, patch);
    }
    base
}
