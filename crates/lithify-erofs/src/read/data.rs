//! Where an inode's data is, and reading it.

use std::io;

use lithify_tree::DataSegment;

use super::compressed::{ClusterMap, Decompressed};
use super::{Image, Inode};
use crate::format::chunk::{ChunkFormat, decode_entry};
use crate::format::inode::DataLayout;
use crate::format::{NULL_BLOCK, chunk::INDEX_LEN};
use crate::{FileType, ReadAt, ReadError};

/// Longest target of a symbolic link, in bytes: what Linux reads of it.
const TARGET_MAX: u64 = 4095;

/// A stretch of a file that is stored in one piece, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub length: u64,
    /// Offset on the device, in bytes; `None` for a hole, which reads as zeros.
    pub address: Option<u64>,
    /// The device: 0 is the image itself, others are counted from 1 in the order of its device table.
    pub device: u16,
}

impl<R: ReadAt> Image<R> {
    /// Where the byte at `offset` of a file is and how far that stretch goes; `None` from the end of the file on.
    ///
    /// # Errors
    /// [`ReadError::NoExtent`] for compressed data, else [`ReadError`] when the inode's map is damaged or leads out of its
    /// device.
    pub fn extent(&self, inode: &Inode, offset: u64) -> Result<Option<Extent>, ReadError> {
        let size = inode.size();
        if offset >= size {
            return Ok(None);
        }
        let nid = inode.nid();
        let extent = match inode.layout() {
            DataLayout::CompressedFull | DataLayout::CompressedCompact => {
                return Err(ReadError::NoExtent { nid });
            }
            DataLayout::Plain => self.flat(inode, offset, size)?,
            DataLayout::Inline => {
                let tail = (size - 1) / self.block_size() * self.block_size();
                if offset < tail {
                    self.flat(inode, offset, tail)?
                } else {
                    let length = size - tail;
                    let address = inode.behind();
                    if address % self.block_size() + length > self.block_size() {
                        return Err(ReadError::InlineCrossesBlock { nid });
                    }
                    self.check_range("the data", nid, address, length)?;
                    Extent {
                        offset,
                        length: size - offset,
                        address: Some(address + (offset - tail)),
                        device: 0,
                    }
                }
            }
            DataLayout::Chunked => self.chunk(inode, offset)?,
        };
        Ok(Some(extent))
    }

    /// Data in consecutive blocks, up to `end`.
    fn flat(&self, inode: &Inode, offset: u64, end: u64) -> Result<Extent, ReadError> {
        let start = u64::from(inode.raw.union) << self.superblock.block_bits;
        let (device, start) = self.place(inode.nid(), 0, start, end)?;
        Ok(Extent {
            offset,
            length: end - offset,
            address: Some(start + offset),
            device,
        })
    }

    /// How an inode's map is to be read: format, binary logarithm of the chunk size, and where it is.
    pub(crate) fn chunk_map(&self, inode: &Inode) -> Result<(ChunkFormat, u32, u64), ReadError> {
        let nid = inode.nid();
        let format = ChunkFormat::decode(inode.raw.union).ok_or(ReadError::ChunkFormat {
            nid,
            format: inode.raw.union,
        })?;
        let bits = u32::from(self.superblock.block_bits + format.block_bits);
        Ok((
            format,
            bits,
            inode.behind().next_multiple_of(format.entry_len() as u64),
        ))
    }

    fn chunk(&self, inode: &Inode, offset: u64) -> Result<Extent, ReadError> {
        let nid = inode.nid();
        if inode.file_type() != FileType::File {
            return Err(ReadError::Layout {
                nid,
                file_type: inode.file_type().name(),
                layout: inode.layout(),
            });
        }
        let (format, bits, map) = self.chunk_map(inode)?;
        let chunk = offset >> bits;
        // At most 2⁶³ / 512 entries of 8 bytes.
        let address = map.saturating_add(chunk * format.entry_len() as u64);
        let mut entry = [0; INDEX_LEN];
        self.read_part(
            "the chunk map",
            nid,
            address,
            &mut entry[..format.entry_len()],
        )?;
        self.mapped(inode, bits, decode_entry(format, &entry), offset)
    }

    /// Translates an entry of a map, device and block, for the byte at `offset`.
    fn mapped(
        &self,
        inode: &Inode,
        bits: u32,
        (device, block): (u16, u32),
        offset: u64,
    ) -> Result<Extent, ReadError> {
        let chunk_start = offset >> bits << bits;
        let length = (inode.size() - chunk_start).min(1 << bits);
        let inside = offset - chunk_start;
        if block == NULL_BLOCK {
            return Ok(Extent {
                offset,
                length: length - inside,
                address: None,
                device: 0,
            });
        }
        let start = u64::from(block) << self.superblock.block_bits;
        let (device, start) = self.place(inode.nid(), device, start, length)?;
        Ok(Extent {
            offset,
            length: length - inside,
            address: Some(start + inside),
            device,
        })
    }

    /// All stretches of a file in order. A map is read in pieces of some kilobytes, not entry by entry, and of neighbouring
    /// chunks that are holes it makes one stretch: a map can have millions of them.
    pub(crate) fn extents(&self, inode: &Inode) -> Extents<'_, R> {
        Extents {
            image: self,
            inode: *inode,
            offset: 0,
            piece: Vec::new(),
            first: 0,
        }
    }

    /// Reads from `offset` of a file, directory or link into `buffer`; gives the number of bytes read, which is less
    /// than asked for only at the end. Of compressed data whole extents are decompressed, at most 12 MiB each; a
    /// [`reader`](Self::reader) keeps the last one.
    ///
    /// # Errors
    /// [`ReadError`] when the source fails or the inode is damaged, compressed in an unknown way or on a device that is not
    /// at hand.
    pub fn read(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if is_compressed(inode) {
            let mut map = self.cluster_map(inode)?;
            return self.read_compressed(&mut map, offset, buffer, &mut Decompressed::default());
        }
        let mut done = 0;
        while done < buffer.len() {
            let Some(extent) = self.extent(inode, offset.saturating_add(done as u64))? else {
                break;
            };
            let n = extent.length.min((buffer.len() - done) as u64) as usize;
            let part = &mut buffer[done..done + n];
            match extent.address {
                Some(address) => self.read_data(inode.nid(), extent.device, address, part)?,
                None => part.fill(0),
            }
            done += n;
        }
        Ok(done)
    }

    /// All data of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadError::Limit`] when it is longer, else like [`read`](Self::read).
    pub fn read_to_vec(&self, inode: &Inode, limit: u64) -> Result<Vec<u8>, ReadError> {
        let size = inode.size();
        let Some(length) = usize::try_from(size).ok().filter(|_| size <= limit) else {
            return Err(ReadError::Limit {
                nid: inode.nid(),
                size,
                limit,
            });
        };
        // Memory is only taken for what the image can hold: the first extent says whether it does.
        if is_compressed(inode) {
            self.cluster_map(inode)?;
        } else if let Some(extent) = self.extent(inode, 0)? {
            self.expect_device(inode.nid(), extent.device)?;
        }
        let mut data = vec![0; length];
        self.read(inode, 0, &mut data)?;
        Ok(data)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`ReadError`] when the inode is no link or damaged.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        inode.expect(FileType::Symlink, "symbolic link")?;
        if inode.size() > TARGET_MAX {
            return Err(ReadError::Size {
                nid: inode.nid(),
                size: inode.size(),
                limit: TARGET_MAX,
            });
        }
        let target = self.read_to_vec(inode, TARGET_MAX)?;
        match target.is_empty() || target.contains(&0) {
            // Linux reads up to a NUL, others all: a link that leads to two places.
            true => Err(ReadError::Target { nid: inode.nid() }),
            false => Ok(target),
        }
    }

    /// A file's data as a [`std::io::Read`].
    #[must_use]
    pub fn reader<'a>(&'a self, inode: &Inode) -> FileReader<'a, R> {
        FileReader {
            image: self,
            inode: *inode,
            offset: 0,
            compressed: None,
        }
    }
}

/// Whether data of an inode has to be decompressed.
pub(super) const fn is_compressed(inode: &Inode) -> bool {
    matches!(
        inode.raw.layout,
        DataLayout::CompressedFull | DataLayout::CompressedCompact
    )
}

impl<R: ReadAt> Image<R> {
    /// Where a file's data is, if it is stored with holes; adjacent extents make one segment.
    ///
    /// # Errors
    /// [`ReadError`] when its map is damaged.
    pub fn segments(&self, inode: &Inode) -> Result<Option<Vec<DataSegment>>, ReadError> {
        if inode.layout() != DataLayout::Chunked {
            return Ok(None);
        }
        self.check_map(inode)?;
        let mut segments: Vec<DataSegment> = Vec::new();
        let mut holes = false;
        for extent in self.extents(inode) {
            let extent = extent?;
            let offset = extent.offset;
            if extent.address.is_none() {
                holes = true;
            } else {
                match segments.last_mut() {
                    Some(last) if last.offset + last.length == offset => {
                        last.length += extent.length
                    }
                    _ => segments.push(DataSegment {
                        offset,
                        length: extent.length,
                    }),
                }
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
    offset: u64,
    compressed: Option<(ClusterMap, Decompressed)>,
}

impl<R> FileReader<'_, R> {
    /// Goes on so many bytes further, without reading what lies between.
    pub fn skip(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
    }
}

impl<R: ReadAt> FileReader<'_, R> {
    fn read_part(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (image, inode) = (self.image, &self.inode);
        if !is_compressed(inode) {
            return image.read(inode, self.offset, buffer);
        }
        let (map, last) = match &mut self.compressed {
            Some(state) => state,
            none => none.insert((image.cluster_map(inode)?, Decompressed::default())),
        };
        image.read_compressed(map, self.offset, buffer, last)
    }
}

impl<R: ReadAt> io::Read for FileReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read_part(buffer).map_err(|e| match e {
            ReadError::Io { source, .. } => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// Bytes of a map read at once.
const MAP_PIECE: u64 = 32 << 10;

/// The stretches of a file in order, as [`Image::extents`] gives them. After an error it ends.
#[derive(Debug)]
pub(crate) struct Extents<'a, R> {
    image: &'a Image<R>,
    inode: Inode,
    /// The offset in the file at which the next one starts.
    offset: u64,
    /// A piece of the map, and the number of the chunk it starts with.
    piece: Vec<u8>,
    first: u64,
}

impl<R: ReadAt> Extents<'_, R> {
    fn advance(&mut self) -> Result<Option<Extent>, ReadError> {
        let (image, size) = (self.image, self.inode.size());
        let is_mapped =
            self.inode.layout() == DataLayout::Chunked && self.inode.file_type() == FileType::File;
        if self.offset >= size || !is_mapped {
            return image.extent(&self.inode, self.offset);
        }
        let (format, bits, _) = image.chunk_map(&self.inode)?;
        let entry = self.entry(format, bits)?;
        let mut found = image.mapped(&self.inode, bits, entry, self.offset)?;
        let start = self.offset;
        self.offset += found.length;
        while found.address.is_none() && self.offset < size {
            let entry = self.entry(format, bits)?;
            if entry.1 != NULL_BLOCK {
                break;
            }
            self.offset += (size - self.offset).min(1 << bits);
        }
        if found.address.is_none() {
            found.length = self.offset - start;
        }
        self.offset = start;
        Ok(Some(found))
    }

    /// The entry of the chunk with the byte at the offset.
    fn entry(&mut self, format: ChunkFormat, bits: u32) -> Result<(u16, u32), ReadError> {
        let length = format.entry_len() as u64;
        let chunk = self.offset >> bits;
        let at = chunk.checked_sub(self.first).map(|n| n * length);
        if let Some(at) = at.filter(|&at| at < self.piece.len() as u64) {
            return Ok(decode_entry(format, &self.piece[at as usize..]));
        }
        let (_, _, map) = self.image.chunk_map(&self.inode)?;
        let left = (self.inode.size().div_ceil(1 << bits) - chunk).saturating_mul(length);
        self.piece.resize(left.min(MAP_PIECE) as usize, 0);
        self.first = chunk;
        let address = map.saturating_add(chunk.saturating_mul(length));
        let nid = self.inode.nid();
        let image = self.image;
        image.read_part("the chunk map", nid, address, &mut self.piece)?;
        Ok(decode_entry(format, &self.piece))
    }
}

impl<R: ReadAt> Iterator for Extents<'_, R> {
    type Item = Result<Extent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.advance();
        self.offset = match &found {
            Ok(Some(extent)) => extent.offset + extent.length,
            Ok(None) | Err(_) => u64::MAX,
        };
        found.transpose()
    }
}
