//! The epoch floor: a file beside the store with the highest epoch ever written, so that a deleted
//! record and restarted agents do not start at 1 again.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::foreign;

/// The floor, 0 when there is no file. A file that holds no number counts as absent: the record
/// itself is the first source, this one only the spare.
pub fn read(path: &Path) -> io::Result<u64> {
    match foreign::read(path) {
        Ok(text) => Ok(text.trim().parse().unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Raises the floor to `epoch`; a higher one stays.
pub fn raise(path: &Path, epoch: u64) -> io::Result<()> {
    if read(path)? >= epoch {
        return Ok(());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let scratch = PathBuf::from(name);
    let mut file = foreign::create_anew(&scratch)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(&scratch, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_rises_and_never_falls() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("epoch");
        assert_eq!(read(&path).unwrap(), 0);
        raise(&path, 7).unwrap();
        raise(&path, 3).unwrap();
        assert_eq!(read(&path).unwrap(), 7);
    }

    #[test]
    fn a_damaged_floor_counts_as_absent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("epoch");
        fs::write(&path, "seven").unwrap();
        assert_eq!(read(&path).unwrap(), 0);
        raise(&path, 2).unwrap();
        assert_eq!(read(&path).unwrap(), 2);
    }
}
