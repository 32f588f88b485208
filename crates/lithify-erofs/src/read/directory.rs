//! Names in directories.

use super::data::is_compressed;
use super::{Image, Inode};
use crate::error::DirectoryDamage;
use crate::format::dirent::{DIRENT_LEN, Dirent, NAME_MAX};
use crate::format::inode::DataLayout;
use crate::{FileType, ReadAt, ReadError};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// The inode it is a name of.
    pub nid: u64,
    /// What the directory says that is.
    pub file_type: FileType,
}

/// The names in a directory, in the order they are stored in. After an error it ends.
#[derive(Debug)]
pub struct ReadDir<'a, R> {
    entries: AllEntries<'a, R>,
}

impl<R: ReadAt> Iterator for ReadDir<'_, R> {
    type Item = Result<DirEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries
            .find(|entry| !matches!(entry, Ok(e) if e.name == b"." || e.name == b".."))
    }
}

/// The names in a directory, `.` and `..` too.
#[derive(Debug)]
pub(super) struct AllEntries<'a, R> {
    image: &'a Image<R>,
    directory: Inode,
    /// Number of the block to read next; past the last one after an error.
    next_block: u64,
    block: Block,
    next_entry: usize,
}

/// A directory block whose entry count has been checked.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    entries: usize,
}

impl Block {
    fn parse(bytes: Vec<u8>) -> Result<Self, DirectoryDamage> {
        if bytes.len() < DIRENT_LEN {
            return Err(DirectoryDamage::FirstName { offset: 0 });
        }
        let offset = Dirent::decode(&bytes, 0).name_offset;
        let names = usize::from(offset);
        if names < DIRENT_LEN || !names.is_multiple_of(DIRENT_LEN) || names >= bytes.len() {
            return Err(DirectoryDamage::FirstName { offset });
        }
        Ok(Self {
            entries: names / DIRENT_LEN,
            bytes,
        })
    }

    /// The entry of a number below `entries`.
    fn entry(&self, index: usize) -> Result<(&[u8], Dirent), DirectoryDamage> {
        let dirent = Dirent::decode(&self.bytes, index * DIRENT_LEN);
        let start = usize::from(dirent.name_offset);
        let last = index + 1 == self.entries;
        let end = if last {
            self.bytes.len()
        } else {
            usize::from(Dirent::decode(&self.bytes, (index + 1) * DIRENT_LEN).name_offset)
        };
        let bad_range = DirectoryDamage::NameRange { index, start, end };
        let mut name = self.bytes.get(start..end).ok_or(bad_range)?;
        if start < self.entries * DIRENT_LEN {
            return Err(bad_range);
        }
        if last {
            // The last name ends with the block or at the first of the zeros that fill it.
            name = name.split(|&b| b == 0).next().unwrap_or_default();
        }
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(bad_range);
        }
        if name.iter().any(|&b| b == 0 || b == b'/') {
            return Err(DirectoryDamage::NameByte { index });
        }
        Ok((name, dirent))
    }
}

impl<R: ReadAt> Image<R> {
    /// The names in a directory, without `.` and `..`.
    ///
    /// # Errors
    /// [`ReadError`] when it is no directory or its data cannot be read.
    pub fn read_dir(&self, directory: &Inode) -> Result<ReadDir<'_, R>, ReadError> {
        Ok(ReadDir {
            entries: self.all_entries(directory)?,
        })
    }

    pub(super) fn all_entries(&self, directory: &Inode) -> Result<AllEntries<'_, R>, ReadError> {
        self.check_directory(directory)?;
        Ok(AllEntries {
            image: self,
            directory: *directory,
            next_block: 0,
            block: Block::default(),
            next_entry: 0,
        })
    }

    fn check_directory(&self, directory: &Inode) -> Result<(), ReadError> {
        directory.expect_directory()?;
        // A map could repeat a block without end; nothing writes directories so, nor compresses them.
        if directory.layout() == DataLayout::Chunked || is_compressed(directory) {
            let (nid, layout) = (directory.nid(), directory.layout());
            return Err(ReadError::Layout {
                nid,
                file_type: directory.file_type().name(),
                layout,
            });
        }
        // With that, a directory is not longer than the image.
        self.extent(directory, 0).map(drop)
    }

    fn directory_blocks(&self, directory: &Inode) -> u64 {
        directory.size().div_ceil(self.block_size())
    }

    fn directory_block(&self, directory: &Inode, number: u64) -> Result<Block, ReadError> {
        let start = number * self.block_size();
        let length = (directory.size() - start).min(self.block_size());
        // At most 64 KiB.
        let mut bytes = vec![0; length as usize];
        self.read(directory, start, &mut bytes)?;
        Block::parse(bytes).map_err(|reason| damage(directory, number, reason))
    }

    /// The entry of a name, found by bisection as Linux does.
    pub(super) fn find(
        &self,
        directory: &Inode,
        name: &[u8],
    ) -> Result<Option<DirEntry>, ReadError> {
        self.check_directory(directory)?;
        // The last block whose first name is not greater.
        let (mut low, mut high) = (0, self.directory_blocks(directory));
        let mut candidate = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.directory_block(directory, middle)?;
            let (first, _) = block
                .entry(0)
                .map_err(|reason| damage(directory, middle, reason))?;
            if first <= name {
                low = middle + 1;
                candidate = Some((middle, block));
            } else {
                high = middle;
            }
        }
        let Some((number, block)) = candidate else {
            return Ok(None);
        };
        for index in 0..block.entries {
            let (found, dirent) = block
                .entry(index)
                .map_err(|reason| damage(directory, number, reason))?;
            if found == name {
                return entry(name, dirent, index)
                    .map(Some)
                    .map_err(|reason| damage(directory, number, reason));
            }
        }
        Ok(None)
    }
}

fn damage(directory: &Inode, block: u64, reason: DirectoryDamage) -> ReadError {
    ReadError::Directory {
        nid: directory.nid(),
        block,
        reason,
    }
}

fn entry(name: &[u8], dirent: Dirent, index: usize) -> Result<DirEntry, DirectoryDamage> {
    let file_type = FileType::from_code(dirent.file_type).ok_or(DirectoryDamage::FileType {
        index,
        found: dirent.file_type,
    })?;
    Ok(DirEntry {
        name: name.to_vec(),
        nid: dirent.nid,
        file_type,
    })
}

impl<R: ReadAt> AllEntries<'_, R> {
    fn advance(&mut self) -> Result<Option<DirEntry>, ReadError> {
        while self.next_entry == self.block.entries {
            if self.next_block >= self.image.directory_blocks(&self.directory) {
                return Ok(None);
            }
            self.block = self
                .image
                .directory_block(&self.directory, self.next_block)?;
            self.next_block += 1;
            self.next_entry = 0;
        }
        let index = self.next_entry;
        self.next_entry += 1;
        let result = self
            .block
            .entry(index)
            .and_then(|(name, dirent)| entry(name, dirent, index));
        result
            .map(Some)
            .map_err(|reason| damage(&self.directory, self.next_block - 1, reason))
    }
}

impl<R: ReadAt> Iterator for AllEntries<'_, R> {
    type Item = Result<DirEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.next_block = u64::MAX;
            self.next_entry = self.block.entries;
        }
        result.transpose()
    }
}
