//! Reading images, ours and those of others, without trusting them.

mod bounds; // limits to what an image makes a walk do
mod data; // contents of files
mod directory; // names in directories
mod inode; // one inode
mod metadata; // bytes of tables
mod tables; // where everything is
mod verify; // everything at once
mod walk; // all names
mod xattr; // extended attributes

use std::sync::{Arc, Mutex, PoisonError};

use lithify_fskit::read::Cache;

use crate::codec::Decoder;
use crate::error::Damage;
use crate::format::superblock::{self, LEN, Superblock, flags};
use crate::format::{
    BLOCK_BITS, METADATA_HEADER_LEN, METADATA_LEN, METADATA_STORED, Position, options, u16_at,
    u32_at,
};
use crate::{Compressor, FileType, ReadAt, ReadError};

pub use data::FileReader;
pub use directory::{DirEntry, ReadDir};
pub use inode::Inode;
pub use tables::TableProblem;
pub use verify::{Problem, ProblemKind, Verification};
pub use walk::{Entries, OverlayEntries, Walk, WalkEntry};

/// Blocks of metadata kept: at most half a megabyte.
const METADATA_CACHED: usize = 64;

/// Longest compressor options Linux reads: a page, the smallest there is (`squashfs_decompressor_setup`).
const OPTIONS_MAX: usize = 4096;

/// Blocks of data kept.
const DATA_CACHED: usize = 4;

/// A squashfs image.
///
/// Opening checks the superblock and the table of owners; everything else is checked when it is read, so that a damaged
/// or hostile image gives errors and never panics, loops or takes memory out of proportion. See
/// [`verify`](Self::verify) for a check of the whole.
#[derive(Debug)]
pub struct Image<R> {
    source: R,
    superblock: Superblock,
    ids: Vec<u32>,
    state: Mutex<State>,
}

/// What reading needs besides the source.
#[derive(Debug)]
struct State {
    decoder: Decoder,
    packed: Vec<u8>,
    metadata: Cache<MetadataBlock>,
    data: Cache<Vec<u8>>,
}

/// A block of metadata.
#[derive(Debug)]
struct MetadataBlock {
    bytes: Vec<u8>,
    /// Offset in the image of what follows.
    next: u64,
}

impl<R: ReadAt> Image<R> {
    /// Opens an image.
    ///
    /// # Errors
    /// [`ReadError`] when the source fails, is no squashfs 4.0 image, is cut short, or has a superblock or a table of
    /// owners that makes no sense.
    pub fn open(source: R) -> Result<Self, ReadError> {
        let found = source
            .size()
            .map_err(|source| ReadError::Length { source })?;
        if found < LEN as u64 {
            return Err(ReadError::TooShort {
                expected: LEN as u64,
                found,
            });
        }
        let mut bytes = [0; LEN];
        read(&source, 0, &mut bytes)?;
        let magic = superblock::magic(&bytes);
        if magic != superblock::MAGIC {
            return Err(ReadError::Magic {
                expected: superblock::MAGIC,
                found: magic,
            });
        }
        let (major, minor) = superblock::version(&bytes);
        if (major, minor) != superblock::VERSION {
            return Err(ReadError::Version { major, minor });
        }
        let superblock =
            Superblock::decode(&bytes).map_err(|code| ReadError::UnknownCompressor { code })?;
        let (size, bits) = (superblock.block_size, superblock::block_bits(&bytes));
        if !BLOCK_BITS.contains(&u32::from(bits)) || size != 1 << bits {
            return Err(ReadError::BlockSize { size, bits });
        }
        if superblock.size > found || superblock.size < LEN as u64 {
            return Err(ReadError::Truncated {
                expected: superblock.size,
                found,
            });
        }
        let compressor = superblock.compressor;
        let decoder = Decoder::new(compressor, superblock.block_size)
            .map_err(|source| ReadError::Decoder { compressor, source })?;
        let mut image = Self {
            source,
            superblock,
            ids: Vec::new(),
            state: Mutex::new(State {
                decoder,
                packed: Vec::new(),
                metadata: Cache::new(METADATA_CACHED),
                data: Cache::new(DATA_CACHED),
            }),
        };
        image.check_options()?;
        image.read_ids()?;
        Ok(image)
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Size of the image in bytes, without padding. The source may be longer.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.superblock.size
    }

    /// Size of a data block in bytes.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        u64::from(self.superblock.block_size)
    }

    /// The source back.
    #[must_use]
    pub fn into_source(self) -> R {
        self.source
    }

    /// The root directory.
    ///
    /// # Errors
    /// [`ReadError`] when it is damaged or no directory.
    pub fn root(&self) -> Result<Inode, ReadError> {
        let root = self.inode(self.superblock.root)?;
        root.expect(FileType::Directory)?;
        Ok(root)
    }

    /// The inode at a path: components separated by slashes, symbolic links not followed. `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`] when something on the way is damaged.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Inode>, ReadError> {
        let mut at = self.root()?;
        for name in path.split(|&b| b == b'/').filter(|c| !c.is_empty()) {
            if at.file_type() != FileType::Directory {
                return Ok(None);
            }
            match self.find(&at, name)? {
                Some(entry) => at = self.inode(entry.reference)?,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn check_options(&self) -> Result<(), ReadError> {
        if self.superblock.flags & flags::COMPRESSOR_OPTIONS == 0 {
            return Ok(());
        }
        let damaged = |reason| ReadError::Damaged {
            what: "compressor options",
            offset: LEN as u64,
            reason,
        };
        // Whoever reads them is not set up to decompress yet.
        let mut header = [0; METADATA_HEADER_LEN];
        self.read_part("compressor options", LEN as u64, &mut header)?;
        if u16_at(&header, 0) & METADATA_STORED == 0 {
            return Err(damaged(Damage::CompressedOptions));
        }
        let block = self.metadata_block("compressor options", LEN as u64)?;
        if block.bytes.len() > OPTIONS_MAX {
            return Err(damaged(Damage::BlockLength {
                length: block.bytes.len() as u64,
                limit: OPTIONS_MAX as u64,
            }));
        }
        match self.superblock.compressor {
            Compressor::Lz4 if !options::lz4_is_known(&block.bytes) => {
                Err(damaged(Damage::Lz4Form))
            }
            Compressor::Xz if !options::xz_is_known(&block.bytes, self.superblock.block_size) => {
                Err(damaged(Damage::XzOptions))
            }
            _ => Ok(()),
        }
    }

    fn read_ids(&mut self) -> Result<(), ReadError> {
        let count = u64::from(self.superblock.ids);
        let mut ids = Vec::with_capacity(count as usize);
        let mut entry = [0; 4];
        for index in 0..count {
            self.table_entry("owner", self.superblock.id_table, index, count, &mut entry)?;
            ids.push(u32_at(&entry, 0));
        }
        self.ids = ids;
        Ok(())
    }

    /// Reads bytes that `what` consists of, after checking that they are inside the image.
    fn read_part(
        &self,
        what: &'static str,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), ReadError> {
        let (length, size) = (buffer.len() as u64, self.size());
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(ReadError::Damaged {
                what,
                offset,
                reason: Damage::OutOfRange { length, size },
            });
        }
        read(&self.source, offset, buffer)
    }

    /// The block of metadata at an offset of the image.
    fn metadata_block(
        &self,
        what: &'static str,
        offset: u64,
    ) -> Result<Arc<MetadataBlock>, ReadError> {
        // Nothing panics while it holds the lock, and what it protects is made anew for every block.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = state.metadata.get(offset) {
            return Ok(block);
        }
        let mut header = [0; METADATA_HEADER_LEN];
        self.read_part(what, offset, &mut header)?;
        let header = u16_at(&header, 0);
        let length = usize::from(header & !METADATA_STORED);
        let damaged = |reason| ReadError::Damaged {
            what,
            offset,
            reason,
        };
        if length == 0 || length > METADATA_LEN {
            return Err(damaged(Damage::BlockLength {
                length: length as u64,
                limit: METADATA_LEN as u64,
            }));
        }
        let State {
            decoder, packed, ..
        } = &mut *state;
        packed.resize(length, 0);
        let start = offset + METADATA_HEADER_LEN as u64;
        self.read_part(what, start, packed)?;
        let mut bytes = Vec::new();
        if header & METADATA_STORED != 0 {
            bytes.extend_from_slice(packed);
        } else {
            decoder
                .decompress(packed, &mut bytes, METADATA_LEN)
                .map_err(|e| damaged(Damage::Decompress(e)))?;
            bytes.shrink_to_fit();
        }
        let next = start + length as u64;
        let block = Arc::new(MetadataBlock { bytes, next });
        state.metadata.insert(offset, Arc::clone(&block));
        Ok(block)
    }

    /// An entry of a table whose list of blocks is at `table`.
    fn table_entry(
        &self,
        what: &'static str,
        table: u64,
        index: u64,
        count: u64,
        entry: &mut [u8],
    ) -> Result<(), ReadError> {
        if index >= count {
            return Err(ReadError::Damaged {
                what,
                offset: table,
                reason: Damage::Index {
                    table: what,
                    index,
                    count,
                },
            });
        }
        let at = index * entry.len() as u64;
        let mut place = [0; 8];
        let list = table.saturating_add(at / METADATA_LEN as u64 * 8);
        self.read_part(what, list, &mut place)?;
        let block = self.metadata_block(what, u64::from_le_bytes(place))?;
        let inside = (at % METADATA_LEN as u64) as usize;
        let found = block.bytes.get(inside..inside + entry.len());
        let found = found.ok_or_else(|| ReadError::Damaged {
            what,
            offset: u64::from_le_bytes(place),
            reason: Damage::Uncompressed {
                expected: (inside + entry.len()) as u64,
                found: block.bytes.len() as u64,
            },
        })?;
        entry.copy_from_slice(found);
        Ok(())
    }

    /// The owner or group of a number.
    fn id(&self, index: u16) -> Result<u32, Damage> {
        self.ids
            .get(usize::from(index))
            .copied()
            .ok_or(Damage::Index {
                table: "owner",
                index: u64::from(index),
                count: self.ids.len() as u64,
            })
    }

    /// Reads a table of metadata from a place on.
    fn cursor(
        &self,
        what: &'static str,
        table: u64,
        position: Position,
    ) -> metadata::Cursor<'_, R> {
        metadata::Cursor::new(self, what, table, position)
    }
}

fn read<R: ReadAt>(source: &R, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
    source
        .read_exact_at(buffer, offset)
        .map_err(|source| ReadError::Io {
            offset,
            length: buffer.len(),
            source,
        })
}
