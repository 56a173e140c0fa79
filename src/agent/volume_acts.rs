//! What the loop does about the volume with the store.

use std::sync::Arc;

use tokio::time::Instant;

use crate::agent::event::{BeatNews, Event};
use crate::agent::machine::{Deadline, Input, PreparationView};
use crate::agent::preflight;
use crate::agent::run::Agent;
use crate::agent::view::Source;
use crate::agent::volume_watch::Volume;

impl Agent {
    /// Sees that a broker can be started: on its volume first, then on its database.
    pub(super) fn prepare(&mut self) {
        let Some(volume) = self.volume.clone() else {
            if self.access.is_some() {
                self.prepare_database();
            } else {
                self.inputs.push_back(Input::Prepared(PreparationView::Ready));
            }
            return;
        };
        let generation = self.generation();
        let (api, author) = (self.promoter.api.clone(), Arc::clone(&self.promoter.author));
        let stores = self.promoter.stores.clone();
        self.tell_later(async move {
            let settings = volume.settings().clone();
            let opened = preflight::wait(settings, volume, api, author, stores).await;
            Event::Volume { generation, opened }
        });
    }

    pub(super) fn on_volume(&mut self, opened: bool) {
        self.tell_of_volume();
        match (opened, &self.access) {
            (true, Some(_)) => self.prepare_database(),
            (true, None) => self.feed(Input::Prepared(PreparationView::Ready)),
            (false, _) => self.feed(Input::Prepared(PreparationView::Refused)),
        }
    }

    fn tell_of_volume(&self) {
        let problem = self.volume.as_ref().and_then(Volume::problem);
        self.view.problem(Source::Volume, problem.map(|problem| problem.message));
    }

    pub(super) fn on_beat(&mut self, news: BeatNews) {
        self.tell_of_volume();
        match news {
            BeatNews::Confirmed(started) => {
                self.beaten = started;
                // A look moves the deadline; there is one every few hundred milliseconds.
                self.prove();
            }
            BeatNews::Missed => {}
            BeatNews::Lost => {
                // With the client's own lock its broker's is gone.
                if self.access.is_none() && !self.lock_is_local {
                    self.feed(Input::DeadlinePassed(Deadline::Proof));
                }
            }
        }
    }

    /// The lock of a broker that is started now can be no other's from this moment on.
    pub(super) fn begin_proof(&mut self, moment: Instant) {
        (self.looked, self.beaten) = (moment, moment);
        if self.access.is_none() {
            self.prove();
        } else {
            self.proven_until = Some(moment + self.timing.of(Deadline::Proof));
        }
    }

    /// A lock file on a file system of this kernel is proven for ever. On another one the server must
    /// have answered a look, and have confirmed a beat, which shows that it still knew this client.
    pub(super) fn prove(&mut self) {
        if self.access.is_some() {
            return;
        }
        let proven = if self.volume.is_some() { self.looked.min(self.beaten) } else { self.looked };
        let until = proven + self.timing.of(Deadline::Proof);
        self.proven_until = (!self.lock_is_local).then_some(until);
    }
}
