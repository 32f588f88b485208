//! Blobs by what they are wanted as, and the check of small ones against their digest.

use std::fmt;
use std::io::{self, Read as _};

use lithify_digest::{Algorithm, Digest, Mismatch, Verifier};
use lithify_escape::{Escaped, Printable};

pub use crate::opened::{Blob, RandomAccess};

/// What a blob was wanted as, for errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobName {
    /// The `oci-layout` file.
    OciLayout,
    /// The `index.json` file.
    IndexJson,
    /// A manifest or index.
    Manifest(Box<Digest>),
    /// An image config.
    Config(Box<Digest>),
    /// A layer of an image.
    Layer(Box<Digest>),
    /// What has a tag.
    Tag(String),
    /// A path that an archive's own `manifest.json` names.
    Path(String),
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OciLayout => f.write_str("oci-layout"),
            Self::IndexJson => f.write_str("index.json"),
            Self::Manifest(digest) => write!(f, "manifest {digest}"),
            Self::Config(digest) => write!(f, "config {digest}"),
            Self::Layer(digest) => write!(f, "layer {digest}"),
            Self::Tag(tag) => write!(f, "tag {}", Escaped(tag)),
            Self::Path(path) => write!(f, "`{}`", Printable(path)),
        }
    }
}

/// Why a blob cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not there.
    #[error("{name} is missing")]
    Missing {
        /// Which blob.
        name: BlobName,
    },
    /// Something that is no regular file stands in its place: a symlink, FIFO, device or directory
    /// in a layout, or anything but a file in an archive.
    #[error(
        "{name} is not a regular file; copy the layout with links followed (`cp -rL`) if they are meant to be there"
    )]
    NotRegular {
        /// Which blob.
        name: BlobName,
    },
    /// A directory of the layout on the way to it is a symbolic link.
    #[error(
        "{name} is not read: `{}` is a symbolic link, and none inside a layout is followed; copy the layout with links followed \
         (`cp -rL`), or mount what is shared there (`mount --bind`)",
        Escaped::path(.directory)
    )]
    LinkedDirectory {
        /// Which blob.
        name: BlobName,
        /// The link, relative to the layout.
        directory: std::path::PathBuf,
    },
    /// More bytes than a document may have.
    #[error("{name} has {found} bytes, at most {limit} are allowed (limit `{option}`)")]
    TooLarge {
        /// Which blob.
        name: BlobName,
        /// Its size as declared, or the bytes there are.
        found: u64,
        /// The limit.
        limit: u64,
        /// Its name in [`Limits`](crate::Limits).
        option: &'static str,
    },
    /// A blob whose size or content is not that of its descriptor.
    #[error("{name} is not what its descriptor says: {source}")]
    Mismatch {
        /// Which blob.
        name: BlobName,
        /// The difference.
        source: Mismatch,
    },
    /// Reading failed.
    #[error("cannot read {name}: {source}")]
    Io {
        /// Which blob.
        name: BlobName,
        /// The system's error.
        source: io::Error,
    },
    /// What belongs to a manifest, but is no part of it, cannot be listed: what holds it does not say.
    #[error("it cannot be said what refers to {name}: {source}")]
    Unlisted {
        /// The manifest, or a tag for what belongs to it.
        name: BlobName,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What holds the content cannot give it: a registry, a daemon.
    #[error("{name}: {source}")]
    Content {
        /// Which blob.
        name: BlobName,
        /// Whether the content there is not what its digest or size promises.
        verification: bool,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The archive's entry cannot be used.
    #[error("{name}: {source}")]
    Archive {
        /// Which blob.
        name: BlobName,
        /// What is wrong with the entry.
        source: crate::archive::Error,
    },
}

impl Error {
    /// Whether the content is not what its digest or size promises.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::Mismatch { .. }
                | Self::Content {
                    verification: true,
                    ..
                }
        )
    }
}

/// What a small blob must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) size: Option<u64>,
    pub(crate) digest: Option<Digest>,
    pub(crate) limit: u64,
    /// Name of the limit in `Limits`.
    pub(crate) option: &'static str,
}

/// Reads a whole blob, never more than the limit and one byte, and checks it.
pub(crate) fn read(blob: Blob, name: BlobName, expected: Expected) -> Result<Vec<u8>, Error> {
    let Expected {
        size,
        digest,
        limit,
        option,
    } = expected;
    let declared = size.unwrap_or(blob.len());
    if declared > limit {
        return Err(Error::TooLarge {
            name,
            found: declared,
            limit,
            option,
        });
    }
    if let Some(expected) = size
        && let Err(source) = Mismatch::of_sizes(expected, blob.len())
    {
        return Err(Error::Mismatch { name, source });
    }
    let mut bytes = Vec::new();
    if let Err(source) = blob
        .into_reader()
        .take(declared.saturating_add(1))
        .read_to_end(&mut bytes)
    {
        return Err(Error::Io { name, source });
    }
    // The file may have changed since its length was asked for.
    let found = bytes.len() as u64;
    if size.is_none() && found > limit {
        return Err(Error::TooLarge {
            name,
            found,
            limit,
            option,
        });
    }
    let mut verifier = Verifier::promised(digest, size);
    match verifier.update(&bytes).and_then(|()| verifier.finish()) {
        Ok(()) => Ok(bytes),
        Err(source) => Err(Error::Mismatch { name, source }),
    }
}

/// The digest by which an image config without a descriptor is known.
pub(crate) fn image_id(config: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, config)
}
