//! Reading a layer's image: its entries, and for each file where its data is.

use lithify_tree::{ContentId, EntryKind, LayerEntries};

use super::small::SmallFiles;
use super::{FsmetaError, LayerImage};
use crate::format::{BLOCK_BITS, BLOCK_SIZE};
use crate::read::Inode;
use crate::write::contents::Contents;
use crate::write::external::{Stretch, plan};
use crate::{DataLayout, Image, ReadAt};

/// The entries of a layer, whose data `contents` gets.
pub(super) fn entries<R: ReadAt>(
    layer: usize,
    device: u16,
    input: &LayerImage<'_, R>,
    contents: &mut Contents,
    small: &mut SmallFiles<'_, R>,
) -> Result<LayerEntries, FsmetaError> {
    let image = input.image;
    if image.block_size() != BLOCK_SIZE as u64 {
        return Err(FsmetaError::BlockSize {
            layer,
            expected: BLOCK_SIZE as u64,
            found: image.block_size(),
        });
    }
    if !image.devices().is_empty() {
        return Err(FsmetaError::LayerDevices {
            layer,
            devices: image.devices().len(),
        });
    }
    let mut entries = LayerEntries::new();
    let mut stretches = Vec::new();
    for item in image.overlay_entries(input.describes_root) {
        let (entry, inode) = item.map_err(|source| FsmetaError::Read { layer, source })?;
        let content = if let EntryKind::File { size: 1.., .. } = entry.kind {
            let path = entry.path.as_bytes();
            Some(match small.add(layer, image, &inode)? {
                // Less than a block.
                Some(at) => contents.push_tail(0, inode.size(), at)?,
                None => content(layer, device, image, &inode, path, &mut stretches, contents)?,
            })
        } else {
            None
        };
        entries
            .push(&entry, content)
            .map_err(|source| FsmetaError::LayerFull { layer, source })?;
    }
    Ok(entries)
}

/// Where the data of one file is that has blocks.
fn content<R: ReadAt>(
    layer: usize,
    device: u16,
    image: &Image<R>,
    inode: &Inode,
    path: &[u8],
    stretches: &mut Vec<Stretch>,
    contents: &mut Contents,
) -> Result<ContentId, FsmetaError> {
    let not_aligned = || FsmetaError::NotAligned {
        layer,
        path: path.to_vec(),
    };
    let mut least = BLOCK_BITS;
    match inode.layout() {
        DataLayout::Plain => {}
        DataLayout::Chunked => {
            let (_, bits, _) = image
                .chunk_map(inode)
                .map_err(|source| FsmetaError::Read { layer, source })?;
            // At most 12 + 31.
            least = bits as u8;
        }
        DataLayout::Inline => return Err(not_aligned()),
        DataLayout::CompressedFull | DataLayout::CompressedCompact => {
            return Err(FsmetaError::Compressed {
                layer,
                path: path.to_vec(),
            });
        }
    }
    stretches.clear();
    for extent in image.extents(inode) {
        let extent = extent.map_err(|source| FsmetaError::Read { layer, source })?;
        let at = match extent.address {
            None => None,
            Some(address) if !address.is_multiple_of(BLOCK_SIZE as u64) => {
                return Err(not_aligned());
            }
            // In the image, so below 2³².
            Some(address) => Some((device, (address >> BLOCK_BITS) as u32)),
        };
        let offset = extent.offset;
        let stretch = Stretch { offset, at };
        if !stretches.last().is_some_and(|last| last.leads_to(&stretch)) {
            stretches.push(stretch);
        }
    }
    let (chunk_bits, pieces) = plan(inode.size(), stretches, least);
    Ok(contents.push_external(inode.size(), chunk_bits, &pieces)?)
}
