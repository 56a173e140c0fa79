//! What a soak can do, drawn from a seed.

use std::{fmt, time::Duration};

use fastrand::Rng;

/// Which of the two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// With its store and its lock on network storage.
    Volume,
    /// With both in a database.
    Database,
}

/// Which pod of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that the record names.
    Master,
    /// The other one.
    Standby,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of the JVM.
    BrokerKilled(Role),
    /// The JVM stands still.
    BrokerFrozen(Role),
    /// SIGKILL of the container's first process.
    AgentKilled(Role),
    /// The agent stands still, its broker goes on.
    AgentFrozen(Role),
    /// Agent and broker stand still.
    PodFrozen(Role),
    /// The pod is deleted, politely.
    PodDeleted(Role),
    /// The pod is deleted with grace period 0.
    PodDeletedAtOnce(Role),
    /// The pod's node is cut off from the group's storage or database.
    ServerCut(Role),
    /// The storage or the database stands still.
    ServerFrozen,
    /// The storage or the database ends at once and starts again.
    ServerRestarted,
    /// The lock file is touched, the lock's row is deleted.
    LockTouched,
    /// The lock file is deleted, the lock's row too.
    LockDeleted,
    /// The first node loses its power: it runs no clients.
    NodeOff,
    /// A node is cut off from the API server.
    NodeCutFromApi(u8),
    /// The first node is cut off from everybody.
    NodeCutFromAll,
    /// The API server takes connections and answers nobody.
    ApiServerFrozen,
    /// The operator's pod is deleted.
    OperatorDeleted,
}

/// One fault, as long as it lasts, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub which: Which,
    /// What.
    pub fault: Fault,
    /// How long, if it lasts at all.
    pub lasts: Duration,
    /// Whether the groups may get well before the next one comes.
    pub rest: bool,
}

impl Step {
    /// The next one.
    pub fn draw(rng: &mut Rng) -> Self {
        let which = if rng.bool() { Which::Volume } else { Which::Database };
        // Most of what goes wrong hits the master.
        let role = if rng.u8(..4) > 0 { Role::Master } else { Role::Standby };
        let fault = match rng.u8(..17) {
            0 => Fault::BrokerKilled(role),
            1 => Fault::BrokerFrozen(role),
            2 => Fault::AgentKilled(role),
            3 => Fault::AgentFrozen(role),
            4 => Fault::PodFrozen(role),
            5 => Fault::PodDeleted(role),
            6 => Fault::PodDeletedAtOnce(role),
            7 => Fault::ServerCut(role),
            8 => Fault::ServerFrozen,
            9 => Fault::ServerRestarted,
            10 => Fault::LockTouched,
            11 => Fault::LockDeleted,
            12 => Fault::NodeOff,
            13 => Fault::NodeCutFromApi(rng.u8(1..=2)),
            14 => Fault::NodeCutFromAll,
            15 => Fault::ApiServerFrozen,
            _ => Fault::OperatorDeleted,
        };
        let lasts = Duration::from_millis(rng.u64(200..12_000));
        Self { which, fault, lasts, rest: rng.u8(..4) > 0 }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasts.as_secs_f64();
        write!(out, "{:?}, {:?}", self.which, self.fault)?;
        if self.fault.lasts() { write!(out, " for {seconds:.1} s") } else { Ok(()) }
    }
}

impl Fault {
    /// Whether it has a length.
    pub fn lasts(self) -> bool {
        !matches!(
            self,
            Self::BrokerKilled(_)
                | Self::AgentKilled(_)
                | Self::PodDeleted(_)
                | Self::PodDeletedAtOnce(_)
                | Self::ServerRestarted
                | Self::LockTouched
                | Self::LockDeleted
                | Self::OperatorDeleted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64) -> Vec<Step> {
        let mut rng = Rng::with_seed(seed);
        (0..50).map(|_| Step::draw(&mut rng)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }
}
