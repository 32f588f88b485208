//! The objects that images need.

use std::error::Error;
use std::fs::File;

use lithify_verity::file::FileDigest;

/// The beginning of the names of references to images: a splitstream names the images made of it,
/// and they can be made again.
const IMAGE_NAMES: &str = "composefs.image";

/// Reads which objects an image needs. Repositories know nothing of the format of images.
pub trait ImageObjects: Sync {
    /// Checks the structure of an image, and calls `each` with every object it needs; the same one
    /// may come more than once.
    ///
    /// # Errors
    /// The fault of the image.
    fn objects(
        &self,
        image: &File,
        each: &mut dyn FnMut(FileDigest),
    ) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Tells whether what a splitstream needs by a name is an image made of it.
pub(super) fn is_image_name(name: &str) -> bool {
    name.strip_prefix(IMAGE_NAMES)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
