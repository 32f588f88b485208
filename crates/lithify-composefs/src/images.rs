//! The images of a repository, read.

use std::error::Error;
use std::fs::File;

use lithify_cancel::CancelToken;
use lithify_verity::file::FileDigest;

use crate::image;
use crate::repository::ImageObjects;

/// Reads images for a collection or a check, by [`image::objects`].
#[derive(Clone, Debug, Default)]
pub struct Images {
    cancel: CancelToken,
}

impl Images {
    /// Reads images until the token is used.
    #[must_use]
    pub fn new(cancel: &CancelToken) -> Self {
        Self {
            cancel: cancel.clone(),
        }
    }
}

impl ImageObjects for Images {
    fn objects(
        &self,
        image: &File,
        each: &mut dyn FnMut(FileDigest),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(image::objects(image, &self.cancel, each)?)
    }
}
