//! The deadlines that are running.

use std::mem::discriminant;

use tokio::time::Instant;

use crate::agent::machine::Deadline;
use crate::agent::timing::Timing;

/// The deadlines that are armed; at most one of each kind.
#[derive(Debug, Default)]
pub struct Timers {
    armed: Vec<(Deadline, Instant)>,
}

impl Timers {
    /// Starts a deadline, or starts it again.
    pub fn arm(&mut self, deadline: Deadline, timing: &Timing) {
        self.arm_at(deadline, Instant::now() + timing.of(deadline));
    }

    /// Starts a deadline that passes at a certain time, or moves it there.
    pub fn arm_at(&mut self, deadline: Deadline, at: Instant) {
        self.disarm(deadline);
        self.armed.push((deadline, at));
    }

    /// Forgets a deadline.
    pub fn disarm(&mut self, deadline: Deadline) {
        self.armed.retain(|(armed, _)| discriminant(armed) != discriminant(&deadline));
    }

    /// Waits for the next deadline and forgets it; for ever if none is armed.
    pub async fn next(&mut self) -> Deadline {
        let Some(&(deadline, at)) = self.armed.iter().min_by_key(|(_, at)| *at) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(at).await;
        self.disarm(deadline);
        deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::timing::tests_support::timing;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn deadlines_pass_in_the_order_of_their_times() {
        let mut timers = Timers::default();
        for deadline in [Deadline::Exit, Deadline::Hang, Deadline::Record] {
            timers.arm(deadline, &timing());
        }
        timers.disarm(Deadline::Hang);
        assert_eq!(timers.next().await, Deadline::Record);
        assert_eq!(timers.next().await, Deadline::Exit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_armed_again_starts_afresh() {
        let mut timers = Timers::default();
        let start = Instant::now();
        timers.arm(Deadline::Record, &timing());
        tokio::time::advance(Duration::from_secs(1)).await;
        timers.arm(Deadline::Record, &timing());
        timers.next().await;
        assert!(start.elapsed() >= Duration::from_secs(3));
    }
}
