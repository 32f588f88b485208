//! The names in one directory, sorted.

use std::io;

use lithify_cancel::CancelToken;
use rustix::fd::BorrowedFd;
use rustix::fs::Dir;

/// Names in bytewise order, `.` and `..` left out.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    bytes: Vec<u8>,
    /// Offset and length of each name.
    names: Vec<(usize, usize)>,
    next: usize,
}

impl Listing {
    /// Reads a directory as long as the work goes on.
    pub(crate) fn read(directory: BorrowedFd<'_>, cancel: &CancelToken) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut names = Vec::new();
        let mut entries = Dir::read_from(directory)?;
        while let Some(entry) = entries.read() {
            cancel.check()?;
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push((bytes.len(), name.len()));
                bytes.extend_from_slice(name);
            }
        }
        names.sort_unstable_by(|&(a, a_len), &(b, b_len)| {
            bytes[a..a + a_len].cmp(&bytes[b..b + b_len])
        });
        Ok(Self {
            bytes,
            names,
            next: 0,
        })
    }

    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let &(offset, length) = self.names.get(self.next)?;
        self.next += 1;
        Some(&self.bytes[offset..][..length])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
