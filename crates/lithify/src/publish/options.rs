//! How an image is published, and what was.

use std::num::NonZeroUsize;

use lithify_composefs::FileAlgorithm;
use serde::Serialize;

use super::spec::ErofsSpec;
use crate::Compression;

/// As what an image is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishForm {
    /// An index of the image and of the same image with EROFS layers, or these [alone](PublishOptions::only).
    #[default]
    ErofsLayers,
    /// One EROFS image with the merged filesystem, as an artifact.
    ErofsImage,
    /// One squashfs image with the merged filesystem, as an artifact.
    Squashfs,
    /// Digests of composefs (fs-verity) of the manifest, the configuration and the composefs image, and that image, as an
    /// artifact for each [algorithm](PublishOptions::algorithms).
    Composefs,
}

/// How an image is published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishOptions {
    /// As what.
    pub form: PublishForm,
    /// Publish the image with EROFS layers alone, without the one it is made of: a manifest for one platform, an index of
    /// such manifests for several. What knows nothing of EROFS then finds nothing to run. Only for EROFS layers.
    pub only: bool,
    /// By which convention EROFS layers are described.
    pub spec: ErofsSpec,
    /// Compress each EROFS layer as a whole with zstd, for the way. Whoever uses it decompresses it.
    pub zstd: bool,
    /// How file data is compressed in the images. Default as for builds.
    pub compression: Option<Compression>,
    /// Append a dm-verity hash tree to each image and publish the root hashes.
    pub verity: bool,
    /// Leave out extended attributes the images cannot hold; without, they are an error.
    pub drop_xattrs: bool,
    /// The algorithms of composefs digests. Default: SHA-256, as for repositories.
    pub algorithms: Vec<FileAlgorithm>,
    /// Blobs moved at the same time; `None` is 4.
    pub transfers: Option<NonZeroUsize>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub chunk: Option<u64>,
    /// Wait until what was written here is on the disk. Default true.
    pub durable: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            form: PublishForm::default(),
            only: false,
            spec: ErofsSpec::default(),
            zstd: false,
            compression: None,
            drop_xattrs: false,
            algorithms: vec![FileAlgorithm::Sha256],
            verity: false,
            transfers: None,
            chunk: None,
            durable: true,
        }
    }
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishReport {
    /// Digest of what the destination's name leads to: an index, or the image's manifest an artifact was added to.
    pub digest: String,
    /// The manifests, in the order of the index.
    pub manifests: Vec<PublishedManifest>,
    /// The reasons why artifacts that are there are not listed as referring to the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
}

/// One manifest of what was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishedManifest {
    /// Its digest.
    pub digest: String,
    /// `tar` for the image's own, `erofs` for the one with EROFS layers, else the type of the artifact.
    pub form: String,
    /// What it is for.
    pub platform: String,
    /// Its layers' media types, sizes and digests.
    pub layers: Vec<PublishedLayer>,
}

/// One layer of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishedLayer {
    /// Its media type.
    pub media_type: String,
    /// Digest of its blob.
    pub digest: String,
    /// Bytes of its blob.
    pub size: u64,
}
