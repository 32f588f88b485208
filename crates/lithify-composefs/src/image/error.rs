//! Trees that make no image, and images that are none.

use std::io;

use lithify_escape::Escaped;

use super::format::{XATTR_NAME_MAX, XATTR_VALUE_MAX};
use super::layout::{FILE_MAX, SYMLINK_MAX, XATTRS_MAX};

/// Why no image was made of a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] lithify_cancel::Cancelled),
    /// The name of an attribute is too long with its escape.
    #[error("an attribute of `/{}` is `{}` in an image: Linux knows names of {XATTR_NAME_MAX} bytes", Escaped(.path), Escaped(.name))]
    XattrName {
        /// The file.
        path: Vec<u8>,
        /// The name as it would be in the image.
        name: Vec<u8>,
    },
    /// The value of an attribute is too long.
    #[error("the attribute `{}` of `/{}` has {found} bytes: an image holds {XATTR_VALUE_MAX}", Escaped(.name), Escaped(.path))]
    XattrValue {
        /// The file.
        path: Vec<u8>,
        /// The attribute's name.
        name: Vec<u8>,
        /// The value's length in bytes.
        found: usize,
    },
    /// The attributes of an inode are too long together.
    #[error("the attributes of `/{}` take {found} bytes: an image holds {XATTRS_MAX}", Escaped(.path))]
    Xattrs {
        /// The file.
        path: Vec<u8>,
        /// The bytes they would take.
        found: u64,
    },
    /// The target of a symbolic link is too long.
    #[error("the target of the symbolic link `/{}` has {found} bytes: Linux reads {SYMLINK_MAX}", Escaped(.path))]
    Symlink {
        /// The link.
        path: Vec<u8>,
        /// The target's length in bytes.
        found: usize,
    },
    /// A device number is too large.
    #[error("the device `/{}` has the number {major}:{minor}: expected at most 4095:1048575", Escaped(.path))]
    Device {
        /// The device.
        path: Vec<u8>,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A file is too long.
    #[error("`/{}` has {found} bytes: an image holds {FILE_MAX}", Escaped(.path))]
    FileSize {
        /// The file.
        path: Vec<u8>,
        /// Its size in bytes.
        found: u64,
    },
    /// A content in the image has another length than its file.
    #[error("`/{}` has {expected} bytes, its content has {found}", Escaped(.path))]
    ContentSize {
        /// The file.
        path: Vec<u8>,
        /// Bytes the tree says.
        expected: u64,
        /// Bytes of the content.
        found: u64,
    },
    /// The image would be too large.
    #[error("the image would have {found} bytes of metadata: expected less than {limit}")]
    Size {
        /// Bytes found so far.
        found: u64,
        /// The first number of bytes that is too large.
        limit: u64,
    },
    /// The image could not be written.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
}
