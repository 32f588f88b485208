//! How much a layer may ask for.

use std::fmt;

use lithify_tar::Bound;

/// Upper bounds on what one layer may make its reader do.
///
/// Every number in a layer is written by whoever made the image, so each has a bound. The defaults let every
/// honest image known to us pass; a larger one is read by raising the limit the error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the decompressed tar, padding and everything after the end-of-archive mark included. Default 64 GiB.
    pub tar_bytes: u64,
    /// Entries, skipped ones included. Default 8 388 608.
    pub entries: u64,
    /// Bytes of one path or link target as written, before it is cleaned. Default 4096, `PATH_MAX` of Linux.
    ///
    /// [`lithify_tree::PATH_MAX`] holds for paths in any case.
    pub path_bytes: u64,
    /// Bytes of PAX and GNU long-name headers before one entry; also of all global PAX records in force. Default 1 MiB.
    pub metadata_bytes: u64,
    /// Bytes of names and values of one entry's extended attributes. Default 1 MiB.
    pub xattr_bytes: u64,
    /// Apparent size of one file, holes included. Default 1 TiB.
    pub file_bytes: u64,
    /// Data segments of one sparse file (Go's CVE-2025-58183 was their absence of a bound). Default 1 048 576.
    pub sparse_segments: u64,
    /// Base-2 logarithm of the largest zstd window, which is memory. Default 27 (128 MiB), as `zstd -d` has it.
    pub zstd_window_log: u32,
    /// Leave out extended attributes Linux cannot hold (names over 255 bytes, values over 65536) and count them by name; without,
    /// they are an error. Default false.
    pub drop_xattrs: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let tar = lithify_tar::Limits::default();
        Self {
            tar_bytes: 64 << 30,
            entries: tar.entries,
            path_bytes: tar.path_bytes,
            metadata_bytes: tar.metadata_bytes,
            xattr_bytes: tar.xattr_bytes,
            file_bytes: tar.file_bytes,
            sparse_segments: tar.sparse_segments,
            zstd_window_log: 27,
            drop_xattrs: tar.drop_xattrs,
        }
    }
}

impl Limits {
    /// Returns those of the tar.
    #[must_use]
    pub fn tar(&self) -> lithify_tar::Limits {
        let mut tar = lithify_tar::Limits::default();
        tar.entries = self.entries;
        tar.path_bytes = self.path_bytes;
        tar.metadata_bytes = self.metadata_bytes;
        tar.xattr_bytes = self.xattr_bytes;
        tar.file_bytes = self.file_bytes;
        tar.sparse_segments = self.sparse_segments;
        tar.drop_xattrs = self.drop_xattrs;
        tar
    }
}

/// One of the [`Limits`] of a blob; [`lithify_tar::Limit`] has those of the tar in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::tar_bytes`].
    TarBytes,
    /// [`Limits::zstd_window_log`].
    ZstdWindow,
}

impl Bound for Limit {
    fn name(self) -> &'static str {
        match self {
            Self::TarBytes => "tar_bytes",
            Self::ZstdWindow => "zstd_window_log",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::TarBytes => "bytes of decompressed tar",
            Self::ZstdWindow => "bytes of zstd window",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A blob asked for more than its [`Limits`] allow.
pub type LimitExceeded = lithify_tar::LimitExceeded<Limit>;
