//! Identity and rights of a group's agents.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::{Kind, Manifest, meta};
use crate::core::validate::ValidCluster;

pub(super) fn build(cluster: &ValidCluster) -> Vec<Manifest> {
    let name = cluster.name.agent();
    let metadata = || meta::owned(cluster, name.clone(), "agent");
    let account = ServiceAccount { metadata: metadata(), ..ServiceAccount::default() };
    let role = Role { metadata: metadata(), rules: Some(rules(cluster)) };
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            namespace: Some(cluster.name.namespace.clone()),
            api_group: None,
        }]),
    };
    vec![
        Manifest::of(Kind::ServiceAccount, name.clone(), &account),
        Manifest::of(Kind::Role, name.clone(), &role),
        Manifest::of(Kind::RoleBinding, name.clone(), &binding),
    ]
}

/// The record of this group, and a look at its pods. `patch` on pods would permit another image.
/// `restricted` is what OpenShift asks for when an endpoint's address is set by hand.
fn rules(cluster: &ValidCluster) -> Vec<PolicyRule> {
    let record =
        ["", "-v4", "-v6"].map(|family| format!("{}{family}", cluster.name.main())).to_vec();
    let rule =
        |group: &str, resources: &[&str], names: Option<Vec<String>>, verbs: &[&str]| PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(resources.iter().map(|text| (*text).to_owned()).collect()),
            resource_names: names,
            verbs: verbs.iter().map(|text| (*text).to_owned()).collect(),
            non_resource_urls: None,
        };
    vec![
        rule(
            "discovery.k8s.io",
            &["endpointslices"],
            Some(record.clone()),
            &["get", "list", "watch", "create", "update", "patch"],
        ),
        rule(
            "discovery.k8s.io",
            &["endpointslices/restricted"],
            Some(record),
            &["create", "update"],
        ),
        rule("", &["pods"], None, &["get", "list", "watch"]),
    ]
}
