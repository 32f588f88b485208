//! Images as they are, without trusting them.

mod chain; // files on top of each other
mod error; // what can be wrong
mod extents; // what a disk consists of
mod inflate; // compressed clusters
mod member; // one file
mod open; // an image and what it builds on
mod pages; // pieces of tables

use std::io;

use lithify_storage::ReadAt;

use super::format::Header;
use chain::Chain;
pub use error::{CompressedError, OpenError, ReadError};
pub use extents::{Extent, ExtentKind, Extents};
use member::Member;
pub use open::{OpenOptions, Reference};

/// A qcow2 image with all it builds on: a disk that can be read.
///
/// An image without some of its clusters has them from its backing file, and so on down the chain.
/// A file of the chain is called by its depth: 0 is the image itself, 1 its backing file; the last
/// may be a raw disk.
///
/// Opening checks the headers and L1 tables of all of them. L2 tables and clusters are checked when
/// they are read, so that a damaged or hostile image gives errors and never panics, loops or takes
/// memory out of proportion. Reference counts are not looked at, and internal snapshots neither:
/// both say nothing about the active state. Any number of threads may read at once.
#[derive(Debug)]
pub struct Image<R> {
    chain: Chain<R>,
    header: Header,
}

impl<R: ReadAt> Image<R> {
    /// Opens an image. The files it needs are asked for by the names it has for them, each once,
    /// from the top of the chain down; nothing is opened here. `Ok(None)` says that there is no
    /// such file.
    ///
    /// # Errors
    /// Damaged headers and L1 tables, images that `options` do not allow, files that were not
    /// given, and what the storage says.
    pub fn open(
        image: R,
        options: &OpenOptions,
        resolve: impl FnMut(Reference<'_>) -> io::Result<Option<R>>,
    ) -> Result<Self, OpenError> {
        let chain = options.chain(image, resolve)?;
        let header = match chain.members.first() {
            Some(Member::Qcow2(image)) => image.header.clone(),
            _ => unreachable!("the first file is a qcow2 image"),
        };
        Ok(Self { chain, header })
    }

    /// Returns what the image's own header says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the size of the disk in bytes.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        self.header.virtual_size
    }

    /// Returns the number of files of the chain, the image itself included.
    #[must_use]
    pub fn chain_length(&self) -> usize {
        self.chain.members.len()
    }

    /// Returns the header of the file at a depth, if there is one and it is no raw disk.
    #[must_use]
    pub fn header_at(&self, depth: usize) -> Option<&Header> {
        match self.chain.members.get(depth)? {
            Member::Qcow2(image) => Some(&image.header),
            Member::Raw { .. } => None,
        }
    }

    /// Fills `out` with the bytes of the disk from `offset` on.
    ///
    /// # Errors
    /// Bytes behind the end of the disk, damaged tables and clusters, and what the storage says.
    pub fn read_at(&self, out: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let (length, size) = (out.len() as u64, self.virtual_size());
        match offset.checked_add(length).is_some_and(|end| end <= size) {
            true => self.chain.read(out, offset),
            false => Err(ReadError::OutOfRange {
                offset,
                length,
                size,
            }),
        }
    }

    /// Returns what the whole disk consists of, with the depths of the files that have it.
    #[must_use]
    pub fn extents(&self) -> Extents<'_, R> {
        self.extents_above(self.chain_length())
    }

    /// Returns what the disk consists of in the files above a depth alone. Above 1 that is the
    /// image itself: a hole is what comes from its backing file, or is zeros where it has none.
    #[must_use]
    pub fn extents_above(&self, depth: usize) -> Extents<'_, R> {
        let above = depth.min(self.chain_length());
        Extents::new(&self.chain, above, (0, self.virtual_size()))
    }
}

impl<R: ReadAt> ReadAt for Image<R> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(buffer, offset).map_err(|error| match error {
            ReadError::OutOfRange { .. } => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            ReadError::Io { ref source, .. } => io::Error::new(source.kind(), error),
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.virtual_size())
    }
}
