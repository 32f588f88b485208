//! What disks are made of.

use std::path::PathBuf;

/// A file that becomes a part of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The file, for a VMDK as seen from the directory the descriptor will be in.
    pub path: PathBuf,
    /// Its size in bytes, a multiple of 512.
    pub size: u64,
    /// Its name as a partition: at most 36 UTF-16 units, no control characters. Not used elsewhere.
    pub name: String,
    /// What tells its content from any other, such as the bytes of its digest or the key it is stored under. Identifiers of
    /// disks and partitions are derived from it.
    pub identity: Vec<u8>,
}
