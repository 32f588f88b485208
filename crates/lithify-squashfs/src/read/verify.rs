//! Checking a whole image.

use std::collections::{BTreeMap, HashMap, HashSet};

use lithify_fskit::read;
use lithify_tree::Escaped;

use super::directory::DirEntry;
use super::tables::{Found, TableProblem};
use super::{Image, Inode};
use crate::error::Damage;
use crate::format::inode::Body;
use crate::format::{BLOCK_STORED, NO_TABLE, NONE};
use crate::{FileType, ReadAt, ReadError};

/// Longest target Linux reads: a page, the smallest there is (`squashfs_read_inode`, since 6.9).
const TARGET_MAX: u64 = 4096;

/// The result of [`Image::verify`].
pub type Verification = read::Verification<ProblemKind>;

/// Something wrong with an image.
pub type Problem = read::Problem<ProblemKind>;

/// What can be wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(ReadError),
    /// The superblock or a table is not as Linux wants it.
    #[error(transparent)]
    Table(#[from] TableProblem),
    /// Names not in ascending order, where Linux would not find them.
    #[error("stands behind `{}`, which sorts after it or equals it", Escaped(.after))]
    Order {
        /// The name before.
        after: Vec<u8>,
    },
    /// A name that is listed, but not found through the directory's index.
    #[error("the directory's index does not lead to it")]
    Index,
    /// The entry's type is not the inode's.
    #[error("its directory calls it a {entry}, its inode a {inode}")]
    FileType {
        /// By the directory.
        entry: &'static str,
        /// By the inode.
        inode: &'static str,
    },
    /// The entry's inode number is not the inode's.
    #[error("its directory says inode {entry}, the inode says {inode}")]
    Number {
        /// By the directory.
        entry: u32,
        /// By the inode.
        inode: u32,
    },
    /// Two inodes with one number.
    #[error("inode number {number} is used twice")]
    SameNumber {
        /// The number.
        number: u32,
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
    /// A link count that is not the number of names. Those of directories are not checked: nothing depends on them,
    /// and programs disagree whether files count.
    #[error("inode {number} says it has {stated} names, found {found}")]
    LinkCount {
        /// The inode.
        number: u32,
        /// By the inode.
        stated: u32,
        /// Names found.
        found: u32,
    },
    /// A number of inodes that is not the superblock's.
    #[error("the superblock says {stated} inodes, found {found}")]
    InodeCount {
        /// By the superblock.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// The table for network exports says an inode is elsewhere.
    #[error("the export table says inode {number} is at {stated:#x}, it is at {found:#x}")]
    Export {
        /// The inode.
        number: u32,
        /// By the table.
        stated: u64,
        /// Where it is.
        found: u64,
    },
    /// Two blocks of data in one place that are not the same.
    #[error("blocks of data overlap at offset {offset}")]
    Overlap {
        /// Where, in bytes.
        offset: u64,
    },
}

impl<R: ReadAt> Image<R> {
    /// Checks everything Linux relies on: where the tables are, every directory (order, index, types, numbers), that each is reached once,
    /// every inode, link count and attribute, the export table; and reads all data, each block once.
    ///
    /// Takes memory for each inode and each block of data; never more than an image of this size can need.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the source fails. What is wrong with the image is in the result.
    pub fn verify(&self) -> Result<Verification, ReadError> {
        let mut verifier = Verifier {
            image: self,
            report: Verification::default(),
            path: Vec::new(),
            inodes: HashMap::new(),
            xattrs: HashSet::new(),
            blocks: BTreeMap::new(),
            listing_left: self.metadata_limit(),
            inodes_left: self.metadata_limit(),
        };
        verifier.run()?;
        Ok(verifier.report)
    }
}

struct Verifier<'a, R> {
    image: &'a Image<R>,
    report: Verification,
    path: Vec<u8>,
    /// By number.
    inodes: HashMap<u32, Seen>,
    /// Numbers of attribute sets that have been read.
    xattrs: HashSet<u32>,
    /// Blocks of data that have been read, by place. None overlaps another, so that all together take no more time
    /// than the image is long.
    blocks: BTreeMap<u64, Block>,
    listing_left: u64,
    inodes_left: u64,
}

/// A block of data.
#[derive(Clone, Copy)]
struct Block {
    /// Length as the image has it.
    length: u32,
    /// Length uncompressed, if it can be read.
    raw: Option<u64>,
}

struct Seen {
    reference: u64,
    stated: u32,
    names: u32,
    path: Vec<u8>,
    directory: bool,
}

/// A directory to be checked.
struct Todo {
    inode: Inode,
    path: Vec<u8>,
    parent: u32,
}

impl<R: ReadAt> Verifier<'_, R> {
    fn problem(&mut self, kind: ProblemKind) {
        self.report.problem(&self.path, kind);
    }

    /// Notes what cannot be read; what is wrong with the source ends everything.
    fn tried<T>(&mut self, result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e @ (ReadError::Io { .. } | ReadError::Decoder { .. })) => Err(e),
            Err(e) => {
                self.problem(ProblemKind::Unreadable(e));
                Ok(None)
            }
        }
    }

    fn run(&mut self) -> Result<(), ReadError> {
        match self.image.check_tables() {
            Ok(()) => {}
            Err(Found::Problem(problem)) => self.problem(ProblemKind::Table(problem)),
            Err(Found::Unreadable(e)) => {
                self.tried::<()>(Err(e))?;
            }
        }
        let root = self.image.root();
        let Some(root) = self.tried(root)? else {
            return Ok(());
        };
        self.inode(&root)?;
        let mut todo = vec![Todo {
            inode: root,
            path: Vec::new(),
            // The root is in nothing, and says so by a number of its own choice.
            parent: match root.body {
                Body::Directory { parent, .. } => parent,
                _ => 0,
            },
        }];
        while let Some(directory) = todo.pop() {
            self.directory(directory, &mut todo)?;
        }
        self.link_counts();
        let (stated, found) = (
            u64::from(self.image.superblock.inodes),
            self.inodes.len() as u64,
        );
        if stated != found {
            self.path.clear();
            self.problem(ProblemKind::InodeCount { stated, found });
        }
        Ok(())
    }

    fn directory(&mut self, directory: Todo, todo: &mut Vec<Todo>) -> Result<(), ReadError> {
        let Todo {
            inode,
            path,
            parent,
        } = directory;
        self.path.clone_from(&path);
        if let Body::Directory { parent: stated, .. } = inode.body
            && stated != parent
        {
            self.problem(ProblemKind::Parent {
                stated,
                found: parent,
            });
        }
        let Some(left) = self.listing_left.checked_sub(inode.size()) else {
            self.problem(ProblemKind::Unreadable(ReadError::TooManyEntries));
            return Ok(());
        };
        self.listing_left = left;
        let mut last: Option<Vec<u8>> = None;
        for (index, entry) in self.image.read_dir(&inode)?.enumerate() {
            self.path.clone_from(&path);
            let Some(entry) = self.tried(entry)? else {
                break;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            if let Some(after) = last.filter(|l| *l >= entry.name) {
                self.problem(ProblemKind::Order { after });
            }
            last = Some(entry.name.clone());
            self.report.names += 1;
            // A sample is enough to find an index that leads astray, and keeps long directories cheap.
            if index.is_power_of_two() {
                let found = self.image.find(&inode, &entry.name);
                if let Some(found) = self.tried(found)?
                    && found.as_ref() != Some(&entry)
                {
                    self.problem(ProblemKind::Index);
                }
            }
            if let Some(child) = self.entry(&entry)? {
                todo.push(Todo {
                    inode: child,
                    path: self.path.clone(),
                    parent: inode.number(),
                });
            }
        }
        Ok(())
    }

    /// Checks what a name leads to; gives it if it is a directory that has not been met.
    fn entry(&mut self, entry: &DirEntry) -> Result<Option<Inode>, ReadError> {
        let inode = self.image.inode(entry.reference);
        let Some(inode) = self.tried(inode)? else {
            return Ok(None);
        };
        if inode.file_type() != entry.file_type {
            self.problem(ProblemKind::FileType {
                entry: entry.file_type.name(),
                inode: inode.file_type().name(),
            });
        }
        let number = inode.number();
        if number != entry.number {
            self.problem(ProblemKind::Number {
                entry: entry.number,
                inode: number,
            });
        }
        if let Some(seen) = self.inodes.get_mut(&number) {
            if seen.reference != inode.reference() {
                self.problem(ProblemKind::SameNumber { number });
            } else if seen.directory {
                self.problem(ProblemKind::SecondName { number });
            } else {
                seen.names = seen.names.saturating_add(1);
            }
            return Ok(None);
        }
        self.inode(&inode)?;
        Ok((inode.file_type() == FileType::Directory).then_some(inode))
    }

    /// Checks an inode that is met for the first time.
    fn inode(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let number = inode.number();
        let directory = inode.file_type() == FileType::Directory;
        // Only what may turn out wrong needs its path later.
        let path = if inode.nlink() == 1 && !directory {
            Vec::new()
        } else {
            self.path.clone()
        };
        self.inodes.insert(
            number,
            Seen {
                reference: inode.reference(),
                stated: inode.nlink(),
                names: 1,
                path,
                directory,
            },
        );
        self.report.count(inode.file_type());
        let length = self.image.inode_len(inode)?;
        let Some(left) = self.inodes_left.checked_sub(length) else {
            self.problem(ProblemKind::Unreadable(ReadError::InodesOverlap));
            return Ok(());
        };
        self.inodes_left = left;
        let set = self.image.xattr_number(inode);
        if let Some(set) = self.tried(set)?
            && self.xattrs.insert(set)
        {
            let xattrs = self.image.xattrs(inode);
            self.tried(xattrs)?;
        }
        if self.image.superblock.export_table != NO_TABLE {
            self.export(inode)?;
        }
        match inode.file_type() {
            FileType::Symlink => {
                let target = match inode.size() {
                    size if size > TARGET_MAX => Err(inode.damaged(Damage::Size {
                        size,
                        limit: TARGET_MAX,
                    })),
                    _ => self.image.read_link(inode).map(drop),
                };
                self.tried(target)?;
            }
            FileType::File => {
                let result = self.data(inode);
                self.tried(result)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn export(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let mut bytes = [0; 8];
        let superblock = &self.image.superblock;
        let (index, count) = (u64::from(inode.number() - 1), u64::from(superblock.inodes));
        let entry =
            self.image
                .table_entry("export", superblock.export_table, index, count, &mut bytes);
        let stated = entry.map(|()| u64::from_le_bytes(bytes));
        let found = inode.reference();
        if let Some(stated) = self.tried(stated)?
            && stated != found
        {
            self.problem(ProblemKind::Export {
                number: inode.number(),
                stated,
                found,
            });
        }
        Ok(())
    }

    /// Reads all data of a file that has not been read for another.
    fn data(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let layout = self.image.layout(inode)?;
        let mut blocks = self.image.blocks(inode, &layout);
        let block_size = self.image.block_size();
        for number in 0..layout.blocks {
            let (address, length) = blocks.advance()?;
            if length == 0 {
                continue;
            }
            let expected = (layout.size - number * block_size).min(block_size);
            if let Some(found) = self.block("a data block", address, length)?
                && found != expected
            {
                return Err(inode.damaged(Damage::Uncompressed { expected, found }));
            }
        }
        if let Body::File {
            fragment, offset, ..
        } = inode.body
            && fragment != NONE
        {
            let (address, length) = self.image.fragment(fragment)?;
            let expected = u64::from(offset) + layout.size % block_size;
            if let Some(found) = self.block("a fragment block", address, length)?
                && found < expected
            {
                return Err(inode.damaged(Damage::Uncompressed { expected, found }));
            }
        }
        Ok(())
    }

    /// Reads a block that has not been read; gives its length uncompressed unless that is known to be wrong.
    fn block(
        &mut self,
        what: &'static str,
        address: u64,
        length: u32,
    ) -> Result<Option<u64>, ReadError> {
        if let Some(block) = self.blocks.get(&address).filter(|b| b.length == length) {
            return Ok(block.raw);
        }
        let stored = |length: u32| u64::from(length & !BLOCK_STORED);
        let end = address.saturating_add(stored(length));
        let before = self.blocks.range(..=address).next_back();
        let reaches_in = before.is_some_and(|(&a, b)| a + stored(b.length) > address);
        if reaches_in || self.blocks.range(address..end).next().is_some() {
            self.problem(ProblemKind::Overlap { offset: address });
            return Ok(None);
        }
        let read = self.image.data_block(what, address, length);
        let read = self.tried(read)?;
        if read.is_some() {
            self.report.data_bytes += stored(length);
        }
        let raw = read.map(|bytes| bytes.len() as u64);
        if end <= self.image.size() {
            self.blocks.insert(address, Block { length, raw });
        }
        Ok(raw)
    }

    fn link_counts(&mut self) {
        let mut wrong: Vec<_> = self
            .inodes
            .iter()
            .filter(|(_, seen)| !seen.directory && seen.stated != seen.names)
            .map(|(&number, seen)| (number, seen.stated, seen.names, seen.path.clone()))
            .collect();
        wrong.sort_unstable();
        for (number, stated, found, path) in wrong {
            self.path = path;
            self.problem(ProblemKind::LinkCount {
                number,
                stated,
                found,
            });
        }
    }
}
