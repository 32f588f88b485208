//! Members of archives: plain files and directories of root, of no time.

use std::io;

use lithify_tar::{Block, TarWriter, WriteError};
use lithify_tree::{Entry, EntryKind, Metadata, TreePath};

/// Bytes of a tar's block.
pub(super) const BLOCK: u64 = lithify_tar::BLOCK as u64;
/// Bytes of what ends a tar.
pub(super) const END: u64 = lithify_tar::END_MARK as u64;

/// The mode of files.
const FILE_MODE: u16 = 0o644;

/// All headers of a file of that size, or of a directory.
pub(super) fn header(name: &str, size: Option<u64>) -> io::Result<Vec<u8>> {
    let path = TreePath::clean(name.as_bytes()).map_err(io::Error::other)?;
    let (mode, kind) = match size {
        Some(size) => (
            FILE_MODE,
            EntryKind::File {
                size,
                segments: None,
            },
        ),
        None => (0o755, EntryKind::Directory),
    };
    let metadata = Metadata {
        mode,
        ..Metadata::default()
    };
    let mut bytes = Vec::new();
    let entry = Entry {
        path,
        metadata,
        kind,
    };
    TarWriter::new(&mut bytes)
        .append(&entry)
        .map_err(|error| match error {
            WriteError::Write(e) => e,
            other => io::Error::other(other),
        })?;
    Ok(bytes)
}

/// The header of a file with a short name as one block, whatever its size: what is written before the size is known.
pub(super) fn block_header(name: &str, size: u64) -> io::Result<Block> {
    let path = TreePath::clean(name.as_bytes()).map_err(io::Error::other)?;
    lithify_tar::file_header(&path, FILE_MODE, size)
        .ok_or_else(|| io::Error::other("the name does not fit into one block"))
}

/// Bytes a file's data takes.
pub(super) fn padded(size: u64) -> io::Result<u64> {
    lithify_tar::padded(size).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use lithify_oci::{Limits, archive::Archive};

    use super::*;

    /// The largest size in octal digits.
    const OCTAL_MAX: u64 = 0o77_777_777_777;

    #[test]
    fn files_over_8_gib_have_one_block_too() {
        for size in [0, 5, OCTAL_MAX, OCTAL_MAX + 1, (9 << 30) + 7] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let header = block_header("x.tar", size).unwrap();
            file.as_file().write_all_at(&header, 0).unwrap();
            let end = BLOCK + padded(size).unwrap();
            let next = block_header("y", 1).unwrap();
            file.as_file().write_all_at(&next, end).unwrap();
            file.as_file().set_len(end + 2 * BLOCK + END).unwrap();
            let archive = Archive::open(file.path(), &Limits::default()).unwrap();
            let files = archive.files();
            assert_eq!(files[0], (b"x.tar".to_vec(), BLOCK, size));
            assert_eq!(files[1], (b"y".to_vec(), end + BLOCK, 1));
        }
        assert!(block_header(&"x".repeat(300), 0).is_err());
        assert!(padded(u64::MAX).is_err());
    }
}
