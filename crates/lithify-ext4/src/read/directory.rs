//! Names in directories.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;

use super::data::Position;
use super::{Image, Inode, compare};
use crate::format::dirent::{self, Entries, Stored};
use crate::format::get32;
use crate::format::inode::BLOCK_LEN;
use crate::{Damage, FileType, ReadAt, ReadError};

pub(super) const WHAT: &str = "the directory";

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// Its inode's number.
    pub inode: u32,
    /// The type of file it is by the directory, which need not say.
    pub file_type: Option<FileType>,
    /// That type as it is stored; 0 where it is not said.
    pub(super) kind: u8,
}

/// The names in a directory, sorted; `.` and `..` are left out.
#[derive(Debug)]
pub struct ReadDir {
    bytes: Vec<u8>,
    names: vec::IntoIter<Name>,
}

/// A name among the bytes of all.
#[derive(Clone, Copy, Debug)]
struct Name {
    at: usize,
    inode: u32,
    length: u8,
    kind: u8,
}

impl Name {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at..self.at + usize::from(self.length)]
    }
}

impl Iterator for ReadDir {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        let name = self.names.next()?;
        Some(DirEntry {
            name: name.of(&self.bytes).to_vec(),
            inode: name.inode,
            file_type: FileType::from_code(name.kind),
            kind: name.kind,
        })
    }
}

/// A part of a directory.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) bytes: Arc<Vec<u8>>,
    /// Its first byte that has entries, and the one behind the last.
    from: usize,
    to: usize,
    /// The block of the directory, and of the image; `None` in the inode.
    pub(super) place: Option<(u64, u64)>,
    /// Whether it begins with the directory itself and the one it is in.
    has_dots: bool,
}

impl<R: ReadAt> Image<R> {
    /// The names in a directory.
    ///
    /// # Errors
    /// [`ReadError`] when it is no directory, encrypted or damaged.
    pub fn read_dir(&self, directory: &Inode) -> Result<ReadDir, ReadError> {
        let mut bytes = Vec::new();
        let mut names = Vec::new();
        self.each_part(directory, |part| {
            self.each_name(directory, &part, |entry| {
                names.push(Name {
                    at: bytes.len(),
                    inode: entry.inode,
                    // At most 255.
                    length: entry.name.len() as u8,
                    kind: entry.kind,
                });
                bytes.extend_from_slice(entry.name);
                Ok(())
            })?;
            Ok(true)
        })?;
        names.sort_unstable_by(|a, b| a.of(&bytes).cmp(b.of(&bytes)));
        let same = names
            .windows(2)
            .find(|two| two[0].of(&bytes) == two[1].of(&bytes));
        if let Some(two) = same {
            return Err(directory.damaged(Damage::SameName {
                name: two[0].of(&bytes).to_vec(),
            }));
        }
        Ok(ReadDir {
            bytes,
            names: names.into_iter(),
        })
    }

    /// The inode of a name: by its hash where there is a tree of hashes, as Linux finds it.
    pub(super) fn find(&self, directory: &Inode, name: &[u8]) -> Result<Option<u32>, ReadError> {
        if name.len() > lithify_tree::NAME_MAX {
            return Ok(None);
        }
        if let Some(found) = self.find_hashed(directory, name)? {
            return Ok(found);
        }
        let mut found = None;
        self.each_part(directory, |part| {
            found = self.find_in(directory, &part, name)?;
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// The inode of a name in a part of a directory.
    pub(super) fn find_in(
        &self,
        directory: &Inode,
        part: &Part,
        name: &[u8],
    ) -> Result<Option<u32>, ReadError> {
        let mut found = None;
        self.each_name(directory, part, |entry| {
            if entry.name == name {
                found = Some(entry.inode);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The number of a directory's blocks.
    pub(super) fn directory_blocks(&self, directory: &Inode) -> Result<u64, ReadError> {
        let (size, block_size) = (directory.size(), self.block_size());
        if size == 0 || size % block_size != 0 {
            return Err(directory.damaged(Damage::DirectorySize {
                size,
                block_size: self.superblock.block_size,
            }));
        }
        Ok(size / block_size)
    }

    /// Gives all parts of a directory that have entries to `visit`, until that says that it is enough.
    pub(super) fn each_part(
        &self,
        directory: &Inode,
        mut visit: impl FnMut(Part) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        directory.expect(FileType::Directory)?;
        directory.expect_plain()?;
        if directory.is_inline() {
            let bytes = Arc::new(self.inline_data(directory)?);
            // The number of the directory it is in, then entries up to the end of the map's place and, apart, in the attribute.
            for (from, to) in [(4, BLOCK_LEN), (BLOCK_LEN, bytes.len())] {
                let to = to.min(bytes.len());
                let is_enough = from < to
                    && !visit(Part {
                        bytes: Arc::clone(&bytes),
                        from,
                        to,
                        place: None,
                        has_dots: false,
                    })?;
                if is_enough {
                    break;
                }
            }
            return Ok(());
        }
        let blocks = self.directory_blocks(directory)?;
        // Blocks are read once each: no more of them are than the image has.
        let mut met: BTreeMap<u64, u64> = BTreeMap::new();
        let mut hint = None;
        let mut logical = 0;
        while logical < blocks {
            let run = self.find_block(directory, logical, &mut hint)?;
            let Some(first) = run.physical else {
                return Err(directory.damaged(Damage::Hole { logical }));
            };
            let length = run.blocks.min(blocks - logical);
            let before = met.range(..first + length).next_back();
            if before.is_some_and(|(&block, &length)| block + length > first) {
                return Err(directory.damaged(Damage::Repeated { block: first }));
            }
            met.insert(first, length);
            for inside in 0..length {
                let place = (logical + inside, first + inside);
                if let Some(part) = self.directory_block(directory, place)?
                    && !visit(part)?
                {
                    return Ok(());
                }
            }
            logical += length;
        }
        Ok(())
    }

    /// Reads a block of a directory; `None` for one that has no entries but a part of the tree of hashes.
    pub(super) fn directory_block(
        &self,
        directory: &Inode,
        place: (u64, u64),
    ) -> Result<Option<Part>, ReadError> {
        let (logical, block) = place;
        let bytes = self.blocks.block(block)?;
        let damaged = |reason| ReadError::Block {
            what: WHAT,
            number: directory.number(),
            block,
            reason,
        };
        let mut to = bytes.len();
        if directory.is_indexed() && (logical == 0 || dirent::is_node(&bytes)) {
            let tree = match logical {
                0 => dirent::Tree::root(&bytes),
                _ => dirent::Tree::node(&bytes),
            };
            let tree = tree.ok_or_else(|| damaged(Damage::HashTree))?;
            if self.superblock.has_checksums() {
                let sums = tree.checksum(directory.seed);
                compare(sums.ok_or_else(|| damaged(Damage::NoChecksum))?).map_err(damaged)?;
            }
            if logical != 0 {
                return Ok(None);
            }
        } else if self.superblock.has_checksums() {
            let sums = dirent::leaf_checksum(&bytes, directory.seed);
            compare(sums.ok_or_else(|| damaged(Damage::NoChecksum))?).map_err(damaged)?;
            to -= dirent::TAIL_LEN;
        }
        Ok(Some(Part {
            bytes,
            from: 0,
            to,
            place: Some(place),
            has_dots: logical == 0,
        }))
    }

    /// Gives the names of a part to `visit`. What is no name Linux could have is an error.
    pub(super) fn each_name(
        &self,
        directory: &Inode,
        part: &Part,
        mut visit: impl FnMut(Stored<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let damaged = |reason| match part.place {
            Some((_, block)) => ReadError::Block {
                what: WHAT,
                number: directory.number(),
                block,
                reason,
            },
            None => directory.damaged(reason),
        };
        let s = &self.superblock;
        let bytes = &part.bytes[part.from..part.to];
        for (index, entry) in Entries::new(bytes, s.block_size as usize).enumerate() {
            let entry = entry.map_err(|at| damaged(Damage::Entry { at: part.from + at }))?;
            if part.has_dots && index < 2 {
                let expected: &[u8] = if index == 0 { b"." } else { b".." };
                let is_right =
                    entry.name == expected && (index == 1 || entry.inode == directory.number());
                if !is_right {
                    return Err(damaged(Damage::Dots));
                }
                continue;
            }
            if entry.inode == 0 {
                continue;
            }
            let name = entry.name;
            let is_name =
                !matches!(name, b"" | b"." | b"..") && !name.iter().any(|&b| b == 0 || b == b'/');
            if !is_name {
                let name = name.to_vec();
                return Err(damaged(Damage::Name { name }));
            }
            let (first, last) = (s.first_inode, s.inodes);
            if !(first..=last).contains(&entry.inode) {
                let inode = entry.inode;
                return Err(damaged(Damage::InodeOutOfRange { inode, first, last }));
            }
            visit(entry)?;
        }
        Ok(())
    }

    /// The number of the directory that a directory says it is in.
    pub(super) fn parent(&self, directory: &Inode) -> Result<u32, ReadError> {
        if directory.is_inline() {
            return Ok(get32(&directory.stored.block, 0));
        }
        self.directory_blocks(directory)?;
        let mut first = vec![0; self.superblock.block_size as usize];
        self.fill(directory, 0, &mut first, &mut Position::default())?;
        let second = Entries::new(&first, first.len())
            .nth(1)
            .and_then(Result::ok);
        second
            .filter(|entry| entry.name == b"..")
            .map(|entry| entry.inode)
            .ok_or_else(|| directory.damaged(Damage::Dots))
    }
}
