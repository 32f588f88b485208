//! The errors of the writer.

use std::io;

use lithify_tree::{Escaped, TreePath};

use crate::write::{FILE_SIZE_MAX, NAME_LEN_MAX};

/// Why something cannot be written. Those that name a path leave the archive as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output failed.
    #[error("cannot write the cpio archive")]
    Write(#[source] io::Error),
    /// A file whose size does not fit into the header.
    #[error(
        "`{path}` has {size} bytes, and a file in a cpio archive at most {FILE_SIZE_MAX}: leave it out, or build a format \
         without this limit, as erofs, squashfs and tar are"
    )]
    FileSize {
        /// The file.
        path: TreePath,
        /// Its size in bytes.
        size: u64,
    },
    /// A name that the kernel would skip without a word.
    #[error("`{path}` has {} bytes, and a name in a cpio archive at most {NAME_LEN_MAX}", .path.as_bytes().len())]
    NameLength {
        /// The name.
        path: TreePath,
    },
    /// An extended attribute: the format has no room for any.
    #[error("`{path}` has the extended attribute `{}`, which a cpio archive cannot hold", Escaped(.name))]
    Xattr {
        /// The entry.
        path: TreePath,
        /// The first of its attributes.
        name: Vec<u8>,
    },
    /// A kind of inode that this writer does not know.
    #[error("`{path}` is of a kind that a cpio archive cannot hold")]
    Kind {
        /// The entry.
        path: TreePath,
    },
    /// Segments of a sparse file that are out of order, overlap, or lie beyond the end of the file.
    #[error("the segments of data in `{path}` do not ascend within its size")]
    Segments {
        /// The file.
        path: TreePath,
    },
    /// More zeros for holes than allowed.
    #[error(
        "`{path}` has holes of {holes} bytes, which would be written as zeros, and the archive may have {limit} of those"
    )]
    Holes {
        /// The file.
        path: TreePath,
        /// Bytes of its holes.
        holes: u64,
        /// Bytes of holes in the whole archive ([`CpioWriter::zeros_max`](crate::CpioWriter::zeros_max)).
        limit: u64,
    },
    /// Fewer bytes of data than the last file has.
    #[error("{missing} more bytes of data were announced for the last file")]
    MissingData {
        /// Bytes that are missing.
        missing: u64,
    },
    /// More bytes of data than the last file has.
    #[error("{extra} more bytes of data than were announced for the last file")]
    ExtraData {
        /// Bytes that are too many.
        extra: u64,
    },
}
