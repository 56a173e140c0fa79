//! A `BrokerCluster` over time.

use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};

use super::{Ask, Refused, Session, ask::BROKER_CLUSTERS, find};
use crate::{kube_ext::RequestError, plugin::cluster::Cluster};

/// What a watch tells.
#[derive(Debug)]
pub enum Change {
    /// How it is now.
    Now(Box<Cluster>),
    /// It does not exist.
    Gone,
    /// Nothing is known until the API server answers again; that is tried.
    Lost(String),
    /// It cannot be watched.
    Refused(Box<Refused>),
}

/// How the `BrokerCluster` is, and every change from then on.
pub fn changes(session: &Session, name: &str) -> impl Stream<Item = Change> + use<> {
    let ask = Ask::one("watch", BROKER_CLUSTERS, &session.namespace, name);
    let objects = watcher::watch_object(find::api(session), name).default_backoff();
    objects.map(move |event| match event {
        Ok(Some(object)) => match serde_json::to_value(object) {
            Ok(value) => Change::Now(Box::new(Cluster(value))),
            Err(error) => Change::Lost(error.to_string()),
        },
        Ok(None) => Change::Gone,
        Err(error) => match broken(&ask, error) {
            Ok(why) => Change::Lost(why),
            Err(refused) => Change::Refused(refused),
        },
    })
}

/// Why a watch is broken, if it will be taken up again.
///
/// # Errors
/// Why it will not.
pub fn broken(ask: &Ask, error: watcher::Error) -> Result<String, Box<Refused>> {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return Ok(error.to_string()),
    };
    // Other answers pass: a version that is too old is asked anew.
    let lasting =
        matches!(&source, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404));
    let source = RequestError::Kube { what: String::new(), source: Box::new(source) };
    let refused = Refused { ask: ask.clone(), source: Box::new(source) };
    if lasting { Err(Box::new(refused)) } else { Ok(refused.to_string()) }
}
