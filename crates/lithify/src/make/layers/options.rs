//! How layers become images, and what is kept of one.

use std::collections::BTreeMap;

use lithify_store::{Entry, InputKind, Key};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::fs::{Filesystem, Kind};
use crate::image::LayerId;
use crate::make::depot;

/// What the store calls a layer that is an EROFS image as it is.
const NATIVE: &str = "erofs-native-layer";
/// The version of that format: nothing is written, the image is the layer itself.
const NATIVE_VERSION: u32 = 1;

/// The file of an image in its entry of the store.
pub(crate) const IMAGE: &str = "image";

/// What is kept about a layer's image besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerFacts {
    /// Whether the root directory's inode is the layer's own, not a stand-in.
    pub(crate) describes_root: bool,
    /// Bytes of tar.
    pub(crate) tar_size: u64,
    /// Entries of the tar.
    pub(crate) entries: u64,
    /// Bytes of the filesystem, without what is appended to it.
    pub(crate) image_size: u64,
    /// Its hash tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verity: Option<crate::description::Verity>,
    /// Files that lost an attribute the filesystem cannot hold, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) dropped_xattrs: BTreeMap<String, u64>,
}

/// A layer's image.
#[derive(Clone, Debug)]
pub(crate) struct BuiltLayer {
    pub(crate) id: LayerId,
    /// Whether it suits any lower layers.
    pub(crate) shared: bool,
    /// Whether it was there already.
    pub(crate) reused: bool,
    pub(crate) facts: LayerFacts,
    pub(crate) entry: Entry,
}

/// How layers become images: what their keys say besides the layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerOptions {
    pub(crate) filesystem: Filesystem,
    pub(crate) verity: bool,
    pub(crate) durable: bool,
}

impl LayerOptions {
    /// The options that change the bytes, by name.
    pub(crate) fn named(&self) -> BTreeMap<String, String> {
        let mut options = self.filesystem.options();
        if self.verity {
            options.insert("verity".to_owned(), "sha256".to_owned());
        }
        options
    }

    fn key(&self, kind: InputKind, digest: lithify_digest::Digest) -> Result<Key, Error> {
        let format = format!("{}-layer", self.filesystem.kind.name());
        let version = self.filesystem.kind.writer_version()?;
        depot::key(kind, digest, &format, version, self.key_options()?)
    }

    /// Returns everything the bytes of a layer depend on besides its content, defaults too.
    pub(crate) fn key_options(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut options = self.filesystem.key_options()?;
        let verity = match self.verity {
            true => format!("sha256, version {}", lithify_verity::WRITER_VERSION),
            false => "none".to_owned(),
        };
        options.insert("verity".to_owned(), verity);
        Ok(options)
    }

    /// Whether layers that are EROFS images serve as they are: with no option that asks for other bytes.
    pub(crate) fn takes_as_is(&self) -> bool {
        let filesystem = &self.filesystem;
        filesystem.kind == Kind::Erofs
            && filesystem.compression.is_none()
            && filesystem.block_size.is_none()
            && !self.verity
    }

    /// The key of a layer that means the same whatever lies below it.
    pub(super) fn shared_key(&self, id: &LayerId) -> Result<Key, Error> {
        if id.as_is {
            // Its diff_id is the digest of the image itself; nothing of ours decides its bytes.
            let options = BTreeMap::new();
            return depot::key(
                InputKind::DiffId,
                id.diff_id,
                NATIVE,
                NATIVE_VERSION,
                options,
            );
        }
        self.key(InputKind::DiffId, id.diff_id)
    }

    /// The key of a layer with everything below it.
    pub(super) fn chain_key(&self, id: &LayerId) -> Result<Key, Error> {
        self.key(InputKind::ChainId, id.chain_id)
    }
}
