//! Operations to bytes.

use lithify_tree::TreePath;

use super::error::WriteError;
use super::op::code;
use super::{ADD_MAX, PATH_MAX, varint};
use crate::bytes::common_prefix;

/// Equal bytes in a row, at least, that are copied and not added as zeros, if nothing else is asked for.
const SHORTEST_COPY: usize = 8;

/// The bytes of operations. They open every file they read, so that such bytes may be put one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ops(pub(super) Vec<u8>);

impl Ops {
    /// Returns their length in bytes, before they are compressed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes operations, and none that is not needed: a file is opened, and its position changed, only if that is not how
/// the operation before left it.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    shortest_copy: usize,
    /// Data that comes next.
    data: Vec<u8>,
    /// The file that operations opened last.
    opened: Option<TreePath>,
    /// Another one, which is to be opened before it is read.
    unopened: Option<TreePath>,
    position: u64,
    /// Bytes to copy next, from `position` on.
    copied: u64,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Starts without a source. Eight equal bytes in a row are copied.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_shortest_copy(SHORTEST_COPY)
    }

    /// Starts without a source. Among changed bytes, so many equal ones in a row, at least, are copied; fewer are added as zeros.
    ///
    /// A copy among additions is four bytes that compress well. A run of zeros is one match of what compresses the operations,
    /// which is about as long, but searching matches takes time for each zero. So short copies make small deltas quickly. They make
    /// more operations, though, each of which costs time where the delta is applied.
    #[must_use]
    pub const fn with_shortest_copy(bytes: usize) -> Self {
        Self {
            out: Vec::new(),
            shortest_copy: if bytes == 0 { 1 } else { bytes },
            data: Vec::new(),
            opened: None,
            unopened: None,
            position: 0,
            copied: 0,
        }
    }

    /// Changes the source. Nothing is written if nothing of it is read.
    ///
    /// # Errors
    /// [`WriteError::Path`].
    pub fn open(&mut self, path: &TreePath) -> Result<(), WriteError> {
        check(path)?;
        let is_open = self.opened.as_ref() == Some(path);
        self.unopened = (!is_open).then(|| path.clone());
        Ok(())
    }

    /// Adds bytes that no source has.
    pub fn data(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.end_copy();
            self.data.extend_from_slice(bytes);
        }
    }

    /// Adds bytes of the source.
    pub fn copy(&mut self, position: u64, length: u64) {
        if length > 0 {
            self.go_to(position);
            self.copied += length;
        }
    }

    /// Adds bytes that differ little from those that the source has at a position. Both slices are of one length.
    pub fn changed(&mut self, position: u64, old: &[u8], new: &[u8]) {
        let mut at = 0;
        // Where the bytes begin that are to be added.
        let mut begin = 0;
        while at < new.len() {
            let same = common_prefix(&new[at..], &old[at..]);
            let end = at + same;
            if same >= self.shortest_copy {
                self.add(position + begin as u64, &old[begin..at], &new[begin..at]);
                self.copy(position + at as u64, same as u64);
                begin = end;
            }
            let pairs = new[end..].iter().zip(&old[end..]);
            at = end + pairs.take_while(|(new, old)| new != old).count();
        }
        self.add(position + begin as u64, &old[begin..], &new[begin..]);
    }

    fn add(&mut self, position: u64, old: &[u8], new: &[u8]) {
        // It fits: 64 MiB.
        let most = usize::try_from(ADD_MAX).unwrap_or(usize::MAX);
        let mut at = position;
        for (old, new) in old.chunks(most).zip(new.chunks(most)) {
            self.go_to(at);
            self.end_copy();
            self.op(code::ADD, new.len() as u64);
            let differences = new.iter().zip(old).map(|(new, old)| new.wrapping_sub(*old));
            self.out.extend(differences);
            at += new.len() as u64;
            self.position = at;
        }
    }

    /// Goes to where the source is read next.
    fn go_to(&mut self, position: u64) {
        self.end_data();
        if let Some(path) = self.unopened.take() {
            self.end_copy();
            self.op(code::OPEN, path.as_bytes().len() as u64);
            self.out.extend_from_slice(path.as_bytes());
            self.position = 0;
            self.opened = Some(path);
        }
        if self.position + self.copied != position {
            self.end_copy();
            self.op(code::SEEK, position);
            self.position = position;
        }
    }

    fn end_copy(&mut self) {
        if self.copied > 0 {
            self.op(code::COPY, self.copied);
            self.position += self.copied;
            self.copied = 0;
        }
    }

    fn end_data(&mut self) {
        if !self.data.is_empty() {
            self.op(code::DATA, self.data.len() as u64);
            self.out.append(&mut self.data);
        }
    }

    fn op(&mut self, code: u8, number: u64) {
        self.out.push(code);
        varint::put(&mut self.out, number);
    }

    /// Returns the operations since the last time. Those that follow go on from there.
    pub(crate) fn take(&mut self) -> Ops {
        self.end_copy();
        self.end_data();
        Ops(std::mem::take(&mut self.out))
    }

    /// Returns the operations.
    #[must_use]
    pub fn finish(mut self) -> Ops {
        self.take()
    }
}

/// Refuses paths that other readers do not take.
fn check(path: &TreePath) -> Result<(), WriteError> {
    let bytes = path.as_bytes();
    let reason = if bytes.is_empty() {
        "it is empty"
    } else if bytes.len() as u64 > PATH_MAX {
        "it is longer than 4096 bytes"
    } else if std::str::from_utf8(bytes).is_err() {
        "it is not UTF-8"
    } else {
        return Ok(());
    };
    Err(WriteError::Path {
        path: bytes.to_vec(),
        reason,
    })
}
