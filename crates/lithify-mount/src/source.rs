//! What is to be mounted.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::MountError;

/// An image file or block device, open for reading.
#[derive(Debug)]
pub struct ImageFile {
    pub(crate) file: File,
    /// Where it is, if it has a name: what the mount table shows.
    pub(crate) path: Option<PathBuf>,
}

impl ImageFile {
    /// Opens an image by name.
    ///
    /// # Errors
    /// [`MountError::Image`].
    pub fn open(path: &Path) -> Result<Self, MountError> {
        let file = File::open(path).map_err(|source| MountError::Image {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            file,
            path: Some(path.to_path_buf()),
        })
    }

    /// An image that was opened by someone who knows its name.
    #[must_use]
    pub fn named(file: File, path: &Path) -> Self {
        Self {
            file,
            path: Some(path.to_path_buf()),
        }
    }

    /// An image that need not have a name. The kernel keeps it as long as the mount exists.
    #[must_use]
    pub fn from_file(file: File) -> Self {
        Self { file, path: None }
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The name it was opened by.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How messages call it.
    #[cfg(target_os = "linux")]
    pub(crate) fn shown(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PathBuf::from("-"))
    }
}

/// What is to be mounted, in one of the forms an image of a container comes in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Source {
    /// A filesystem in one file: EROFS or squashfs.
    Image(ImageFile),
    /// EROFS whose data is in further files: a merged image of layers with the layers' images.
    Merged {
        /// The image with names and metadata.
        image: ImageFile,
        /// The files with data, in the order of its device table: layers bottom first.
        devices: Vec<ImageFile>,
    },
    /// Layers made for an overlay, each EROFS or squashfs.
    Layers {
        /// Their images, bottom first; at most [`LAYERS_MAX`].
        images: Vec<ImageFile>,
        /// The layer whose root directory's owner, mode, time and attributes are those of the result: the topmost one
        /// that describes it. Without, the topmost layer's.
        root: Option<usize>,
    },
}

/// Most layers of an overlay (`OVL_MAX_STACK` of Linux), less one that may be needed for the root directory.
pub const LAYERS_MAX: usize = 499;
