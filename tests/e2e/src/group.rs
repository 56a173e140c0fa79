//! A group of brokers in a namespace of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Namespace, PersistentVolume, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tandem::api::{
    labels,
    v1alpha1::{BrokerCluster, BrokerClusterStatus},
};
use testbed::Storage;

use crate::{
    Address, Lab, Server, Store, objects,
    store::{self, GroupDatabase},
    volume, wait,
};

/// Long enough for any step of a healthy group on a slow machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A group of brokers.
pub struct Group<'a> {
    /// The bed.
    pub lab: &'a Lab,
    /// Its namespace.
    pub namespace: String,
    /// The BrokerCluster.
    pub name: String,
    /// Its database, if it has one.
    pub database: Option<GroupDatabase>,
    /// The storage server of its volume, if that is on the network.
    pub storage: Option<Storage>,
    /// Which servers it was given.
    server: Server,
}

impl<'a> Group<'a> {
    /// A new namespace with a volume for a group called `orders`; no group yet. What an earlier run
    /// left of the namespace goes first.
    ///
    /// # Errors
    /// The API server's.
    pub async fn prepare(lab: &'a Lab, namespace: &str) -> Result<Self> {
        Self::prepare_on(lab, namespace, Store::File, Server::Shared).await
    }

    /// As [`Self::prepare`], with what this store needs.
    ///
    /// # Errors
    /// The API server's, or those of the database.
    pub async fn prepare_on(
        lab: &'a Lab,
        namespace: &str,
        store: Store,
        server: Server,
    ) -> Result<Self> {
        let namespaces: Api<Namespace> = Api::all(lab.client.clone());
        absent(&namespaces, namespace).await?;
        objects::apply(&lab.client, &objects::namespace(namespace)).await?;
        let database = GroupDatabase::make(lab, namespace, store, server)?;
        let storage = volume::make(lab, namespace, store, server)?;
        let (namespace, name) = (namespace.to_owned(), "orders".to_owned());
        let group = Self { lab, namespace, name, database, storage, server };
        group.add_volume("orders-store").await?;
        group.add_database_objects().await?;
        Ok(group)
    }

    /// A volume for another group of the same namespace, on no database; no group yet.
    ///
    /// # Errors
    /// The API server's.
    pub async fn beside(&self, name: &str) -> Result<Group<'a>> {
        let group = self.namesake(name, None);
        group.add_volume(&format!("{name}-store")).await?;
        Ok(group)
    }

    /// A group of this name in the same namespace, for which nothing is made.
    pub fn namesake(&self, name: &str, database: Option<GroupDatabase>) -> Group<'a> {
        let (namespace, storage) = (self.namespace.clone(), self.storage.clone());
        let name = name.to_owned();
        Group { lab: self.lab, namespace, name, database, storage, server: Server::Shared }
    }

    /// A volume for a claim of this name.
    ///
    /// # Errors
    /// The API server's, or when the directory cannot be made.
    pub async fn add_volume(&self, claim: &str) -> Result<()> {
        let volume = self.volume(claim);
        let volumes: Api<PersistentVolume> = Api::all(self.lab.client.clone());
        absent(&volumes, &volume).await?;
        let directory = match &self.storage {
            Some(storage) => storage.directory(&volume)?,
            None => {
                std::fs::remove_dir_all(self.lab.bed.volume(&volume)?)?;
                self.lab.bed.volume(&volume)?
            }
        };
        let directory = directory.to_str().context("the volume's path is no text")?;
        objects::apply(
            &self.lab.client,
            &objects::volume(&volume, directory, &self.namespace, claim),
        )
        .await?;
        Ok(())
    }

    /// The volume for a claim of this name.
    pub(crate) fn volume(&self, claim: &str) -> String {
        format!("{}-{claim}", self.namespace)
    }

    /// Prepares, applies and waits until the group is complete.
    ///
    /// # Errors
    /// When the group does not come up.
    pub async fn up(lab: &'a Lab, namespace: &str) -> Result<Self> {
        Self::up_on(lab, namespace, Store::File, Server::Shared).await
    }

    /// As [`Self::up`], with what this store needs; a witness watches its database.
    ///
    /// # Errors
    /// When the group does not come up.
    pub async fn up_on(
        lab: &'a Lab,
        namespace: &str,
        store: Store,
        server: Server,
    ) -> Result<Self> {
        let group = Self::prepare_on(lab, namespace, store, server).await?;
        group.start(&json!({})).await?;
        Ok(group)
    }

    /// Applies the BrokerCluster, waits until it is complete and calls the witness.
    ///
    /// # Errors
    /// When the group does not come up.
    pub async fn start(&self, spec: &Value) -> Result<()> {
        self.apply(spec).await?;
        self.await_complete().await?;
        self.database.as_ref().map_or(Ok(()), GroupDatabase::call_witness)
    }

    /// Applies the BrokerCluster: a small pair, with these fields of the spec set otherwise.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn apply(&self, spec: &Value) -> Result<()> {
        let mut object = json!({
            "apiVersion": "tandem-operator.io/v1alpha1", "kind": "BrokerCluster",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "storage": store::storage(self.database.as_ref(), self.storage.as_ref(), &self.name),
                "pod": {"resources": {"requests": {"cpu": "50m", "memory": "384Mi"}, "limits": {"memory": "768Mi"}}}
            }
        });
        if !self.lab.java.is_empty() {
            object["spec"]["broker"] = json!({"java": {"options": self.lab.java}});
        }
        objects::merge(&mut object["spec"], spec);
        objects::apply(&self.lab.client, &object).await.map(drop)
    }

    /// Changes fields of the spec.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn edit(&self, spec: &Value) -> Result<BrokerCluster> {
        self.patch(json!({"spec": spec})).await
    }

    /// Annotates the BrokerCluster.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn annotate(&self, key: &str, value: &str) -> Result<BrokerCluster> {
        self.patch(json!({"metadata": {"annotations": {key: value}}})).await
    }

    async fn patch(&self, change: Value) -> Result<BrokerCluster> {
        let patch = Patch::Merge(change);
        Ok(self.clusters().patch(&self.name, &PatchParams::default(), &patch).await?)
    }

    /// The BrokerClusters of the namespace.
    pub fn clusters(&self) -> Api<BrokerCluster> {
        Api::namespaced(self.lab.client.clone(), &self.namespace)
    }

    /// The pods of the namespace.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.lab.client.clone(), &self.namespace)
    }

    /// The BrokerCluster's status.
    ///
    /// # Errors
    /// The API server's.
    pub async fn status(&self) -> Result<BrokerClusterStatus> {
        Ok(self.clusters().get_status(&self.name).await?.status.unwrap_or_default())
    }

    /// Waits for a condition to have this status and a message with these words, and returns the
    /// message.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn await_condition(&self, type_: &str, status: &str, words: &str) -> Result<String> {
        let what = format!("{}/{}: {type_}={status} {words:?}", self.namespace, self.name);
        wait::until(&what, LIMIT, async || {
            let cluster = self.clusters().get_status(&self.name).await?;
            let current = cluster.status.unwrap_or_default();
            let condition =
                current.conditions.iter().find(|condition| condition.type_ == type_).cloned();
            Ok(match condition {
                Some(c)
                    if c.status == status
                        && format!("{} {}", c.reason, c.message).contains(words)
                        && c.observed_generation == cluster.metadata.generation =>
                {
                    Ok(c.message)
                }
                other => Err(format!("{other:?}")),
            })
        })
        .await
    }

    /// Waits until a master serves, every standby waits and nothing is under way.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn await_complete(&self) -> Result<()> {
        self.await_condition("Progressing", "False", "UpToDate").await?;
        self.await_condition("StandbyReady", "True", "").await?;
        self.await_condition("Ready", "True", "").await.map(drop)
    }

    /// The master that the record names, once there is one with an epoch above this.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn await_master(&self, above: i64) -> Result<(String, i64)> {
        wait::until(
            &format!("{}: a master with an epoch above {above}", self.namespace),
            LIMIT,
            async || {
                let (pod, epoch) = self.record().await?;
                Ok(pod
                    .filter(|_| epoch > above)
                    .map(|pod| (pod, epoch))
                    .ok_or(format!("epoch {epoch}")))
            },
        )
        .await
    }

    /// The pod that the record leads to, and its epoch.
    ///
    /// # Errors
    /// The API server's.
    pub async fn record(&self) -> Result<(Option<String>, i64)> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.lab.client.clone(), &self.namespace);
        let slice = slices.get(&self.name).await?;
        let epoch = slice
            .annotations()
            .get(labels::EPOCH)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let target = slice.endpoints.into_iter().next().and_then(|endpoint| endpoint.target_ref);
        Ok((target.and_then(|target| target.name), epoch))
    }

    /// The pod that the record leads to.
    ///
    /// # Errors
    /// When it leads to none.
    pub async fn master(&self) -> Result<String> {
        self.record().await?.0.context("the record leads to no pod")
    }

    /// The Secret with the administrator's name and password.
    pub fn admin_secret(&self) -> String {
        format!("{}-admin", self.name)
    }

    /// The connection URL of an OpenWire client.
    ///
    /// # Errors
    /// When none is published.
    pub async fn url(&self, address: Address) -> Result<String> {
        let endpoints = self.status().await?.endpoints;
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.failover_url.is_some())
            .context("no endpoint")?;
        let list = endpoint.failover_url.clone().unwrap_or_default();
        Ok(match address {
            Address::List => list,
            // The same options with one address instead of many.
            Address::Service => {
                let (_, options) = list.rsplit_once(")?").context("no options")?;
                let (_, of_address) = list
                    .split(',')
                    .next()
                    .and_then(|first| first.split_once('?'))
                    .context("no options")?;
                let of_address = of_address.split(')').next().unwrap_or_default();
                format!(
                    "failover:(tcp://{}:{}?{of_address})?{options}",
                    endpoint.host, endpoint.port
                )
            }
        })
    }

    /// Deletes the namespace with everything in it; the volume's data stays until the bed goes.
    ///
    /// # Errors
    /// The API server's.
    pub async fn remove(self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.lab.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        if let (Some(storage), Server::Own | Server::Small) = (self.storage, self.server) {
            storage.remove()?;
        }
        self.database.map_or(Ok(()), GroupDatabase::remove)
    }

    /// Checks that a message account is complete for all clients, and that one broker at a time has
    /// written.
    ///
    /// # Errors
    /// When a message was lost.
    pub async fn settle(&self, clients: &[crate::TestClient]) -> Result<String> {
        let mut text = Vec::new();
        for client in clients {
            let account = client.settle().await?;
            ensure!(account.lost == 0, "lost messages");
            text.push(format!(
                "{}: {} acknowledged, 0 lost, {} duplicates",
                client.address.as_str(),
                account.acknowledged,
                account.duplicates
            ));
        }
        if let Some(database) = &self.database {
            text.push(database.check_witness()?);
        }
        if let Some(storage) = &self.storage {
            text.push(self.check_storage_witness(storage)?);
        }
        Ok(text.join("; "))
    }
}

/// Deletes an object of the whole Kubernetes cluster and waits until it is gone.
async fn absent<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        other => drop(other?),
    }
    wait::until(&format!("{name} is gone"), LIMIT, async || {
        Ok(if api.get_opt(name).await?.is_none() {
            Ok(())
        } else {
            Err("it is still there".to_owned())
        })
    })
    .await
}

/// The wall clock that all of the bed's processes share.
pub fn now_millis() -> i64 {
    tandem::clock::now().as_millisecond()
}
