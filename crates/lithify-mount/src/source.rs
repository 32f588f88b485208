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
    /// Where the image is in the file and its length, both in bytes, if it is not the whole file.
    pub(crate) part: Option<(u64, u64)>,
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
            part: None,
        })
    }

    /// An image that was opened by someone who knows its name.
    #[must_use]
    pub fn named(file: File, path: &Path) -> Self {
        Self {
            file,
            path: Some(path.to_path_buf()),
            part: None,
        }
    }

    /// Takes a part of the file for the image, such as a partition; both numbers in bytes, multiples of 512. All of the
    /// file is the file as it is.
    #[must_use]
    pub fn part(mut self, offset: u64, length: u64) -> Self {
        let whole = self.file.metadata().is_ok_and(|m| m.len() == length);
        self.part = (offset != 0 || !whole).then_some((offset, length));
        self
    }

    /// An image that need not have a name. The kernel keeps it as long as the mount exists.
    #[must_use]
    pub fn from_file(file: File) -> Self {
        Self {
            file,
            path: None,
            part: None,
        }
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
    /// A filesystem in one file: EROFS, squashfs or ext4.
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
    /// A composefs image: EROFS with names and metadata, whose files are objects.
    Composefs(Composefs),
}

/// A composefs image and the directory of the objects it refers to.
#[derive(Debug)]
pub struct Composefs {
    /// The image. The kernel mounts what is open here, whatever has its name by then.
    pub image: ImageFile,
    /// The directory of objects.
    pub objects: File,
    /// Has the kernel compare the fs-verity digest of each file with the one the image says, when it is opened, and refuse
    /// files without (`verity=require` of overlayfs).
    pub verity: bool,
    /// The repository and the name in it, such as `/repository:NAME`: what messages and the mount table show.
    pub name: PathBuf,
}

/// Most layers of an overlay (`OVL_MAX_STACK` of Linux), less one that may be needed for the root directory.
pub const LAYERS_MAX: usize = 499;
