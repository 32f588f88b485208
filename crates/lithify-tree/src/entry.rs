//! One thing a layer says: the unit that flows from every source to every target.

use crate::path::components;
use crate::{Device, Escaped, Metadata, TreePath};

/// One statement of a layer about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// Ownership, mode, time, attributes. Meaningless for [`EntryKind::HardLink`], [`EntryKind::Whiteout`] and [`EntryKind::Opaque`].
    pub metadata: Metadata,
    /// What.
    pub kind: EntryKind,
}

impl Entry {
    /// Bytes of the path and of a link's target, in full.
    #[must_use]
    pub fn name_bytes(&self) -> u64 {
        let target = match &self.kind {
            EntryKind::Symlink { target } => target.len(),
            EntryKind::HardLink { target } => target.as_bytes().len(),
            _ => 0,
        };
        (self.path.as_bytes().len() + target) as u64
    }

    /// Bytes of names and values of the extended attributes.
    #[must_use]
    pub fn xattr_bytes(&self) -> u64 {
        let xattrs = self.metadata.xattrs.iter();
        xattrs
            .map(|(name, value)| (name.len() + value.len()) as u64)
            .sum()
    }
}

/// What an [`Entry`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file. Its data follows the entry in the stream.
    File {
        /// Apparent size in bytes, holes included.
        size: u64,
        /// For a sparse file, where its data lies; `None` for a file without holes.
        segments: Option<Vec<DataSegment>>,
    },
    /// A directory.
    Directory,
    /// A symbolic link; the target is kept verbatim.
    Symlink {
        /// The target's bytes.
        target: Vec<u8>,
    },
    /// Another name of an existing file, symlink or device.
    HardLink {
        /// A path in the merged view.
        target: TreePath,
    },
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket (never in a tar, but host directories have them).
    Socket,
    /// `.wh.NAME`: the path does not exist in lower layers as seen from above.
    Whiteout,
    /// `.wh..wh..opq`: nothing of lower layers is visible below this directory.
    Opaque,
}

/// A stretch of data in a sparse file. Segments ascend and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSegment {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Prefix of the AUFS-style names by which a layer tar says "removed" (image-spec, `layer.md`, "Whiteouts").
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// Name of the marker that makes its directory opaque (image-spec, `layer.md`, "Opaque Whiteout").
pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Prefix of names AUFS kept for itself (`.wh..wh.plnk`, `.wh..wh.aufs`, `.wh..wh.orph`): not part of the image.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Where AUFS kept files with several names.
pub(crate) const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// What a layer's naming convention makes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convention {
    /// An ordinary path.
    Ordinary(TreePath),
    /// A whiteout of that path.
    Whiteout(TreePath),
    /// That directory is opaque.
    Opaque(TreePath),
    /// AUFS bookkeeping, or something below it: to be skipped.
    AufsLeftover,
    /// Something in AUFS' directory of files that have several names, `.wh..wh.plnk` in the root. It is no part of the
    /// image, but what hard links of the same layer lead to, if it is a regular file.
    AufsFile(TreePath),
}

/// A name with the whiteout prefix that cannot be a whiteout.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhiteoutError {
    /// A whiteout of nothing, of its own directory or of that one's parent.
    #[error("whiteout `{path}` names `{}`, which cannot be removed", Escaped(.names))]
    NamesNothing {
        /// The entry's path.
        path: TreePath,
        /// What stands after `.wh.`: nothing, `.` or `..`.
        names: Vec<u8>,
    },
    /// Something below a whiteout or an opaque marker. Both are empty files (image-spec, `layer.md`, "Whiteouts").
    #[error("`{path}` lies below `{}`, which is a whiteout and not a directory", Escaped(.component))]
    BelowWhiteout {
        /// The entry's path.
        path: TreePath,
        /// The component that is a whiteout.
        component: Vec<u8>,
    },
}

impl Convention {
    /// Reads the whiteout convention of layer tars from an entry's path. The entry's type does not matter: the
    /// specification speaks of files, and a removal must not be missed because a tool wrote something else.
    ///
    /// No path that this calls ordinary has a component that begins with `.wh.`, so no such name can get into an
    /// image: the specification says there is none.
    ///
    /// # Errors
    /// [`WhiteoutError::NamesNothing`] for `.wh.`, `.wh..` and `.wh...`, which would name nothing, the directory
    /// itself or its parent; [`WhiteoutError::BelowWhiteout`] for what lies below a whiteout.
    ///
    /// ```
    /// use lithify_tree::{Convention, TreePath};
    ///
    /// let path = TreePath::clean(b"etc/.wh.passwd")?;
    /// assert_eq!(Convention::of(path)?, Convention::Whiteout(TreePath::clean(b"etc/passwd")?));
    /// assert!(Convention::of(TreePath::clean(b"etc/.wh...")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(path: TreePath) -> Result<Self, WhiteoutError> {
        let Some((directory, name)) = path.split_last() else {
            return Ok(Self::Ordinary(path));
        };
        if !contains(path.as_bytes(), WHITEOUT_PREFIX) {
            return Ok(Self::Ordinary(path));
        }
        let above = components(directory).find(|c| c.starts_with(WHITEOUT_PREFIX));
        if let Some(component) = above {
            if is_aufs(component) {
                return Ok(
                    if directory == AUFS_LINKS && !name.starts_with(WHITEOUT_PREFIX) {
                        Self::AufsFile(path)
                    } else {
                        Self::AufsLeftover
                    },
                );
            }
            let component = component.to_vec();
            return Err(WhiteoutError::BelowWhiteout { path, component });
        }
        if is_aufs(name) {
            return Ok(Self::AufsLeftover);
        }
        if name == OPAQUE_MARKER {
            return Ok(Self::Opaque(path.parent()));
        }
        let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) else {
            return Ok(Self::Ordinary(path));
        };
        if matches!(hidden, b"" | b"." | b"..") {
            let names = hidden.to_vec();
            return Err(WhiteoutError::NamesNothing { path, names });
        }
        Ok(Self::Whiteout(path.with_file_name(hidden)))
    }
}

fn is_aufs(component: &[u8]) -> bool {
    component.starts_with(AUFS_PREFIX) && component != OPAQUE_MARKER
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}
