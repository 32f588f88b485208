//! Writing the metadata: inodes in order of place, then late blocks, then the superblock.
//!
//! It is one file because it is one sequential pass: each step relies on the offset at which the one before it ended.

use lithify_digest::{Algorithm, Hasher};
use lithify_tree::{InodeId, NodeId};

use super::appender::{Appender, appender};
use super::compress::{Settings, encode_index};
use super::contents::PackedExtent;
use super::directories;
use super::external::{Piece, encode_map};
use super::layout::{Layout, Payload, Planner, Shape, directories_in_order};
use super::packer::SLOTS;
use super::sparse::{Run, chunk_count};
use super::tails::Tails;
use super::{DATA_START, FinishReport, ImageOptions};
use crate::error::Operation;
use crate::format::chunk::{ChunkFormat, MAP_ENTRY_LEN};
use crate::format::inode::{DataLayout, RawInode, SLOT_SIZE};
use crate::format::superblock::{
    CHECKSUM_OFFSET, SUPERBLOCK_END, SUPERBLOCK_OFFSET, Superblock, VOLUME_NAME_LEN, checksum,
    compat, incompat,
};
use crate::format::xattr::{ID_LEN, count_field};
use crate::format::{BLOCK_BITS, BLOCK_SIZE, NULL_BLOCK, put};
use crate::{Storage, WriteError};

/// Where the table of further devices is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceTable {
    /// Number of devices.
    pub(crate) count: u16,
    /// Place of the table, in units of its slots.
    pub(crate) table: u16,
}

/// Writes metadata from block `meta_start` on and the superblock; cuts the storage to the image's length.
pub(crate) fn emit<S: Storage, T: Tails>(
    storage: &mut S,
    planner: &Planner<'_>,
    layout: &Layout,
    tails: &mut T,
    meta_start: u32,
    devices: DeviceTable,
    options: &ImageOptions,
) -> Result<FinishReport, WriteError> {
    let late_start = meta_start
        .checked_add(layout.inode_blocks)
        .ok_or(WriteError::TooLarge)?;
    let blocks = late_start
        .checked_add(layout.late_blocks)
        .filter(|&b| b < NULL_BLOCK)
        .ok_or(WriteError::TooLarge)?;
    let start = u64::from(meta_start) * BLOCK_SIZE as u64;
    let mut emitter = Emitter {
        storage,
        planner,
        layout,
        tails,
        devices,
        meta_start,
        late_start,
        first_block: vec![0; BLOCK_SIZE],
        appender: appender(start, Operation::WriteMetadata),
        hasher: Hasher::new(Algorithm::Sha256),
        record: Vec::new(),
        report: FinishReport {
            blocks,
            build_time: planner.build_time,
            ..FinishReport::default()
        },
        has_inline_clusters: false,
    };
    emitter.hash_seed(&options.uuid_seed);
    emitter.inodes()?;
    emitter.late_blocks()?;
    emitter.finish(options)
}

struct Emitter<'a, 'p, S, T> {
    storage: &'a mut S,
    planner: &'a Planner<'p>,
    layout: &'a Layout,
    tails: &'a mut T,
    devices: DeviceTable,
    meta_start: u32,
    late_start: u32,
    /// Block 0, with inodes behind the place of the superblock.
    first_block: Vec<u8>,
    appender: Appender,
    /// Over everything written here but data of files.
    hasher: Hasher,
    /// The inode being put together.
    record: Vec<u8>,
    report: FinishReport,
    /// Whether compressed data stands behind an inode.
    has_inline_clusters: bool,
}

impl<S: Storage, T: Tails> Emitter<'_, '_, S, T> {
    /// The UUID depends on what the caller says about the data, and on all metadata.
    fn hash_seed(&mut self, seed: &[u8]) {
        self.hasher.update(b"lithify-erofs image\0");
        self.hasher.update(&(seed.len() as u64).to_le_bytes());
        self.hasher.update(seed);
    }

    fn inodes(&mut self) -> Result<(), WriteError> {
        let layout = self.layout;
        let mut shared = layout.shared_slot;
        for &id in &layout.order {
            let slot = layout.slots[id.index()];
            if shared.is_some_and(|s| s < slot) {
                self.shared_xattrs()?;
                shared = None;
            }
            self.inode(id, slot)?;
        }
        if shared.is_some() {
            self.shared_xattrs()?;
        }
        let end = u64::from(self.late_start) * BLOCK_SIZE as u64;
        self.seek(end)
    }

    /// Fills with zeros up to an offset behind the data area.
    fn seek(&mut self, offset: u64) -> Result<(), WriteError> {
        const ZEROS: [u8; BLOCK_SIZE] = [0; BLOCK_SIZE];
        while self.appender.offset() < offset {
            let n = (offset - self.appender.offset()).min(BLOCK_SIZE as u64) as usize;
            self.append(&ZEROS[..n])?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.hasher.update(bytes);
        self.appender.append(self.storage, bytes)
    }

    /// Appends data of a file: the seed stands for it in the UUID.
    fn append_data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.appender.append(self.storage, bytes)
    }

    /// Puts metadata and the data behind it where a slot is: in block 0, or next in the metadata.
    fn put_at_slot(&mut self, slot: u32, metadata: &[u8], data: &[u8]) -> Result<(), WriteError> {
        let address = self.layout.slot_address(slot, self.meta_start);
        if slot < SLOTS {
            put(&mut self.first_block, address as usize, metadata);
            put(
                &mut self.first_block,
                address as usize + metadata.len(),
                data,
            );
            return Ok(());
        }
        self.seek(address)?;
        self.append(metadata)?;
        self.append_data(data)
    }

    fn shared_xattrs(&mut self) -> Result<(), WriteError> {
        let Some(slot) = self.layout.shared_slot else {
            return Ok(());
        };
        let planner = self.planner;
        if slot < SLOTS {
            let mut bytes = Vec::new();
            planner.xattrs.encode_shared(planner.tree, |entry| {
                bytes.extend_from_slice(entry);
                Ok(())
            })?;
            return self.put_at_slot(slot, &bytes, &[]);
        }
        self.seek(self.layout.slot_address(slot, self.meta_start))?;
        planner
            .xattrs
            .encode_shared(planner.tree, |entry| self.append(entry))
    }

    /// The block shared attributes are counted from, and the id of the first.
    fn xattr_base(&self) -> (u32, u32) {
        let address = self
            .layout
            .shared_slot
            .map_or(0, |slot| self.layout.slot_address(slot, self.meta_start));
        // The block number of an address in the image fits 32 bits.
        (
            (address / BLOCK_SIZE as u64) as u32,
            (address % BLOCK_SIZE as u64) as u32 / ID_LEN as u32,
        )
    }

    fn inode(&mut self, id: InodeId, slot: u32) -> Result<(), WriteError> {
        let (planner, tree) = (self.planner, self.planner.tree);
        let node = self.layout.nodes[id.index()];
        let shape = self.layout.shape(planner, node)?;
        let inode = tree.inode(id);
        let late = self.layout.late[id.index()];
        let late = if late == NULL_BLOCK {
            NULL_BLOCK
        } else {
            self.late_start + late
        };
        let (data_layout, union) = match shape.payload {
            Payload::None { device } => (DataLayout::Plain, device),
            Payload::Blocks { start } => (DataLayout::Plain, start),
            Payload::Tail { start, .. } => (DataLayout::Inline, start),
            Payload::Target(_) => (DataLayout::Inline, NULL_BLOCK),
            Payload::LateTail { .. } | Payload::LateTarget(_) => (DataLayout::Plain, late),
            Payload::Directory { rest: 0, .. } => (DataLayout::Plain, late),
            Payload::Directory { .. } => (DataLayout::Inline, late),
            Payload::Compressed { blocks, .. } => (DataLayout::CompressedCompact, blocks),
            Payload::CompressedTail { .. } => (DataLayout::CompressedCompact, 0),
            Payload::LateCluster { .. } => (DataLayout::CompressedCompact, 1),
            Payload::Map { chunk_bits, .. } => {
                let format = ChunkFormat {
                    block_bits: chunk_bits - BLOCK_BITS,
                    indexes: false,
                };
                (DataLayout::Chunked, format.encode())
            }
            Payload::Index { chunk_bits, .. } => {
                let format = ChunkFormat {
                    block_bits: chunk_bits - BLOCK_BITS,
                    indexes: true,
                };
                (DataLayout::Chunked, format.encode())
            }
        };
        let raw = RawInode {
            layout: data_layout,
            mtime: shape.extended.then_some(inode.mtime),
            xattr_count: count_field(shape.xattrs),
            mode: inode.mode | inode.kind.type_bits(),
            nlink: inode.nlink,
            size: shape.size,
            union,
            // Only 32-bit machines may show it; there it has to be unique.
            ino: (id.index() as u32).wrapping_add(1),
            uid: inode.uid,
            gid: inode.gid,
        };
        self.count(&shape);
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        raw.encode(&mut record);
        let (_, base) = self.xattr_base();
        planner
            .xattrs
            .encode_body(tree, inode.xattrs, base, &mut record);
        debug_assert_eq!(record.len(), shape.inode_len() + shape.xattrs);
        let behind = record.len();
        match shape.payload {
            Payload::Tail { at, length, .. } => {
                record.extend_from_slice(self.tails.read(at, length)?);
            }
            Payload::Target(target) => record.extend_from_slice(target),
            Payload::Directory { node, rest, .. } if rest > 0 => {
                self.directory_rest(node, rest, &mut record)?;
            }
            Payload::Index { .. } => record.resize(behind + shape.index_padding(), 0),
            _ => {}
        }
        let is_data = matches!(shape.payload, Payload::Tail { .. });
        let (metadata, data) = record.split_at(if is_data { behind } else { record.len() });
        self.put_at_slot(slot, metadata, data)?;
        let written = record.len();
        self.record = record;
        if let Payload::Index { chunk_bits, pieces } = shape.payload {
            self.index(slot, written, chunk_bits, pieces)?;
        }
        if let Payload::Map {
            start,
            chunk_bits,
            runs,
        } = shape.payload
        {
            self.map(
                slot,
                shape.inode_len() + shape.xattrs,
                start,
                chunk_bits,
                runs,
                shape.size,
            )?;
        }
        match shape.payload {
            Payload::Compressed { start, extents, .. } => {
                self.compressed_index(slot, &shape, start, extents, None)
            }
            Payload::LateCluster { extents, .. } => {
                self.compressed_index(slot, &shape, late, extents, None)
            }
            Payload::CompressedTail {
                at,
                length,
                extents,
            } => self.compressed_index(slot, &shape, 0, extents, Some((at, length))),
            _ => Ok(()),
        }
    }

    fn count(&mut self, shape: &Shape<'_>) {
        let r = &mut self.report;
        *(if shape.extended {
            &mut r.extended_inodes
        } else {
            &mut r.compact_inodes
        }) += 1;
        match shape.payload {
            Payload::Tail { .. } => r.inline_tails += 1,
            Payload::Map { .. } => r.sparse_files += 1,
            Payload::Index { .. } => r.external_files += 1,
            Payload::Compressed { .. }
            | Payload::CompressedTail { .. }
            | Payload::LateCluster { .. } => {
                r.compressed_files += 1;
                r.compressed_bytes += shape.size;
            }
            _ => {}
        }
    }

    /// Appends the last block of a directory.
    fn directory_rest(
        &self,
        node: NodeId,
        rest: usize,
        record: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let start = record.len();
        self.directory(node, |block| {
            if block.len() == rest && block.len() < BLOCK_SIZE {
                record.truncate(start);
                record.extend_from_slice(block);
            }
            Ok(())
        })
    }

    fn directory(
        &self,
        node: NodeId,
        sink: impl FnMut(&[u8]) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let (layout, tree, meta_start) = (self.layout, self.planner.tree, self.meta_start);
        directories::encode(tree, node, |n| layout.nid(tree, n, meta_start), sink)
    }

    /// Writes the map of a sparse file, piece by piece: it may be long.
    fn map(
        &mut self,
        slot: u32,
        behind: usize,
        start: u32,
        chunk_bits: u8,
        runs: &[Run],
        size: u64,
    ) -> Result<(), WriteError> {
        let chunk_blocks = 1_u64 << (chunk_bits - BLOCK_BITS);
        let mut address = self.layout.slot_address(slot, self.meta_start) + behind as u64;
        let mut piece = |bytes: &[u8]| {
            if slot >= SLOTS {
                return self.append(bytes);
            }
            put(&mut self.first_block, address as usize, bytes);
            address += bytes.len() as u64;
            Ok(())
        };
        let mut chunk = 0;
        let mut block = u64::from(start);
        let mut entries = Vec::new();
        for run in runs {
            map_holes(u64::from(run.first) - chunk, &mut piece)?;
            for _ in 0..run.count {
                // In the image, so below 2³².
                entries.extend_from_slice(&(block as u32).to_le_bytes());
                block += chunk_blocks;
                if entries.len() >= BLOCK_SIZE {
                    piece(&entries)?;
                    entries.clear();
                }
            }
            piece(&entries)?;
            entries.clear();
            chunk = u64::from(run.first) + u64::from(run.count);
        }
        map_holes(chunk_count(size, chunk_bits) - chunk, &mut piece)
    }

    /// Writes the index of a file on further devices, part by part: it may be long.
    fn index(
        &mut self,
        slot: u32,
        behind: usize,
        chunk_bits: u8,
        pieces: &[Piece],
    ) -> Result<(), WriteError> {
        let mut address = self.layout.slot_address(slot, self.meta_start) + behind as u64;
        encode_map(chunk_bits, pieces, |part| {
            if slot >= SLOTS {
                return self.append(part);
            }
            put(&mut self.first_block, address as usize, part);
            address += part.len() as u64;
            Ok(())
        })
    }

    /// Writes the index of a compressed file, piece by piece, and the data that stands behind it.
    fn compressed_index(
        &mut self,
        slot: u32,
        shape: &Shape<'_>,
        start: u32,
        extents: &[PackedExtent],
        tail: Option<(u64, u16)>,
    ) -> Result<(), WriteError> {
        let Some(settings) = self.planner.contents.compression() else {
            return Ok(());
        };
        let behind = shape.inode_len() + shape.xattrs;
        let mut address = self.layout.slot_address(slot, self.meta_start) + behind as u64;
        let extents = extents.iter().map(|e| e.get());
        let size = shape.size;
        let length = tail.map_or(0, |(_, length)| length);
        encode_index(
            settings,
            behind as u64,
            size,
            start,
            length,
            extents,
            |piece| {
                if slot < SLOTS {
                    put(&mut self.first_block, address as usize, piece);
                    address += piece.len() as u64;
                    return Ok(());
                }
                self.append(piece)
            },
        )?;
        let Some((at, length)) = tail else {
            return Ok(());
        };
        self.has_inline_clusters = true;
        let data = self.tails.read(at, usize::from(length))?;
        if slot < SLOTS {
            put(&mut self.first_block, address as usize, data);
            return Ok(());
        }
        self.appender.append(self.storage, data)
    }

    /// Directories, link targets and tails in blocks of their own, in the order their numbers were given out.
    fn late_blocks(&mut self) -> Result<(), WriteError> {
        let tree = self.planner.tree;
        let mut next = 0;
        self.late_of(NodeId::ROOT, &mut next)?;
        for directory in directories_in_order(tree) {
            for child in tree.children(directory) {
                self.late_of(child, &mut next)?;
            }
        }
        debug_assert!(next <= self.layout.late_blocks);
        let end = u64::from(self.report.blocks) * BLOCK_SIZE as u64;
        self.seek(end)?;
        self.appender.flush(self.storage)
    }

    fn late_of(&mut self, node: NodeId, next: &mut u32) -> Result<(), WriteError> {
        let late = self.layout.late[self.planner.tree.inode_id(node).index()];
        if late == NULL_BLOCK || late != *next {
            return Ok(());
        }
        let shape = self.layout.shape(self.planner, node)?;
        self.seek(u64::from(self.late_start + late) * BLOCK_SIZE as u64)?;
        *next += shape.late_blocks();
        match shape.payload {
            Payload::LateTarget(target) => self.append(target),
            Payload::LateTail { at, length } => {
                let tail = self.tails.read(at, length)?.to_vec();
                self.append_data(&tail)
            }
            Payload::LateCluster { at, length, .. } => {
                let data = self.tails.read(at, usize::from(length))?.to_vec();
                self.append_data(&[0; BLOCK_SIZE][data.len()..])?;
                self.append_data(&data)
            }
            Payload::Directory { node, blocks, .. } => {
                let (layout, tree, meta_start) = (self.layout, self.planner.tree, self.meta_start);
                let mut left = blocks;
                directories::encode(
                    tree,
                    node,
                    |n| layout.nid(tree, n, meta_start),
                    |block| {
                        if left == 0 {
                            return Ok(());
                        }
                        left -= 1;
                        self.append(block)
                    },
                )
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self, options: &ImageOptions) -> Result<FinishReport, WriteError> {
        let size = u64::from(self.report.blocks) * BLOCK_SIZE as u64;
        self.storage
            .set_size(size)
            .map_err(Operation::SetLength.failed())?;

        let meta_block = self.layout.meta_block(self.meta_start);
        // In block 0 behind the superblock, or first of the metadata: both far below 2¹⁶.
        let root_nid = self
            .layout
            .nid(self.planner.tree, NodeId::ROOT, self.meta_start) as u16;
        let compression = self
            .planner
            .contents
            .compression()
            .filter(|_| self.report.compressed_files > 0);
        if let Some(settings) = compression {
            put(
                &mut self.first_block,
                SUPERBLOCK_END,
                &settings.superblock_extra(),
            );
        }
        self.hasher.update(&self.first_block[SUPERBLOCK_END..]);
        let mut volume_name = [0; VOLUME_NAME_LEN];
        put(&mut volume_name, 0, &options.volume_name);
        let mut incompatible_features = compression.map_or(0, Settings::features);
        if self.report.sparse_files > 0 || self.report.external_files > 0 {
            incompatible_features |= incompat::CHUNKED_FILE;
        }
        if self.devices.count > 0 {
            incompatible_features |= incompat::DEVICE_TABLE;
        }
        if self.has_inline_clusters {
            incompatible_features |= incompat::COMPRESSED_TAILS;
        }
        let mut superblock = Superblock {
            compatible_features: compat::CHECKSUM | compat::MTIME,
            incompatible_features,
            block_bits: BLOCK_BITS,
            root_nid,
            inodes: self.layout.order.len() as u64,
            build_time: self.planner.build_time,
            blocks: self.report.blocks,
            meta_block,
            xattr_block: self.xattr_base().0,
            uuid: [0; 16],
            volume_name,
            compression: compression.map_or(0, Settings::available),
            extra_devices: self.devices.count,
            device_table: self.devices.table,
            directory_block_bits: 0,
            extension_slots: 0,
            prefix_count: 0,
            prefix_start: 0,
            packed_nid: 0,
        };
        self.hasher.update(&superblock.encode());
        superblock.uuid = custom_uuid(self.hasher.clone().finish().as_bytes());
        put(
            &mut self.first_block,
            SUPERBLOCK_OFFSET,
            &superblock.encode(),
        );
        let sum = checksum(&self.first_block[SUPERBLOCK_OFFSET..]);
        put(
            &mut self.first_block,
            SUPERBLOCK_OFFSET + CHECKSUM_OFFSET,
            &sum.to_le_bytes(),
        );
        self.storage
            .write_all_at(&self.first_block, 0)
            .map_err(Operation::WriteSuperblock.failed())?;

        let mut report = self.report;
        report.size = size;
        report.data_bytes = u64::from(self.meta_start - DATA_START) * BLOCK_SIZE as u64;
        report.metadata_bytes = size - report.data_bytes;
        let first_block_slots = if self.layout.root_in_first_block {
            SLOTS as u64
        } else {
            0
        };
        let slots = u64::from(self.layout.inode_blocks) * u64::from(SLOTS) + first_block_slots;
        let superblock_slots = if first_block_slots > 0 {
            (SLOTS as u64) - (self.layout.first_block_room / SLOT_SIZE) as u64
        } else {
            0
        };
        report.padding_bytes =
            (slots - superblock_slots - self.layout.used_slots) * SLOT_SIZE as u64;
        report.shared_xattrs = self.planner.xattrs.shared_count() as u32;
        report.root_nid = root_nid;
        report.uuid = superblock.uuid;
        Ok(report)
    }
}

/// Hands out entries of a map for chunks that are holes, in pieces.
fn map_holes<E>(mut count: u64, mut piece: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    // The bytes of `NULL_BLOCK`.
    const HOLES: [u8; BLOCK_SIZE] = [0xff; BLOCK_SIZE];
    while count > 0 {
        let n = count.min((HOLES.len() / MAP_ENTRY_LEN) as u64);
        piece(&HOLES[..n as usize * MAP_ENTRY_LEN])?;
        count -= n;
    }
    Ok(())
}

/// A version 8 UUID (RFC 9562, section 5.8): made of a digest's first bytes.
fn custom_uuid(digest: &[u8]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
