//! Where an inode's data is, and reading it.

use std::io;

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
        let (device, block) = decode_entry(format, &entry);
        let chunk_start = chunk << bits;
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
        let (device, start) = self.place(nid, device, start, length)?;
        Ok(Extent {
            offset,
            length: length - inside,
            address: Some(start + inside),
            device,
        })
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

/// Reads a file of an [`Image`] from start to end.
#[derive(Debug)]
pub struct FileReader<'a, R> {
    image: &'a Image<R>,
    inode: Inode,
    offset: u64,
    compressed: Option<(ClusterMap, Decompressed)>,
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
