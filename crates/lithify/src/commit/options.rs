//! Options of a commit, and its report.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Serialize;

use crate::description::RecordedDescription;
use crate::manifest::encode::LayerCompression;

/// How the layer is made, and what the image says about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// How the layer is compressed. Default gzip.
    pub compression: LayerCompression,
    /// Where the overlay is mounted, if it still is: renamed directories and files of which only metadata was changed are
    /// read from there. Without, they are errors.
    pub view: Option<PathBuf>,
    /// Whether the overlay kept its own attributes in `user.overlay.` (`userxattr`). Default: found out; of what
    /// [`MountOptions::writable`](crate::MountOptions::writable) was given it is known that it did not.
    pub user_attributes: Option<bool>,
    /// Whether fuse-overlayfs made the directory. Default: its marks are errors.
    pub fuse_overlayfs: Option<bool>,
    /// When, as the image will say (RFC 3339). Default: what the base image says, for the same bytes every time.
    pub created: Option<String>,
    /// What the image's history says made the layer. Default `lithify commit`.
    pub created_by: Option<String>,
    /// A comment in the history.
    pub comment: Option<String>,
    /// Blobs moved at the same time; `None` is 4.
    pub transfers: Option<NonZeroUsize>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub chunk: Option<u64>,
    /// Wait until the image is on the disk. Default false.
    pub durable: bool,
}

/// What a commit made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommitReport {
    /// Digest of the new image's manifest.
    pub manifest_digest: String,
    /// Digest of the new layer's blob.
    pub layer_digest: String,
    /// Digest of its uncompressed tar.
    pub diff_id: String,
    /// Size of the blob in bytes.
    pub layer_size: u64,
    /// Layers of the image, the new one included.
    pub layers: usize,
    /// Entries of the new layer.
    pub entries: u64,
    /// Names it removes.
    pub whiteouts: u64,
    /// Directories it empties.
    pub opaque: u64,
    /// Sockets, which a layer cannot hold: the names are removed.
    pub sockets: u64,
    /// Of a directory that a build wrote: what became of what was written beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedDescription>,
}
