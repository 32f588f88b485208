//! Archives the kernel unpacks as its first root directory (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;

/// A cpio archive in the "newc" form, root-owned, without times.
#[derive(Clone, Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;

impl Cpio {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory and those it is in, unless they are there. Paths have no leading slash.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        let ends = path.match_indices('/').map(|(n, _)| n).chain([path.len()]);
        for end in ends {
            let path = &path[..end];
            if !path.is_empty() && self.directories.insert(path.into()) {
                self.entry(path, DIRECTORY, &[]);
            }
        }
        self
    }

    /// Adds a file, and the directories it is in.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> &mut Self {
        self.parent(path).entry(path, FILE | mode, data)
    }

    /// Adds a symbolic link, and the directories it is in.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.parent(path).entry(path, SYMLINK, target.as_bytes())
    }

    /// The archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) -> &mut Self {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => self,
        }
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) -> &mut Self {
        self.entries += 1;
        let name = path.len() as u32 + 1;
        let size = u32::try_from(data.len()).expect("files of less than 4 GiB");
        // Inode, mode, owner, group, links, time, size, device and its minor, rdev and its minor, name length, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
        self
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{require, run};

    #[test]
    fn cpio_lists_it() {
        if !require::tool("cpio") {
            return;
        }
        let mut archive = Cpio::new();
        archive
            .file("a/b/file", 0o755, b"12345")
            .directory("a/b")
            .symlink("a/link", "b/file");
        let dir = crate::temp_dir();
        let path = dir.path().join("archive");
        std::fs::write(&path, archive.finish()).unwrap();
        let input = std::fs::File::open(&path).unwrap();
        let mut cpio = run::command("cpio");
        cpio.args(["--extract", "--quiet"]).stdin(input);
        run::ok(cpio.current_dir(dir.path()));
        let read = std::fs::read(dir.path().join("a/link")).unwrap();
        assert_eq!(read, b"12345");
    }
}
