//! A thin layer over kube's client: every request has a deadline, because the client has none.

use std::{future::Future, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, GroupVersionKind, TypeMeta},
};
use serde_json::Value;

use crate::{api::labels, resources::Kind};

/// No request of the operator takes longer.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server answered with an error, or could not be reached.
    #[error("{what}: {source}")]
    Kube {
        /// What was tried.
        what: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{what}: no answer within {} s", limit.as_secs())]
    Deadline {
        /// What was tried.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer was not what such a request answers with.
    #[error("{what}: unexpected answer: {source}")]
    Answer {
        /// What was tried.
        what: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl RequestError {
    /// The API server's answer, if it gave one.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube { source, .. } => {
                if let kube::Error::Api(status) = source.as_ref() {
                    Some(status)
                } else {
                    None
                }
            }
            Self::Deadline { .. } | Self::Answer { .. } => None,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// Whether somebody else wrote in between.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// Whether what was written contradicts itself or what is there.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_invalid)
    }

    /// The API server's reason when it refused what was written: trying again will not help until
    /// somebody changes something.
    pub fn refusal(&self) -> Option<String> {
        let status = self.status()?;
        let refused =
            status.is_invalid() || status.is_forbidden() || matches!(status.code, 400 | 422);
        refused.then(|| status.message.clone())
    }

    /// A short constant name for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Kube { .. } if self.is_conflict() => "conflict",
            Self::Kube { .. } if self.refusal().is_some() => "refused",
            Self::Kube { .. } => "request",
            Self::Deadline { .. } => "deadline",
            Self::Answer { .. } => "answer",
        }
    }
}

/// Runs a request under [`REQUEST_DEADLINE`].
///
/// # Errors
/// The request's own, or [`RequestError::Deadline`].
pub async fn request<T>(
    what: String,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    request_within(REQUEST_DEADLINE, what, future).await
}

/// Runs a request under a deadline of its own.
///
/// # Errors
/// The request's own, or [`RequestError::Deadline`].
pub async fn request_within<T>(
    limit: Duration,
    what: String,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(limit, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(RequestError::Kube { what, source: Box::new(source) }),
        Err(_elapsed) => Err(RequestError::Deadline { what, limit }),
    }
}

/// Children of one namespace, as plain JSON.
#[derive(Clone)]
pub struct Children {
    client: Client,
    namespace: String,
}

impl Children {
    /// Children of this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let (group, version, plural) = kind.resource();
        let gvk = GroupVersionKind::gvk(group, version, &format!("{kind:?}"));
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// One child, or nothing.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, RequestError> {
        let what = format!("get {kind:?} {name}");
        request(what.clone(), self.api(kind).get_opt(name))
            .await?
            .map(|object| json(what, &object))
            .transpose()
    }

    /// All children of a kind with these labels.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn list(&self, kind: Kind, labels: &str) -> Result<Vec<Value>, RequestError> {
        let what = format!("list {kind:?} {labels}");
        let list =
            request(what.clone(), self.api(kind).list(&ListParams::default().labels(labels)))
                .await?;
        let types = list.types; // the items of a list do not say what they are
        let with_type = |mut object: DynamicObject| {
            object.types = Some(TypeMeta { kind: format!("{kind:?}"), ..types.clone() });
            json(what.clone(), &object)
        };
        list.items.into_iter().map(with_type).collect()
    }

    /// Server-side apply, taking over fields from other managers.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn apply(&self, kind: Kind, name: &str, object: &Value) -> Result<(), RequestError> {
        let params = PatchParams::apply(labels::OPERATOR).force();
        let what = format!("apply {kind:?} {name}");
        request(what, self.api(kind).patch(name, &params, &Patch::Apply(object))).await.map(drop)
    }

    /// Creates an object that must not exist yet.
    ///
    /// # Errors
    /// See [`RequestError`]; a conflict when it exists.
    pub async fn create(&self, kind: Kind, name: &str, object: &Value) -> Result<(), RequestError> {
        let what = format!("create {kind:?} {name}");
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|source| RequestError::Answer { what: what.clone(), source })?;
        request(what, self.api(kind).create(&PostParams::default(), &object)).await.map(drop)
    }

    /// Replaces an object; the server refuses it when the object's `resourceVersion` is not current.
    ///
    /// # Errors
    /// See [`RequestError`]; a conflict when somebody wrote in between.
    pub async fn replace(
        &self,
        kind: Kind,
        name: &str,
        object: &Value,
    ) -> Result<(), RequestError> {
        let what = format!("replace {kind:?} {name}");
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|source| RequestError::Answer { what: what.clone(), source })?;
        request(what, self.api(kind).replace(name, &PostParams::default(), &object)).await.map(drop)
    }

    /// Deletes a child, if it is still the one with this uid. A child that is gone is fine.
    ///
    /// # Errors
    /// See [`RequestError`]; a conflict when the name belongs to another object by now.
    pub async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<(), RequestError> {
        let what = format!("delete {kind:?} {name}");
        match request(what, self.api(kind).delete(name, &only(uid))).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Delete parameters that hit this very object only.
pub fn only(uid: &str) -> DeleteParams {
    DeleteParams::background()
        .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None })
}

fn json(what: String, object: &DynamicObject) -> Result<Value, RequestError> {
    serde_json::to_value(object).map_err(|source| RequestError::Answer { what, source })
}
