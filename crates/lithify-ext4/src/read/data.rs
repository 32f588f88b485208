//! Contents of regular files.

use std::io;

use lithify_tree::DataSegment;

use super::map::{Hint, Piece, Run};
use super::{Image, Inode};
use crate::format::inode::BLOCK_LEN;
use crate::{Damage, FileType, ReadAt, ReadError};

impl<R: ReadAt> Image<R> {
    /// Reads from `offset` of a file into `buffer`; gives the number of bytes read, which is less than asked for only
    /// at the end. Holes, and what was allocated but never written, are zeros.
    ///
    /// # Errors
    /// [`ReadError`] when the source fails, or the inode is no regular file, encrypted or damaged.
    pub fn read(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut reader = self.reader(inode)?;
        reader.offset = offset;
        reader.fill(buffer)
    }

    /// All data of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadError::Limit`] for a longer file, else as [`read`](Self::read).
    pub fn read_to_vec(&self, inode: &Inode, limit: u64) -> Result<Vec<u8>, ReadError> {
        const STEP: u64 = 1 << 20;
        let mut reader = self.reader(inode)?;
        let size = inode.size();
        if size > limit {
            return Err(ReadError::Limit {
                number: inode.number(),
                size,
                limit,
            });
        }
        // Memory is taken as data is found.
        let mut data: Vec<u8> = Vec::new();
        while (data.len() as u64) < size {
            let start = data.len();
            data.resize(start + (size - start as u64).min(STEP) as usize, 0);
            reader.fill(&mut data[start..])?;
        }
        Ok(data)
    }

    /// A file's data as a [`std::io::Read`].
    ///
    /// # Errors
    /// [`ReadError::Type`] when the inode is no regular file, [`ReadError::Encrypted`] when its data is encrypted.
    pub fn reader(&self, inode: &Inode) -> Result<FileReader<'_, R>, ReadError> {
        inode.expect(FileType::File)?;
        inode.expect_plain()?;
        let inline = match inode.is_inline() {
            true => Some(self.inline_start(inode)?),
            false => None,
        };
        Ok(FileReader {
            image: self,
            inode: *inode,
            inline,
            offset: 0,
            position: Position::default(),
        })
    }

    /// Where a file's data is, if parts of it are holes or were never written; adjacent parts make one segment.
    ///
    /// # Errors
    /// [`ReadError`] when its map is damaged or it is no regular file.
    pub fn segments(&self, inode: &Inode) -> Result<Option<Vec<DataSegment>>, ReadError> {
        inode.expect(FileType::File)?;
        let (size, block_size) = (inode.size(), self.block_size());
        if inode.is_inline() {
            let length = self.inline_start(inode)?.len() as u64;
            let start = DataSegment { offset: 0, length };
            return Ok((length < size).then(|| vec![start]));
        }
        let mut segments: Vec<DataSegment> = Vec::new();
        self.traverse(inode, &mut |piece| {
            let Piece::Data {
                logical,
                blocks,
                is_written: true,
                ..
            } = piece
            else {
                return Ok(());
            };
            let offset = logical * block_size;
            let end = (offset + blocks * block_size).min(size);
            let Some(length) = end.checked_sub(offset).filter(|&length| length > 0) else {
                return Ok(());
            };
            match segments.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += length,
                _ => segments.push(DataSegment { offset, length }),
            }
            Ok(())
        })?;
        let is_whole = match segments.as_slice() {
            [] => size == 0,
            [one] => one.length == size,
            _ => false,
        };
        Ok((!is_whole).then_some(segments))
    }

    /// The data of an inode that has it in place of a map, and in an attribute, which is all of it.
    pub(super) fn inline_data(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        let data = self.inline_start(inode)?;
        let (expected, found) = (inode.size(), data.len() as u64);
        match expected == found {
            true => Ok(data),
            false => Err(inode.damaged(Damage::InlineData { expected, found })),
        }
    }

    /// The data of an inode that has it in place of a map, and in an attribute. Behind it, up to the end of the file, are zeros: so
    /// `mke2fs` stores files that begin with a little data or none and go on with a hole.
    fn inline_start(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        let size = inode.size();
        let mut data = inode.stored.block.to_vec();
        if size > BLOCK_LEN as u64 {
            data.extend(self.inline_xattr(inode)?);
        }
        if size < data.len() as u64 {
            data.truncate(size as usize);
        }
        Ok(data)
    }

    /// Reads bytes of an inode's blocks, all of which are in front of its end.
    pub(super) fn fill(
        &self,
        inode: &Inode,
        offset: u64,
        buffer: &mut [u8],
        position: &mut Position,
    ) -> Result<(), ReadError> {
        let block_size = self.block_size();
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (logical, inside) = (at / block_size, at % block_size);
            let run = self.run(inode, logical, position)?;
            let bytes = (run.blocks * block_size - inside).min((buffer.len() - done) as u64);
            let target = &mut buffer[done..done + bytes as usize];
            match run.physical {
                Some(block) => self.blocks.read(block * block_size + inside, target)?,
                None => target.fill(0),
            }
            done += target.len();
        }
        Ok(())
    }

    fn run(&self, inode: &Inode, logical: u64, position: &mut Position) -> Result<Run, ReadError> {
        if let Some((first, run)) = position.run
            && (first..first + run.blocks).contains(&logical)
        {
            let inside = logical - first;
            return Ok(Run {
                physical: run.physical.map(|block| block + inside),
                blocks: run.blocks - inside,
            });
        }
        let run = self.find_block(inode, logical, &mut position.hint)?;
        position.run = Some((logical, run));
        Ok(run)
    }
}

/// Where in an inode's map something was read last.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// Blocks that follow each other, and the number of the first.
    run: Option<(u64, Run)>,
    hint: Option<Hint>,
}

/// Reads a file of an [`Image`] from start to end.
#[derive(Debug)]
pub struct FileReader<'a, R> {
    image: &'a Image<R>,
    inode: Inode,
    inline: Option<Vec<u8>>,
    offset: u64,
    position: Position,
}

impl<R> FileReader<'_, R> {
    /// Goes on so many bytes further, without reading what lies between.
    pub fn skip(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
    }
}

impl<R: ReadAt> FileReader<'_, R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let left = self.inode.size().saturating_sub(self.offset);
        let length = left.min(buffer.len() as u64) as usize;
        let target = &mut buffer[..length];
        if let Some(inline) = &self.inline {
            let at = self.offset.min(inline.len() as u64) as usize;
            let there = length.min(inline.len() - at);
            target[..there].copy_from_slice(&inline[at..at + there]);
            target[there..].fill(0);
        } else {
            let position = &mut self.position;
            self.image
                .fill(&self.inode, self.offset, target, position)?;
        }
        self.offset += length as u64;
        Ok(length)
    }
}

impl<R: ReadAt> io::Read for FileReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill(buffer).map_err(|e| match e {
            ReadError::Io { source, .. } => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })
    }
}
