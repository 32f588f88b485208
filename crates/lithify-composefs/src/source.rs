//! The tree an image is made of, and what is in its files.

use std::borrow::Cow;

use lithify_tree::{ContentId, Device, InodeId, NodeId, Tree};
use lithify_verity::file::FileDigest;

/// The content of a regular file that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content<'a> {
    /// It is in the image.
    Inline(Cow<'a, [u8]>),
    /// It is an object.
    Object(FileDigest),
    /// It is a file of any name below the directory of objects.
    External {
        /// Its path there, as it is in the image but for the slash at its front. `None`: overlayfs looks under the file's own name.
        path: Option<Cow<'a, [u8]>>,
        /// The digest that overlayfs compares. `None`: it compares nothing.
        digest: Option<FileDigest>,
    },
}

impl Content<'_> {
    /// The content of a file that nobody kept.
    pub(crate) const NOWHERE: Self = Self::External {
        path: None,
        digest: None,
    };
}

/// A tree with contents.
pub trait Source {
    /// Returns the tree.
    fn tree(&self) -> &Tree;

    /// Returns the content of a file.
    fn content(&self, id: ContentId) -> Content<'_>;

    /// Returns the number of links an inode is to have, if that is not the number of its names.
    fn link_count(&self, _: InodeId) -> Option<u32> {
        None
    }

    /// Returns the name of an inode in whose directory it is numbered, if that is not the first one in the order of the tree.
    fn home(&self, _: InodeId) -> Option<NodeId> {
        None
    }
}

/// Longest content of a file in an image, in bytes: C `mkcomposefs` reads no longer one.
pub(crate) const INLINE_CONTENT_MAX: usize = 5000;

/// Returns a device number as the kernel encodes it (`new_encode_dev` of `include/linux/kdev_t.h`).
pub(crate) fn device_number(device: Device) -> Option<u32> {
    let Device { major, minor } = device;
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}
