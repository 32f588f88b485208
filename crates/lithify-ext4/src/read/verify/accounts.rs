//! What inodes take: no block belongs to two of them, and each counts its own right.

use std::collections::hash_map::Entry;

use super::reserved::BAD_BLOCKS_INODE;
use super::{ProblemKind, Verifier};
use crate::format::RESIZE_INODE;
use crate::format::inode::{FLAG_VALUE, FLAG_VERITY};
use crate::format::superblock::COMPAT_RESIZE_INODE;
use crate::format::superblock::parse::RO_SHARED_BLOCKS;
use crate::format::xattr;
use crate::read::Inode;
use crate::read::map::Piece;
use crate::read::xattr::Seen;
use crate::{FileType, ReadAt, ReadError};

/// How often something is used by its own account, and how often it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct References {
    stated: u64,
    found: u64,
}

/// What an inode was found to take.
#[derive(Debug, Default)]
struct Taken {
    /// Clusters of its own.
    clusters: u64,
    /// The cluster its data was in last: parts of one may be apart in its map.
    last: Option<u64>,
    /// The last block of written data in the file, and of data of any kind.
    written: Option<u64>,
    end: u64,
}

impl<R: ReadAt> Verifier<'_, R> {
    /// Returns the cluster of a block, counted from the one of the first block.
    pub(super) fn cluster(&self, block: u64) -> u64 {
        let s = &self.image.superblock;
        block.saturating_sub(s.first_block.into()) / u64::from(s.cluster_blocks)
    }

    /// Notes all that an inode takes, and compares it with what the inode says.
    pub(super) fn account(&mut self, inode: &Inode, has_name: bool) -> Result<(), ReadError> {
        let mut taken = Taken::default();
        let image = self.image;
        let counts_data = has_name && inode.file_type() == FileType::File;
        let traversed = image.traverse(inode, &mut |piece| {
            match piece {
                Piece::Map { .. } => {
                    self.maps_left = self
                        .maps_left
                        .checked_sub(1)
                        .ok_or(ReadError::BlocksOverlap)?;
                }
                Piece::Data { blocks, .. } if counts_data => {
                    self.report.data_bytes += blocks * image.block_size();
                }
                Piece::Data { .. } => {}
            }
            self.piece(inode, piece, &mut taken);
            Ok(())
        });
        let is_whole = self.tried(traversed)?.is_some();
        taken.clusters += self.xattrs_of(inode)?;
        if !is_whole || self.orphans.contains(&inode.number()) {
            return Ok(());
        }
        let s = &self.image.superblock;
        let cluster_sectors = u64::from(s.cluster_blocks) * u64::from(s.block_size) / 512;
        let found = taken.clusters * cluster_sectors;
        let stated = self.image.sectors(inode);
        // Nobody counts bad blocks, and how much the resize inode's lists take of clusters depends on who counts.
        let is_counted = match inode.number() {
            BAD_BLOCKS_INODE => false,
            RESIZE_INODE => s.cluster_blocks == 1 || s.compat & COMPAT_RESIZE_INODE == 0,
            _ => true,
        };
        if stated != found && is_counted {
            let number = inode.number();
            self.problem(ProblemKind::Sectors {
                number,
                stated,
                found,
            });
        }
        self.end(inode, &taken);
        Ok(())
    }

    fn piece(&mut self, inode: &Inode, piece: Piece, taken: &mut Taken) {
        let (first, blocks) = match piece {
            Piece::Map { block } => (block, 1),
            Piece::Data {
                logical,
                physical,
                blocks,
                is_written,
            } => {
                if is_written {
                    taken.written = Some(logical + blocks - 1);
                }
                taken.end = logical + blocks;
                (physical, blocks)
            }
        };
        let mut from = self.cluster(first);
        let to = self.cluster(first + blocks - 1) + 1;
        taken.clusters += to - from;
        if matches!(piece, Piece::Data { .. }) {
            if taken.last == Some(from) {
                taken.clusters -= 1;
                from += 1;
            }
            taken.last = Some(to - 1);
        }
        let is_data = matches!(piece, Piece::Data { .. });
        let is_reserved = |cluster: u64| self.fixed.contains(cluster);
        match inode.number() {
            // What the resize inode's lists tell about is nobody's, but for the list of lists.
            RESIZE_INODE if is_data || is_reserved(from) => return,
            // Blocks that are bad are so under metadata too.
            BAD_BLOCKS_INODE if is_data && (from..to).all(is_reserved) => return,
            _ => {}
        }
        self.mark(inode, from, to, first);
    }

    /// Notes clusters as used by an inode.
    fn mark(&mut self, inode: &Inode, from: u64, to: u64, first: u64) {
        let s = &self.image.superblock;
        let is_shared = s.has_read_only_compat(RO_SHARED_BLOCKS);
        let start = u64::from(s.first_block);
        let clusters = u64::from(s.cluster_blocks);
        let twice = self.used.insert_range(from, to - from);
        if first < start {
            let (number, block) = (inode.number(), first);
            self.problem(ProblemKind::UsedTwice { block, number });
        } else if let Some(cluster) = twice
            && !is_shared
        {
            let block = start + cluster * clusters;
            let number = inode.number();
            self.problem(ProblemKind::UsedTwice { block, number });
        }
    }

    /// Checks that there is nothing behind an inode's end that should not be.
    fn end(&mut self, inode: &Inode, taken: &Taken) {
        let (size, block_size) = (inode.size(), self.image.block_size());
        let found = match inode.file_type() {
            FileType::Directory => taken.end.saturating_sub(1) * block_size,
            FileType::File if !inode.has(FLAG_VERITY) => {
                taken.written.unwrap_or(0).saturating_mul(block_size)
            }
            _ => return,
        };
        let is_behind = match inode.file_type() {
            FileType::Directory => taken.end * block_size > size && !inode.is_inline(),
            _ => found > size,
        };
        // The resize inode's lists stand where a file's data would be.
        if is_behind && inode.number() != RESIZE_INODE {
            let number = inode.number();
            self.problem(ProblemKind::BehindEnd {
                number,
                size,
                found,
            });
        }
    }

    /// Checks attributes, and counts references to blocks of them and to values. Returns the clusters that count as the inode's.
    fn xattrs_of(&mut self, inode: &Inode) -> Result<u64, ReadError> {
        // Values have no attributes of their own.
        if inode.has(FLAG_VALUE) || inode.number() == BAD_BLOCKS_INODE {
            return Ok(0);
        }
        let block = self.image.xattr_block(inode);
        let is_shared = self.xattr_blocks.contains_key(&block);
        let mut known = std::mem::take(&mut self.read_values);
        let (mut holders, mut sizes) = (Vec::new(), 0);
        let mut seen = Seen::new();
        let s = &self.image.superblock;
        let cluster_size = u64::from(s.block_size) * u64::from(s.cluster_blocks);
        let read = self.image.each_xattr(
            inode,
            |number| !known.insert(number),
            |entry, value| {
                if let Some(holder) = value.holder {
                    sizes += holder.size().div_ceil(cluster_size);
                    // A block that is shared refers to its values once.
                    if !(is_shared && value.is_in_block) {
                        holders.push(holder);
                    }
                }
                match value.bytes.is_empty() && entry.is_acl() && entry.inode != 0 {
                    true => Ok(()),
                    false => seen.add(entry, value.bytes),
                }
            },
        );
        self.read_values = known;
        self.tried(read)?;
        let mut clusters = sizes;
        for holder in holders {
            self.value(&holder)?;
        }
        if block == 0 || self.image.blocks.check(block, 1).is_err() {
            return Ok(clusters);
        }
        clusters += 1;
        match self.xattr_blocks.entry(block) {
            Entry::Occupied(mut there) => there.get_mut().found += 1,
            Entry::Vacant(place) => {
                let stated = xattr::references(&self.image.blocks.block(block)?).into();
                place.insert(References { stated, found: 1 });
                let cluster = self.cluster(block);
                self.mark(inode, cluster, cluster + 1, block);
            }
        }
        Ok(clusters)
    }

    /// Counts a reference to a value in an inode of its own.
    fn value(&mut self, holder: &Inode) -> Result<(), ReadError> {
        let number = holder.number();
        if let Some(references) = self.values.get_mut(&number) {
            references.found += 1;
            return Ok(());
        }
        let stored = &holder.stored;
        let stated = u64::from(stored.ctime) << 32 | u64::from(stored.version);
        self.values.insert(number, References { stated, found: 1 });
        if self.reached.contains(u64::from(number) - 1) {
            return Ok(());
        }
        self.inode(holder, false)
    }

    /// Compares counts of references.
    pub(super) fn references(&mut self) {
        let is_wrong = |r: &References| r.stated != r.found;
        let mut blocks: Vec<(u64, References)> = self
            .xattr_blocks
            .drain()
            .filter(|(_, r)| is_wrong(r))
            .collect();
        blocks.sort_unstable_by_key(|(block, _)| *block);
        for (block, References { stated, found }) in blocks {
            self.problem(ProblemKind::XattrReferences {
                block,
                stated,
                found,
            });
        }
        let mut values: Vec<(u32, References)> =
            self.values.drain().filter(|(_, r)| is_wrong(r)).collect();
        values.sort_unstable_by_key(|(number, _)| *number);
        for (number, References { stated, found }) in values {
            self.problem(ProblemKind::ValueReferences {
                number,
                stated,
                found,
            });
        }
    }
}
