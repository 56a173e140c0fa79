//! What must be true and written before a broker is started on a database.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::agent::child::program;
use crate::agent::credentials::{escaped, replace};
use crate::agent::driver;
use crate::agent::reap::Kept;
use crate::broker::report::{DatabaseProblem, ProblemKind};
use crate::broker::settings::DatabaseAccess;
use crate::database::{Database, Prepared};
use crate::secret::Secret;

/// How long the database may take for all that is asked of it.
const DATABASE_DEADLINE: Duration = Duration::from_secs(20);
/// How long `keytool` may take for one certificate: it is a JVM.
const KEYTOOL_DEADLINE: Duration = Duration::from_secs(20);
/// What drivers are told; the file holds certificates only, which are no secret.
const KEYSTORE_PASSWORD: &str = "changeit";

/// Prepares starts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Preparer {
    /// What brokers need.
    pub access: DatabaseAccess,
    /// Asked first, if the agent can ask it.
    pub database: Option<Arc<Database>>,
    /// The authority for the keystore.
    pub authority: Option<PathBuf>,
    /// Where to note that `keytool` is waited for.
    pub kept: Kept,
}

impl Preparer {
    /// Sees that a broker with this holder id can be started, and writes what it needs.
    pub async fn prepare(self, holder: String) -> Result<Prepared, DatabaseProblem> {
        let access = self.access.clone();
        let search = tokio::task::spawn_blocking(move || driver::check(&access));
        search.await.unwrap_or_else(|error| {
            let message = format!("the search for the JDBC driver failed: {error}");
            Err(DatabaseProblem { kind: ProblemKind::DriverMissing, message })
        })?;
        let prepared = self.ask().await?;
        if let (Some(keystore), Some(authority)) = (&self.access.keystore, &self.authority) {
            let made = self.make_keystore(Path::new(keystore), authority).await;
            made.map_err(|error| DatabaseProblem {
                kind: ProblemKind::TlsRefused,
                message: format!("cannot make the keystore of {}: {error:#}", authority.display()),
            })?;
        }
        self.write_properties(&holder, &prepared).map_err(|error| DatabaseProblem {
            kind: ProblemKind::AuthenticationRefused,
            message: format!("the broker cannot be given its login: {error:#}"),
        })?;
        Ok(prepared)
    }

    async fn ask(&self) -> Result<Prepared, DatabaseProblem> {
        let Some(database) = &self.database else {
            // The broker finds out for itself what there is.
            return Ok(Prepared { create_tables: true, ..Prepared::default() });
        };
        let asked = timeout(DATABASE_DEADLINE, database.prepare()).await;
        asked.map_err(|_| DatabaseProblem {
            kind: ProblemKind::DatabaseUnreachable,
            message: format!("the database was not ready within {DATABASE_DEADLINE:?}"),
        })?
    }

    /// Read anew for each start: a rotated password needs no other step.
    fn write_properties(&self, holder: &str, prepared: &Prepared) -> anyhow::Result<()> {
        let access = &self.access;
        let read = |path: &str| -> anyhow::Result<Secret> {
            let bytes = fs::read(path).with_context(|| format!("cannot read {path}"))?;
            let text = Secret::of_file(bytes).with_context(|| format!("{path} is not UTF-8"))?;
            ensure!(!text.expose().is_empty(), "{path} is empty: the Secret must have this key");
            Ok(text)
        };
        let (user, password) = (read(&access.username)?, read(&access.password)?);
        let lines = [
            ("holder", holder),
            ("username", user.expose()),
            ("password", password.expose()),
            ("createTables", if prepared.create_tables { "true" } else { "false" }),
            ("obtainIf", prepared.obtain_if.as_str()),
        ];
        let lines = lines.map(|(key, value)| format!("{key}={}\n", escaped(value)));
        let text = lines.concat();
        let path = Path::new(&access.properties);
        replace(path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A PKCS #12 keystore with the authority's certificates; made again only when it is older than
    /// they are.
    async fn make_keystore(&self, keystore: &Path, authority: &Path) -> anyhow::Result<()> {
        if is_newer(keystore, authority).unwrap_or(false) {
            return Ok(());
        }
        let text = fs::read_to_string(authority)?;
        let certificates = certificates(&text);
        ensure!(!certificates.is_empty(), "it holds no certificate in PEM");
        let scratch = keystore.with_extension("new");
        let one = keystore.with_extension("pem");
        drop(fs::remove_file(&scratch));
        for (number, certificate) in certificates.iter().enumerate() {
            replace(&one, certificate)?;
            self.import(&one, &scratch, number).await?;
        }
        fs::remove_file(&one)?;
        Ok(fs::rename(&scratch, keystore)?)
    }

    async fn import(&self, file: &Path, keystore: &Path, number: usize) -> anyhow::Result<()> {
        let mut keytool = Command::new(program("keytool"));
        keytool.args(["-importcert", "-noprompt", "-storetype", "PKCS12"]);
        keytool.args(["-storepass", KEYSTORE_PASSWORD, "-alias", &format!("ca-{number}")]);
        keytool.arg("-file").arg(file).arg("-keystore").arg(keystore);
        // What it says may quote the file, and caSecret may name any Secret.
        keytool.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        keytool.kill_on_drop(true);
        let mut child =
            keytool.spawn().context("keytool: is the JDK's bin directory in the image?")?;
        let id = child.id();
        self.kept.keep(id);
        let ended = timeout(KEYTOOL_DEADLINE, child.wait()).await;
        self.kept.forget(id);
        let status = ended.with_context(|| format!("keytool took over {KEYTOOL_DEADLINE:?}"))??;
        ensure!(
            status.success(),
            "keytool ({status}) does not take certificate {} of the file: is it an X.509 certificate?",
            number + 1
        );
        Ok(())
    }
}

fn is_newer(file: &Path, than: &Path) -> io::Result<bool> {
    // The kubelet writes all files of a changed Secret or ConfigMap anew.
    Ok(fs::metadata(file)?.modified()? > fs::metadata(than)?.modified()?)
}

/// The blocks of a PEM file, each a text of its own: keytool imports only a file's first.
fn certificates(text: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    text.split(BEGIN)
        .skip(1)
        .filter_map(|block| Some(format!("{BEGIN}{}{END}\n", block.split_once(END)?.0)))
        .collect()
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
