//! Whether the broker's process moves, by what the kernel counts of it in `/proc`.
//!
//! Two questions, because two kinds of broker are asked. One that waits for the lock tries it every
//! `poll`, in the thread that runs `main`: each try ends in a sleep, which the kernel counts as a voluntary
//! context switch. The JVM's other threads tick while `main` is deadlocked, so they prove nothing. One that
//! starts or recovers a store does work: it uses the processor, or reads and writes.
//!
//! What was measured is in `docs/decisions/0025-proof-of-life.md`.

use std::fs;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agent::event::{Event, Events};
use crate::broker::report::{AgentState, MotionView};
use crate::lock::track::Life;

/// From one sample to the next.
const PERIOD: Duration = Duration::from_millis(250);
/// A sampler that was away for longer has stood still itself, and the broker perhaps with it.
const AWAY: Duration = Duration::from_secs(2);
/// A `main` thread that is blocked on a Java monitor wakes up once a second to look at it again (JDKs before
/// 24, `ObjectMonitor::EnterI`). A broker that polls at least this often wakes up clearly more often.
const TOLD_FROM_MONITORS: Duration = Duration::from_millis(250);
/// The kernel counts processor time in this unit (`USER_HZ`, 100 on every architecture that Kubernetes has).
const TICK: Duration = Duration::from_millis(10);
/// An idle JVM uses 0.1 % of a processor for its own timers. Work uses more than this part of it...
const IDLE_PART: u32 = 100;
/// ...within so long.
const WINDOW: Duration = Duration::from_secs(5);

/// What the kernel has counted of a process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Voluntary context switches of its first two threads: the launcher's, which waits for ever, and `main`.
    pub wakes: u64,
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// Bytes read and written, if that may be read.
    pub io: Option<u64>,
    /// One of the first two threads is stopped by a signal or a debugger.
    pub stopped: bool,
    /// One of them waits for a device and cannot be interrupted.
    pub blocked: bool,
}

/// For how long there has been no sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sign {
    /// Nothing is proven: it cannot be seen, or not for long enough yet.
    #[default]
    Unknown,
    /// It was seen to move a moment ago.
    Moves,
    /// It has not been seen to move for so long.
    Still(Duration),
}

/// What is proven of a broker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Motion {
    /// Whether the thread that waits for the lock tries it.
    pub tries: Sign,
    /// Whether the process works.
    pub works: Sign,
    /// Whether it waits for a device: then the storage stands still, and the process does what it can.
    pub blocked: bool,
}

/// How long a broker may show nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often one that waits tries the lock.
    pub poll: Duration,
    /// One that waits and has not tried the lock for so long does not count as a standby.
    pub tries: Duration,
    /// After so long it is killed.
    pub hang: Duration,
    /// One that has not greeted and has done no work for so long is killed. Nothing if it may wait for a
    /// database, which may take its time.
    pub works: Option<Duration>,
}

/// Compares samples of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    last: Option<Duration>,
    tries: Mark,
    works: Mark,
    /// When the processor time began to be counted, and what it was then.
    window: (Duration, Duration),
}

/// When the process last moved, and what was counted then.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: Duration,
    sample: Sample,
    proven: bool,
}

impl Motion {
    /// How the report shows a broker that waits for the lock.
    pub fn view(&self) -> MotionView {
        match self.tries {
            Sign::Unknown => MotionView::Unknown,
            Sign::Moves => MotionView::Moves,
            Sign::Still(_) => MotionView::Still,
        }
    }

    /// Whether it counts as hung, in the agent's present state. A standby is held to the lock that it tries;
    /// while its storage stands still it cannot. One that has not greeted yet is held to any work at all,
    /// however slow.
    pub fn hangs(&self, state: AgentState, patience: Patience) -> bool {
        match state {
            AgentState::Standby => {
                !self.blocked && matches!(self.tries, Sign::Still(still) if still > patience.hang)
            }
            AgentState::Starting | AgentState::Promoting => matches!(self.works, Sign::Still(_)),
            AgentState::Preflight
            | AgentState::Master
            | AgentState::SteppingDown
            | AgentState::Fenced
            | AgentState::Backoff
            | AgentState::Held
            | AgentState::Stopped
            | AgentState::Unknown => false,
        }
    }
}

impl Trace {
    /// What `sample`, taken at `at`, proves together with those before it. No sample proves nothing, and
    /// what was counted before it no longer counts.
    pub fn see(&mut self, at: Duration, sample: Option<Sample>, patience: Patience) -> Motion {
        let Some(sample) = sample else {
            *self = Self::default();
            return Motion::default();
        };
        let away = self.last.is_none_or(|last| at.saturating_sub(last) > AWAY);
        let other = sample.wakes < self.tries.sample.wakes || sample.cpu < self.works.sample.cpu;
        self.last = Some(at);
        if away || other {
            let mark = Mark { at, sample, proven: false };
            (self.tries, self.works) = (mark, mark);
        }
        let (began, used) = self.window;
        if away || other || at.saturating_sub(began) > WINDOW {
            self.window = (at, sample.cpu);
        }
        let busy =
            sample.cpu.saturating_sub(used) > at.saturating_sub(began) / IDLE_PART + 2 * TICK;
        let tries = self.tries.compare(at, sample, |mark, passed| {
            let woke = sample.wakes.saturating_sub(mark.wakes);
            Some(woke > wakes_without_a_try(passed, patience.poll))
        });
        let works = self.works.compare(at, sample, |mark, _| {
            let works = sample.blocked || busy && !away && !other;
            if works { Some(true) } else { Some(mark.io? != sample.io?) }
        });
        Motion {
            tries: tries.after(if sample.stopped { Duration::ZERO } else { patience.tries }),
            works: patience.works.map_or(Sign::Unknown, |patience| works.after(patience)),
            blocked: sample.blocked,
        }
    }
}

/// So often a `main` thread wakes up that does not try the lock.
fn wakes_without_a_try(passed: Duration, poll: Duration) -> u64 {
    if poll > TOLD_FROM_MONITORS {
        return 0;
    }
    passed.as_secs() + 2
}

impl Mark {
    /// `moved` says whether the process has moved since the mark, if that can be said.
    fn compare(
        &mut self,
        at: Duration,
        sample: Sample,
        moved: impl Fn(&Sample, Duration) -> Option<bool>,
    ) -> Compared {
        let passed = at.saturating_sub(self.at);
        let moved = moved(&self.sample, passed);
        if moved != Some(false) {
            *self = Self { at, sample, proven: moved == Some(true) };
        }
        Compared { proven: self.proven, still: at.saturating_sub(self.at), known: moved.is_some() }
    }
}

struct Compared {
    proven: bool,
    still: Duration,
    known: bool,
}

impl Compared {
    fn after(self, patience: Duration) -> Sign {
        if self.known && self.still > patience {
            Sign::Still(self.still)
        } else if self.proven {
            Sign::Moves
        } else {
            Sign::Unknown
        }
    }
}

/// Takes samples of each broker process, and tells what they prove.
pub async fn run(mut lives: watch::Receiver<Life>, patience: Patience, events: Events) {
    let begun = Instant::now();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut generation, mut trace) = (0, Trace::default());
    loop {
        ticks.tick().await;
        let life = *lives.borrow_and_update();
        if life.generation != generation {
            (generation, trace) = (life.generation, Trace::default());
        }
        let Some(pid) = life.pid else {
            // Nothing is to be seen before the next start or end.
            if lives.changed().await.is_err() {
                return;
            }
            continue;
        };
        let motion = trace.see(begun.elapsed(), sample(pid), patience);
        if events.send(Event::Motion { generation, motion }).await.is_err() {
            return;
        }
    }
}

/// One sample, unless the process cannot be seen.
fn sample(pid: i32) -> Option<Sample> {
    let directory = format!("/proc/{pid}");
    // In the order in which the threads were made: `proc_task_readdir` walks a list to whose end
    // `copy_process` adds them.
    let threads = fs::read_dir(format!("{directory}/task")).ok()?;
    let statuses: Vec<String> = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .take(2)
        .collect();
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    // Only a process of the same user may read it.
    let io = fs::read_to_string(format!("{directory}/io")).ok();
    read(&statuses, &stat, io.as_deref())
}

/// What the files in `/proc` say: `status` of threads, `stat` and `io` of the process.
fn read(statuses: &[String], stat: &str, io: Option<&str>) -> Option<Sample> {
    let wakes =
        statuses.iter().map(|status| field(status, "voluntary_ctxt_switches")?.parse::<u64>().ok());
    let wakes = wakes.sum::<Option<u64>>().filter(|_| !statuses.is_empty())?;
    let state = |states: [char; 2]| {
        let of = |status: &String| field(status, "State").is_some_and(|it| it.starts_with(states));
        statuses.iter().any(of)
    };
    // After the name, which may hold anything, come the state and, as the 12th and 13th, the ticks.
    let mut ticks = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut tick = || ticks.next()?.parse::<u32>().ok();
    let cpu = TICK.saturating_mul(tick()?.saturating_add(tick()?));
    let io = io.and_then(|io| {
        let counters = ["rchar", "wchar", "read_bytes", "write_bytes"];
        counters.iter().map(|name| field(io, name)?.parse::<u64>().ok()).sum()
    });
    Some(Sample { wakes, cpu, io, stopped: state(['T', 't']), blocked: state(['D'; 2]) })
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(str::trim)
}

#[cfg(test)]
#[path = "motion_tests.rs"]
mod tests;
