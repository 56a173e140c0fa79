//! The name of a volume's elector: a file beside the store that is replaced as a whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::lock::elector::Written;
use crate::lock::foreign;
use crate::lock::scratch::{create, lock};

/// The file in the directory of the agents.
const NAME: &str = "elects";

/// What the volume says; nothing if it says nothing yet.
///
/// # Errors
/// When that cannot be read: nobody's name is guessed.
pub fn read(directory: &Path) -> io::Result<Option<Written>> {
    let path = directory.join(NAME);
    let text = match foreign::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let written = serde_json::from_str(&text).map_err(|error| {
        let path = path.display();
        io::Error::other(format!(
            "{path} does not say what elects the master ({error}): remove it if no broker runs"
        ))
    })?;
    Ok(Some(written))
}

/// Makes the volume say `next` instead of `expected`, unless it says something else by now or another pod is about
/// to change it.
///
/// # Errors
/// When the volume does not take it.
pub fn replace(
    directory: &Path,
    pod: &str,
    expected: Option<&Written>,
    next: &Written,
) -> io::Result<()> {
    // Freed when it is closed, also by the end of this process.
    let held = create(&directory.join(format!("{NAME}.lock")))?;
    if !lock(&held)? || read(directory)?.as_ref() != expected {
        return Ok(());
    }
    let scratch = directory.join(format!("{pod}.{NAME}"));
    let mut file = foreign::create_anew(&scratch)?;
    serde_json::to_writer(&mut file, next)?;
    file.sync_all()?;
    fs::rename(&scratch, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::elector::Elector;

    fn written(by: &str) -> Written {
        let [by, namespace, cluster, uid] = [by, "shop", "orders", "uid"].map(str::to_owned);
        Written { elector: Elector { by, namespace, cluster, uid }, former: None }
    }

    #[test]
    fn a_name_is_replaced_only_while_it_is_the_one_that_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let [file, lease] = ["file", "lease"].map(written);
        assert_eq!(read(path).unwrap(), None);
        replace(path, "a", None, &file).unwrap();
        replace(path, "b", None, &lease).unwrap();
        assert_eq!(read(path).unwrap(), Some(file.clone()));
        replace(path, "b", Some(&file), &lease).unwrap();
        assert_eq!(read(path).unwrap(), Some(lease));
    }

    #[test]
    fn a_name_that_cannot_be_read_is_nobodys() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "{").unwrap();
        assert!(read(directory.path()).unwrap_err().to_string().contains("remove it"));
    }
}
