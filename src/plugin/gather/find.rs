//! The `BrokerCluster` that a command is about.

use anyhow::bail;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;

use super::{Ask, Session, ask::BROKER_CLUSTERS};
use crate::{api::v1alpha1::BrokerCluster, plugin::cluster::Cluster};

/// `BrokerClusters` of the session's namespace, as plain JSON.
pub fn api(session: &Session) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<BrokerCluster>(&());
    Api::namespaced_with(session.client.clone(), &session.namespace, &resource)
}

/// The one of this name; without a name, the only one of the namespace.
///
/// # Errors
/// That there is none, and which ones there are.
pub async fn find(session: &Session, name: Option<&str>) -> anyhow::Result<Cluster> {
    let Some(name) = name else { return only_one(list(session).await?, &session.namespace) };
    let ask = Ask::one("get", BROKER_CLUSTERS, &session.namespace, name);
    match ask.send(api(session).get_opt(name)).await? {
        Some(object) => Ok(Cluster(serde_json::to_value(object)?)),
        None => bail!(missing(name, &session.namespace, &names(&list(session).await?))),
    }
}

/// All of the namespace.
///
/// # Errors
/// Why they cannot be listed.
pub async fn list(session: &Session) -> anyhow::Result<Vec<Cluster>> {
    let ask = Ask::all("list", BROKER_CLUSTERS, &session.namespace);
    let list = ask.send(api(session).list(&ListParams::default())).await?;
    let values: Result<Vec<Value>, _> = list.items.into_iter().map(serde_json::to_value).collect();
    Ok(values?.into_iter().map(Cluster).collect())
}

fn names(clusters: &[Cluster]) -> Vec<String> {
    clusters.iter().map(|cluster| cluster.name().name).collect()
}

fn only_one(mut all: Vec<Cluster>, namespace: &str) -> anyhow::Result<Cluster> {
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => bail!(nothing(namespace)),
        (Some(last), false) => {
            all.push(last);
            bail!("namespace {namespace} has several: name one of {}", names(&all).join(", "))
        }
    }
}

fn nothing(namespace: &str) -> String {
    format!(
        "namespace {namespace} has no BrokerCluster. Choose a namespace with -n; \
         `kubectl get brokerclusters -A` shows where there are some"
    )
}

fn missing(name: &str, namespace: &str, others: &[String]) -> String {
    if others.is_empty() {
        return nothing(namespace);
    }
    format!("namespace {namespace} has no BrokerCluster {name}. It has {}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clusters(names: &[&str]) -> Vec<Cluster> {
        names.iter().map(|name| Cluster(json!({"metadata": {"name": name}}))).collect()
    }

    #[test]
    fn a_name_may_be_left_out_only_where_there_is_one() {
        assert_eq!(only_one(clusters(&["orders"]), "shop").unwrap().name().name, "orders");
        let several = only_one(clusters(&["audit", "orders"]), "shop").unwrap_err().to_string();
        assert_eq!(several, "namespace shop has several: name one of audit, orders");
        assert!(only_one(clusters(&[]), "shop").unwrap_err().to_string().contains("with -n"));
    }

    #[test]
    fn who_names_a_missing_one_is_told_what_there_is() {
        let others = ["audit".to_owned(), "orders".to_owned()];
        assert!(missing("order", "shop", &others).ends_with("It has audit, orders"));
        assert!(missing("order", "shop", &[]).contains("has no BrokerCluster."));
    }
}
