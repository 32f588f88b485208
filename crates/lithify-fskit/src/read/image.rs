//! The images that can be walked.

use lithify_tree::{DataSegment, Device, Timestamp, Xattrs};

/// The type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

impl FileType {
    /// Bits of a mode that tell the type (`S_IFMT`).
    pub const MASK: u16 = 0o170_000;

    /// Returns the type that a mode's type bits name.
    #[must_use]
    pub const fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & Self::MASK {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// Returns the type bits that name it in a mode.
    #[must_use]
    pub const fn type_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// Returns the name people have for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Directory => "directory",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Symlink => "symbolic link",
        }
    }

    /// Returns the code that Linux's filesystems have in common for it in directory entries (`FT_*` of
    /// `include/linux/fs_types.h`).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }

    /// Returns the type of a [`code`](Self::code).
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::File,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }
}

/// An inode that was read.
pub trait Inode: Clone {
    /// The place in the image by which directories refer to it: one for all its names.
    fn place(&self) -> u64;
    /// Its type.
    fn file_type(&self) -> FileType;
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    fn mode(&self) -> u16;
    /// Owner.
    fn uid(&self) -> u32;
    /// Group.
    fn gid(&self) -> u32;
    /// Modification time.
    fn mtime(&self) -> Timestamp;
    /// Number of names by its own account.
    fn nlink(&self) -> u32;
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Device number of a device, else 0:0.
    fn device(&self) -> Device;

    /// Tells a character device 0:0, the whiteout of an overlay.
    fn is_whiteout(&self) -> bool {
        self.file_type() == FileType::CharDevice && self.device() == Device::default()
    }
}

/// A name in a directory.
pub trait DirEntry {
    /// The name: not empty, without slashes and NULs, neither `.` nor `..`.
    fn name(&self) -> &[u8];
    /// The place of the inode it is a name of.
    fn place(&self) -> u64;
}

/// An image whose inodes are reached from a root directory.
pub trait Image: Sized {
    /// An inode.
    type Inode: Inode;
    /// A name in a directory.
    type DirEntry: DirEntry;
    /// The names in a directory, in the order they are stored in. After an error it ends.
    type ReadDir<'a>: Iterator<Item = Result<Self::DirEntry, Self::Error>>
    where
        Self: 'a;
    /// Limits to the work an image makes.
    type Bounds: Bounds<Self>;
    /// Error of reading.
    type Error;

    /// Reads the root directory's inode.
    ///
    /// # Errors
    /// It is damaged, or no directory.
    fn root(&self) -> Result<Self::Inode, Self::Error>;

    /// Reads the inode at a place.
    ///
    /// # Errors
    /// It is damaged, or there is none.
    fn inode(&self, place: u64) -> Result<Self::Inode, Self::Error>;

    /// Opens a directory.
    ///
    /// # Errors
    /// It is none, or damaged.
    fn read_dir<'a>(&'a self, directory: &Self::Inode) -> Result<Self::ReadDir<'a>, Self::Error>;

    /// Reads the target of a symbolic link.
    ///
    /// # Errors
    /// It is damaged.
    fn read_link(&self, inode: &Self::Inode) -> Result<Vec<u8>, Self::Error>;

    /// Reads the extended attributes.
    ///
    /// # Errors
    /// They are damaged.
    fn xattrs(&self, inode: &Self::Inode) -> Result<Xattrs, Self::Error>;

    /// Finds where a regular file's data is, if it is stored with holes.
    ///
    /// # Errors
    /// Its map is damaged.
    fn segments(&self, inode: &Self::Inode) -> Result<Option<Vec<DataSegment>>, Self::Error>;

    /// Returns the limits to a walk over all of the image.
    fn bounds(&self) -> Self::Bounds;

    /// Makes the error for a path longer than Linux can name.
    fn path_too_long(limit: usize) -> Self::Error;

    /// Makes the error for an attribute by which overlayfs would show something else than what is in the image.
    fn overlay_xattr(inode: &Self::Inode, name: Vec<u8>) -> Self::Error;
}

/// Limits to the work a hostile image makes, as its format allows: names and inodes can be stored once and be reached any
/// number of times, so they are counted against the room the image has for them.
pub trait Bounds<I: Image> {
    /// Counts a name, before its inode is read.
    ///
    /// # Errors
    /// There are more than the image has room for.
    fn name(&mut self, image: &I) -> Result<(), I::Error>;

    /// Counts a directory, before it is opened.
    ///
    /// # Errors
    /// There are more than the image has room for.
    fn directory(&mut self, image: &I, directory: &I::Inode) -> Result<(), I::Error>;

    /// Counts an inode with what stands behind it, before that is read.
    ///
    /// # Errors
    /// There are more than the image has room for.
    fn inode(&mut self, image: &I, inode: &I::Inode) -> Result<(), I::Error>;
}
