//! How long each deadline is, and how often is looked.

use std::time::Duration;

use crate::agent::machine::Deadline;
use crate::agent::motion::Patience;
use crate::broker::settings::{AgentSettings, LockSettings};
use crate::lock::lease::margin;

/// Probing more often gains nothing over the broker's own start.
const FASTEST_PROBE: Duration = Duration::from_millis(100);
/// A kill takes effect within this, so a lost lock must be seen this much before the thief's
/// hold-off (one keep-alive period) ends.
const KILL_TIME: Duration = Duration::from_millis(50);
/// How often a lease is looked at.
const LEASE_PROBE: Duration = Duration::from_millis(250);
/// A promoting broker is greeted this often: the record follows its greeting by this at most.
const PROMOTING_GREETING: Duration = Duration::from_millis(25);
/// A broker that waits for its lock is greeted this often: it must refuse.
const WAITING_GREETING: Duration = Duration::from_secs(1);
/// The longest pause between starts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// A busy machine, or a garbage collection, keeps a living standby from its lock for less than this.
const STANDS_STILL: Duration = Duration::from_secs(2);
/// A broker that has not greeted yet may do nothing at all for so many times `hangTimeout`.
const HANGS_BEFORE_GREETING: u32 = 6;

/// All periods of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    poll: Duration,
    keep_alive: Duration,
    hang: Duration,
    stop_grace: Duration,
    /// How long a lease runs; nothing for other locks.
    lease: Option<Duration>,
    /// Whether the messages are on a volume.
    volume: bool,
    /// How long network storage may leave a look at the lock file without an answer.
    fence_after: Duration,
}

impl Timing {
    /// From the settings of the group.
    pub fn new(settings: &AgentSettings) -> Self {
        let (poll_millis, keep_alive_millis, lease_millis, fence_after_millis) = match &settings
            .lock
        {
            LockSettings::File { poll_millis, keep_alive_millis, fence_after_millis, .. } => {
                (*poll_millis, *keep_alive_millis, None, *fence_after_millis)
            }
            LockSettings::Lease(lease) => {
                (lease.poll_millis, lease.renew_millis, Some(lease.lease_millis), 0)
            }
            LockSettings::Unseen { lease_millis, .. } => (*lease_millis, *lease_millis, None, 0),
        };
        Self {
            poll: Duration::from_millis(poll_millis),
            keep_alive: Duration::from_millis(keep_alive_millis),
            hang: Duration::from_millis(settings.hang_timeout_millis),
            stop_grace: Duration::from_millis(settings.stop_grace_millis),
            lease: lease_millis.map(Duration::from_millis),
            volume: settings.volume.is_some(),
            fence_after: Duration::from_millis(fence_after_millis),
        }
    }

    /// How long a lease runs; nothing for other locks.
    pub fn lease(&self) -> Duration {
        self.lease.unwrap_or_default()
    }

    /// How long this deadline is.
    pub fn of(&self, deadline: Deadline) -> Duration {
        match deadline {
            Deadline::LockFile => 2 * self.keep_alive,
            Deadline::Handover => self.poll + self.keep_alive + Duration::from_secs(1),
            Deadline::Backoff(failures) => {
                let doublings = u32::from(failures.saturating_sub(1)).min(5);
                Duration::from_secs(1 << doublings).min(LONGEST_BACKOFF)
            }
            // On a busy machine a JVM was seen to need 20 s before it tried for its lock. Taken for a standby
            // before that, it would be relied on by a switchover.
            Deadline::Settle => Duration::from_mins(1),
            Deadline::Take => self.hang + self.poll + self.keep_alive,
            Deadline::Hang => self.hang,
            Deadline::Yield => Duration::from_secs(10),
            Deadline::MakeWay => Duration::from_millis(300),
            Deadline::Reconnect => Duration::from_secs(1),
            Deadline::Health => Duration::from_mins(10),
            Deadline::StopGrace => self.stop_grace,
            Deadline::Prepare
            | Deadline::Release
            | Deadline::Record
            | Deadline::Claims
            | Deadline::Doubt => Duration::from_secs(2),
            Deadline::Linger => Duration::from_millis(1200),
            Deadline::Proof => match self.lease {
                Some(lease) => lease.saturating_sub(margin(lease)),
                None => self.fence_after,
            },
            Deadline::Exit => Duration::from_secs(3),
        }
    }

    /// From the start of one probe of the lock to the next.
    pub fn probe_period(&self) -> Duration {
        if self.lease.is_some() {
            // Each look is a statement for the database; the log tells of a lease just taken.
            return LEASE_PROBE.min(self.keep_alive / 2);
        }
        let safe = (self.keep_alive / 2).saturating_sub(KILL_TIME);
        FASTEST_PROBE.min(self.keep_alive / 3).min(safe).max(Duration::from_millis(10))
    }

    /// A probe of the lock without an answer for so long leaves its view unknown.
    pub fn probe_deadline(&self) -> Duration {
        (5 * self.probe_period()).max(Duration::from_millis(250))
    }

    /// How long a broker may show no sign of life.
    pub fn patience(&self) -> Patience {
        let tries = STANDS_STILL + 3 * self.poll;
        let works = self.volume.then(|| HANGS_BEFORE_GREETING * self.hang);
        Patience { poll: self.poll, tries, hang: self.hang.max(tries), works }
    }

    /// How often a broker that starts, or waits for the lock, is greeted.
    pub fn waiting_greeting(&self) -> Duration {
        WAITING_GREETING
    }

    /// How often a broker that holds the lock and does not greet yet is greeted.
    pub fn promoting_greeting(&self) -> Duration {
        PROMOTING_GREETING
    }

    /// How often a master is greeted; also how long one attempt may take.
    pub fn master_greeting(&self) -> Duration {
        (self.hang / 5).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }
}

/// Timing for other modules' tests.
#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// Keep-alive 1 s, poll 500 ms.
    pub(crate) fn timing() -> Timing {
        Timing {
            poll: Duration::from_millis(500),
            keep_alive: Duration::from_secs(1),
            hang: Duration::from_secs(5),
            stop_grace: Duration::from_secs(30),
            lease: None,
            volume: true,
            fence_after: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lock_is_seen_and_acted_on_before_the_thief_s_hold_off_is_half_over() {
        for keep_alive in [200, 250, 500, 1000, 30_000] {
            let keep_alive = Duration::from_millis(keep_alive);
            let timing = Timing { keep_alive, ..tests_support::timing() };
            assert!(timing.probe_period() + KILL_TIME <= timing.keep_alive / 2, "{keep_alive:?}");
        }
    }

    #[test]
    fn the_pause_between_starts_doubles_from_one_second_to_thirty() {
        let timing = tests_support::timing();
        let seconds: Vec<_> = (1..=6).map(|n| timing.of(Deadline::Backoff(n)).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30]);
    }

    #[test]
    fn a_lease_is_looked_at_often_enough_to_see_each_renewal() {
        for renew in [100, 500, 5000] {
            let keep_alive = Duration::from_millis(renew);
            let lease = Some(5 * keep_alive);
            let timing = Timing { keep_alive, lease, ..tests_support::timing() };
            assert!(timing.probe_period() <= keep_alive / 2);
        }
    }
}
