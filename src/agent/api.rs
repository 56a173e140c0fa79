//! The agent's way to the API server: every request has a deadline, nothing is retried behind our
//! back, and after silence or a broken connection the next request opens a fresh one, because a
//! frozen API server accepts and never answers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{
    ApiResource, DynamicObject, GetParams, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::Request;
use kube::{Api, Client, Config, Resource as _};
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use crate::api::labels;

/// How long one attempt may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(1);
/// How long opening a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ApiError {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// The object changed since it was read.
    #[error("changed since it was read")]
    Conflict,
    /// The API server said no.
    #[error("the API server refused: {0}")]
    Refused(String),
    /// No answer.
    #[error("the API server does not answer: {0}")]
    Unreachable(String),
}

/// Makes clients. A trait of one function, so that tests can make fake ones.
pub type Connect = Arc<dyn Fn() -> anyhow::Result<Client> + Send + Sync>;

/// Requests for the objects that an agent may see. Cheap to clone; clones share a connection.
#[derive(Clone)]
pub struct ApiServer {
    connect: Connect,
    client: Arc<Mutex<Option<Client>>>,
    namespace: String,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiServer")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Clients of the API server that this process is told of: by the pod's environment and service
/// account, read again for each client because both token and authority rotate; or by
/// `$KUBECONFIG` outside of a pod. What is wrong with them is found out with the first request, and
/// never keeps a broker from starting.
pub async fn connect_from_env() -> Connect {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none()
        && let Ok(config) = Config::infer().await
    {
        return Arc::new(move || client(config.clone()));
    }
    Arc::new(|| client(Config::incluster()?))
}

fn client(mut config: Config) -> anyhow::Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_DEADLINE);
    Ok(Client::try_from(config)?)
}

impl ApiServer {
    /// Connects with the first request.
    pub fn new(connect: Connect, namespace: &str) -> Self {
        Self { connect, client: Arc::default(), namespace: namespace.to_owned() }
    }

    /// Reads an `EndpointSlice`.
    pub async fn get(&self, name: &str) -> Result<Value, ApiError> {
        self.call(|slices| slices.get(name, &GetParams::default())).await
    }

    /// Replaces an `EndpointSlice`, provided that it still has the version that `slice` has.
    pub async fn replace(&self, name: &str, slice: &Value) -> Result<Value, ApiError> {
        let body = serde_json::to_vec(slice).map_err(|e| ApiError::Refused(e.to_string()))?;
        let parameters =
            PostParams { field_manager: Some(labels::AGENT.to_owned()), ..PostParams::default() };
        self.call(|slices| slices.replace(name, &parameters, body)).await
    }

    /// Creates an `EndpointSlice` by server-side apply. Not by `POST`: RBAC's `resourceNames` cannot
    /// permit that for one name.
    pub async fn apply(&self, name: &str, slice: &Value) -> Result<Value, ApiError> {
        let parameters = PatchParams::apply(labels::AGENT);
        self.call(|slices| slices.patch(name, &parameters, &Patch::Apply(slice))).await
    }

    /// Lists the pods that `selector` selects.
    pub async fn pods(&self, selector: &str, deadline: Duration) -> Result<Value, ApiError> {
        use k8s_openapi::api::core::v1::Pod;
        let pods = Request::new(Pod::url_path(&(), Some(&self.namespace)));
        let parameters = ListParams::default().labels(selector).limit(50);
        self.send(pods.list(&parameters), deadline).await
    }

    /// An `Api` with a connection of its own, for a watch.
    pub fn slices(&self) -> anyhow::Result<Api<DynamicObject>> {
        let resource = ApiResource::erase::<EndpointSlice>(&());
        Ok(Api::namespaced_with((self.connect)()?, &self.namespace, &resource))
    }

    async fn call(
        &self,
        request: impl FnOnce(&Request) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, ApiError> {
        let path = EndpointSlice::url_path(&(), Some(&self.namespace));
        self.send(request(&Request::new(path)), REQUEST_DEADLINE).await
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        deadline: Duration,
    ) -> Result<Value, ApiError> {
        let request = request.map_err(|error| ApiError::Refused(error.to_string()))?;
        let client = self.client()?;
        let outcome = match timeout(deadline, client.request::<Value>(request)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(kube::Error::Api(status))) => match status.code {
                404 => ApiError::NotFound,
                409 => ApiError::Conflict,
                _ => ApiError::Refused(status.to_string()),
            },
            // With its causes: the outermost only says that something failed.
            Ok(Err(error)) => ApiError::Unreachable(format!("{:#}", anyhow::Error::from(error))),
            Err(_) => ApiError::Unreachable(format!("nothing in {deadline:?}")),
        };
        if matches!(outcome, ApiError::Unreachable(_)) {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Err(outcome)
    }

    fn client(&self) -> Result<Client, ApiError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let fresh = (self.connect)().map_err(|e| ApiError::Unreachable(format!("{e:#}")))?;
        Ok(client.insert(fresh).clone())
    }
}
