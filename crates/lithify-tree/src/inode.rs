//! Inodes: what names point to.

use crate::{ContentId, Device, Timestamp};

/// Index of an inode in its [`Tree`](crate::Tree), dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub(crate) u32);

impl InodeId {
    /// The dense index, for side tables of a target.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of an interned set of extended attributes in its [`Tree`](crate::Tree); 0 is the empty set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XattrSetId(pub(crate) u32);

impl XattrSetId {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// The dense index, for side tables of a target.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A view of one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode<'a> {
    /// Permission bits with set-user-ID, set-group-ID and sticky, no type bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Names that point here; for a directory 2 plus the number of its subdirectories.
    pub nlink: u32,
    /// Extended attributes, see [`Tree::xattrs`](crate::Tree::xattrs).
    pub xattrs: XattrSetId,
    /// What it is.
    pub kind: InodeKind<'a>,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InodeKind<'a> {
    /// A regular file.
    File {
        /// Apparent size in bytes.
        size: u64,
        /// Where the target put its data; `None` when nobody kept it.
        content: Option<ContentId>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The target, verbatim.
        target: &'a [u8],
    },
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// `S_IFMT` values of Linux (`include/uapi/linux/stat.h`).
mod type_bits {
    pub(super) const FIFO: u16 = 0o010_000;
    pub(super) const CHAR_DEVICE: u16 = 0o020_000;
    pub(super) const DIRECTORY: u16 = 0o040_000;
    pub(super) const BLOCK_DEVICE: u16 = 0o060_000;
    pub(super) const FILE: u16 = 0o100_000;
    pub(super) const SYMLINK: u16 = 0o120_000;
    pub(super) const SOCKET: u16 = 0o140_000;
}

impl InodeKind<'_> {
    /// The type bits of `st_mode`.
    #[must_use]
    pub const fn type_bits(&self) -> u16 {
        match self {
            Self::File { .. } => type_bits::FILE,
            Self::Directory => type_bits::DIRECTORY,
            Self::Symlink { .. } => type_bits::SYMLINK,
            Self::CharDevice(_) => type_bits::CHAR_DEVICE,
            Self::BlockDevice(_) => type_bits::BLOCK_DEVICE,
            Self::Fifo => type_bits::FIFO,
            Self::Socket => type_bits::SOCKET,
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }
}

/// Type of a stored inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Type {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
    /// A hard link whose target has not been seen yet.
    PendingLink,
}

/// "No content" in [`Record::content`].
const NO_CONTENT: u32 = u32::MAX;

/// A stored inode: 48 bytes, so that a million stay within the tree's memory bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) seconds: i64,
    /// File: size. Device: major and minor. Symlink: offset and length of the target. Pending link: index in the pending list.
    payload: u64,
    pub(crate) nanoseconds: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) xattrs: XattrSetId,
    pub(crate) nlink: u32,
    content: u32,
    pub(crate) mode: u16,
    pub(crate) kind: Type,
}

const _: () = assert!(size_of::<Record>() == 48);

/// Two 32-bit halves in one payload.
const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

const fn halves(payload: u64) -> (u32, u32) {
    ((payload >> 32) as u32, payload as u32)
}

/// What distinguishes the kinds of [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    File {
        size: u64,
        content: Option<ContentId>,
    },
    Directory,
    Symlink {
        offset: u32,
        length: u32,
    },
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
    PendingLink {
        index: u32,
    },
}

impl Record {
    pub(crate) fn new(
        payload: Payload,
        mode: u16,
        uid: u32,
        gid: u32,
        mtime: Timestamp,
        xattrs: XattrSetId,
    ) -> Self {
        let (kind, payload, content) = match payload {
            Payload::File { size, content } => {
                (Type::File, size, content.map_or(NO_CONTENT, |c| c.0))
            }
            Payload::Directory => (Type::Directory, 0, NO_CONTENT),
            Payload::Symlink { offset, length } => {
                (Type::Symlink, pair(offset, length), NO_CONTENT)
            }
            Payload::CharDevice(d) => (Type::CharDevice, pair(d.major, d.minor), NO_CONTENT),
            Payload::BlockDevice(d) => (Type::BlockDevice, pair(d.major, d.minor), NO_CONTENT),
            Payload::Fifo => (Type::Fifo, 0, NO_CONTENT),
            Payload::Socket => (Type::Socket, 0, NO_CONTENT),
            Payload::PendingLink { index } => (Type::PendingLink, u64::from(index), NO_CONTENT),
        };
        let Timestamp {
            seconds,
            nanoseconds,
        } = mtime;
        Self {
            seconds,
            payload,
            nanoseconds,
            uid,
            gid,
            xattrs,
            nlink: 0,
            content,
            mode,
            kind,
        }
    }

    pub(crate) fn mtime(&self) -> Timestamp {
        Timestamp {
            seconds: self.seconds,
            nanoseconds: self.nanoseconds,
        }
    }

    /// Moves a symbolic link's target to another place in the arena.
    pub(crate) fn set_target(&mut self, offset: u32) {
        let (_, length) = halves(self.payload);
        self.payload = u64::from(offset) << 32 | u64::from(length);
    }

    pub(crate) fn payload(&self) -> Payload {
        let (high, low) = halves(self.payload);
        let device = Device {
            major: high,
            minor: low,
        };
        match self.kind {
            Type::File => Payload::File {
                size: self.payload,
                content: (self.content != NO_CONTENT).then_some(ContentId(self.content)),
            },
            Type::Directory => Payload::Directory,
            Type::Symlink => Payload::Symlink {
                offset: high,
                length: low,
            },
            Type::CharDevice => Payload::CharDevice(device),
            Type::BlockDevice => Payload::BlockDevice(device),
            Type::Fifo => Payload::Fifo,
            Type::Socket => Payload::Socket,
            Type::PendingLink => Payload::PendingLink { index: low },
        }
    }

    /// The view of this inode; `targets` is the arena symlink targets live in.
    pub(crate) fn view<'a>(&self, targets: &'a [u8]) -> Inode<'a> {
        let kind = match self.payload() {
            Payload::File { size, content } => InodeKind::File { size, content },
            Payload::Directory => InodeKind::Directory,
            Payload::Symlink { offset, length } => InodeKind::Symlink {
                target: &targets[offset as usize..][..length as usize],
            },
            Payload::CharDevice(d) => InodeKind::CharDevice(d),
            Payload::BlockDevice(d) => InodeKind::BlockDevice(d),
            Payload::Fifo => InodeKind::Fifo,
            Payload::Socket => InodeKind::Socket,
            Payload::PendingLink { .. } => {
                unreachable!("no pending link survives the layer it stands in")
            }
        };
        Inode {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime(),
            nlink: self.nlink,
            xattrs: self.xattrs,
            kind,
        }
    }
}
