//! Why an upper directory cannot become a layer.

use std::io;
use std::path::PathBuf;

use lithify_tree::{Escaped, PathError, TreePath, XattrError};

use crate::ScanError;

/// Why an upper directory cannot become a layer. Paths are relative to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpperError {
    /// The directory, or the mounted overlay, cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Attributes the overlay may have written cannot be seen, and without them the layer would be wrong.
    #[error(
        "attributes in trusted.overlay cannot be seen here: run as root, or say that the overlay was mounted with userxattr"
    )]
    Unprivileged,
    /// An attribute that is the overlay's or the image's, depending on how the overlay was mounted.
    #[error("`{path}` has the extended attribute `{}`: say whether the overlay was mounted with userxattr", Escaped(.name))]
    Ambiguous {
        /// Whose.
        path: TreePath,
        /// Its full name.
        name: Vec<u8>,
    },
    /// A mark of fuse-overlayfs in a directory not said to be made by it.
    #[error(
        "`{path}` {mark}, as fuse-overlayfs does it: say whether that made the directory (--fuse-overlayfs true or false)"
    )]
    FuseOverlayfs {
        /// The file.
        path: TreePath,
        /// What was found.
        mark: String,
    },
    /// An owner and mode that cannot be understood, or not of such a file.
    #[error("`{path}` should have owner, mode and type `{}`, which cannot be of this file", Escaped(.text))]
    OverrideStat {
        /// The file.
        path: TreePath,
        /// `UID:GID:MODE[:TYPE…]`.
        text: Vec<u8>,
    },
    /// A name that would be a whiteout in a layer.
    #[error(
        "`{path}` has a name that layers reserve for whiteouts: rename or remove it in the overlay. If fuse-overlayfs made the \
         directory it is a whiteout: say --fuse-overlayfs true"
    )]
    ReservedName {
        /// The file.
        path: TreePath,
    },
    /// A directory that was renamed; its content is in lower layers.
    #[error("the directory `{path}` was renamed from `{}`, which a layer cannot say: give the mounted overlay (`--view DIR`), or mount it with redirect_dir=off", Escaped(.from))]
    Redirect {
        /// The directory.
        path: TreePath,
        /// Its former name, or its path when it starts with a slash.
        from: Vec<u8>,
    },
    /// A file of which only the metadata was changed; its data is in lower layers.
    #[error(
        "the file `{path}` has its data in a lower layer: give the mounted overlay (`--view DIR`), or mount it with metacopy=off"
    )]
    Metacopy {
        /// The file.
        path: TreePath,
    },
    /// What should be in the mounted overlay is not, or is something else.
    #[error(
        "`{path}` is not the same in the overlay said to be mounted at `{}`",
        Escaped::path(view)
    )]
    View {
        /// The file.
        path: TreePath,
        /// Where the overlay should be mounted.
        view: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path of the mounted overlay over the limits of [`TreePath`].
    #[error("a file below the renamed directory `{path}` cannot be in an image")]
    Path {
        /// The directory.
        path: TreePath,
        /// Which limit.
        source: PathError,
    },
    /// An attribute that could not be set anywhere else.
    #[error("extended attribute of `{path}`")]
    Xattr {
        /// Whose.
        path: TreePath,
        /// Why.
        source: XattrError,
    },
}
