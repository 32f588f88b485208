//! Options of writable filesystems.

use clap::{Args, ValueHint};

use super::values::{journal, size};

#[derive(Debug, Args)]
pub(crate) struct VolumeArgs {
    /// Size of an ext4 filesystem, such as 10G; default is what is in it and a tenth more
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) size: Option<u64>,
    /// Space left free in an ext4 filesystem, instead of --size
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = size,
        value_hint = ValueHint::Other,
        conflicts_with = "size"
    )]
    pub(crate) free: Option<u64>,
    #[command(flatten)]
    pub(crate) made: MadeArgs,
}

/// Options of an ext4 filesystem that are decided once, besides its size.
#[derive(Debug, Args)]
pub(crate) struct MadeArgs {
    /// Inodes of an ext4 filesystem, at least: how many files it can hold; default is one for every 16 KiB
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub(crate) inodes: Option<u32>,
    /// Bytes of an ext4 filesystem for each inode, 1K to 64M; default is 16K
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = size,
        value_hint = ValueHint::Other,
        conflicts_with = "inodes"
    )]
    pub(crate) bytes_per_inode: Option<u64>,
    /// Journal of an ext4 filesystem: its size, such as 64M, or none; default depends on the size of the filesystem
    #[arg(long, value_name = "SIZE|none", value_parser = journal, value_hint = ValueHint::Other)]
    pub(crate) journal: Option<lithify::Journal>,
    /// Label of an ext4 filesystem, at most 16 bytes
    #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
    pub(crate) label: Option<String>,
}

impl MadeArgs {
    /// Returns the options, for a filesystem of a size.
    pub(crate) fn options(self, size: Option<u64>) -> lithify::VolumeOptions {
        let mut options = lithify::VolumeOptions::default();
        options.size = size;
        options.inodes = self.inodes;
        options.bytes_per_inode = self.bytes_per_inode;
        options.journal = self.journal.unwrap_or_default();
        options.label = self.label.unwrap_or_default();
        options
    }
}
