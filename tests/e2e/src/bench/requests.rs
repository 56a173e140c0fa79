//! Counts whose requests the API server answers, exactly: by flow schemas of their own.
//!
//! The API server's request counters do not tell who asked, and the bed keeps no audit log. But a
//! flow schema can match one user's requests of some verbs, and the API server counts what it lets
//! through by flow schema. These go to the priority level that service accounts use anyway, so the
//! requests are treated as without them.

use std::{collections::BTreeMap, ops::Sub};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    Lab,
    lab::{RELEASE, SYSTEM},
    objects,
};

const PREFIX: &str = "tandem-bench";
const COUNTER: &str = "apiserver_flowcontrol_dispatched_requests_total";
/// Before the API server's own schemas for service accounts, behind those for itself and nodes.
const PRECEDENCE: i64 = 300;

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator.
    Operator,
    /// All agents of a namespace.
    Agents,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Agents => "agents",
        }
    }
}

/// What is told apart. Whatever no earlier kind matches is a read.
const KINDS: [&str; 4] = ["leases", "writes", "watches", "reads"];

/// How many requests of each kind have been let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Of any kind about a Lease.
    pub leases: u64,
    /// That change something, Leases aside.
    pub writes: u64,
    /// Watches begun.
    pub watches: u64,
    /// Everything else.
    pub reads: u64,
}

impl Sub for Requests {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            leases: self.leases - other.leases,
            writes: self.writes - other.writes,
            watches: self.watches - other.watches,
            reads: self.reads - other.reads,
        }
    }
}

/// Counts from now on the requests of the operator and of the agents in a namespace.
///
/// # Errors
/// The API server's.
pub async fn count(lab: &Lab, namespace: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(lab.client.clone(), SYSTEM);
    let spec = deployments.get(RELEASE).await?.spec.and_then(|spec| spec.template.spec);
    let account = spec.and_then(|spec| spec.service_account_name).context("no ServiceAccount")?;
    let operator =
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": account, "namespace": SYSTEM}});
    let group = format!("system:serviceaccounts:{namespace}");
    let agents = json!({"kind": "Group", "group": {"name": group}});
    for (who, subject) in [(Who::Operator, operator), (Who::Agents, agents)] {
        for (order, kind) in (0..).zip(KINDS) {
            objects::apply(&lab.client, &schema(who, kind, PRECEDENCE + order, &subject)).await?;
        }
    }
    Ok(())
}

/// Stops counting.
///
/// # Errors
/// The API server's.
pub async fn stop(lab: &Lab) -> Result<()> {
    let schemas: Api<FlowSchema> = Api::all(lab.client.clone());
    for who in [Who::Operator, Who::Agents] {
        for kind in KINDS {
            schemas.delete(&name(who, kind), &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

/// What has been counted so far.
///
/// # Errors
/// When the API server does not tell its metrics.
pub fn counted(lab: &Lab, who: Who) -> Result<Requests> {
    let metrics = lab.bed.kubectl(&["get", "--raw", "/metrics"])?;
    let counts = by_schema(&metrics);
    let of = |kind: &str| counts.get(&name(who, kind)).copied().unwrap_or_default();
    Ok(Requests {
        leases: of("leases"),
        writes: of("writes"),
        watches: of("watches"),
        reads: of("reads"),
    })
}

fn name(who: Who, kind: &str) -> String {
    format!("{PREFIX}-{}-{kind}", who.name())
}

fn schema(who: Who, kind: &str, precedence: i64, subject: &Value) -> Value {
    let (verbs, groups, resources) = match kind {
        "leases" => (json!(["*"]), json!(["coordination.k8s.io"]), json!(["leases"])),
        "writes" => (
            json!(["create", "update", "patch", "delete", "deletecollection"]),
            json!(["*"]),
            json!(["*"]),
        ),
        "watches" => (json!(["watch"]), json!(["*"]), json!(["*"])),
        _ => (json!(["*"]), json!(["*"]), json!(["*"])),
    };
    let mut rule = json!({
        "subjects": [subject],
        "resourceRules": [{
            "verbs": verbs, "apiGroups": groups, "resources": resources,
            "clusterScope": true, "namespaces": ["*"]
        }]
    });
    if kind == "reads" {
        rule["nonResourceRules"] = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    }
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": name(who, kind)},
        "spec": {
            "priorityLevelConfiguration": {"name": "workload-low"},
            "matchingPrecedence": precedence,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [rule]
        }
    })
}

/// The counter's values by flow schema.
fn by_schema(metrics: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(COUNTER)?.strip_prefix('{'));
    for line in lines {
        let schema = line.split("flow_schema=\"").nth(1).and_then(|rest| rest.split('"').next());
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok());
        if let (Some(schema), Some(value)) = (schema, value) {
            *counts.entry(schema.to_owned()).or_default() += value;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_flow_schema() {
        let metrics = format!(
            "# TYPE {COUNTER} counter\n\
             {COUNTER}{{flow_schema=\"tandem-bench-operator-reads\",priority_level=\"a\"}} 12\n\
             {COUNTER}{{flow_schema=\"system-nodes\",priority_level=\"system\"}} 900\n\
             other{{flow_schema=\"tandem-bench-operator-reads\"}} 7\n"
        );
        let counts = by_schema(&metrics);
        assert_eq!(counts.get(&name(Who::Operator, "reads")), Some(&12));
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn only_reads_are_about_what_is_no_resource() {
        let subject = json!({});
        assert!(
            schema(Who::Agents, "reads", 1, &subject)["spec"]["rules"][0]["nonResourceRules"]
                .is_array()
        );
        assert!(
            schema(Who::Agents, "writes", 1, &subject)["spec"]["rules"][0]["nonResourceRules"]
                .is_null()
        );
    }
}
