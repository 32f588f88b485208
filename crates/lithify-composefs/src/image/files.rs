//! The files in an image, and where their contents are.

use lithify_cancel::CancelToken;
use lithify_erofs::FileType;
use lithify_storage::ReadAt;
use lithify_tree::TreePath;

use super::read::{ReadError, object, read_header};
use crate::source::Content;

/// A name of a regular file whose content is not in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExternalFile {
    /// The name.
    pub path: Vec<u8>,
    /// Bytes of its content.
    pub size: u64,
    /// The object it is, or another file below the directory of objects.
    pub content: Content<'static>,
}

/// Calls `each` with every name of a file whose content is not in the image, as they stand in the image.
///
/// # Errors
/// [`ReadError`].
pub fn external_files(
    image: impl ReadAt,
    cancel: &CancelToken,
    each: &mut dyn FnMut(ExternalFile),
) -> Result<(), ReadError> {
    read_header(&image)?;
    let image = lithify_erofs::Image::open(image)?;
    for (number, item) in image.walk().enumerate() {
        if number % 256 == 0 {
            cancel.check()?;
        }
        let found = item?;
        let inode = found.inode;
        if inode.file_type() != FileType::File || !inode.has_xattrs() {
            continue;
        }
        // Only errors need it.
        let path = TreePath::clean(&found.path).unwrap_or_else(|_| TreePath::root());
        let xattrs = image.xattrs(&inode)?;
        let Some(content) = object(&path, |name| xattrs.get(name))? else {
            continue;
        };
        each(ExternalFile {
            path: found.path,
            size: inode.size(),
            content,
        });
    }
    Ok(())
}
