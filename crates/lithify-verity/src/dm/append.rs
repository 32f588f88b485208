//! Trees behind finished images.

use lithify_storage::Storage;

use super::builder::{TreeBuilder, VerityReport};
use super::error::WriteError;
use super::options::VerityOptions;

/// Puts superblock and hash tree behind the image that is the first `image_size` bytes of `storage`, which is cut there
/// first: what an earlier, perhaps interrupted, call left is replaced.
///
/// The image is read once. Hashing it is nearly all of the work, which [`VerityOptions::threads`] threads share.
///
/// # Errors
/// A storage shorter than the image, an empty image, sizes or a salt dm-verity does not have, and what the storage says.
/// The image itself is as it was then.
pub fn append<S: Storage + ?Sized>(
    storage: &mut S,
    image_size: u64,
    options: &VerityOptions,
) -> Result<VerityReport, WriteError> {
    let mut tree = TreeBuilder::new(image_size, options)?;
    let found = storage.size().map_err(|source| WriteError::Io {
        operation: "find the size of the image",
        offset: 0,
        source,
    })?;
    if found < image_size {
        return Err(WriteError::Short {
            expected: image_size,
            found,
        });
    }
    // Cut and extended before anything is read: a disk without room shows only when blocks are written, but a file
    // system that cannot hold a file of this size says so here.
    for size in [image_size, tree.end()] {
        storage.set_size(size).map_err(|source| WriteError::Io {
            operation: "set the file's size to end",
            offset: size,
            source,
        })?;
    }
    tree.update_from(storage)?;
    tree.finish(storage)
}
