//! Names in directories.

use super::metadata::Cursor;
use super::{Image, Inode};
use crate::error::Damage;
use crate::format::directory::{
    ENTRY_LEN, Entry, HEADER_LEN, Header, INDEX_LEN, Index, NAME_MAX, RUN_MAX,
};
use crate::format::inode::{Body, type_of_code};
use crate::format::{METADATA_LEN, Position};
use crate::{FileType, ReadAt, ReadError};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// Where its inode is, see [`Image::inode`].
    pub reference: u64,
    /// The inode's number.
    pub number: u32,
    /// What the directory says it is.
    pub file_type: FileType,
}

/// The names in a directory, in the order they are stored in; `.` and `..` are not stored. After an error it ends.
#[derive(Debug)]
pub struct ReadDir<'a, R> {
    cursor: Cursor<'a, R>,
    /// The directory's number.
    number: u32,
    /// Bytes of the listing that have not been read.
    left: u64,
    header: Header,
    /// Names of the run that have not been read.
    run: u32,
}

const WHAT: &str = "the directory table";

impl<R: ReadAt> Image<R> {
    /// The names in a directory.
    ///
    /// # Errors
    /// [`ReadError`] when it is no directory.
    pub fn read_dir(&self, directory: &Inode) -> Result<ReadDir<'_, R>, ReadError> {
        let (block, offset) = listing(directory)?;
        let place = Position {
            block: u64::from(block),
            offset,
        };
        Ok(self.read_dir_from(directory, place, directory.size()))
    }

    fn read_dir_from(&self, directory: &Inode, place: Position, left: u64) -> ReadDir<'_, R> {
        ReadDir {
            cursor: self.cursor(WHAT, self.superblock.directory_table, place),
            number: directory.number(),
            left,
            header: Header {
                count: 1,
                block: 0,
                number: 0,
            },
            run: 0,
        }
    }

    /// The entry of a name. An index leads close to it, as it leads Linux.
    pub(super) fn find(
        &self,
        directory: &Inode,
        name: &[u8],
    ) -> Result<Option<DirEntry>, ReadError> {
        let (block, offset) = listing(directory)?;
        let mut place = Position {
            block: u64::from(block),
            offset,
        };
        let mut left = directory.size();
        if let Body::Directory { index, .. } = directory.body {
            let mut cursor = self.inode_cursor(directory.behind);
            for _ in 0..index {
                let mut bytes = [0; INDEX_LEN];
                cursor.read(&mut bytes)?;
                let entry = Index::decode(&bytes);
                if entry.name_len > NAME_MAX as u64 + 1 {
                    return Err(directory.damaged(Damage::Name));
                }
                let first = cursor.read_vec(entry.name_len as usize)?;
                if first.as_slice() > name {
                    break;
                }
                let skipped = u64::from(entry.offset);
                left = directory
                    .size()
                    .checked_sub(skipped)
                    .ok_or_else(|| directory.damaged(Damage::CutShort))?;
                place = Position {
                    block: u64::from(entry.block),
                    offset: ((u64::from(offset) + skipped) % METADATA_LEN as u64) as u16,
                };
            }
        }
        for entry in self.read_dir_from(directory, place, left) {
            let entry = entry?;
            match entry.name.as_slice().cmp(name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn listing(directory: &Inode) -> Result<(u32, u16), ReadError> {
    match directory.body {
        Body::Directory { block, offset, .. } => Ok((block, offset)),
        _ => Err(ReadError::Type {
            number: directory.number(),
            expected: FileType::Directory.name(),
        }),
    }
}

impl<R: ReadAt> ReadDir<'_, R> {
    fn damaged(&self, reason: Damage) -> ReadError {
        ReadError::Inode {
            number: u64::from(self.number),
            reason,
        }
    }

    /// Counts bytes of the listing.
    fn spend(&mut self, length: usize) -> Result<(), ReadError> {
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| self.damaged(Damage::CutShort))?;
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<DirEntry>, ReadError> {
        if self.run == 0 {
            if self.left == 0 {
                return Ok(None);
            }
            self.spend(HEADER_LEN)?;
            let mut bytes = [0; HEADER_LEN];
            self.cursor.read(&mut bytes)?;
            self.header = Header::decode(&bytes);
            self.run = self.header.count;
            if self.run as usize > RUN_MAX {
                let count = self.run;
                return Err(self.damaged(Damage::RunLength { count }));
            }
        }
        self.run -= 1;
        self.spend(ENTRY_LEN)?;
        let mut bytes = [0; ENTRY_LEN];
        self.cursor.read(&mut bytes)?;
        let entry = Entry::decode(&bytes);
        if entry.name_len > NAME_MAX {
            return Err(self.damaged(Damage::Name));
        }
        self.spend(entry.name_len)?;
        let name = self.cursor.read_vec(entry.name_len)?;
        if name == b"." || name == b".." || name.iter().any(|&b| b == 0 || b == b'/') {
            return Err(self.damaged(Damage::Name));
        }
        let file_type = type_of_code(entry.file_type).ok_or_else(|| {
            self.damaged(Damage::InodeType {
                code: entry.file_type,
            })
        })?;
        let place = Position {
            block: u64::from(self.header.block),
            offset: entry.offset,
        };
        Ok(Some(DirEntry {
            name,
            reference: place.reference(),
            number: self.header.number.wrapping_add_signed(entry.delta.into()),
            file_type,
        }))
    }
}

impl<R: ReadAt> Iterator for ReadDir<'_, R> {
    type Item = Result<DirEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            (self.left, self.run) = (0, 0);
        }
        result.transpose()
    }
}
