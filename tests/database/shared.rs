//! One server of each kind while a test needs it. Users, databases and authorities are the tests'.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tandem::broker::settings::DatabaseKind;

use crate::server::{Server, authority};

static RUNNING: [Mutex<Weak<Server>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];

/// The running server of this kind. It ends with the last test that holds it.
pub fn server(kind: DatabaseKind) -> Arc<Server> {
    let slot = &RUNNING[usize::from(kind == DatabaseKind::PostgreSQL)];
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = slot.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start(kind));
    *slot = Arc::downgrade(&server);
    server
}

/// The authority that signed the server's certificate.
pub fn its_authority(server: &Server) -> PathBuf {
    server.directory.path().join("ca.crt")
}

/// An authority of this name that signed nothing.
pub fn other_authority(server: &Server, name: &str) -> PathBuf {
    authority(server.directory.path(), name);
    server.directory.path().join(format!("{name}.crt"))
}
