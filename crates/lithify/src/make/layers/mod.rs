//! Layers into images of their own, each once: what is in the store already is taken from there.
//!
//! 1. The ids of the layers say what to look for. What is missing is locked, all keys in one order whatever the image,
//!    so that builders wait for each other but never in a circle, and looked for again.
//! 2. Missing layers are decoded, several at a time, each into a file of the store that has no name yet.
//!    A layer that is an EROFS image already is verified and kept as it is, unless an option asks for other bytes.
//! 3. One after the other, bottom first, they are applied to the merged filesystem ([`turns`]). That says whether a
//!    layer means the same on other lower layers, so by which key it is kept, and gives the tree of its image.
//! 4. The image is finished and kept.
//!
//! Nothing is merged when nothing is missing.

mod ids; // diff_ids and chain ids
mod turns; // applying layers in order
mod work; // making the missing ones

use std::collections::{BTreeMap, HashMap};

use lithify_store::{Entry, InputKind, Key, KeyLock};
use serde::{Deserialize, Serialize};

use super::filesystem::{Filesystem, Kind};
use crate::budgets::Budgets;
use crate::depot::{self, Depot};
use crate::{Error, Image, ReadOptions};

pub(crate) use ids::{LayerId, layer_ids};

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
        let version = self.filesystem.kind.writer_version();
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
    fn shared_key(&self, id: &LayerId) -> Result<Key, Error> {
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
    fn chain_key(&self, id: &LayerId) -> Result<Key, Error> {
        self.key(InputKind::ChainId, id.chain_id)
    }
}

/// Makes or finds the images of all layers, bottom first.
pub(crate) fn build(
    image: &Image,
    depot: &Depot,
    options: &LayerOptions,
    read: &ReadOptions,
    budgets: &Budgets,
) -> Result<Vec<BuiltLayer>, Error> {
    let count = image.layer_count();
    let Some(ids) = layer_ids(image, options.takes_as_is()) else {
        // What has no id before it was read is not looked for.
        return work::make(
            image,
            depot,
            options,
            read,
            budgets,
            vec![None; count],
            HashMap::new(),
        );
    };
    let found = find(depot, options, &ids)?;
    if found.iter().all(Option::is_some) {
        return Ok(found.into_iter().flatten().collect());
    }
    let locks = lock(depot, options, &ids, &found)?;
    // Whoever held the locks may have made them.
    let found = find(depot, options, &ids)?;
    work::make(image, depot, options, read, budgets, found, locks)
}

/// Returns what the store has of the layers.
pub(crate) fn find(
    depot: &Depot,
    options: &LayerOptions,
    ids: &[LayerId],
) -> Result<Vec<Option<BuiltLayer>>, Error> {
    ids.iter().map(|id| find_one(depot, options, id)).collect()
}

fn find_one(
    depot: &Depot,
    options: &LayerOptions,
    id: &LayerId,
) -> Result<Option<BuiltLayer>, Error> {
    for (key, shared) in [
        (options.shared_key(id)?, true),
        (options.chain_key(id)?, false),
    ] {
        if let Some(entry) = depot.get(&key)? {
            return Ok(Some(BuiltLayer {
                id: *id,
                shared,
                reused: true,
                facts: depot::from_facts(&entry)?,
                entry,
            }));
        }
    }
    Ok(None)
}

/// Locks what is missing: a layer by its own id, so that those who make it over other layers wait too; one that the
/// image has a second time, which may differ from the first for what lies below, by its chain.
fn lock(
    depot: &Depot,
    options: &LayerOptions,
    ids: &[LayerId],
    found: &[Option<BuiltLayer>],
) -> Result<HashMap<usize, KeyLock>, Error> {
    let mut keys = Vec::new();
    let mut first = HashMap::new();
    for (index, id) in ids.iter().enumerate() {
        if found[index].is_some() {
            continue;
        }
        let key = match first.insert(id.diff_id, index) {
            None => options.shared_key(id)?,
            Some(_) => options.chain_key(id)?,
        };
        keys.push((key, index));
    }
    let all: Vec<Key> = keys.iter().map(|(key, _)| key.clone()).collect();
    let mut locks = HashMap::new();
    for lock in depot.lock_all(&all)? {
        if let Some((_, index)) = keys.iter().find(|(key, _)| key == lock.key()) {
            locks.insert(*index, lock);
        }
    }
    Ok(locks)
}
