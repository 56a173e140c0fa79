//! Looks at locks that are no files: a lease's row, and the broker's own log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::event::LeaseSeen;
use crate::agent::machine::LogSign;
use crate::broker::report::{DatabaseProblem, Evidence, LockView};
use crate::core::promotion::Pod;
use crate::database::Database;
use crate::lock::lease::{Row, proven_for, seen};
use crate::lock::track::{Life, Verdict};

/// A broker that takes a free lock says so within this after its first try.
const TRY: Duration = Duration::from_secs(1);

/// Holder ids of one pod's brokers.
#[derive(Clone, Debug)]
pub struct Holders {
    prefix: String,
}

impl Holders {
    /// `<pod name>.<pod uid>`, both cut: PostgreSQL cuts a session's name at 63 bytes.
    pub fn new(pod: &Pod) -> Self {
        let name: String = pod.name.chars().take(40).collect();
        let uid: String = pod.uid.chars().take(8).collect();
        Self { prefix: format!("{name}.{uid}") }
    }

    /// The broker process with this nonce.
    pub fn id(&self, nonce: u32) -> String {
        format!("{}.{nonce:08x}", self.prefix)
    }

    /// Whether this is the id of one of them, of whatever nonce.
    fn include(&self, holder: &str) -> bool {
        holder.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// A look without an answer yet, or the answer.
#[derive(Clone, Debug)]
pub struct Look {
    /// What it means for the lock.
    pub verdict: Verdict,
    /// Why nothing was found out, unless the database says so.
    pub error: Option<String>,
    /// What the database said.
    pub lease: Option<Result<LeaseSeen, DatabaseProblem>>,
}

impl Look {
    /// At anything but a lease.
    pub fn plain(verdict: Verdict, error: Option<String>) -> Self {
        Self { verdict, error, lease: None }
    }
}

/// Looks at a lease.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Where it is.
    pub database: Arc<Database>,
    /// Whose it may be.
    pub holders: Holders,
    /// How long it runs.
    pub length: Duration,
}

impl Lease {
    /// One look.
    pub async fn look(&self, life: Life) -> Look {
        let started = Instant::now();
        match self.database.look().await {
            Ok(row) => self.judge(life, started, &row),
            Err(problem) => Look {
                verdict: verdict(LockView::Unknown, false),
                error: None,
                lease: Some(Err(problem)),
            },
        }
    }

    fn is_of_this_pod(&self, row: &Row) -> bool {
        row.holder.as_deref().is_some_and(|holder| self.holders.include(holder))
    }

    fn judge(&self, life: Life, started: Instant, row: &Row) -> Look {
        let ours = life.pid.map(|_| self.holders.id(life.nonce));
        let (view, ran_out) = seen(row, ours.as_deref(), self.is_of_this_pod(row));
        let lease = LeaseSeen {
            proven_until: ours.as_deref().map(|ours| started + proven_for(row, ours, self.length)),
            clock_offset_millis: row.clock_offset_millis,
            nobody: row.nobody,
        };
        Look { verdict: verdict(view, ran_out), error: None, lease: Some(Ok(lease)) }
    }
}

/// What the broker's log says of its lock.
#[derive(Clone, Debug, Default)]
pub struct LogWatch {
    /// The last sign, of which broker process, and when it was first read.
    last: Arc<Mutex<Option<(u32, LogSign, Instant)>>>,
}

impl LogWatch {
    /// The broker process of this generation logged this.
    pub fn note(&self, generation: u32, sign: LogSign) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((generation, sign, Instant::now()));
    }

    /// What it means by now.
    pub fn look(&self, life: Life) -> Look {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let view = match last {
            Some((generation, sign, at)) if generation == life.generation => match sign {
                LogSign::Takes => LockView::Mine(Evidence::Log),
                LogSign::Waits if at.elapsed() >= TRY => LockView::Other,
                LogSign::Waits | LogSign::LockLost | LogSign::StorageFailed => LockView::Unknown,
            },
            Some(_) | None => LockView::Unknown,
        };
        Look::plain(verdict(view, false), None)
    }
}

fn verdict(view: LockView, changed: bool) -> Verdict {
    Verdict { view, changed, file: None, local: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::settings::{
        DatabaseAccess, DatabaseKind, DatabaseServer, DatabaseTls, LeaseSettings,
    };

    fn pod() -> Pod {
        Pod {
            name: "orders-with-a-name-that-is-longer-than-forty-1".to_owned(),
            namespace: "shop".to_owned(),
            uid: "0123456789abcdef".to_owned(),
            ips: Vec::new(),
            node: "n1".to_owned(),
        }
    }

    fn lease() -> Lease {
        let settings = LeaseSettings {
            server: DatabaseServer {
                kind: DatabaseKind::PostgreSQL,
                host: "127.0.0.1".to_owned(),
                port: 1,
                name: "orders".to_owned(),
                tls: DatabaseTls::Off,
            },
            access: DatabaseAccess {
                username: "/no/username".to_owned(),
                password: "/no/password".to_owned(),
                properties: "/no/properties".to_owned(),
                driver_class: "org.postgresql.Driver".to_owned(),
                driver_directories: Vec::new(),
                keystore: None,
            },
            schema: None,
            table_prefix: String::new(),
            group: None,
            holds_messages: true,
            poll_millis: 500,
            renew_millis: 500,
            lease_millis: 5000,
        };
        Lease {
            database: Arc::new(Database::new(settings)),
            holders: Holders::new(&pod()),
            length: Duration::from_secs(5),
        }
    }

    #[test]
    fn a_holder_id_is_short_enough_for_the_name_of_a_session() {
        let id = Holders::new(&pod()).id(0xbeef);
        assert_eq!(id, "orders-with-a-name-that-is-longer-than-f.01234567.0000beef");
        assert!(id.len() <= 63);
    }

    #[test]
    fn a_lease_of_ours_that_ran_out_is_lost_and_one_given_back_is_free() {
        let lease = lease();
        let life = Life { generation: 1, pid: Some(9), nonce: 7, greeted: true };
        let row = |holder: Option<String>, left_millis| Row {
            holder,
            left_millis,
            nobody: None,
            clock_offset_millis: 0,
        };
        let ours = Some(lease.holders.id(7));
        let started = Instant::now();
        let judged = |row: &Row| lease.judge(life, started, row).verdict;
        assert_eq!(judged(&row(ours.clone(), 9)), verdict(LockView::Mine(Evidence::Lease), false));
        assert_eq!(judged(&row(ours.clone(), 0)), verdict(LockView::Free, true));
        assert_eq!(judged(&row(None, 0)), verdict(LockView::Free, false));
        let before = Some(lease.holders.id(8));
        assert_eq!(judged(&row(before, 9)), verdict(LockView::Other, false));
        let nobody = Life { pid: None, ..life };
        let look = lease.judge(nobody, started, &row(ours, 9));
        assert_eq!(look.verdict.view, LockView::Unknown, "nobody has taken over");
        assert_eq!(look.lease.unwrap().unwrap().proven_until, None);
        let another = row(Some("orders-0.01234567.00000001".to_owned()), 9);
        assert_eq!(lease.judge(nobody, started, &another).verdict.view, LockView::Other);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_tells_of_the_broker_process_that_wrote_it_only() {
        let log = LogWatch::default();
        let life = Life { generation: 3, pid: Some(9), ..Life::default() };
        let view = |log: &LogWatch| log.look(life).verdict.view;
        assert_eq!(view(&log), LockView::Unknown);
        log.note(2, LogSign::Takes);
        assert_eq!(view(&log), LockView::Unknown);
        log.note(3, LogSign::Waits);
        assert_eq!(view(&log), LockView::Unknown, "its first try may succeed");
        tokio::time::advance(TRY).await;
        assert_eq!(view(&log), LockView::Other);
        log.note(3, LogSign::Takes);
        assert_eq!(view(&log), LockView::Mine(Evidence::Log));
    }
}
