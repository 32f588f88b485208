//! Checking a whole image.

mod accounts; // blocks of inodes
mod fields; // what nobody reads
mod groups; // bitmaps and counts
mod orphans; // inodes without names
mod problem; // what can be wrong
mod reserved; // inodes that are no files
mod resize; // blocks kept for more descriptors
mod set; // which numbers are used
mod superblock; // what nobody reads of it

use std::collections::{HashMap, HashSet};

use lithify_fskit::read;

use super::directory::DirEntry;
use super::{Image, Inode};
use crate::format::dirent::decode_len;
use crate::format::superblock::{COMPAT_JOURNAL, COMPAT_RESIZE_INODE, INCOMPAT_FILE_TYPE};
use crate::format::{ROOT_INODE, get16};
use crate::{FileType, JournalDamage, ReadAt, ReadError};
use accounts::References;
use set::Set;

pub use problem::ProblemKind;

/// The result of [`Image::verify`].
pub type Verification = read::Verification<ProblemKind, Counts>;

/// Something wrong with an image.
pub type Problem = read::Problem<ProblemKind>;

/// What only this format counts.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Inodes that are to be removed or cut at the next mount (*orphans*). Those without names are not in the tree.
    pub orphans: u64,
    /// Blocks that are used, also by metadata.
    pub used_blocks: u64,
}

impl<R: ReadAt> Image<R> {
    /// Checks everything that Linux and `e2fsck` rely on: every directory (names, types, hashes) and that each is reached once, every
    /// inode in use with its map and attributes, that no block belongs to two things, link counts, bitmaps, and the counts of groups
    /// and superblock. Data of files, which has no checksums, is not read.
    ///
    /// Takes a bit for each block and inode in use, and memory for each directory and each file with several names.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the source fails. What is wrong with the image is in the result.
    pub fn verify(&self) -> Result<Verification, ReadError> {
        let mut verifier = Verifier {
            image: self,
            report: Verification::default(),
            path: Vec::new(),
            used: Set::default(),
            fixed: Set::default(),
            in_use: Set::default(),
            reached: Set::default(),
            names: HashMap::new(),
            directories: HashMap::new(),
            xattr_blocks: HashMap::new(),
            values: HashMap::new(),
            read_values: HashSet::new(),
            orphans: HashSet::new(),
            damaged_groups: HashSet::new(),
            listings_left: self.superblock.blocks,
            maps_left: self.superblock.blocks,
        };
        verifier.run()?;
        Ok(verifier.report)
    }
}

struct Verifier<'a, R> {
    image: &'a Image<R>,
    report: Verification,
    path: Vec<u8>,
    /// Clusters that are used, from that of the first block on, and those of them that are so by metadata of groups.
    used: Set,
    fixed: Set,
    /// Inodes that are used, and those that were looked at; counted from 0.
    in_use: Set,
    reached: Set,
    /// Inodes that have, or should have, other than one name.
    names: HashMap<u32, Names>,
    /// Directories of each group.
    directories: HashMap<u32, u32>,
    xattr_blocks: HashMap<u64, References>,
    values: HashMap<u32, References>,
    /// Inodes with values of attributes that were read: each is, once.
    read_values: HashSet<u32>,
    orphans: HashSet<u32>,
    damaged_groups: HashSet<u32>,
    listings_left: u64,
    maps_left: u64,
}

/// The names of an inode.
struct Names {
    stated: u32,
    found: u32,
    path: Vec<u8>,
    is_directory: bool,
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

    /// Notes what cannot be read: of a block group once, since everything in it leads there.
    fn damaged(&mut self, error: ReadError) {
        if let ReadError::Group { group, .. } = error
            && !self.damaged_groups.insert(group)
        {
            return;
        }
        self.problem(ProblemKind::Unreadable(error));
    }

    /// Notes what cannot be read; what is wrong with the source ends everything.
    fn tried<T>(&mut self, result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e @ ReadError::Io { .. }) => Err(e),
            Err(e) => {
                self.damaged(e);
                Ok(None)
            }
        }
    }

    fn run(&mut self) -> Result<(), ReadError> {
        self.superblock();
        let s = &self.image.superblock;
        let has_journal = s.compat & COMPAT_JOURNAL != 0;
        self.fixed_metadata()?;
        if has_journal && s.journal_device == 0 && !self.image.is_replayed {
            match self.image.check_journal() {
                Err(ReadError::Journal {
                    reason: JournalDamage::Inode(error),
                }) => self.damaged(*error),
                Err(ReadError::Journal { reason }) => self.problem(ProblemKind::Journal(reason)),
                checked => drop(self.tried(checked)?),
            }
        }
        if s.compat & COMPAT_RESIZE_INODE != 0 {
            let checked = self.resize_inode();
            self.tried(checked)?;
        }
        self.find_orphans()?;
        let root = self.image.root();
        if let Some(root) = self.tried(root)? {
            self.tree(root)?;
        }
        self.path.clear();
        self.remaining_inodes()?;
        self.link_counts();
        self.path.clear();
        self.references();
        self.bitmaps()
    }

    fn tree(&mut self, root: Inode) -> Result<(), ReadError> {
        self.inode(&root, true)?;
        let mut todo = vec![Todo {
            inode: root,
            path: Vec::new(),
            parent: ROOT_INODE,
        }];
        while let Some(directory) = todo.pop() {
            self.directory(directory, &mut todo)?;
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
        let blocks = inode.size() / self.image.block_size();
        let Some(left) = self.listings_left.checked_sub(blocks) else {
            self.problem(ProblemKind::Unreadable(ReadError::TooManyEntries));
            return Ok(());
        };
        self.listings_left = left;
        let stated = self.image.parent(&inode);
        if let Some(stated) = self.tried(stated)?
            && stated != parent
        {
            let found = parent;
            self.problem(ProblemKind::Parent { stated, found });
        }
        self.dots(&inode)?;
        let listing = self.image.read_dir(&inode);
        let Some(listing) = self.tried(listing)? else {
            return Ok(());
        };
        self.hashes(&inode)?;
        for entry in listing {
            self.path.clone_from(&path);
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            self.report.names += 1;
            if let Some(child) = self.entry(&inode, &entry)? {
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
    fn entry(&mut self, directory: &Inode, entry: &DirEntry) -> Result<Option<Inode>, ReadError> {
        let inode = self.image.inode(entry.inode);
        let Some(inode) = self.tried(inode)? else {
            return Ok(None);
        };
        let file_type = inode.file_type();
        if self.image.superblock.has_incompat(INCOMPAT_FILE_TYPE)
            && entry.kind != 0
            && entry.file_type != Some(file_type)
        {
            self.problem(ProblemKind::FileType {
                entry: entry.file_type.map_or("file of no type", FileType::name),
                inode: file_type.name(),
            });
        }
        let number = inode.number();
        let is_directory = file_type == FileType::Directory;
        if is_directory && let Some(names) = self.names.get_mut(&directory.number()) {
            // The `..` of a subdirectory is a name too.
            names.found = names.found.saturating_add(1);
        }
        if !self.reached.contains(u64::from(number) - 1) {
            self.inode(&inode, true)?;
            return Ok(is_directory.then_some(inode));
        }
        if is_directory {
            self.problem(ProblemKind::SecondName { number });
            return Ok(None);
        }
        let path = &self.path;
        let names = self.names.entry(number).or_insert_with(|| Names {
            stated: inode.nlink(),
            found: 1,
            path: path.clone(),
            is_directory,
        });
        names.found = names.found.saturating_add(1);
        Ok(None)
    }

    /// Checks an inode that is met for the first time.
    fn inode(&mut self, inode: &Inode, has_name: bool) -> Result<(), ReadError> {
        let number = inode.number();
        let is_directory = inode.file_type() == FileType::Directory;
        self.reached.insert(u64::from(number) - 1);
        self.in_use.insert(u64::from(number) - 1);
        if number >= self.image.superblock.first_inode || number == ROOT_INODE {
            self.fields(inode, has_name);
        }
        if is_directory {
            let group = (number - 1) / self.image.superblock.inodes_per_group;
            *self.directories.entry(group).or_default() += 1;
        }
        if has_name {
            self.report.count(inode.file_type());
            if inode.nlink() != 1 || is_directory {
                // A directory is in itself, and the root besides.
                let found = if is_directory { 2 } else { 1 };
                let names = Names {
                    stated: inode.nlink(),
                    found,
                    path: self.path.clone(),
                    is_directory,
                };
                self.names.insert(number, names);
            }
            if self.is_never_used(number)? {
                self.problem(ProblemKind::NeverUsed { number });
            }
            if inode.file_type() == FileType::Symlink {
                let target = self.image.read_link(inode);
                if self.tried(target)?.is_some() {
                    self.target_end(inode)?;
                }
            }
        }
        self.account(inode, has_name)
    }

    /// Checks the first two entries of a directory, of which others read no more than the inodes.
    fn dots(&mut self, directory: &Inode) -> Result<(), ReadError> {
        if directory.is_inline() {
            return Ok(());
        }
        let image = self.image;
        let first = image
            .block_of(directory, 0, &mut None)
            .and_then(|block| image.blocks.block(block));
        let Some(first) = self.tried(first)? else {
            return Ok(());
        };
        let has_types = image.superblock.has_incompat(INCOMPAT_FILE_TYPE);
        let mut at = 0;
        for name in ["`.`", "`..`"] {
            let Some(entry) = first.get(at..at + 12) else {
                // Said when it is read.
                return Ok(());
            };
            let kind = FileType::from_code(entry[7]);
            if has_types && entry[7] != 0 && kind != Some(FileType::Directory) {
                self.problem(ProblemKind::FileType {
                    entry: kind.map_or("file of no type", FileType::name),
                    inode: FileType::Directory.name(),
                });
            }
            let end = entry[8 + usize::from(entry[6]).min(3)];
            self.field(end == 0, directory, (name, "a NUL behind it", end.into()));
            at += decode_len(get16(entry, 4), first.len());
        }
        Ok(())
    }

    /// Checks that a symbolic link's target ends as Linux, which reads up to a NUL, sees it.
    fn target_end(&mut self, link: &Inode) -> Result<(), ReadError> {
        let end = link.size() as usize;
        let behind = if link.is_inline() {
            None
        } else if link.is_fast_link() {
            link.stored.block.get(end).copied()
        } else {
            let block = self.image.find_block(link, 0, &mut None)?.physical;
            let bytes = block.map(|block| self.image.blocks.block(block));
            bytes.transpose()?.and_then(|bytes| bytes.get(end).copied())
        };
        let behind = behind.unwrap_or(0);
        let found = ("the end of the target", "a NUL", behind.into());
        self.field(behind == 0, link, found);
        Ok(())
    }

    /// Checks that each name of a directory is where its hash leads.
    fn hashes(&mut self, directory: &Inode) -> Result<(), ReadError> {
        if directory.is_indexed() {
            let checked = self.image.check_nodes(directory);
            self.tried(checked)?;
        }
        let hashes = self.image.hashes(directory);
        let Some(Some(hashes)) = self.tried(hashes)? else {
            return Ok(());
        };
        let mut leaves = Vec::new();
        let result = self.image.each_leaf(directory, &hashes, |leaf| {
            leaves.push(leaf);
            Ok(())
        });
        if self.tried(result)?.is_none() {
            return Ok(());
        }
        let mut blocks: Vec<u32> = leaves.iter().map(|leaf| leaf.block).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let mut stated = 0;
        let counted = self.image.each_part(directory, |part| {
            stated += u64::from(part.place.is_some_and(|(logical, _)| logical != 0));
            Ok(true)
        });
        self.tried(counted)?;
        let found = blocks.len() as u64;
        if found != stated || found != leaves.len() as u64 {
            self.problem(ProblemKind::Leaves { stated, found });
        }
        let mut hint = None;
        for (index, leaf) in leaves.iter().enumerate() {
            let next = leaves.get(index + 1).map(|next| next.hash);
            let mut misplaced = None;
            let checked = self
                .image
                .block_of(directory, leaf.block.into(), &mut hint)
                .and_then(|block| {
                    self.image
                        .directory_block(directory, (leaf.block.into(), block))
                })
                .and_then(|part| {
                    let Some(part) = part else {
                        return Ok(());
                    };
                    self.image.each_name(directory, &part, |entry| {
                        let hash = hashes.of(entry.name);
                        // The lowest bit says that the block before ends with the same hash.
                        let is_right = hash >= leaf.hash & !1
                            && next.is_none_or(|next| match next & 1 {
                                0 => hash < next,
                                _ => hash <= next & !1,
                            });
                        if !is_right && misplaced.is_none() {
                            misplaced = Some(entry.name.to_vec());
                        }
                        Ok(())
                    })
                });
            self.tried(checked)?;
            if let Some(name) = misplaced {
                self.problem(ProblemKind::Hash { name });
            }
        }
        Ok(())
    }

    fn link_counts(&mut self) {
        let mut wrong: Vec<(u32, Names)> = self
            .names
            .drain()
            .filter(|(_, names)| {
                // More subdirectories than can be counted, now or before.
                let is_uncounted = names.is_directory && names.stated == 1;
                names.stated != names.found && !is_uncounted
            })
            .collect();
        wrong.sort_unstable_by_key(|(number, _)| *number);
        for (number, names) in wrong {
            self.path = names.path;
            self.problem(ProblemKind::LinkCount {
                number,
                stated: names.stated,
                found: names.found,
            });
        }
    }
}
