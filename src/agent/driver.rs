//! Whether a JDBC driver is there: a broker without one would crash at every start.
//!
//! Only the central directories of the jars are read, entry by entry: an image's jars are together
//! larger than an agent's memory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::broker::report::{DatabaseProblem, ProblemKind};
use crate::broker::settings::DatabaseAccess;

/// The end of the central directory without its comment.
const END_LENGTH: usize = 22;
/// The longest comment.
const LONGEST_COMMENT: u64 = 0xffff;
/// The fixed part of an entry of the central directory.
const ENTRY_LENGTH: usize = 46;

/// Looks for the driver; says what is missing.
pub fn check(access: &DatabaseAccess) -> Result<(), DatabaseProblem> {
    let entry = format!("{}.class", access.driver_class.replace('.', "/"));
    if access.driver_directories.iter().any(|directory| is_in(Path::new(directory), &entry)) {
        return Ok(());
    }
    Err(DatabaseProblem {
        kind: ProblemKind::DriverMissing,
        message: format!(
            "no jar with the JDBC driver {} is in {}: set database.driver.image to an image with the \
             driver, or database.driver.path to where the broker's image has it",
            access.driver_class,
            access.driver_directories.join(", "),
        ),
    })
}

fn is_in(directory: &Path, entry: &str) -> bool {
    let Ok(files) = fs::read_dir(directory) else { return false };
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
        // What is no jar holds no driver.
        .any(|path| has_entry(&path, entry.as_bytes()).unwrap_or(false))
}

fn has_entry(jar: &Path, name: &[u8]) -> io::Result<bool> {
    let mut file = File::open(jar)?;
    let start = directory_start(&mut file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut entries = BufReader::new(file);
    while let Some(found) = next_name(&mut entries)? {
        if found == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the central directory begins, as the end of the file says.
fn directory_start(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let tail = length.min(LONGEST_COMMENT + END_LENGTH as u64);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let end = bytes.windows(END_LENGTH).rev().find(|window| window.starts_with(b"PK\x05\x06"));
    let start = end.and_then(|end| end.get(16..20)?.try_into().ok());
    start.map(|start| u64::from(u32::from_le_bytes(start))).ok_or(io::ErrorKind::InvalidData.into())
}

/// The name of the next entry, until there is none.
fn next_name(entries: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; ENTRY_LENGTH];
    entries.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Ok(None);
    }
    let length = |at: usize| {
        let bytes = head.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| usize::from(u16::from_le_bytes(bytes)))
    };
    let mut name = vec![0; length(28)];
    entries.read_exact(&mut name)?;
    let rest = u64::try_from(length(30) + length(32)).unwrap_or_default();
    io::copy(&mut entries.take(rest), &mut io::sink())?;
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A jar with empty files of these names, and a comment at its end.
    fn jar(names: &[&str], comment: &str) -> Vec<u8> {
        let mut jar = b"PK\x03\x04 whatever the files hold".to_vec();
        let start = u32::try_from(jar.len()).unwrap();
        for name in names {
            let mut head = [0; ENTRY_LENGTH];
            head[..4].copy_from_slice(b"PK\x01\x02");
            head[28..30].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            head[30] = 3;
            head[32] = 2;
            jar.extend(head);
            jar.extend(name.as_bytes());
            jar.extend(b"extra");
        }
        let mut end = [0; END_LENGTH];
        end[..4].copy_from_slice(b"PK\x05\x06");
        end[16..20].copy_from_slice(&start.to_le_bytes());
        end[20..22].copy_from_slice(&u16::try_from(comment.len()).unwrap().to_le_bytes());
        jar.extend(end);
        jar.extend(comment.as_bytes());
        jar
    }

    fn access(directories: &[&Path]) -> DatabaseAccess {
        DatabaseAccess {
            username: String::new(),
            password: String::new(),
            properties: String::new(),
            driver_class: "org.postgresql.Driver".to_owned(),
            driver_directories: directories
                .iter()
                .map(|path| path.to_str().unwrap().to_owned())
                .collect(),
            keystore: None,
        }
    }

    #[test]
    fn the_class_must_be_in_a_jar_of_one_of_the_directories() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let nowhere = first.path().join("nowhere");
        let all = access(&[&nowhere, first.path(), second.path()]);
        let other = ["org/postgresql/Driver.clas", "xorg/postgresql/Driver.class", "META-INF/"];
        fs::write(first.path().join("other.jar"), jar(&other, "")).unwrap();
        fs::write(first.path().join("broken.jar"), "PK").unwrap();
        fs::write(first.path().join("driver.txt"), jar(&["org/postgresql/Driver.class"], ""))
            .unwrap();
        let problem = check(&all).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::DriverMissing);
        assert!(problem.message.contains("org.postgresql.Driver"), "{}", problem.message);
        for comment in ["", "a comment"] {
            let jar = jar(&["META-INF/", "org/postgresql/Driver.class"], comment);
            fs::write(second.path().join("driver.jar"), jar).unwrap();
            assert_eq!(check(&all), Ok(()));
        }
    }
}
