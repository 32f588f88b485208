//! What can go wrong reading an image.

use std::io;

use lithify_tree::Escaped;

/// Why an image cannot be read. Nothing in an image is trusted: whatever it says is checked before it is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The source failed.
    #[error("cannot read {length} bytes at offset {offset} of the image")]
    Io {
        /// Offset in bytes.
        offset: u64,
        /// Number of bytes.
        length: usize,
        /// What the source said.
        source: io::Error,
    },
    /// The source's length is unknown.
    #[error("cannot tell the length of the image")]
    Length {
        /// What the source said.
        source: io::Error,
    },
    /// Shorter than any image.
    #[error("an ext4 image has at least {expected} bytes, found {found}")]
    TooShort {
        /// Bytes up to the end of the superblock.
        expected: u64,
        /// Length of the source.
        found: u64,
    },
    /// Another kind of file.
    #[error(
        "not an ext4 image: expected magic number 0x{expected:04x} at offset 1080, found 0x{found:04x}"
    )]
    Magic {
        /// The magic number of ext2, ext3 and ext4.
        expected: u16,
        /// What is there.
        found: u16,
    },
    /// The file ends before the image does.
    #[error("the image has {expected} bytes, the file ends at {found}: it is cut short")]
    Truncated {
        /// Length by the superblock.
        expected: u64,
        /// Length of the source.
        found: u64,
    },
    /// Features no reader can do without.
    #[error(
        "the filesystem has incompatible features 0x{unknown:x} that are not known: the known ones are 0x{known:x}"
    )]
    Features {
        /// The bits that are not known.
        unknown: u32,
        /// Those that are.
        known: u32,
    },
    /// A journal on a device of its own.
    #[error("the image is the journal of a filesystem on another device, no filesystem")]
    JournalDevice,
    /// The superblock makes no sense.
    #[error("the superblock is damaged: {reason}")]
    Superblock {
        /// What is wrong with it.
        reason: Damage,
    },
    /// The descriptor of a block group makes no sense.
    #[error("the descriptor of block group {group} is damaged: {reason}")]
    Group {
        /// The group.
        group: u32,
        /// What is wrong with it.
        reason: Damage,
    },
    /// A bitmap makes no sense.
    #[error("the bitmap of {what} of block group {group} is damaged: {reason}")]
    Bitmap {
        /// What it is a bitmap of.
        what: &'static str,
        /// The group.
        group: u32,
        /// What is wrong with it.
        reason: Damage,
    },
    /// An inode makes no sense.
    #[error("inode {number} is damaged: {reason}")]
    Inode {
        /// Its number.
        number: u32,
        /// What is wrong with it.
        reason: Damage,
    },
    /// A block of an inode's makes no sense.
    #[error("{what} of inode {number} in block {block} is damaged: {reason}")]
    Block {
        /// What the block is.
        what: &'static str,
        /// The inode's number.
        number: u32,
        /// The block.
        block: u64,
        /// What is wrong with it.
        reason: Damage,
    },
    /// Files whose names or data are encrypted.
    #[error("inode {number} is encrypted: its key is not in the image")]
    Encrypted {
        /// The inode's number.
        number: u32,
    },
    /// The journal has transactions that cannot be replayed.
    #[error(
        "the filesystem was not unmounted, and its journal cannot be replayed: {reason}; run `e2fsck -f` on the image"
    )]
    Journal {
        /// Why not.
        reason: JournalDamage,
    },
    /// A call for another type of file.
    #[error("inode {number} is not a {expected}")]
    Type {
        /// Its number.
        number: u32,
        /// What it should be.
        expected: &'static str,
    },
    /// More names than the image has room for: directories are used more than once, or contain themselves.
    #[error(
        "the directories have more names than the image has room for: they contain themselves or are reached more than once"
    )]
    TooManyEntries,
    /// Inodes have more blocks than the image.
    #[error("the inodes have more blocks than the image has room for: they overlap")]
    BlocksOverlap,
    /// An attribute by which overlayfs would show something else than what is here.
    #[error(
        "inode {number} has the attribute `{}`, which gives it another meaning in an overlay: no layer has that",
        Escaped(.name)
    )]
    OverlayXattr {
        /// The inode's number.
        number: u32,
        /// Name of the attribute.
        name: Vec<u8>,
    },
    /// A path longer than Linux can name.
    #[error("a path in the image is longer than {limit} bytes")]
    PathTooLong {
        /// The limit.
        limit: usize,
    },
    /// A file over the caller's limit.
    #[error("inode {number} has {size} bytes, only {limit} were to be read")]
    Limit {
        /// Its number.
        number: u32,
        /// Its size.
        size: u64,
        /// The caller's limit.
        limit: u64,
    },
}

/// What is wrong with a part of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A checksum that is not the one of what it covers.
    #[error("its checksum is 0x{stored:x}, computed 0x{computed:x}")]
    Checksum {
        /// As it is stored.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// No checksum where one has to be.
    #[error("it has no checksum")]
    NoChecksum,
    /// A field that has another value than any filesystem has.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },
    /// A block the filesystem does not have.
    #[error("it refers to block {block}, the filesystem has blocks up to {blocks}")]
    OutOfRange {
        /// The block.
        block: u64,
        /// Number of blocks.
        blocks: u64,
    },
    /// An inode the filesystem does not have, or not for this.
    #[error("it refers to inode {inode}, expected {first} to {last}")]
    InodeOutOfRange {
        /// The inode.
        inode: u32,
        /// The first there may be.
        first: u32,
        /// The last there may be.
        last: u32,
    },
    /// A type of inode that does not exist.
    #[error("mode 0{mode:o} is of no type of file")]
    InodeType {
        /// Type and permissions.
        mode: u16,
    },
    /// An inode that no name should lead to.
    #[error("it is not in use")]
    Unused,
    /// An inode of the filesystem's own that it has no use for.
    #[error("it has blocks or names, and the filesystem no use for it")]
    NotEmpty,
    /// A size no file has.
    #[error("a size of {size} bytes, the limit is {limit}")]
    Size {
        /// The size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A directory that is not made of whole blocks.
    #[error("a size of {size} bytes, expected blocks of {block_size}")]
    DirectorySize {
        /// The size.
        size: u64,
        /// Bytes of a block.
        block_size: u32,
    },
    /// A time with more nanoseconds than a second has.
    #[error("a time with {nanoseconds} nanoseconds")]
    Nanoseconds {
        /// Nanoseconds.
        nanoseconds: u32,
    },
    /// An extent in front of, or over, the one before, or outside of what leads to it.
    #[error("extents out of order: block {logical} of the file, expected {first} to {last}")]
    ExtentOrder {
        /// Where the extent begins.
        logical: u32,
        /// The first block it could begin with.
        first: u64,
        /// The last block there is room for.
        last: u64,
    },
    /// A tree of extents without entries below its top.
    #[error("a part of the tree of extents without entries")]
    NoExtents,
    /// Blocks that one file has twice.
    #[error("block {block} is in it twice")]
    Repeated {
        /// The block.
        block: u64,
    },
    /// A list of reserved blocks that is not the one of those.
    #[error("block {found} is in a list of reserved blocks, expected {expected}")]
    Reserved {
        /// The block there.
        found: u32,
        /// The block that should be there.
        expected: u64,
    },
    /// A directory without one of its blocks.
    #[error("a hole at block {logical} of the directory")]
    Hole {
        /// The block in the directory.
        logical: u64,
    },
    /// An entry of a directory that makes no sense.
    #[error("the entry at byte {at} has a length that makes no sense")]
    Entry {
        /// Where it is.
        at: usize,
    },
    /// A directory that does not begin with itself and the directory it is in.
    #[error("it does not begin with `.`, itself, and `..`")]
    Dots,
    /// A name Linux could not have.
    #[error("the name `{}` is empty, `.` or `..`, or has a slash or NUL", Escaped(.name))]
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// A name that is in a directory twice.
    #[error("the name `{}` is in it twice", Escaped(.name))]
    SameName {
        /// The name.
        name: Vec<u8>,
    },
    /// A tree of hashes that makes no sense.
    #[error("it is no part of a tree of hashes")]
    HashTree,
    /// Data in an inode without the attribute that has the rest of it.
    #[error("data in the inode ends after {found} bytes, expected {expected}")]
    InlineData {
        /// Bytes by the inode.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Attributes that make no sense.
    #[error("extended attributes that do not begin with their magic number")]
    XattrMagic,
    /// An attribute that does not fit where it is.
    #[error("an extended attribute's name or value reaches past the end")]
    XattrRange,
    /// An attribute's prefix that does not exist.
    #[error("an extended attribute with the unknown name index {index}")]
    XattrIndex {
        /// The number for the beginning of the name.
        index: u8,
    },
    /// An attribute with no possible name or value.
    #[error("the extended attribute `{}` is too long, or is there twice", Escaped(.name))]
    Xattr {
        /// Its name.
        name: Vec<u8>,
    },
    /// An attribute with a hash that is not its own.
    #[error("the extended attribute `{}` has a hash that is not its own", Escaped(.name))]
    XattrHash {
        /// Its name.
        name: Vec<u8>,
    },
    /// An attribute whose value is an inode that is none for that.
    #[error("the extended attribute `{}` refers to inode {inode}, which is no value of one", Escaped(.name))]
    XattrInode {
        /// Its name.
        name: Vec<u8>,
        /// The inode.
        inode: u32,
    },
    /// An ACL that is none.
    #[error("an ACL that makes no sense")]
    Acl,
    /// Attributes of one inode no Linux would have let anyone set.
    #[error("its extended attributes are over {limit} bytes long")]
    XattrsTooLong {
        /// The limit.
        limit: usize,
    },
    /// The target of a symbolic link is empty or has a NUL in it, where Linux would cut it.
    #[error("a target that is empty or has a NUL in it, which no link of Linux does")]
    Target,
}

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalDamage {
    /// It is elsewhere.
    #[error("it is on a device of its own")]
    External,
    /// There is none.
    #[error("there is none")]
    Missing,
    /// Its inode cannot be read.
    #[error("{0}")]
    Inode(Box<ReadError>),
    /// It ends before it should.
    #[error("block {block} of the journal is not in it")]
    Hole {
        /// The block in the journal.
        block: u32,
    },
    /// Its superblock makes no sense.
    #[error("its superblock has {field} {found}, expected {expected}")]
    Superblock {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },
    /// Features no reader can do without.
    #[error("it has the unknown features 0x{unknown:x}")]
    Features {
        /// The bits that are not known.
        unknown: u32,
    },
    /// A checksum that is not the one of what it covers.
    #[error("{what} in its block {block} has the checksum 0x{stored:x}, computed 0x{computed:x}")]
    Checksum {
        /// What the block is.
        what: &'static str,
        /// The block in the journal.
        block: u32,
        /// As it is stored.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// A list that does not fit its block.
    #[error("its block {block} has a list that does not fit")]
    List {
        /// The block in the journal.
        block: u32,
    },
    /// A block that the filesystem does not have.
    #[error("its block {block} is for block {target}, the filesystem has {blocks}")]
    Target {
        /// The block in the journal.
        block: u32,
        /// The block of the filesystem.
        target: u64,
        /// Number of blocks of the filesystem.
        blocks: u64,
    },
    /// It goes around.
    #[error("its log does not end")]
    Endless,
    /// More than is taken into memory.
    #[error("it has changes of more than {limit} blocks")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Changes of the short form.
    #[error("it has fast commits")]
    FastCommits,
}
