//! Which form each inode has and where it goes.

use lithify_tree::{ContentId, InodeId, InodeKind, NodeId, Timestamp, Tree, XattrSetId};

use super::compress::index_len;
use super::contents::{Contents, Form, PackedExtent};
use super::directories;
use super::external::Piece;
use super::packer::{Packer, SLOTS};
use super::sparse::{Run, chunk_count};
use super::xattrs::XattrPlan;
use crate::WriteError;
use crate::format::chunk::{INDEX_LEN, MAP_ENTRY_LEN};
use crate::format::inode::{
    COMPACT_LEN, EXTENDED_LEN, SLOT_SIZE, SYMLINK_TARGET_MAX, encode_device, fits_compact,
};
use crate::format::superblock::SUPERBLOCK_END;
use crate::format::{BLOCK_SIZE, NULL_BLOCK};

/// Bytes of block 0 behind the superblock: the root directory goes there, so that its nid fits 16 bits wherever the
/// rest is.
const FIRST_BLOCK_ROOM: usize = BLOCK_SIZE - SUPERBLOCK_END;

const _: () = assert!(SUPERBLOCK_END.is_multiple_of(SLOT_SIZE));

/// The contents that inodes of the tree refer to.
#[derive(Debug)]
pub(crate) struct LiveSet(Vec<u64>);

impl LiveSet {
    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    fn insert(&mut self, id: ContentId) {
        self.0[id.0 as usize / 64] |= 1 << (id.0 % 64);
    }
}

/// Refuses what EROFS cannot hold, attributes aside, and finds the live contents.
pub(crate) fn check(tree: &Tree, contents: &Contents) -> Result<LiveSet, WriteError> {
    let mut live = LiveSet(vec![0; contents.len().div_ceil(64)]);
    for id in tree.inode_ids() {
        match tree.inode(id).kind {
            InodeKind::File {
                size: 0,
                content: None,
            } => {}
            InodeKind::File { size, content } => {
                let known = content.and_then(|c| Some((c, contents.get(c)?)));
                let Some((content, found)) = known else {
                    return Err(WriteError::UnknownContent {
                        path: path_of(tree, id),
                        content,
                    });
                };
                if found.size != size {
                    let path = path_of(tree, id);
                    return Err(WriteError::ContentSize {
                        path,
                        expected: size,
                        found: found.size,
                    });
                }
                live.insert(content);
            }
            InodeKind::Symlink { target } if target.len() > SYMLINK_TARGET_MAX => {
                return Err(WriteError::SymlinkTarget {
                    path: path_of(tree, id),
                    length: target.len(),
                });
            }
            InodeKind::CharDevice(d) | InodeKind::BlockDevice(d)
                if encode_device(d.major, d.minor).is_none() =>
            {
                return Err(WriteError::Device {
                    path: path_of(tree, id),
                    major: d.major,
                    minor: d.minor,
                });
            }
            _ => {}
        }
    }
    Ok(live)
}

/// A path to an inode, for errors.
fn path_of(tree: &Tree, id: InodeId) -> Vec<u8> {
    tree.walk()
        .find(|&n| tree.inode_id(n) == id)
        .map(|n| tree.path(n))
        .unwrap_or_default()
}

/// The first path with a set of attributes, for errors.
pub(crate) fn path_of_set(tree: &Tree, set: XattrSetId) -> Vec<u8> {
    tree.walk()
        .find(|&n| tree.node_inode(n).xattrs == set)
        .map(|n| tree.path(n))
        .unwrap_or_default()
}

/// The modification time that makes most inodes compact: the most frequent one, the earliest of several.
pub(crate) fn frequent_time(tree: &Tree) -> Timestamp {
    let mut times: Vec<Timestamp> = tree
        .inode_ids()
        .map(|id| tree.inode(id))
        .filter(|i| {
            let size = if let InodeKind::File { size, .. } = i.kind {
                size
            } else {
                0
            };
            fits_compact(i.nlink, size, i.uid, i.gid)
        })
        .map(|i| i.mtime)
        .collect();
    times.sort_unstable();
    times
        .chunk_by(|a, b| a == b)
        .max_by_key(|same| (same.len(), std::cmp::Reverse(same[0])))
        .map_or_else(Timestamp::default, |same| same[0])
}

/// Everything the form of an inode depends on.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) contents: &'a Contents,
    pub(crate) xattrs: &'a XattrPlan,
    pub(crate) build_time: Timestamp,
}

/// The form of an inode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    /// 64 bytes instead of 32.
    pub(crate) extended: bool,
    /// Length of its attributes, in bytes.
    pub(crate) xattrs: usize,
    /// Value of the size field.
    pub(crate) size: u64,
    pub(crate) payload: Payload<'a>,
}

/// Where an inode's data is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// There is none; the number is a device's.
    None { device: u32 },
    /// In blocks of the data area.
    Blocks { start: u32 },
    /// In blocks of the data area but for the tail, which stands behind the inode.
    Tail { start: u32, at: u64, length: usize },
    /// A tail that is all of the file and has no room behind the inode: a block behind the metadata.
    LateTail { at: u64, length: usize },
    /// A link's target behind the inode.
    Target(&'a [u8]),
    /// A link's target in a block behind the metadata.
    LateTarget(&'a [u8]),
    /// A directory: `blocks` blocks behind the metadata and the rest behind the inode.
    Directory {
        node: NodeId,
        blocks: u32,
        rest: usize,
    },
    /// A sparse file: runs of chunks from `start` on, and a map behind the inode.
    Map {
        start: u32,
        chunk_bits: u8,
        runs: &'a [Run],
    },
    /// A file on further devices: an index of its chunks behind the inode.
    Index { chunk_bits: u8, pieces: &'a [Piece] },
    /// A compressed file: clusters from `start` on, and an index behind the inode.
    Compressed {
        start: u32,
        blocks: u32,
        extents: &'a [PackedExtent],
    },
    /// A compressed file with an index and all its data behind the inode.
    CompressedTail {
        at: u64,
        length: u16,
        extents: &'a [PackedExtent],
    },
    /// Such data that has no room behind the inode: a block behind the metadata.
    LateCluster {
        at: u64,
        length: u16,
        extents: &'a [PackedExtent],
    },
}

impl Shape<'_> {
    pub(crate) const fn inode_len(&self) -> usize {
        if self.extended {
            EXTENDED_LEN
        } else {
            COMPACT_LEN
        }
    }

    /// Length of what stands behind inode and attributes, in bytes.
    fn behind(&self) -> u64 {
        match self.payload {
            Payload::None { .. }
            | Payload::Blocks { .. }
            | Payload::LateTail { .. }
            | Payload::LateTarget(_) => 0,
            Payload::Tail { length, .. } => length as u64,
            Payload::Target(target) => target.len() as u64,
            Payload::Directory { rest, .. } => rest as u64,
            Payload::Map { chunk_bits, .. } => {
                chunk_count(self.size, chunk_bits) * MAP_ENTRY_LEN as u64
            }
            Payload::Index { chunk_bits, .. } => {
                self.index_padding() as u64 + chunk_count(self.size, chunk_bits) * INDEX_LEN as u64
            }
            Payload::Compressed { .. } | Payload::LateCluster { .. } => self.index_len(),
            Payload::CompressedTail { length, .. } => self.index_len() + u64::from(length),
        }
    }

    /// Zeros between attributes and an index, which starts at a multiple of its entries' length.
    pub(crate) const fn index_padding(&self) -> usize {
        let fixed = self.inode_len() + self.xattrs;
        fixed.next_multiple_of(INDEX_LEN) - fixed
    }

    /// Length of the index of a compressed file, in bytes.
    fn index_len(&self) -> u64 {
        index_len((self.inode_len() + self.xattrs) as u64, self.size)
    }

    /// Length of the whole record, in bytes.
    fn record_len(&self) -> u64 {
        (self.inode_len() + self.xattrs) as u64 + self.behind()
    }

    /// Number of blocks behind the metadata.
    pub(crate) const fn late_blocks(&self) -> u32 {
        match self.payload {
            Payload::LateTail { .. } | Payload::LateTarget(_) | Payload::LateCluster { .. } => 1,
            Payload::Directory { blocks, .. } => blocks,
            _ => 0,
        }
    }
}

impl<'a> Planner<'a> {
    /// The form of an inode. `node` is a name of it; `room` is how long its record may get with data behind it.
    pub(crate) fn shape(&self, node: NodeId, room: usize) -> Result<Shape<'a>, WriteError> {
        let tree: &'a Tree = self.tree;
        let inode = tree.node_inode(node);
        let xattrs = self.xattrs.body_len(inode.xattrs);
        let size = match inode.kind {
            InodeKind::File { size, .. } => size,
            InodeKind::Symlink { target } => target.len() as u64,
            InodeKind::Directory => directories::size(tree, node),
            _ => 0,
        };
        let extended = inode.mtime != self.build_time
            || !fits_compact(inode.nlink, size, inode.uid, inode.gid);
        let fixed = xattrs + if extended { EXTENDED_LEN } else { COMPACT_LEN };
        let fits = |length: usize| fixed + length <= room;
        let payload = match inode.kind {
            InodeKind::File { content, .. } => match content.and_then(|c| self.contents.get(c)) {
                Some(content) => match content.form {
                    Form::Blocks if content.blocks == 0 => Payload::None { device: NULL_BLOCK },
                    Form::Blocks => Payload::Blocks {
                        start: content.start,
                    },
                    Form::Tail { at, length } => {
                        let length = usize::from(length);
                        let start = if content.blocks == 0 {
                            NULL_BLOCK
                        } else {
                            content.start
                        };
                        if fits(length) || content.blocks > 0 {
                            Payload::Tail { start, at, length }
                        } else {
                            Payload::LateTail { at, length }
                        }
                    }
                    Form::Sparse { chunk_bits, runs } => Payload::Map {
                        start: content.start,
                        chunk_bits,
                        runs,
                    },
                    Form::External { chunk_bits, pieces } => Payload::Index { chunk_bits, pieces },
                    Form::Compressed {
                        extents,
                        tail: None,
                    } => Payload::Compressed {
                        start: content.start,
                        blocks: content.blocks,
                        extents,
                    },
                    Form::Compressed {
                        extents,
                        tail: Some((at, length)),
                    } => {
                        let index = index_len(fixed as u64, size);
                        // An index that long is one of a file too long to become that small.
                        if fits(usize::from(length) + index as usize) {
                            Payload::CompressedTail {
                                at,
                                length,
                                extents,
                            }
                        } else {
                            Payload::LateCluster {
                                at,
                                length,
                                extents,
                            }
                        }
                    }
                },
                None => Payload::None { device: NULL_BLOCK },
            },
            InodeKind::Directory => {
                let (whole, rest) = (
                    size / BLOCK_SIZE as u64,
                    (size % BLOCK_SIZE as u64) as usize,
                );
                let inline = rest > 0 && fits(rest);
                let blocks = whole + u64::from(rest > 0 && !inline);
                Payload::Directory {
                    node,
                    blocks: u32::try_from(blocks).map_err(|_| WriteError::TooLarge)?,
                    rest: if inline { rest } else { 0 },
                }
            }
            InodeKind::Symlink { target: [] } => Payload::None { device: NULL_BLOCK },
            InodeKind::Symlink { target } if fits(target.len()) => Payload::Target(target),
            InodeKind::Symlink { target } => Payload::LateTarget(target),
            // Checked before.
            InodeKind::CharDevice(d) | InodeKind::BlockDevice(d) => Payload::None {
                device: encode_device(d.major, d.minor).unwrap_or_default(),
            },
            _ => Payload::None { device: 0 },
        };
        Ok(Shape {
            extended,
            xattrs,
            size,
            payload,
        })
    }

    /// Contents with blocks and a tail that does not fit behind the inode.
    pub(crate) fn misfit_tails(&self) -> Vec<ContentId> {
        let mut misfits = Vec::new();
        for id in self.tree.inode_ids() {
            let inode = self.tree.inode(id);
            let InodeKind::File {
                content: Some(id), ..
            } = inode.kind
            else {
                continue;
            };
            let Some(content) = self.contents.get(id) else {
                continue;
            };
            let Form::Tail { length, .. } = content.form else {
                continue;
            };
            // An extended inode is assumed: which form it gets is not worth knowing here.
            let record = EXTENDED_LEN + self.xattrs.body_len(inode.xattrs) + usize::from(length);
            if content.blocks > 0 && record > BLOCK_SIZE {
                misfits.push(id);
            }
        }
        misfits.sort_unstable();
        misfits.dedup();
        misfits
    }
}

/// Where everything goes.
#[derive(Debug)]
pub(crate) struct Layout {
    /// First slot of each inode, counted from block 0 or, see [`Self::root_in_first_block`], one block before the
    /// metadata.
    pub(crate) slots: Vec<u32>,
    /// A name of each inode; for a directory the only one.
    pub(crate) nodes: Vec<NodeId>,
    /// Inodes by slot.
    pub(crate) order: Vec<InodeId>,
    /// First block of each inode's late blocks, counted from the first of all; [`NULL_BLOCK`] for none.
    pub(crate) late: Vec<u32>,
    /// Number of late blocks, and one of zeros if the image would else end badly.
    pub(crate) late_blocks: u32,
    /// First slot of the shared attributes, if there are any.
    pub(crate) shared_slot: Option<u32>,
    /// Number of blocks with inodes, block 0 not counted.
    pub(crate) inode_blocks: u32,
    /// Slots in use.
    pub(crate) used_slots: u64,
    /// Whether the root inode and others stand behind the superblock and nids count from block 0. The root of a
    /// tree with kilobytes of attributes has no room there; then metadata starts with it, and nids count from one
    /// block before, so that none is 0 (which `readdir` of old C libraries takes for a deleted entry).
    pub(crate) root_in_first_block: bool,
    /// Bytes of block 0 for inodes.
    pub(crate) first_block_room: usize,
}

const NOWHERE: u32 = u32::MAX;

/// Inodes placed together, the longest records first: short ones then fill what long ones leave. So many, of
/// directories that follow each other, are collected; of a larger directory more, up to the maximum.
const WINDOW_MIN: usize = 256;
const WINDOW_MAX: usize = 1024;

/// Numbers given out while inodes are placed.
#[derive(Debug)]
struct Placing {
    packer: Packer,
    /// Inodes to be placed next, with the length of their record.
    window: Vec<(u64, InodeId)>,
    /// Late blocks so far.
    late: u64,
}

impl Layout {
    pub(crate) fn new(planner: &Planner<'_>) -> Result<Self, WriteError> {
        let tree = planner.tree;
        let first_block_room = FIRST_BLOCK_ROOM - planner.contents.superblock_extra_len();
        let root = planner.shape(NodeId::ROOT, first_block_room)?;
        let root_in_first_block = root.record_len() <= first_block_room as u64;
        let free = if root_in_first_block {
            (first_block_room / SLOT_SIZE) as u32
        } else {
            0
        };
        let count = tree.inode_count();
        let mut layout = Self {
            slots: vec![NOWHERE; count],
            nodes: vec![NodeId::ROOT; count],
            order: tree.inode_ids().collect(),
            late: vec![NULL_BLOCK; count],
            late_blocks: 0,
            shared_slot: None,
            inode_blocks: 0,
            used_slots: 0,
            root_in_first_block,
            first_block_room,
        };
        let mut placing = Placing {
            packer: Packer::new(free),
            window: Vec::new(),
            late: 0,
        };
        layout.add(planner, &mut placing, NodeId::ROOT)?;
        layout.place(&mut placing)?;
        if planner.xattrs.shared_len() > 0 {
            layout.shared_slot = Some(placing.packer.place(planner.xattrs.shared_len())?);
        }
        for directory in directories_in_order(tree) {
            for child in tree.children(directory) {
                layout.add(planner, &mut placing, child)?;
            }
            if placing.window.len() >= WINDOW_MIN {
                layout.place(&mut placing)?;
            }
        }
        layout.place(&mut placing)?;
        layout.inode_blocks = placing.packer.blocks() - 1;
        layout.used_slots = placing.packer.used();
        let slots = &layout.slots;
        layout.order.sort_unstable_by_key(|id| slots[id.index()]);
        if placing.late == 0 && layout.ends_with_bare_inode(planner)? {
            placing.late = 1;
        }
        layout.late_blocks = u32::try_from(placing.late).map_err(|_| WriteError::TooLarge)?;
        Ok(layout)
    }

    /// Adds the inode of a node to those to be placed next, unless another name already has.
    fn add(
        &mut self,
        planner: &Planner<'_>,
        placing: &mut Placing,
        node: NodeId,
    ) -> Result<(), WriteError> {
        let id = planner.tree.inode_id(node);
        let i = id.index();
        if self.slots[i] != NOWHERE {
            return Ok(());
        }
        // Any number but NOWHERE until the real one is known.
        self.slots[i] = 0;
        self.nodes[i] = node;
        let shape = self.shape(planner, node)?;
        if shape.late_blocks() > 0 {
            let number = u32::try_from(placing.late).ok().filter(|&l| l < NULL_BLOCK);
            self.late[i] = number.ok_or(WriteError::TooLarge)?;
            placing.late += u64::from(shape.late_blocks());
        }
        placing.window.push((shape.record_len(), id));
        if placing.window.len() == WINDOW_MAX {
            self.place(placing)?;
        }
        Ok(())
    }

    fn place(&mut self, placing: &mut Placing) -> Result<(), WriteError> {
        // Stable: inodes of equal length stay in the order of their names.
        placing
            .window
            .sort_by_key(|&(length, _)| std::cmp::Reverse(length.div_ceil(SLOT_SIZE as u64)));
        for (length, id) in placing.window.drain(..) {
            self.slots[id.index()] = placing.packer.place(length)?;
        }
        Ok(())
    }

    /// Whether the last bytes of the inodes' blocks are an inode with nothing behind it. The image must not end
    /// there: `fsck.erofs` looks for attributes behind each inode before it asks whether there are any.
    fn ends_with_bare_inode(&self, planner: &Planner<'_>) -> Result<bool, WriteError> {
        let Some(last) = self.order.last() else {
            return Ok(false);
        };
        let shape = self.shape(planner, self.nodes[last.index()])?;
        let end = u64::from(self.slots[last.index()]) * SLOT_SIZE as u64 + shape.record_len();
        let blocks_end = (u64::from(self.inode_blocks) + 1) * BLOCK_SIZE as u64;
        Ok(end == blocks_end && shape.record_len() == shape.inode_len() as u64)
    }

    /// The form of a node's inode in this layout.
    pub(crate) fn shape<'a>(
        &self,
        planner: &Planner<'a>,
        node: NodeId,
    ) -> Result<Shape<'a>, WriteError> {
        let room = if node == NodeId::ROOT && self.root_in_first_block {
            self.first_block_room
        } else {
            BLOCK_SIZE
        };
        planner.shape(node, room)
    }

    /// The nid of the inode of a node.
    pub(crate) fn nid(&self, tree: &Tree, node: NodeId, meta_start: u32) -> u64 {
        self.slot_address(self.slots[tree.inode_id(node).index()], meta_start) / SLOT_SIZE as u64
            - u64::from(self.meta_block(meta_start)) * u64::from(SLOTS)
    }

    /// The block nids count from. `meta_start` is the first block with inodes behind the data.
    pub(crate) const fn meta_block(&self, meta_start: u32) -> u32 {
        if self.root_in_first_block {
            0
        } else {
            meta_start - 1
        }
    }

    /// Where a slot is in the image, in bytes.
    pub(crate) fn slot_address(&self, slot: u32, meta_start: u32) -> u64 {
        let (block, slot) = (slot / SLOTS, slot % SLOTS);
        let block = if block == 0 {
            0
        } else {
            u64::from(meta_start) + u64::from(block) - 1
        };
        block * BLOCK_SIZE as u64 + u64::from(slot) * SLOT_SIZE as u64
    }
}

/// Directories depth first: the inodes of one directory's children are placed together, and those of a subtree close
/// to each other.
pub(crate) fn directories_in_order(tree: &Tree) -> impl Iterator<Item = NodeId> {
    tree.walk()
        .filter(|&n| tree.node_inode(n).kind.is_directory())
}
