//! Holes of sparse files as zeros: layers are written so, because a sparse member is a file of another name and size to every
//! reader that does not know the format (image-spec, `layer.md`, "File Types": sparse files should not be used).

/// How the holes of sparse files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holes {
    /// As the zeros they read as, which everyone understands. Default, with 64 GiB.
    Zeros {
        /// Bytes of them in one tar after which the next file with a hole is an error.
        bytes_max: u64,
    },
    /// As a map of where data is: sparse format 1.0 of GNU tar. Only GNU tar, libarchive, Go, Python and lithify know it.
    Map,
}

impl Default for Holes {
    fn default() -> Self {
        Self::Zeros {
            bytes_max: 64 << 30,
        }
    }
}
