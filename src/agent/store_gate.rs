//! Asks the promotion record which store the group serves from, and keeps which one this pod was last allowed
//! to start a broker on.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::api::{ApiError, ApiServer};
use crate::broker::report::{FoundStore, StoreId};
use crate::broker::settings::AgentSettings;
use crate::core::store_identity::{Judgement, Recorded, judge};

/// Judges stores. Cheap to clone; clones know the same.
#[derive(Clone, Debug)]
pub struct StoreGate {
    api: ApiServer,
    /// The record's name.
    cluster: String,
    opened: Arc<Mutex<Option<StoreId>>>,
    /// A file of the pod's own, which outlives its containers.
    note: Option<PathBuf>,
}

impl StoreGate {
    /// Of the settings' group. What the note of an earlier container says is known.
    pub fn new(api: ApiServer, settings: &AgentSettings) -> Self {
        let note = settings.store_note.as_ref().map(PathBuf::from);
        let cluster = settings.cluster.clone();
        let text = note.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let opened = Arc::new(Mutex::new(text.as_deref().and_then(StoreId::read)));
        Self { api, cluster, opened, note }
    }

    /// The store on which this pod was last allowed to start a broker.
    pub fn opened(&self) -> Option<StoreId> {
        self.lock().clone()
    }

    /// Whether a broker may be started on this store; asks the API server, which has a second to answer.
    pub async fn judge(&self, found: &FoundStore) -> Judgement {
        let recorded = match self.api.get(&self.cluster).await {
            Ok(record) => Recorded::read(Some(&record)),
            Err(ApiError::NotFound) => Recorded::read(None),
            Err(error) => {
                tracing::debug!("cannot read which store the group serves from: {error}");
                Recorded::Unknown
            }
        };
        let judgement = judge(&recorded, found, self.opened().as_ref());
        if let (Judgement::Go | Judgement::Adopt, Some(identity)) = (&judgement, &found.identity) {
            self.open(identity);
        }
        judgement
    }

    fn open(&self, identity: &StoreId) {
        let mut opened = self.lock();
        if opened.as_ref() == Some(identity) {
            return;
        }
        tracing::info!("brokers are started on store {identity}");
        // Without the note, a container that starts anew asks the API server once more.
        if let Some(path) = &self.note
            && let Err(error) = fs::write(path, identity.as_str())
        {
            tracing::warn!("cannot write {}: {error}", path.display());
        }
        *opened = Some(identity.clone());
    }

    /// For tests: a pod that has been allowed nothing yet.
    #[cfg(test)]
    pub fn unopened(api: ApiServer, cluster: &str) -> Self {
        Self { api, cluster: cluster.to_owned(), opened: Arc::default(), note: None }
    }

    fn lock(&self) -> MutexGuard<'_, Option<StoreId>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
