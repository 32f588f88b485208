//! Why an image cannot be opened.

use std::fmt;
use std::path::PathBuf;

use lithify_escape::Escaped;

use crate::blob::BlobName;
use crate::platform::Platform;
use crate::{archive, blob, layout, manifest};

/// Names printed in one message at most.
const SHOWN: usize = 20;

/// Why a source yields no image. Names from images are printed escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source that this version of lithify cannot read.
    #[error("{what} cannot be read yet: {instead}")]
    Unavailable {
        /// What kind of source.
        what: &'static str,
        /// What to do instead.
        instead: String,
    },
    /// A `rootfs:` or `tar:` source.
    #[error("{kind} is a file tree, not an image: it has no config and no layers")]
    NotAnImage {
        /// The source's transport.
        kind: &'static str,
    },
    /// A docker-archive, where a manifest was asked for.
    #[error("a docker-archive holds images of one platform each and no manifests")]
    NoManifest,
    /// The archive file itself.
    #[error("`{}` {source}", Escaped::path(.path))]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: archive::Error,
    },
    /// The layout's own files.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// `manifest.json` of a docker-archive is missing or cannot be used.
    #[error(transparent)]
    DockerArchive(#[from] DockerArchiveError),
    /// A blob that is missing, too large, or not what its digest says.
    #[error(transparent)]
    Blob(#[from] blob::Error),
    /// A manifest, index or config that is refused.
    #[error("{name}: {source}")]
    Manifest {
        /// Which one.
        name: BlobName,
        /// Why.
        source: manifest::Error,
    },
    /// Nothing there is a container image.
    #[error("there is no container image in it")]
    Empty,
    /// No image of that name, digest or position.
    #[error("there is no image `{}`; there {}", Escaped(.wanted), Names(.there))]
    NoSuchImage {
        /// What was asked for.
        wanted: String,
        /// Names of the images there; those without one are left out.
        there: Vec<String>,
    },
    /// Several images, and nothing that tells which is meant.
    #[error("there are several images, say which by :TAG, @DIGEST or :@N; there {}", Names(.there))]
    Several {
        /// Names of the images there, or digests of those without one.
        there: Vec<String>,
    },
    /// No image for the platform asked for.
    #[error("there is no image for platform {wanted}; there {}{}; choose one by --platform", Names(.there), Absent(*.absent))]
    Platform {
        /// The platform asked for, or this host's.
        wanted: Box<Platform>,
        /// The platforms there, in order, each once.
        there: Vec<Platform>,
        /// Manifests and indexes that are listed but missing.
        absent: usize,
    },
    /// Indexes within indexes, deeper than allowed.
    #[error("indexes are nested more than {limit} deep (limit `index_depth`)")]
    IndexDepth {
        /// The limit.
        limit: usize,
    },
    /// More descriptors in all indexes together than allowed.
    #[error("the indexes list more than {limit} manifests (limit `index_entries`)")]
    IndexEntries {
        /// The limit.
        limit: usize,
    },
    /// More bytes of documents to read than allowed before an image was found.
    #[error(
        "more than {limit} bytes of manifests and configs to read (limit `document_bytes`): say which image by :TAG or @DIGEST"
    )]
    DocumentBytes {
        /// The limit.
        limit: u64,
    },
    /// A layer that only its vendor distributes, and whose blob is not there.
    #[error("layers[{index}] is not distributed with the image{}; fetch its blob into the layout", Urls(.urls))]
    ForeignLayer {
        /// Position among the layers.
        index: usize,
        /// Where the image says it can be got.
        urls: Vec<String>,
    },
    /// A position beyond the last layer.
    #[error("there is no layer {index}: the image has {layers}")]
    NoSuchLayer {
        /// The position asked for.
        index: usize,
        /// Number of layers.
        layers: usize,
    },
}

/// Why `manifest.json` of a docker-archive cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerArchiveError {
    /// There is no `manifest.json`.
    #[error("no docker-archive: there is no file `manifest.json`{hint}")]
    NoManifest {
        /// What it seems to be instead; empty or starting with `; `.
        hint: &'static str,
    },
    /// An archive of Docker before 1.10, without configs and diff ids.
    #[error(
        "this archive has only `repositories`, the format of `docker save` before version 1.10: load it into a current Docker and save it again"
    )]
    Legacy,
    /// `manifest.json` is not a list of images.
    #[error("manifest.json: {source}")]
    Json {
        /// Why.
        source: manifest::Error,
    },
}

impl Error {
    /// Whether the content is not what a digest or size promises, as opposed to absent, malformed or
    /// not supported.
    ///
    /// ```
    /// assert!(!lithify_oci::Error::Empty.is_verification());
    /// ```
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Blob(e) | Self::Layout(layout::Error::Blob(e)) => e.is_verification(),
            Self::Layout(layout::Error::Mismatch { .. })
            | Self::Manifest {
                source: manifest::Error::DiffIdConflict { .. },
                ..
            } => true,
            _ => false,
        }
    }
}

/// What is shown so that it cannot drive a terminal.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        Escaped(self).to_string()
    }
}

impl Shown for Platform {
    /// As it prints itself, which is escaped.
    fn shown(&self) -> String {
        self.to_string()
    }
}

/// A list of names, escaped and cut short.
struct Names<'a, T>(&'a [T]);

impl<T: Shown> fmt::Display for Names<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0 else {
            return f.write_str("is none with a name");
        };
        write!(
            f,
            "{} {}",
            if rest.is_empty() { "is" } else { "are" },
            first.shown()
        )?;
        for name in rest.iter().take(SHOWN - 1) {
            write!(f, ", {}", name.shown())?;
        }
        match rest.len().saturating_sub(SHOWN - 1) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

struct Absent(usize);

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} more listed but not there)"),
        }
    }
}

struct Urls<'a>(&'a [String]);

impl fmt::Display for Urls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [first, ..] => write!(f, ", but from {}", Escaped(first)),
        }
    }
}
