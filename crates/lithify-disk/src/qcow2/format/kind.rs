//! Formats of backing files, and of compressed clusters.

use std::fmt;

/// The format of a file in a chain.
///
/// The format is never told from the file's content: a guest writes what it likes to the start of a
/// raw disk, and a reader that looks there would follow the names in it (CVE-2008-2004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The bytes of the disk.
    Raw,
    /// A qcow2 image.
    Qcow2,
}

impl Format {
    /// Returns the format of that name, as images and QEMU's options spell it.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Raw, Self::Qcow2]
            .into_iter()
            .find(|format| format.name().as_bytes() == name)
    }

    /// Returns the name of the format, as images and QEMU's options spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The method by which an image's compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Raw deflate (RFC 1951), which the format calls zlib.
    Deflate,
    /// Zstandard (RFC 8878).
    Zstd,
}
