//! Bounds on what one tar may ask for.

use std::fmt;

/// Upper bounds on what one tar may make its reader do.
///
/// Every number in a tar is written by whoever made it, so each has a bound.
///
/// ```
/// let mut limits = lithify_tar::Limits::default();
/// limits.entries = 1000;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Entries, skipped ones included. Default 8 388 608.
    pub entries: u64,
    /// Bytes of one path or link target as written. Default 4096, `PATH_MAX` of Linux.
    pub path_bytes: u64,
    /// Bytes of PAX and GNU long-name headers before one entry; also of one global PAX header. Default 1 MiB.
    pub metadata_bytes: u64,
    /// Bytes of names and values of one entry's extended attributes. Default 1 MiB.
    pub xattr_bytes: u64,
    /// Apparent size of one file, holes included. Default 1 TiB.
    pub file_bytes: u64,
    /// Data segments of one sparse file (Go's CVE-2025-58183 was their absence of a bound). Default 1 048 576.
    pub sparse_segments: u64,
    /// Leave out extended attributes Linux cannot hold (names over 255 bytes, values over 65536) and count them by name;
    /// without, they are an error. Default false.
    pub drop_xattrs: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 8 << 20,
            path_bytes: 4096,
            metadata_bytes: 1 << 20,
            xattr_bytes: 1 << 20,
            file_bytes: 1 << 40,
            sparse_segments: 1 << 20,
            drop_xattrs: false,
        }
    }
}

/// One of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
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
}

/// A bound among others, as messages name it.
pub trait Bound: Copy {
    /// The name under which it is raised.
    #[must_use]
    fn name(self) -> &'static str;

    /// What it bounds, in the plural, behind a number.
    #[must_use]
    fn subject(self) -> &'static str;
}

impl Bound for Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::PathBytes => "path_bytes",
            Self::MetadataBytes => "metadata_bytes",
            Self::XattrBytes => "xattr_bytes",
            Self::FileBytes => "file_bytes",
            Self::SparseSegments => "sparse_segments",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::PathBytes => "bytes of path",
            Self::MetadataBytes => "bytes of extended headers",
            Self::XattrBytes => "bytes of extended attributes",
            Self::FileBytes => "bytes of file size",
            Self::SparseSegments => "segments of a sparse file",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// More than a limit allows was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded<L = Limit> {
    /// The limit.
    pub limit: L,
    /// Its value, in the unit of what was found.
    pub max: u64,
    /// The number asked for; the first value over the limit where the whole was never read.
    pub found: u64,
}

impl<L: Copy> LimitExceeded<L> {
    /// Compares a number with its limit.
    ///
    /// # Errors
    /// When `found` is over `max`.
    pub const fn check(limit: L, max: u64, found: u64) -> Result<(), Self> {
        if found > max {
            Err(Self { limit, max, found })
        } else {
            Ok(())
        }
    }
}

impl<L: Bound> fmt::Display for LimitExceeded<L> {
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

impl<L: Bound + fmt::Debug> std::error::Error for LimitExceeded<L> {}

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
