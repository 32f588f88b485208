//! Operations.

use lithify_tree::TreePath;

/// An operation. Of its payload only the length is here: it is read, or written, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The payload.
    Data(u64),
    /// From now on the source is this file, at its beginning.
    Open(TreePath),
    /// As many bytes of the source.
    Copy(u64),
    /// As many bytes of the source, to each of which a byte of the payload is added.
    Add(u64),
    /// The source's next byte is the one at this position.
    Seek(u64),
    /// The payload is a zstd frame whose dictionary is the whole source. The next byte of the source is its first.
    Dictionary(u64),
}

/// Numbers of the operations.
pub(super) mod code {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const OPEN: u8 = 1;
    pub(in super::super) const COPY: u8 = 2;
    pub(in super::super) const ADD: u8 = 3;
    pub(in super::super) const SEEK: u8 = 4;
    pub(in super::super) const DICTIONARY: u8 = 5;
}
