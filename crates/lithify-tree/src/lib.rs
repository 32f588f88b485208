//! The filesystem model of container images.
//!
//! An image is hostile input: its layers may name `../../etc/passwd`, put a symbolic link where a directory was a moment
//! ago, or remove the directory above them. Nothing here touches a host filesystem, so such an image finds only this
//! tree to escape into, and in it a way out does not exist: [`TreePath`] holds no `..`, and what a symbolic link leads to
//! is looked up inside the root. Sizes and counts have limits, work is linear in the layers, no input makes it panic.
//!
//! - A layer is a stream of [`Entry`] values, made from names by [`TreePath::clean`] and [`Convention::of`], and kept
//!   compactly in a [`LayerEntries`]. File data is not in it: a [`ContentSink`] took that and gave a [`ContentId`].
//! - [`Merge`] applies layers in order, by the rules of image-spec `layer.md`: for each layer first what it removes, then
//!   what it adds. Its documentation has the rules, `docs/semantics.md` of the repository the reasons.
//! - A [`Tree`] is the result: names, inodes, attributes, numbered the same for the same image.
//!
//! ```
//! use lithify_tree::{Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};
//!
//! let entry = |path: &[u8], kind| -> Result<Entry, lithify_tree::PathError> {
//!     Ok(Entry { path: TreePath::clean(path)?, metadata: Metadata::default(), kind })
//! };
//! let mut base = LayerEntries::new();
//! base.push(&entry(b"etc/", EntryKind::Directory)?, None)?;
//! base.push(&entry(b"etc/motd", EntryKind::File { size: 0, segments: None })?, None)?;
//! let mut upper = LayerEntries::new();
//! upper.push(&entry(b"etc/motd", EntryKind::Whiteout)?, None)?;
//!
//! let mut merge = Merge::new();
//! merge.apply(base)?;
//! merge.apply(upper)?;
//! let tree = merge.finish();
//! assert!(tree.lookup(&TreePath::clean(b"etc")?).is_some());
//! assert!(tree.lookup(&TreePath::clean(b"etc/motd")?).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod budgets; // bounds on the entries of several layers
mod builder; // the growing tree a merge works on
mod changes; // the layer between two trees
mod content; // where file data goes
mod entry; // one statement of a layer
mod holes; // sparse files written whole
mod inode; // what names point to
mod layer; // a layer's entries, compactly
mod merge; // applying layers
mod metadata; // mode, owner, time, attributes
pub mod overlay; // layers as overlayfs understands them
mod path; // cleaned paths
mod tree; // the result
mod xattr_table; // interned attribute sets

pub use budgets::EntryBudgets;
pub use changes::{Change, changes};
pub use content::{ContentId, ContentSink};
pub use entry::{
    Convention, DataSegment, Entry, EntryKind, OPAQUE_MARKER, WHITEOUT_PREFIX, WhiteoutError,
};
pub use holes::HoleFiller;
pub use inode::{Inode, InodeId, InodeKind, XattrSetId};
pub use layer::{LayerEntries, LayerFull};
pub use lithify_escape::{Escaped, Printable, is_unsafe, unescape};
pub use merge::{DEFAULT_NAME_LIMIT, LayerReport, Merge, MergeError};
pub use metadata::{Device, Metadata, Timestamp, XATTR_VALUE_MAX, XattrError, Xattrs};
pub use path::{NAME_MAX, PATH_MAX, PathError, TreePath};
pub use tree::{NodeId, SYMLINK_MAX, Tree};
