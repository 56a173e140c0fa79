//! Files of the volume that anybody may have put there who can write to it.
//!
//! A pipe would keep a reader waiting for ever, a device would never end, and a link leads anywhere. An
//! agent that waits for one of them beats no longer, and its broker is killed for that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

/// Longer files are not read, in bytes. Agents write 1 KiB; a later version may write more.
const LONGEST: u64 = 64 << 10;
/// Neither to wait for whoever opens the other end of a pipe, nor to follow a link.
const FLAGS: libc::c_int = libc::O_NONBLOCK | libc::O_NOFOLLOW;
/// Names of pods and nodes are no longer (RFC 1123), in bytes.
const LONGEST_NAME: usize = 253;

/// Opens a regular file to read.
///
/// # Errors
/// It cannot be opened, or is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(FLAGS).open(path)?, path)
}

fn regular(file: File, path: &Path) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{} is no regular file", path.display())))
    }
}

/// The text of a regular file.
///
/// # Errors
/// It cannot be read, is none, is too long, or is not UTF-8.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > LONGEST {
        return Err(io::Error::other(format!("{} is longer than {LONGEST} bytes", path.display())));
    }
    Ok(text)
}

/// A new file in the place of whatever has this name.
///
/// # Errors
/// It cannot be made, or a directory has the name.
pub(super) fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => OpenOptions::new().write(true).create_new(true).open(path),
    }
}

/// Opens a regular file to read and write, and makes it if it does not exist.
///
/// # Errors
/// It cannot be made or opened, or is no regular file.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o660);
    regular(options.custom_flags(FLAGS).open(path)?, path)
}

/// Whether this can be the name of a pod or a node: it is shown to people.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.len() <= LONGEST_NAME && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "text").unwrap();
        assert_eq!(read(&path("file")).unwrap(), "text");
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        fs::write(path("bytes"), [0xff]).unwrap();
        File::create(path("long")).unwrap().set_len(1 << 40).unwrap();
        for name in ["pipe", "link", "directory", "bytes", "long", "absent"] {
            assert!(read(&path(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_written_replaces_a_pipe_or_a_link_and_opens_neither() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("target", path("link")).unwrap();
        for name in ["pipe", "link"] {
            assert!(open_or_create(&path(name)).is_err(), "{name}");
            create_anew(&path(name)).unwrap();
            open_or_create(&path(name)).unwrap();
        }
        assert!(!path("target").exists());
    }

    #[test]
    fn names_have_no_control_characters() {
        for (text, name) in [("orders-0", true), ("a\nb", false), ("\u{1b}[2J", false)] {
            assert_eq!(is_name(text), name);
        }
        assert!(!is_name(&"a".repeat(254)));
    }
}
