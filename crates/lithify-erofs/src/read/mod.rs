//! Reading images, ours and those of others, without trusting them.

mod bounds; // limits to what an image makes a walk do
mod compressed; // finding and decompressing it
mod data; // where data is, and reading it
mod devices; // data on further devices
mod directory; // names in directories
mod inode; // one inode
mod overlay; // images that are layers of an overlay, as layers
mod verify; // everything at once
mod walk; // all names
mod xattr; // extended attributes

use crate::format::superblock::{
    self, SUPERBLOCK_END, SUPERBLOCK_LEN, SUPERBLOCK_OFFSET, Superblock, compat, incompat,
};
use crate::{ReadAt, ReadError};
use devices::Devices;

pub use data::{Extent, FileReader};
pub use directory::{DirEntry, ReadDir};
pub use inode::Inode;
pub use overlay::LayerContents;
pub use verify::{DataCounts, MappedOther, Problem, ProblemKind, Verification};
pub use walk::{Entries, OverlayEntries, Walk, WalkEntry};

/// Block sizes accepted, as binary logarithms: what Linux accepts on some machine.
const BLOCK_BITS: std::ops::RangeInclusive<u8> = 9..=16;

/// An EROFS image.
///
/// Opening checks the superblock; everything else is checked when it is read, so that a damaged or hostile image
/// gives errors and never panics, loops or takes memory out of proportion. See [`verify`](Self::verify) for a check
/// of the whole.
#[derive(Debug)]
pub struct Image<R> {
    source: R,
    superblock: Superblock,
    /// Length by the superblock, in bytes.
    size: u64,
    devices: Devices<R>,
}

impl<R: ReadAt> Image<R> {
    /// Opens an image. One that has data on further devices is readable as far as these are in `source` too; see
    /// [`open_with_devices`](Self::open_with_devices).
    ///
    /// # Errors
    /// [`ReadError`] when the source fails, is no EROFS image, is cut short, has a damaged superblock or needs
    /// features this reader does not have.
    pub fn open(source: R) -> Result<Self, ReadError> {
        let found = source
            .size()
            .map_err(|source| ReadError::Length { source })?;
        if found < SUPERBLOCK_END as u64 {
            return Err(ReadError::TooShort {
                expected: SUPERBLOCK_END as u64,
                found,
            });
        }
        let mut bytes = [0; SUPERBLOCK_LEN];
        read(&source, SUPERBLOCK_OFFSET as u64, &mut bytes)?;
        let magic = superblock::magic(&bytes);
        if magic != superblock::MAGIC {
            return Err(ReadError::Magic {
                expected: superblock::MAGIC,
                found: magic,
            });
        }
        let superblock = Superblock::decode(&bytes);
        let bits = superblock.block_bits;
        if !BLOCK_BITS.contains(&bits) {
            return Err(ReadError::BlockSize { bits });
        }
        let size = u64::from(superblock.blocks) << bits;
        if size > found {
            return Err(ReadError::Truncated {
                expected: size,
                found,
            });
        }
        if superblock.compatible_features & compat::CHECKSUM != 0 {
            let end = superblock::checksum_end(1 << bits);
            let mut summed = vec![0; end - SUPERBLOCK_OFFSET];
            if found < end as u64 {
                return Err(ReadError::Truncated {
                    expected: end as u64,
                    found,
                });
            }
            read(&source, SUPERBLOCK_OFFSET as u64, &mut summed)?;
            let (expected, computed) = (
                superblock::stored_checksum(&bytes),
                superblock::checksum(&summed),
            );
            if expected != computed {
                return Err(ReadError::Checksum {
                    expected,
                    found: computed,
                });
            }
        }
        let unknown = superblock.incompatible_features & !incompat::KNOWN;
        if unknown != 0 {
            return Err(ReadError::Features { bits: unknown });
        }
        if superblock.directory_block_bits != 0 {
            return Err(ReadError::DirectoryBlocks {
                bits: superblock.directory_block_bits,
            });
        }
        let devices = Devices::read(&source, &superblock, size, found)?;
        Ok(Self {
            source,
            superblock,
            size,
            devices,
        })
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Size of the image in bytes. The source may be longer.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size of a block in bytes.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        1 << self.superblock.block_bits
    }

    /// What the image is read from.
    pub(crate) fn source(&self) -> &R {
        &self.source
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
        let root = self.inode(u64::from(self.superblock.root_nid))?;
        root.expect_directory()?;
        Ok(root)
    }

    /// The inode at a path: components separated by slashes, symbolic links not followed. `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`] when something on the way is damaged.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Inode>, ReadError> {
        let mut at = self.root()?;
        for name in path.split(|&b| b == b'/').filter(|c| !c.is_empty()) {
            if at.file_type() != crate::FileType::Directory {
                return Ok(None);
            }
            match self.find(&at, name)? {
                Some(entry) => at = self.inode(entry.nid)?,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The inode of a name in a directory. `None` when there is none. Reads as many blocks of the directory as bisecting it
    /// takes.
    ///
    /// # Errors
    /// [`ReadError`] when it is no directory or something is damaged.
    pub fn child(&self, directory: &Inode, name: &[u8]) -> Result<Option<Inode>, ReadError> {
        match self.find(directory, name)? {
            Some(entry) => self.inode(entry.nid).map(Some),
            None => Ok(None),
        }
    }

    /// Reads bytes that `what` of an inode consists of, after checking that they are inside the image.
    fn read_part(
        &self,
        what: &'static str,
        nid: u64,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), ReadError> {
        self.check_range(what, nid, offset, buffer.len() as u64)?;
        read(&self.source, offset, buffer)
    }

    fn check_range(
        &self,
        what: &'static str,
        nid: u64,
        offset: u64,
        length: u64,
    ) -> Result<(), ReadError> {
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(ReadError::OutOfRange {
                what,
                nid,
                offset,
                length,
                size: self.size,
            });
        }
        Ok(())
    }
}

fn read<R: ReadAt>(source: &R, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
    let length = buffer.len();
    source
        .read_exact_at(buffer, offset)
        .map_err(|source| ReadError::Io {
            offset,
            length,
            source,
        })
}
