//! Why an image cannot be moved from one place to another.

use std::io;

use lithify_digest::Mismatch;
use lithify_oci::source::Destinations;
use lithify_tree::{Printable, TreePath};

use super::{ErrorKind, Nested};

/// Why an image cannot be moved from one place to another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// All platforms, to where there is room for one.
    #[error(
        "`{name}` takes an image for one platform: say which with --platform, or copy all to oci-archive:FILE or oci:DIR"
    )]
    OnePlatform {
        /// The destination.
        name: String,
    },
    /// An image that `docker load` could not take.
    #[error("the image cannot be copied to `{name}`: {reason}")]
    NotArchivable {
        /// The destination.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A transferred blob is not what its descriptor says.
    #[error("blob {digest} is not what its descriptor says: {source}")]
    BlobMismatch {
        /// The blob's digest by its descriptor.
        digest: Box<lithify_digest::Digest>,
        /// The difference.
        source: Mismatch,
    },
    /// A blob that was being transferred cannot be read.
    #[error("blob {digest} cannot be read")]
    BlobRead {
        /// The blob.
        digest: Box<lithify_digest::Digest>,
        /// Why not.
        source: io::Error,
    },
    /// There is no manifest to be moved.
    #[error("there is no image to be copied: nothing it could have was chosen")]
    NoManifest,
    /// A file tree where an image with a manifest or configuration is needed.
    #[error(
        "`{name}` is a file tree without a manifest: it can be built, and copied as an image for one platform"
    )]
    NotTransferable {
        /// The name asked for.
        name: String,
    },
    /// A name in a file tree that layers reserve for removals.
    #[error("`{path}` has a name that layers reserve for whiteouts: rename it or leave it out")]
    WhiteoutName {
        /// The path.
        path: TreePath,
    },
    /// A place images are not copied to.
    #[error("images cannot be copied to `{name}`: use {Destinations}")]
    TransferDestination {
        /// The name given.
        name: String,
    },
    /// A bare name as a destination, which could mean several places.
    #[error(
        "`{}` does not say where the image is to go: write store:{name} for the store, docker://{name} for a registry, or one of {Destinations}", Printable(.name)
    )]
    BareDestination {
        /// The name given.
        name: String,
    },
    /// What has a signature's tag at the destination would be lost.
    #[error(
        "the destination has {there} under the tag `{tag}`, with signatures that {ours}, which was to be put there, does not have: copy without \
         --referrers, or delete that tag there first if they are not wanted"
    )]
    SignaturesThere {
        /// The tag.
        tag: String,
        /// What has it there.
        there: Box<lithify_digest::Digest>,
        /// What has it at the source.
        ours: Box<lithify_digest::Digest>,
    },
    /// The image has another digest than its new name.
    #[error("`{name}` was to be its new name, but the image has digest {found}")]
    OtherDigest {
        /// The name given.
        name: String,
        /// The digest of its manifest or index.
        found: Box<lithify_digest::Digest>,
    },
    /// What hosts sent for a blob is not what its digest says.
    #[error("what {} sent cannot be used", .hosts.join(" and "))]
    GivenBy {
        /// The hosts, each once.
        hosts: Vec<String>,
        /// What is wrong with it.
        source: Nested,
    },
}

impl TransferError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BlobMismatch { .. } => ErrorKind::Verification,
            Self::GivenBy { source, .. } => source.kind(),
            Self::BlobRead { source, .. } => ErrorKind::of_io(source),
            Self::OnePlatform { .. }
            | Self::TransferDestination { .. }
            | Self::BareDestination { .. } => ErrorKind::Usage,
            Self::NoManifest => ErrorKind::NotFound,
            Self::NotArchivable { .. }
            | Self::NotTransferable { .. }
            | Self::WhiteoutName { .. }
            | Self::OtherDigest { .. } => ErrorKind::Unsupported,
            Self::SignaturesThere { .. } => ErrorKind::Exists,
        }
    }
}
