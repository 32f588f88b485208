//! Contents of regular files.

use std::io;
use std::sync::{Arc, PoisonError};

use lithify_tree::DataSegment;

use super::metadata::Cursor;
use super::{Image, Inode, State};
use crate::error::Damage;
use crate::format::inode::Body;
use crate::format::{BLOCK_STORED, FRAGMENT_LEN, NONE, u32_at, u64_at};
use crate::{FileType, ReadAt, ReadError};

/// An uncompressed block, and where in it something begins.
pub(super) type Piece = (Arc<Vec<u8>>, usize);

/// Where a file's data is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    start: u64,
    pub(super) size: u64,
    /// Blocks in the list.
    pub(super) blocks: u64,
    fragment: u32,
    /// Offset in the fragment block.
    offset: u32,
}

impl Layout {
    /// Bytes of the file in its block of a number.
    fn block_len(&self, number: u64, block_size: u64) -> u64 {
        (self.size - number * block_size).min(block_size)
    }
}

/// The list of a file's blocks, read in order.
#[derive(Debug)]
pub(super) struct Blocks<'a, R> {
    cursor: Cursor<'a, R>,
    /// Number of the next block.
    pub(super) next: u64,
    /// Where it lies.
    pub(super) address: u64,
}

impl<R: ReadAt> Blocks<'_, R> {
    /// Place and length of the next block, as the image has it.
    pub(super) fn advance(&mut self) -> Result<(u64, u32), ReadError> {
        let length = self.cursor.u32()?;
        let address = self.address;
        self.next += 1;
        self.address = address.saturating_add(u64::from(length & !BLOCK_STORED));
        Ok((address, length))
    }
}

impl<R: ReadAt> Image<R> {
    pub(super) fn layout(&self, inode: &Inode) -> Result<Layout, ReadError> {
        let Body::File {
            start,
            size,
            fragment,
            offset,
            ..
        } = inode.body
        else {
            return Err(ReadError::Type {
                number: inode.number(),
                expected: FileType::File.name(),
            });
        };
        let blocks = if fragment == NONE {
            size.div_ceil(self.block_size())
        } else {
            size / self.block_size()
        };
        Ok(Layout {
            start,
            size,
            blocks,
            fragment,
            offset,
        })
    }

    pub(super) fn blocks(&self, inode: &Inode, layout: &Layout) -> Blocks<'_, R> {
        Blocks {
            cursor: self.inode_cursor(inode.behind),
            next: 0,
            address: layout.start,
        }
    }

    /// The bytes of a block of data, at most `max`.
    pub(super) fn data_block(
        &self,
        what: &'static str,
        address: u64,
        length: u32,
    ) -> Result<Arc<Vec<u8>>, ReadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = state.data.get(address) {
            return Ok(block);
        }
        let max = self.block_size();
        let damaged = |reason| ReadError::Damaged {
            what,
            offset: address,
            reason,
        };
        let stored = length & BLOCK_STORED != 0;
        let length = u64::from(length & !BLOCK_STORED);
        if length == 0 || length > max {
            return Err(damaged(Damage::BlockLength { length, limit: max }));
        }
        let State {
            decoder, packed, ..
        } = &mut *state;
        // At most a megabyte.
        packed.resize(length as usize, 0);
        self.read_part(what, address, packed)?;
        let mut bytes = Vec::new();
        if stored {
            bytes.extend_from_slice(packed);
        } else {
            decoder
                .decompress(packed, &mut bytes, max as usize)
                .map_err(|e| damaged(Damage::Decompress(e)))?;
        }
        let block = Arc::new(bytes);
        state.data.insert(address, Arc::clone(&block));
        Ok(block)
    }

    /// Place and length of a fragment block.
    pub(super) fn fragment(&self, number: u32) -> Result<(u64, u32), ReadError> {
        let mut entry = [0; FRAGMENT_LEN];
        let table = self.superblock.fragment_table;
        let count = u64::from(self.superblock.fragments);
        self.table_entry("fragment", table, u64::from(number), count, &mut entry)?;
        Ok((u64_at(&entry, 0), u32_at(&entry, 8)))
    }

    /// A file's block of a number: its bytes and where in them they begin; `None` for zeros.
    pub(super) fn file_block(
        &self,
        inode: &Inode,
        layout: &Layout,
        number: u64,
        place: Option<(u64, u32)>,
    ) -> Result<Option<Piece>, ReadError> {
        let expected = layout.block_len(number, self.block_size());
        let Some((address, length)) = place else {
            let (address, length) = self.fragment(layout.fragment)?;
            let block = self.data_block("a fragment block", address, length)?;
            let start = u64::from(layout.offset);
            if start + expected > block.len() as u64 {
                return Err(inode.damaged(Damage::Uncompressed {
                    expected: start + expected,
                    found: block.len() as u64,
                }));
            }
            return Ok(Some((block, start as usize)));
        };
        if length == 0 {
            return Ok(None);
        }
        let block = self.data_block("a data block", address, length)?;
        if block.len() as u64 != expected {
            return Err(inode.damaged(Damage::Uncompressed {
                expected,
                found: block.len() as u64,
            }));
        }
        Ok(Some((block, 0)))
    }

    /// Reads from `offset` of a file into `buffer`; gives the number of bytes read, which is less than asked for only
    /// at the end. Takes time for the blocks before `offset`, if only for their lengths: [`reader`](Self::reader) is
    /// the way to read a long file in pieces.
    ///
    /// # Errors
    /// [`ReadError`] when the source fails, or the inode is no regular file or damaged.
    pub fn read(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut reader = self.open_reader(inode)?;
        reader.offset = offset;
        reader.fill(buffer)
    }

    /// All data of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadError::Limit`] for a longer file, else as [`read`](Self::read).
    pub fn read_to_vec(&self, inode: &Inode, limit: u64) -> Result<Vec<u8>, ReadError> {
        const STEP: u64 = 1 << 20;
        let mut reader = self.open_reader(inode)?;
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
    /// [`ReadError::Type`] when the inode is no regular file.
    pub fn reader(&self, inode: &Inode) -> Result<FileReader<'_, R>, ReadError> {
        self.open_reader(inode)
    }

    fn open_reader(&self, inode: &Inode) -> Result<FileReader<'_, R>, ReadError> {
        let layout = self.layout(inode)?;
        Ok(FileReader {
            image: self,
            inode: *inode,
            layout,
            blocks: self.blocks(inode, &layout),
            offset: 0,
            current: None,
        })
    }

    /// Where a file's data is, if some of its blocks are zeros that are not stored; adjacent blocks make one segment.
    ///
    /// # Errors
    /// [`ReadError`] when its list of blocks is damaged or it is no regular file.
    pub fn segments(&self, inode: &Inode) -> Result<Option<Vec<DataSegment>>, ReadError> {
        let layout = self.layout(inode)?;
        let mut blocks = self.blocks(inode, &layout);
        let mut segments: Vec<DataSegment> = Vec::new();
        let mut holes = false;
        let tail = u64::from(layout.fragment != NONE);
        for number in 0..layout.blocks + tail {
            let is_hole = number < layout.blocks && blocks.advance()?.1 == 0;
            holes |= is_hole;
            if is_hole {
                continue;
            }
            let offset = number * self.block_size();
            let length = layout.block_len(number, self.block_size());
            match segments.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += length,
                _ => segments.push(DataSegment { offset, length }),
            }
        }
        Ok(holes.then_some(segments))
    }
}

/// Reads a file of an [`Image`] from start to end.
#[derive(Debug)]
pub struct FileReader<'a, R> {
    image: &'a Image<R>,
    inode: Inode,
    layout: Layout,
    blocks: Blocks<'a, R>,
    offset: u64,
    /// Number and bytes of the block read last.
    current: Option<(u64, Option<Piece>)>,
}

impl<R> FileReader<'_, R> {
    /// Goes on so many bytes further, without reading what lies between.
    pub fn skip(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
    }
}

impl<R: ReadAt> FileReader<'_, R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let block_size = self.image.block_size();
        let mut done = 0;
        while done < buffer.len() && self.offset < self.layout.size {
            let number = self.offset / block_size;
            let inside = (self.offset % block_size) as usize;
            let length = self.layout.block_len(number, block_size) as usize;
            let n = (buffer.len() - done).min(length - inside);
            let target = &mut buffer[done..done + n];
            match self.block(number)? {
                Some((block, start)) => {
                    target.copy_from_slice(&block[start + inside..start + inside + n]);
                }
                None => target.fill(0),
            }
            self.offset += n as u64;
            done += n;
        }
        Ok(done)
    }

    fn block(&mut self, number: u64) -> Result<Option<Piece>, ReadError> {
        if let Some((current, block)) = &self.current
            && *current == number
        {
            return Ok(block.clone());
        }
        let mut place = None;
        if number < self.layout.blocks {
            if number < self.blocks.next {
                self.blocks = self.image.blocks(&self.inode, &self.layout);
            }
            while self.blocks.next <= number {
                place = Some(self.blocks.advance()?);
            }
        }
        let block = self
            .image
            .file_block(&self.inode, &self.layout, number, place)?;
        self.current = Some((number, block.clone()));
        Ok(block)
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
