//! The broker's login files, made from the mounted Secrets.
//!
//! The broker's `PropertiesLoginModule` reads them again when they change (`reload=true`), so a
//! rotated password needs no restart.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::agent::event::{Event, Events};
use crate::broker::settings::CredentialSettings;
use crate::secret::trimmed;

/// The kubelet itself needs up to a minute to update a mounted Secret.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The two files.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    users: String,
    groups: String,
}

/// Writes the files when the Secrets have changed.
pub struct Credentials {
    settings: CredentialSettings,
    written: Option<Files>,
}

/// Why somebody cannot log in. The name is not told, nor the password: a BrokerCluster may name any Secret
/// of its namespace, and its maker need not be allowed to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unfit {
    NameNotText,
    NameEmpty,
    NameOdd,
    PasswordNotText,
    PasswordEmpty,
    NameOfAdmin,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::NameNotText => "the name is not UTF-8; change it",
            Self::NameEmpty => "the name is empty; set one",
            Self::NameOdd => {
                "the name has commas, outer blanks or control characters; take them out"
            }
            Self::PasswordNotText => "the password is not UTF-8; change it",
            Self::PasswordEmpty => "the password is empty; set one",
            Self::NameOfAdmin => "the administrator has the same name; take another one",
        })
    }
}

impl std::fmt::Debug for Credentials {
    // What was written holds passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Nothing is written yet.
    pub fn new(settings: CredentialSettings) -> Self {
        Self { settings, written: None }
    }

    /// Writes what has changed; the problem, if there is one. Valid users are let in even when
    /// others are not.
    pub fn refresh(&mut self) -> Option<String> {
        let (files, problems) = match self.read() {
            Ok(found) => found,
            Err(error) => return Some(format!("cannot read the credentials: {error}")),
        };
        if self.written.as_ref() != Some(&files) {
            if let Err(error) = self.write(&files) {
                let output = &self.settings.output;
                return Some(format!("cannot write the login files to {output}: {error}"));
            }
            self.written = Some(files);
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Looks again and again, and tells each change of the problem.
    pub async fn run(mut self, events: Events) {
        let mut before = None;
        loop {
            let problem = self.refresh();
            if problem != before {
                before.clone_from(&problem);
                if events.send(Event::Credentials(problem)).await.is_err() {
                    return;
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn read(&self) -> io::Result<(Files, Vec<String>)> {
        let admin = Path::new(&self.settings.admin);
        let name = trimmed(fs::read(admin.join("username"))?);
        let password = trimmed(fs::read(admin.join("password"))?);
        let mut users = BTreeMap::new();
        if let Some(directory) = &self.settings.users {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let name = entry.file_name().into_encoded_bytes();
                // The kubelet's `..data` and the directory it points to.
                if !name.starts_with(b"..") {
                    users.insert(name, trimmed(fs::read(entry.path())?));
                }
            }
        }
        Ok(render((name, password), users))
    }

    fn write(&self, files: &Files) -> io::Result<()> {
        let directory = Path::new(&self.settings.output);
        // The groups first: a user without a group is refused, a group without a user is harmless.
        replace(&directory.join("groups.properties"), &files.groups)?;
        replace(&directory.join("users.properties"), &files.users)
    }
}

fn render(admin: (Vec<u8>, Vec<u8>), users: BTreeMap<Vec<u8>, Vec<u8>>) -> (Files, Vec<String>) {
    let mut left_out: BTreeMap<Unfit, u32> = BTreeMap::new();
    let mut accepted: BTreeMap<String, String> = BTreeMap::new();
    let admin_name = admin.0.clone();
    for (name, password) in users {
        match check(name, password) {
            Ok((name, _)) if name.as_bytes() == admin_name => {
                *left_out.entry(Unfit::NameOfAdmin).or_default() += 1;
            }
            Ok((name, password)) => drop(accepted.insert(name, password)),
            Err(unfit) => *left_out.entry(unfit).or_default() += 1,
        }
    }
    let mut problems: Vec<_> = left_out
        .iter()
        .map(|(unfit, count)| format!("usersSecret: {count} left out: {unfit}"))
        .collect();
    match check(admin.0, admin.1) {
        Ok((name, password)) => drop(accepted.insert(name, password)),
        Err(unfit) => problems.push(format!("adminSecret: left out: {unfit}")),
    }
    let line =
        |(name, password): (&String, &String)| format!("{}={}\n", escaped(name), escaped(password));
    let users = accepted.iter().map(line).collect();
    let names: Vec<_> = accepted.keys().map(|name| escaped(name)).collect();
    let admin_name = String::from_utf8(admin_name).ok();
    let admins = admin_name
        .filter(|name| accepted.contains_key(name))
        .map(|name| format!("admins={}\n", escaped(&name)));
    let groups = format!("users={}\n{}", names.join(","), admins.unwrap_or_default());
    (Files { users, groups }, problems)
}

/// Name and password as text, or why not.
fn check(name: Vec<u8>, password: Vec<u8>) -> Result<(String, String), Unfit> {
    let name = String::from_utf8(name).map_err(|_| Unfit::NameNotText)?;
    if name.is_empty() {
        return Err(Unfit::NameEmpty);
    }
    // groups.properties separates names by commas and cuts blanks off.
    if name.contains(',') || name.trim() != name || name.chars().any(char::is_control) {
        return Err(Unfit::NameOdd);
    }
    let password = String::from_utf8(password).map_err(|_| Unfit::PasswordNotText)?;
    if password.is_empty() {
        return Err(Unfit::PasswordEmpty);
    }
    Ok((name, password))
}

/// A key or value of a `java.util.Properties` file, which is ISO 8859-1 with escapes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b'\\' | b' ' | b'=' | b':' | b'#' | b'!')) => {
                out.push('\\');
                out.push(char::from(byte));
            }
            Ok(byte) if byte.is_ascii_graphic() => out.push(char::from(byte)),
            _ => out.extend(format!("\\u{unit:04X}").chars()),
        }
    }
    out
}

/// The broker sees the old file or the new one, never half of one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let scratch = path.with_extension("new");
    drop(fs::remove_file(&scratch));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&scratch, path)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
