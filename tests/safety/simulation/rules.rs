//! What kind of group it is, and what is taken out of it.

use std::time::Duration;

use tandem::agent::machine::LockKind;
use tandem::agent::timing::Timing;
use tandem::broker::settings::{
    AgentSettings, ChildSettings, CredentialSettings, DatabaseAccess, DatabaseKind, DatabaseServer,
    DatabaseTls, GreetingSettings, LeaseSettings, LockSettings,
};

/// Where the lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file on a file system of one kernel.
    Local,
    /// A file on a server, which gives the lock of a client that it does not hear of away.
    Network,
    /// A lease in a database.
    Lease,
}

/// A safeguard that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Brokers neither hold off nor look at their lock.
    KeepAliveZero,
    /// Brokers live on without a proof.
    NoFencing,
    /// A broker is started without waiting for a stable lock file.
    UnstableLockFile,
    /// The record is written whatever its version.
    UnconditionalWrite,
    /// It is proven first, and then read.
    ProofBeforeRead,
    /// Holder ids of one pod's name are all the same.
    SameHolderIds,
    /// A dead broker's lease is given back without ending its sessions.
    SessionsLeft,
    /// A standby counts whether it moves or not.
    NoProofOfLife,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub kind: Kind,
    pub pods: usize,
    /// The database refuses the writes of brokers without the lease.
    pub fence: bool,
    pub mutation: Option<Mutation>,
}

pub const POLL: u64 = 500;
pub const KEEP_ALIVE: u64 = 1000;
pub const LEASE: u64 = 5000;
const HANG: u64 = 5000;
const FENCE_AFTER: u64 = 4000;
/// A server gives a lock up that long after it last heard of its client: `fenceAfter`, a probe's
/// deadline and a kill before.
pub const LOCK_TIMEOUT: u64 = 6000;

impl Rules {
    pub fn lacks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn machine(&self) -> LockKind {
        if self.kind == Kind::Lease { LockKind::Lease } else { LockKind::File }
    }

    /// The agents' real timing.
    pub fn timing(&self) -> Timing {
        let word = String::new;
        let access = || DatabaseAccess {
            username: word(),
            password: word(),
            properties: word(),
            driver_class: word(),
            driver_directories: Vec::new(),
            keystore: None,
        };
        let server = || DatabaseServer {
            kind: DatabaseKind::PostgreSQL,
            host: word(),
            port: 1,
            name: word(),
            tls: DatabaseTls::Off,
        };
        let lock = match self.kind {
            Kind::Local | Kind::Network => LockSettings::File {
                path: word(),
                poll_millis: POLL,
                keep_alive_millis: KEEP_ALIVE,
                fence_after_millis: FENCE_AFTER,
            },
            Kind::Lease => LockSettings::Lease(LeaseSettings {
                server: server(),
                access: access(),
                schema: None,
                table_prefix: word(),
                group: None,
                holds_messages: true,
                poll_millis: POLL,
                renew_millis: KEEP_ALIVE,
                lease_millis: LEASE,
            }),
        };
        Timing::new(&AgentSettings {
            schema: 1,
            cluster: word(),
            cluster_uid: None,
            child: ChildSettings { program: word(), arguments: Vec::new(), signs: None },
            lock,
            greeting: GreetingSettings::OpenWire { port: 1 },
            ports: Vec::new(),
            hang_timeout_millis: HANG,
            stop_grace_millis: 30_000,
            epoch_floor: None,
            volume: None,
            store_note: None,
            credentials: CredentialSettings { admin: word(), users: None, output: word() },
        })
    }
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Small, and the same on every machine for ever: a seed is a schedule.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    pub fn roll(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(0, length as u64)).unwrap_or_default()
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(0, sides) == 0
    }
}
