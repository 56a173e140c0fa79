//! The archive from which a machine's kernel makes its root file system: cpio, "newc" format.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const DEVICE: u32 = 0o020_000;
/// Any name under which the archive ends.
const END: &str = "TRAILER!!!";

/// An archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// A directory, with those above it.
    pub fn directory(&mut self, path: &str) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
        }
    }

    /// A file that may be executed.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.entry(path, FILE | 0o755, (0, 0), content);
    }

    /// A character device.
    pub fn device(&mut self, path: &str, number: (u32, u32)) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.entry(path, DEVICE | 0o600, number, &[]);
    }

    /// The whole archive. The kernel takes several, one after the other.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name_size = path.len() + 1;
        self.bytes.extend_from_slice(b"070701");
        let fields = [
            self.entries as usize,
            mode as usize,
            0, // user
            0, // group
            1, // links
            0, // modification time
            content.len(),
            0,
            0, // device of the file
            device.0 as usize,
            device.1 as usize,
            name_size,
            0, // check sum
        ];
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let size = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(size, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_begin_at_multiples_of_four_below_their_directories() {
        let mut archive = Archive::default();
        archive.file("bin/tool", b"12345");
        archive.device("dev/null", (1, 3));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<usize> =
            (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"070701")).collect();
        assert!(starts.iter().all(|at| at % 4 == 0));
        let names: Vec<&str> = starts
            .iter()
            .map(|at| &bytes[at + 110..])
            .map(|rest| std::str::from_utf8(&rest[..rest.iter().position(|b| *b == 0).unwrap()]))
            .map(Result::unwrap)
            .collect();
        assert_eq!(names, ["bin", "bin/tool", "dev", "dev/null", END]);
    }
}
