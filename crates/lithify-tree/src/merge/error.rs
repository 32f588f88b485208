//! Why a layer cannot be applied.

use crate::{Escaped, PATH_MAX, SYMLINK_MAX};

/// Why a layer cannot be applied. Names the entry by its path in the layer; paths are shown escaped.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// The work was stopped ([`Merge::until`](crate::Merge::until)).
    #[error(transparent)]
    Cancelled(#[from] lithify_cancel::Cancelled),
    /// The root can only be a directory (CVE-2021-29136: a symbolic link as root).
    #[error("the root directory's own entry is a {kind}, it can only be a directory")]
    RootNotDirectory {
        /// What it is.
        kind: &'static str,
    },
    /// An entry lies below something that is not a directory.
    #[error("`/{}` lies below `{}`, which is a {kind}", Escaped(.path), Escaped(.component))]
    ParentNotDirectory {
        /// The entry.
        path: Vec<u8>,
        /// The component that is in the way.
        component: Vec<u8>,
        /// What the component is.
        kind: &'static str,
    },
    /// Resolving an entry's directory took more than [`SYMLINK_MAX`] symbolic links, or over [`PATH_MAX`] bytes of
    /// their targets.
    #[error(
        "the directory of `/{}` lies behind more than {SYMLINK_MAX} symbolic links or {PATH_MAX} bytes of their targets",
        Escaped(.path)
    )]
    SymlinkLoop {
        /// The entry.
        path: Vec<u8>,
    },
    /// A symbolic link Linux could not hold: its target is empty, too long or has a NUL byte.
    #[error(
        "the symbolic link `/{}` has a target of {length} bytes, it must have 1 to {} without NUL",
        Escaped(.path), PATH_MAX - 1
    )]
    SymlinkTarget {
        /// The entry.
        path: Vec<u8>,
        /// Length of the target in bytes.
        length: usize,
    },
    /// An entry would land, through symbolic links, at a path over [`PATH_MAX`] bytes.
    #[error("`/{}` lands at a path of {length} bytes, the limit is {PATH_MAX}", Escaped(.path))]
    PathTooLong {
        /// The entry.
        path: Vec<u8>,
        /// Length of the path it lands at, in bytes.
        length: usize,
    },
    /// An entry needs a directory that cannot exist: a component that a symbolic link's target brought in is longer
    /// than a name can be or reserved for whiteouts.
    #[error("the directory of `/{}` would need a directory named `{}`, which cannot exist", Escaped(.path), Escaped(.component))]
    ImpossibleDirectory {
        /// The entry.
        path: Vec<u8>,
        /// The component.
        component: Vec<u8>,
    },
    /// Names that begin with `.wh.` mark removals; no image can contain them (image-spec, `layer.md`, "Whiteouts").
    #[error("`/{}` has a name that is reserved for whiteouts", Escaped(.path))]
    ReservedName {
        /// The entry.
        path: Vec<u8>,
    },
    /// The target of a hard link exists neither in this layer nor below.
    #[error("`/{}` is a hard link to `/{}`, which does not exist in this layer or a lower one", Escaped(.path), Escaped(.target))]
    LinkTargetMissing {
        /// The link.
        path: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// Directories cannot have a second name.
    #[error("`/{}` is a hard link to the directory `/{}`", Escaped(.path), Escaped(.target))]
    LinkTargetIsDirectory {
        /// The link.
        path: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// More names than [`Merge::limit_names`](crate::Merge::limit_names) allows.
    #[error("the image has more than {limit} names at `/{}`, the limit is an option", Escaped(.path))]
    TooManyNames {
        /// The entry that was too many.
        path: Vec<u8>,
        /// The limit.
        limit: u32,
    },
    /// More memory than [`Merge::limit_memory`](crate::Merge::limit_memory) allows.
    #[error(
        "names, targets and attributes take {found} bytes of memory at `/{}`, over the limit of {limit}, which is an option",
        Escaped(.path)
    )]
    TooMuchMemory {
        /// The entry that was too many.
        path: Vec<u8>,
        /// Bytes, about.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// More than 2³² names, or 4 GiB of name bytes.
    #[error("the image has more names than 32-bit numbers can count")]
    Full,
}
