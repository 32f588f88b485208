//! How much a layer may ask for.

use std::fmt;

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
        Self {
            tar_bytes: 64 << 30,
            entries: 8 << 20,
            path_bytes: 4096,
            metadata_bytes: 1 << 20,
            xattr_bytes: 1 << 20,
            file_bytes: 1 << 40,
            sparse_segments: 1 << 20,
            zstd_window_log: 27,
            drop_xattrs: false,
        }
    }
}

/// One of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::tar_bytes`].
    TarBytes,
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::path_bytes`].
    PathBytes,
    /// [`Limits::metadata_bytes`].
    MetadataBytes,
    /// [`Limits::xattr_bytes`].
    XattrBytes,
    /// [`Limits::file_bytes`].
    FileBytes,
    /// [`Limits::sparse_segments`].
    SparseSegments,
    /// [`Limits::zstd_window_log`].
    ZstdWindow,
}

impl Limit {
    /// The name of the field of [`Limits`] that raises it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TarBytes => "tar_bytes",
            Self::Entries => "entries",
            Self::PathBytes => "path_bytes",
            Self::MetadataBytes => "metadata_bytes",
            Self::XattrBytes => "xattr_bytes",
            Self::FileBytes => "file_bytes",
            Self::SparseSegments => "sparse_segments",
            Self::ZstdWindow => "zstd_window_log",
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::TarBytes => "bytes of decompressed tar",
            Self::Entries => "entries",
            Self::PathBytes => "bytes of path",
            Self::MetadataBytes => "bytes of extended headers",
            Self::XattrBytes => "bytes of extended attributes",
            Self::FileBytes => "bytes of file size",
            Self::SparseSegments => "segments of a sparse file",
            Self::ZstdWindow => "bytes of zstd window",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A layer asked for more than its [`Limits`] allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: Limit,
    /// Its value, in the unit of what was found.
    pub max: u64,
    /// What the layer asked for; the first value over the limit where the whole was never read.
    pub found: u64,
}

impl LimitExceeded {
    /// An error when `found` is over `max`.
    pub(crate) const fn check(limit: Limit, max: u64, found: u64) -> Result<(), Self> {
        if found > max {
            Err(Self { limit, max, found })
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} are over the limit of {}; raise `{}` if the image is trusted",
            self.found,
            self.limit.subject(),
            self.max,
            self.limit.name()
        )
    }
}

impl std::error::Error for LimitExceeded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_limit_and_what_to_raise() {
        let error = LimitExceeded::check(Limit::Entries, 2, 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "3 entries are over the limit of 2; raise `entries` if the image is trusted"
        );
        assert_eq!(LimitExceeded::check(Limit::Entries, 3, 3), Ok(()));
    }
}
