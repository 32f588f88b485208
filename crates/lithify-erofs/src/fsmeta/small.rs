//! Files shorter than a block that stand behind their inodes in layers' images: read when the merged image gets them.

use super::{FsmetaError, LayerImage};
use crate::error::Operation;
use crate::format::{BLOCK_BITS, BLOCK_SIZE};
use crate::read::Inode;
use crate::write::tails::Tails;
use crate::{DataLayout, Image, ReadAt, WriteError};

/// Bits of an address in a layer's image: a block number and an offset in the block.
const ADDRESS_BITS: u32 = u32::BITS + BLOCK_BITS as u32;

/// Where such files are: eight bytes for each, so that their data takes no memory.
#[derive(Debug)]
pub(super) struct SmallFiles<'a, R> {
    layers: &'a [LayerImage<'a, R>],
    /// Layer and address.
    places: Vec<u64>,
    buffer: Vec<u8>,
}

impl<'a, R: ReadAt> SmallFiles<'a, R> {
    pub(super) fn new(layers: &'a [LayerImage<'a, R>]) -> Self {
        Self {
            layers,
            places: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Notes where the data of a file of a layer is, and gives its number; `None` if it has blocks.
    pub(super) fn add(
        &mut self,
        layer: usize,
        image: &Image<R>,
        inode: &Inode,
    ) -> Result<Option<u64>, FsmetaError> {
        if inode.layout() != DataLayout::Inline || inode.size() >= BLOCK_SIZE as u64 {
            return Ok(None);
        }
        // Checks that all of it is there.
        let extent = image
            .extent(inode, 0)
            .map_err(|source| FsmetaError::Read { layer, source })?;
        let Some(address) = extent.and_then(|e| e.address) else {
            return Ok(None);
        };
        let number = self.places.len() as u64;
        self.places.push((layer as u64) << ADDRESS_BITS | address);
        Ok(Some(number))
    }
}

impl<R: ReadAt> Tails for SmallFiles<'_, R> {
    fn read(&mut self, at: u64, length: usize) -> Result<&[u8], WriteError> {
        let Some(&place) = self.places.get(at as usize) else {
            return Ok(&[]);
        };
        let (layer, address) = (place >> ADDRESS_BITS, place & ((1 << ADDRESS_BITS) - 1));
        self.buffer.resize(length, 0);
        self.layers[layer as usize]
            .image
            .source()
            .read_exact_at(&mut self.buffer, address)
            .map_err(Operation::ReadLayer.failed())?;
        Ok(&self.buffer)
    }
}
