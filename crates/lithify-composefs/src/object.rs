//! Objects: files under the names of their digests.

use lithify_verity::file::FileDigest;

/// Returns the path of an object below the directory of objects: the digest's first byte is a directory.
///
/// ```
/// use lithify_composefs::object_path;
/// use lithify_verity::file::{FileAlgorithm, FileHasher, FileOptions};
///
/// let digest = FileHasher::new(&FileOptions::new(FileAlgorithm::Sha256))?.finish();
/// let path = object_path(&digest);
/// assert_eq!((&path[2..3], path.len()), ("/", 65));
/// # Ok::<(), lithify_verity::file::FileOptionsError>(())
/// ```
#[must_use]
pub fn object_path(digest: &FileDigest) -> String {
    let mut path = digest.hex();
    path.insert(2, '/');
    path
}
