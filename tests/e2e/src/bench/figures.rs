//! What was measured, and `failover.json` made of it.

use serde_json::{Value, json};

use crate::{Address, bench::statistics::percentile, client::Account};

/// What one fault came to, in milliseconds after it; absent where nobody could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The new master was first seen with the lock.
    pub lock_taken: Option<i64>,
    /// The new master first greeted.
    pub greeting: Option<i64>,
    /// The promotion record was written.
    pub record: Option<i64>,
    /// The Service first led to a greeting of the new master.
    pub service: Option<i64>,
    /// How long clients were still served after a switchover was asked for.
    pub prepared: Option<i64>,
    /// The first acknowledged send of each client; of a switchover its silence.
    pub clients: Vec<(Address, i64)>,
}

impl Fault {
    /// In one line, for people who wait.
    pub fn line(&self) -> String {
        let parts = [
            ("lock", self.lock_taken),
            ("greeting", self.greeting),
            ("record", self.record),
            ("service", self.service),
            ("prepared in", self.prepared),
        ];
        let parts = parts.iter().filter_map(|(name, value)| value.map(|ms| format!("{name} {ms}")));
        let clients =
            self.clients.iter().map(|(path, ms)| format!("{} client {ms}", path.as_str()));
        format!("{} ms", parts.chain(clients).collect::<Vec<_>>().join(", "))
    }
}

/// One fault placed several times at one group.
#[derive(Clone, Debug)]
pub struct Series {
    /// The group's name in the results.
    pub group: &'static str,
    /// The fault's.
    pub fault: &'static str,
    /// Each time.
    pub faults: Vec<Fault>,
    accounts: Vec<(Address, Account)>,
}

/// A series as seen by the clients of one path: a line of the results.
#[derive(Clone, Debug)]
pub struct Run {
    /// The group's name.
    pub group: &'static str,
    /// The fault's.
    pub fault: &'static str,
    /// The clients' path.
    pub path: Address,
    /// Failover times in milliseconds, in the order of the faults.
    pub samples: Vec<i64>,
    /// The account of the series' messages.
    pub account: Account,
    /// Parts of the failover time, as medians but for `service_after_greeting`.
    pub parts: [(&'static str, Option<i64>); 6],
}

impl Series {
    /// No fault yet.
    pub fn new(group: &'static str, fault: &'static str) -> Self {
        Self { group, fault, faults: Vec::new(), accounts: Vec::new() }
    }

    /// Adds to a client's account of this series: what is new since `before`.
    pub fn account(&mut self, path: Address, total: &Account, before: Option<&Account>) {
        let known = self.accounts.iter().position(|(of, _)| *of == path);
        let (_, so_far) = match known {
            Some(at) => self.accounts.swap_remove(at),
            None => (path, Account { acknowledged: 0, received: 0, lost: 0, duplicates: 0 }),
        };
        let sum = |of: fn(&Account) -> i64| of(&so_far) + of(total) - before.map_or(0, of);
        let account = Account {
            acknowledged: sum(|account| account.acknowledged),
            received: sum(|account| account.received),
            lost: sum(|account| account.lost),
            duplicates: sum(|account| account.duplicates),
        };
        self.accounts.push((path, account));
        self.accounts.sort_by_key(|(path, _)| *path == Address::List);
    }

    /// A line for each path.
    pub fn runs(&self) -> Vec<Run> {
        self.accounts
            .iter()
            .map(|(path, account)| Run {
                group: self.group,
                fault: self.fault,
                path: *path,
                samples: self.samples(*path),
                account: account.clone(),
                parts: self.parts(),
            })
            .collect()
    }

    fn samples(&self, path: Address) -> Vec<i64> {
        let clients = self.faults.iter().flat_map(|fault| &fault.clients);
        clients.filter(|(of, _)| *of == path).map(|(_, millis)| *millis).collect()
    }

    fn parts(&self) -> [(&'static str, Option<i64>); 6] {
        let all = |part: fn(&Fault) -> Option<i64>| -> Vec<i64> {
            self.faults.iter().filter_map(part).collect()
        };
        let after_greeting = all(|fault| Some(fault.service? - fault.greeting?));
        [
            ("lock_taken_p50_ms", percentile(&all(|fault| fault.lock_taken), 50)),
            ("greeting_p50_ms", percentile(&all(|fault| fault.greeting), 50)),
            ("record_p50_ms", percentile(&all(|fault| fault.record), 50)),
            ("service_p50_ms", percentile(&all(|fault| fault.service), 50)),
            ("service_after_greeting_p95_ms", percentile(&after_greeting, 95)),
            ("prepared_p50_ms", percentile(&all(|fault| fault.prepared), 50)),
        ]
    }
}

impl Run {
    /// A percentile of the failover times.
    pub fn percentile(&self, percent: usize) -> Option<i64> {
        percentile(&self.samples, percent)
    }

    fn json(&self) -> Value {
        let parts: serde_json::Map<_, _> =
            self.parts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "group": self.group,
            "fault": self.fault,
            "path": self.path.as_str(),
            "n": self.samples.len(),
            "p50_ms": self.percentile(50),
            "p95_ms": self.percentile(95),
            "max_ms": self.percentile(100),
            "acknowledged": self.account.acknowledged,
            "lost": self.account.lost,
            "duplicates": self.account.duplicates,
            "parts": parts,
        })
    }
}

/// `failover.json`.
pub fn json(runs: &[Run]) -> Value {
    json!({"schema": 1, "runs": runs.iter().map(Run::json).collect::<Vec<_>>()})
}

/// What people build by hand, and what Tandem has in its place.
const COMPARED: [(&str, &str); 2] =
    [("baseline-stock-pair", "classic-file"), ("baseline-stock-lease", "classic-database")];

/// How many times as long as Tandem's the median failover of a hand-made pair takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The hand-made pair.
    pub of: &'static str,
    /// Tandem's group.
    pub to: &'static str,
    /// The clients' path.
    pub path: Address,
    /// How many times.
    pub times: f64,
}

/// The ratios of all that was measured.
pub fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let median = |group: &str, path: Address| {
        let same = |run: &&Run| run.group == group && run.fault == "sigkill" && run.path == path;
        runs.iter().find(same).and_then(|run| run.percentile(50))
    };
    let ratio = |of: &'static str, to: &'static str, path: Address| {
        let (hand_made, own) = (median(of, path)?, median(to, path)?);
        Some(Ratio { of, to, path, times: thousandths(hand_made) / thousandths(own) })
    };
    let pairs = COMPARED.iter().flat_map(|(of, to)| Address::ALL.map(|path| (*of, *to, path)));
    pairs.filter_map(|(of, to, path)| ratio(of, to, path)).collect()
}

/// Milliseconds as seconds.
pub fn thousandths(millis: i64) -> f64 {
    std::time::Duration::from_millis(u64::try_from(millis).unwrap_or_default()).as_secs_f64()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A series of kills with both clients, both cut off for so long.
    pub(crate) fn series(group: &'static str, times: &[i64]) -> Series {
        let mut series = Series::new(group, "sigkill");
        series.faults = times
            .iter()
            .map(|ms| Fault {
                greeting: Some(ms - 50),
                service: Some(ms - 20),
                clients: Address::ALL.map(|path| (path, *ms)).to_vec(),
                ..Fault::default()
            })
            .collect();
        let account = Account { acknowledged: 100, received: 101, lost: 0, duplicates: 1 };
        for path in Address::ALL {
            series.account(path, &account, None);
        }
        series
    }

    #[test]
    fn a_run_is_written_as_the_schema_says() {
        let runs = series("classic-file", &[700, 900, 800]).runs();
        assert_eq!(runs.len(), 2);
        let expected = json!({
            "group": "classic-file", "fault": "sigkill", "path": "service", "n": 3,
            "p50_ms": 800, "p95_ms": 900, "max_ms": 900,
            "acknowledged": 100, "lost": 0, "duplicates": 1,
            "parts": {
                "lock_taken_p50_ms": null, "greeting_p50_ms": 750, "record_p50_ms": null,
                "service_p50_ms": 780, "service_after_greeting_p95_ms": 30,
                "prepared_p50_ms": null
            }
        });
        assert_eq!(json(&runs)["schema"], 1);
        assert_eq!(json(&runs)["runs"][0], expected);
    }

    #[test]
    fn an_account_counts_from_the_one_before() {
        let mut series = Series::new("classic-file", "sigstop");
        let before = Account { acknowledged: 60, received: 60, lost: 0, duplicates: 1 };
        let total = Account { acknowledged: 100, received: 99, lost: 1, duplicates: 1 };
        series.account(Address::List, &total, Some(&before));
        let account = series.runs()[0].account.clone();
        assert_eq!(account, Account { acknowledged: 40, received: 39, lost: 1, duplicates: 0 });
        let later = Account { acknowledged: 150, received: 149, lost: 1, duplicates: 3 };
        series.account(Address::List, &later, Some(&total));
        let account = series.runs()[0].account.clone();
        assert_eq!(account, Account { acknowledged: 90, received: 89, lost: 1, duplicates: 2 });
    }

    #[test]
    fn the_ratio_compares_medians_of_the_same_path() {
        let mut runs = series("classic-file", &[500]).runs();
        assert!(ratios(&runs).is_empty());
        runs.extend(series("baseline-stock-pair", &[6000, 7000, 5000]).runs());
        let (of, to, times) = ("baseline-stock-pair", "classic-file", 12.0);
        assert_eq!(ratios(&runs), Address::ALL.map(|path| Ratio { of, to, path, times }));
    }
}
