//! The kinds of problems.

use lithify_tree::Escaped;

use crate::{JournalDamage, ReadError};

/// What can be wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(ReadError),
    /// The kernel has met errors before.
    #[error("the superblock says that the kernel met errors")]
    Errors,
    /// The journal of a filesystem that was unmounted is damaged, or has something in it.
    #[error("the journal is damaged: {0}")]
    Journal(JournalDamage),
    /// The superblock names a journal that there is none of.
    #[error("the superblock names a journal, and there is none")]
    NoJournal,
    /// The entry's type is not the inode's.
    #[error("its directory calls it a {entry}, its inode a {inode}")]
    FileType {
        /// By the directory.
        entry: &'static str,
        /// By the inode.
        inode: &'static str,
    },
    /// A name that is where the directory's hashes do not lead.
    #[error("the directory's tree of hashes does not lead to `{}`", Escaped(.name))]
    Hash {
        /// The name.
        name: Vec<u8>,
    },
    /// A block of a directory with names that the tree of hashes has not, or twice.
    #[error("the directory's tree of hashes leads to {found} of its {stated} blocks of names")]
    Leaves {
        /// Blocks of names there are.
        stated: u64,
        /// Those that are found.
        found: u64,
    },
    /// A directory with two names, or one that contains itself.
    #[error("directory {number} is reached a second time")]
    SecondName {
        /// The directory's inode.
        number: u32,
    },
    /// A directory that says it is in another one.
    #[error("the directory says it is in inode {stated}, it is in {found}")]
    Parent {
        /// By the directory.
        stated: u32,
        /// Where it is.
        found: u32,
    },
    /// A link count that is not the number of names.
    #[error("inode {number} says it has {stated} names, found {found}")]
    LinkCount {
        /// The inode.
        number: u32,
        /// By the inode.
        stated: u32,
        /// Names found.
        found: u32,
    },
    /// An inode that is in use, and that nothing leads to.
    #[error("inode {number} is in use, but nothing leads to it")]
    Unreachable {
        /// The inode.
        number: u32,
    },
    /// A name of an inode in a part of the table that its group says was never used.
    #[error("inode {number} is where its block group says that none is")]
    NeverUsed {
        /// The inode.
        number: u32,
    },
    /// A block that belongs to two things.
    #[error("block {block} of inode {number} is used by something else too")]
    UsedTwice {
        /// The block.
        block: u64,
        /// The inode it was found in last.
        number: u32,
    },
    /// Metadata of a block group on top of something else.
    #[error("metadata of block group {group} overlaps other metadata at block {block}")]
    Metadata {
        /// The group.
        group: u32,
        /// The block.
        block: u64,
    },
    /// Metadata of a block group that is not in it.
    #[error("metadata of block group {group} is in another one, at block {block}")]
    Outside {
        /// The group.
        group: u32,
        /// The block.
        block: u64,
    },
    /// A number of blocks that is not the inode's.
    #[error("inode {number} says it takes {stated} sectors, found {found}")]
    Sectors {
        /// The inode.
        number: u32,
        /// By the inode, in units of 512 bytes.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// Data behind the end of a file.
    #[error("inode {number} has {size} bytes, and data at byte {found}")]
    BehindEnd {
        /// The inode.
        number: u32,
        /// Its size.
        size: u64,
        /// Where its last block of data begins.
        found: u64,
    },
    /// A count of the inodes that share a block of attributes that is wrong.
    #[error("the attributes in block {block} say {stated} inodes share them, found {found}")]
    XattrReferences {
        /// The block.
        block: u64,
        /// By the block.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// A count of the attributes that share a value that is wrong.
    #[error("the value in inode {number} says {stated} attributes share it, found {found}")]
    ValueReferences {
        /// The inode.
        number: u32,
        /// By the inode.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// A bitmap of blocks that says something else than what is used.
    #[error(
        "the bitmap of blocks of group {group} differs from what is used {count} times, first at block {block}, which is {}", state(*.is_used)
    )]
    BlockBitmap {
        /// The group.
        group: u32,
        /// The first block.
        block: u64,
        /// Whether that block is used.
        is_used: bool,
        /// How many there are.
        count: u64,
    },
    /// A bitmap of inodes that says something else than what is used.
    #[error(
        "the bitmap of inodes of group {group} differs from what is used {count} times, first at inode {inode}, which is {}", state(*.is_used)
    )]
    InodeBitmap {
        /// The group.
        group: u32,
        /// The first inode.
        inode: u64,
        /// Whether that inode is used.
        is_used: bool,
        /// How many there are.
        count: u64,
    },
    /// Bits behind the end of a bitmap that say that what does not exist is free.
    #[error("the bitmap of {what} of group {group} ends with bits that are not set")]
    Padding {
        /// What it is a bitmap of.
        what: &'static str,
        /// The group.
        group: u32,
    },
    /// A count of a block group that is wrong.
    #[error("block group {group} says it has {stated} {what}, found {found}")]
    GroupCount {
        /// The group.
        group: u32,
        /// What is counted.
        what: &'static str,
        /// By its descriptor.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// A count of the superblock that is wrong.
    #[error("the superblock says there are {stated} {what}, found {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// By the superblock.
        stated: u64,
        /// Found.
        found: u64,
    },
}

fn state(is_used: bool) -> &'static str {
    if is_used { "used" } else { "free" }
}
