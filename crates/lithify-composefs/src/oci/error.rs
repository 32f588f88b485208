//! The errors of images in a repository.

use std::io;

use lithify_digest::{Digest, Mismatch, ParseError};
use lithify_escape::Escaped;
use lithify_tar::TarError;

use crate::repository::{EntryError, NameError, ObjectError};
use crate::splitstream::StreamError;

/// Failures of writing and reading layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A file that is longer or shorter than its header says.
    #[error("a file of the layer has {found} bytes, its header says {expected}")]
    FileSize {
        /// Bytes the header says.
        expected: u64,
        /// Bytes there are, at least.
        found: u64,
    },
    /// Data of a file without a file, or a file inside a file.
    #[error("the data of one file ended before that of another began, or none began")]
    Order,
    /// A file that is to be an object, but is too short for one.
    #[error("a file of {found} bytes is part of the stream: objects have more than {limit}")]
    Short {
        /// Its bytes.
        found: u64,
        /// Most bytes of a file in the stream.
        limit: u64,
    },
    /// A file whose bytes do not pass, in a layer whose whole is compared.
    #[error(
        "the layer is compared with its diff_id here, for which the bytes of all files are needed"
    )]
    Unseen,
    /// A layer that is not what its name says.
    #[error("the layer is not {expected}: {source}")]
    Content {
        /// The diff_id.
        expected: Box<Digest>,
        /// The difference.
        #[source]
        source: Mismatch,
    },
    /// A tar that is none, or is cut.
    #[error(transparent)]
    Tar(#[from] Box<TarError>),
    /// The repository.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The stream.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The source of the layer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Failures of writing and reading images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A tag that is not there.
    #[error("the repository has no image `{}`", Escaped(.name))]
    NoTag {
        /// The tag.
        name: String,
    },
    /// A tag that leads to something else than a manifest.
    #[error("the tag `{}` leads to `{}`, which is no manifest", Escaped(.name), Escaped(.stream))]
    NotAManifest {
        /// The tag.
        name: String,
        /// The stream.
        stream: String,
    },
    /// A document that is not JSON, or lacks what every one has.
    #[error("the {document} {digest} is no {document}")]
    Json {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// Its digest.
        digest: Box<Digest>,
        /// The fault.
        #[source]
        source: serde_json::Error,
    },
    /// A digest in a document.
    #[error("the {document} {digest} names `{}`", Escaped(.found))]
    Digest {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// Its digest.
        digest: Box<Digest>,
        /// The digest it names.
        found: String,
        /// The fault.
        #[source]
        source: ParseError,
    },
    /// A document that is not what its name says.
    #[error("the {document} is not {expected}: {source}")]
    Content {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// The digest promised.
        expected: Box<Digest>,
        /// The difference.
        #[source]
        source: Mismatch,
    },
    /// A document of a size that none has.
    #[error("the {document} {digest} has {found} bytes, expected at most {limit}")]
    TooLong {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// Its digest.
        digest: Box<Digest>,
        /// Its bytes.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A manifest and a configuration of different images.
    #[error("the manifest has {manifest} layers, its configuration {config}")]
    LayerCount {
        /// Layers of the manifest.
        manifest: usize,
        /// Layers of the configuration.
        config: usize,
    },
    /// A layer that was not stored, or that the streams do not name.
    #[error("the layer {layer} is not in the repository: import the image once more")]
    NoLayer {
        /// Its diff_id, or digest.
        layer: Box<Digest>,
    },
    /// A configuration that the manifest's stream does not name.
    #[error("the configuration {config} is not in the repository: import the image once more")]
    NoConfig {
        /// Its digest.
        config: Box<Digest>,
    },
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A stream that cannot be put together.
    #[error("the {document} {digest}")]
    Stream {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// Its digest.
        digest: Box<Digest>,
        /// The fault.
        #[source]
        source: StreamError,
    },
    /// The repository.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The repository.
    #[error(transparent)]
    Entry(#[from] EntryError),
}
