//! What must be so after every fault: the group is whole, a fresh broker can read the store, and no
//! broker has complained about it, but for a last record that was not written to its end.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tandem::broker::report::{AgentState, LockView, Report};
use tokio::time::Instant;

use crate::{Group, TestClient, wait};

/// Generous: a client may have to notice first, and a broker to start.
const LIMIT: Duration = Duration::from_secs(120);

/// What `KahaDB` says of a store that is not as it left it, in any case of letters: `Corrupt journal
/// records found`, `Detected missing/corrupt journal files`, `Index corrupted`, ...
const COMPLAINTS: [&str; 6] = [
    "corrupt",
    "missing journal files",
    "could not load journal record",
    "failed to load next journal location",
    "failed to load message at",
    "could not load page file",
];

/// Words around the place of a stretch of the journal that is no record.
const NO_RECORD: &str = "Corrupt journal records found in '";
/// Their end when the stretch is the last one of its file. The other end, `between offsets`, means that
/// something valid follows: that is a complaint.
const LAST: &str = " to EOF";

/// What every broker says that opens a store which is not new.
const OPENED: &str = "KahaDB is version";

/// What the logs tell of openings of the store, none of which was complained about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    /// How many there were.
    pub stores: usize,
    /// How many of them found a last record that was not written to its end.
    pub torn: usize,
}

impl fmt::Display for Openings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stores, torn } = self;
        write!(
            out,
            "{stores} openings of the store without a complaint, {torn} with a torn last record"
        )
    }
}

impl Group<'_> {
    /// Waits until the agents themselves say that one broker of the pair is master, with the lock, and
    /// the other one waits for it, by looks at the lock that are newer than this call; returns the
    /// master and its epoch.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn await_steady(&self) -> Result<(String, i64)> {
        self.await_steady_within(LIMIT).await
    }

    /// As [`Self::await_steady`], with another limit.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn await_steady_within(&self, limit: Duration) -> Result<(String, i64)> {
        let what = format!("{}: a master and a standby", self.namespace);
        let begun = Instant::now();
        wait::until(&what, limit, async || {
            let (Some(master), epoch) = self.record().await? else { bail!("no master") };
            let (one, two) =
                (self.report(&master).await?, self.report(&self.other(&master)).await?);
            let fresh =
                |report: &Report| u128::from(report.lock.age_millis) < begun.elapsed().as_millis();
            let steady = fresh(&one)
                && fresh(&two)
                && one.state == AgentState::Master
                && matches!(one.lock.view, LockView::Mine(_))
                && two.state == AgentState::Standby
                && two.lock.view == LockView::Other;
            Ok(if steady { Ok((master, epoch)) } else { Err(format!("{:?}, {:?}", one, two)) })
        })
        .await
    }

    /// Lets messages wait in the store and kills the master: another broker, which reads the store for
    /// the first time, has to hand them out. Call [`Self::settle`] afterwards.
    ///
    /// # Errors
    /// When nobody takes over.
    pub async fn read_by_another(&self, clients: &[TestClient]) -> Result<()> {
        for client in clients {
            client.await_flow().await?;
            client.consume(false).await?;
            client.await_sent(20).await?;
        }
        let (master, epoch) = self.await_steady().await?;
        self.signal_broker(&master, Signal::SIGKILL).await?;
        self.await_master(epoch).await?;
        for client in clients {
            client.consume(true).await?;
        }
        Ok(())
    }

    /// The group is whole, a fresh broker reads the store, every acknowledged message is received, one
    /// broker at a time has written, and none complains about the store; tells the account.
    ///
    /// Torn last records are no complaint (docs/decisions/0017): a broker that dies while it writes leaves
    /// one, and the next one writes over it. That nothing acknowledged was in one is what the account shows,
    /// if messages waited in the store when the broker died.
    ///
    /// # Errors
    /// When one of these is not so.
    pub async fn prove(&self, clients: &[TestClient]) -> Result<String> {
        self.await_steady().await?;
        self.await_complete().await?;
        self.read_by_another(clients).await?;
        let account = self.settle(clients).await?;
        self.await_steady().await?;
        Ok(format!("{account}; {}", self.check_logs()?))
    }

    /// Checks the logs of all brokers that the nodes have kept, also of containers before the present
    /// ones; tells how often a store was opened, which brokers in a database do not say.
    ///
    /// # Errors
    /// When a broker complained, or no log was found.
    pub fn check_logs(&self) -> Result<Openings> {
        let mut openings = Openings::default();
        for file in self.logs()? {
            let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            for line in String::from_utf8_lossy(&bytes).lines() {
                openings.torn += usize::from(is_torn(line));
                openings.stores += usize::from(line.contains(OPENED));
                if let Some(words) = complaint(line) {
                    bail!("{words:?} in {}: {line}", file.display());
                }
            }
        }
        let any = openings.stores > 0 || self.database.is_some();
        ensure!(any, "no log of a broker that opened a store");
        Ok(openings)
    }

    /// The nodes' files NAMESPACE_POD_UID/CONTAINER/RESTARTS.log.
    fn logs(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for node in self.lab.bed.nodes() {
            let pods = node.layout().disk().join("log/pods");
            for pod in entries(&pods)? {
                let name = pod.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with(&format!("{}_{}-", self.namespace, self.name)) {
                    for container in entries(&pod)? {
                        found.extend(entries(&container)?);
                    }
                }
            }
        }
        Ok(found)
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let list =
        fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    list.map(|entry| Ok(entry?.path())).collect()
}

/// A line that tells of a last record which was not written to its end.
fn is_torn(line: &str) -> bool {
    line.contains(NO_RECORD) && line.contains("' from offset: ") && line.ends_with(LAST)
}

fn complaint(line: &str) -> Option<&'static str> {
    if is_torn(line) {
        return None;
    }
    let line = line.to_lowercase();
    COMPLAINTS.into_iter().find(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found() {
        let line = "WARN Journal Corrupt journal records found in 'db-1.log' between offsets: 7-9";
        assert_eq!(complaint(line), Some("corrupt"));
        assert_eq!(complaint("ERROR Detected corrupt journal files. [...]"), Some("corrupt"));
        assert_eq!(complaint("INFO | KahaDB is version 7"), None);
    }

    #[test]
    fn a_torn_last_record_is_no_complaint() {
        let line = "2026-11-23T07:57:50Z stdout F WARN  Journal Corrupt journal records found in \
                    '/store/kahadb/db-1.log' from offset: 9719511..33554432 to EOF";
        assert!(is_torn(line) && complaint(line).is_none());
        assert!(!is_torn(&line.replace(" from offset: ", " between offsets: ")));
        assert!(!is_torn(&format!("{line} and more")));
    }
}
