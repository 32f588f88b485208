//! Compressed inodes: the file is cut into logical clusters of a block each, and an index behind the inode says for
//! each whether compressed data starts in it (`fs/erofs/zmap.c`).
//!
//! What is compressed together is an *extent* of the file; its compressed form is a *physical cluster* of whole blocks,
//! right-aligned behind zeros. Extents start and end anywhere, but at most one starts in a logical cluster.

use super::{BLOCK_SIZE, get_u16, get_u32};

/// Length of the header in front of the index, in bytes. It starts at a multiple of its length.
pub(crate) const HEADER_LEN: usize = CLUSTER_BITS_OFFSET + size_of::<u8>();

const INLINE_LEN_OFFSET: usize = size_of::<u16>();
const ADVISE_OFFSET: usize = INLINE_LEN_OFFSET + size_of::<u16>();
const ALGORITHMS_OFFSET: usize = ADVISE_OFFSET + size_of::<u16>();
const CLUSTER_BITS_OFFSET: usize = ALGORITHMS_OFFSET + size_of::<u8>();

const _: () = assert!(HEADER_LEN == 8);

/// Bits of the header's advise field (`Z_EROFS_ADVISE_*`).
pub(crate) mod advise {
    /// The index has packs of sixteen.
    pub(crate) const PACKED: u16 = 0x01;
    /// Physical clusters of the first algorithm may have several blocks.
    pub(crate) const BIG_1: u16 = 0x02;
    /// Those of the second algorithm may.
    pub(crate) const BIG_2: u16 = 0x04;
    /// The last physical cluster stands behind the index.
    pub(crate) const INLINE: u16 = 0x08;
    /// Plain data is rotated to where it is in a page.
    pub(crate) const INTERLACED: u16 = 0x10;
    /// The file's end is in the packed inode.
    pub(crate) const FRAGMENT: u16 = 0x20;

    /// What the reader knows.
    pub(crate) const KNOWN: u16 = PACKED | BIG_1 | BIG_2 | INLINE | INTERLACED | FRAGMENT;
}

/// Bit of the cluster bits field that says the whole file is in the packed inode (`Z_EROFS_FRAGMENT_INODE_BIT`).
const WHOLE_FRAGMENT: u8 = 0x80;

/// Bits of the cluster bits field for the size of logical clusters.
const CLUSTER_BITS_MASK: u8 = 0x0f;

/// Largest physical cluster, in bytes (`Z_EROFS_PCLUSTER_MAX_SIZE`).
pub(crate) const PHYSICAL_MAX: usize = 1 << 20;

/// Longest extent, in bytes (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
pub(crate) const EXTENT_MAX: u64 = 12 << 20;

/// How data is compressed (`Z_EROFS_COMPRESSION_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Lz4,
    Lzma,
    Deflate,
    Zstd,
}

impl Method {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Lz4 => 0,
            Self::Lzma => 1,
            Self::Deflate => 2,
            Self::Zstd => 3,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Lz4,
            1 => Self::Lzma,
            2 => Self::Deflate,
            3 => Self::Zstd,
            _ => return None,
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "LZ4",
            Self::Lzma => "MicroLZMA",
            Self::Deflate => "DEFLATE",
            Self::Zstd => "Zstandard",
        }
    }
}

/// Settings of an algorithm, behind the superblock: a length and as many bytes.
pub(crate) mod settings {
    use super::{BLOCK_SIZE, Method};

    /// Farthest LZ4 matches reach back, in bytes.
    const LZ4_DISTANCE: u16 = u16::MAX;
    const LZ4_LEN: usize = 14;
    const ZSTD_LEN: usize = 6;
    /// Windows are said as powers of two above this one (`ZSTD_WINDOWLOG_ABSOLUTEMIN`).
    const ZSTD_WINDOW_MIN: u32 = 10;

    /// The settings for clusters of at most so many blocks. Of Zstandard it is also how many are compressed together.
    pub(crate) fn encode(method: Method, cluster_blocks: u16) -> Vec<u8> {
        let mut out = Vec::new();
        match method {
            Method::Zstd => {
                let window = (usize::from(cluster_blocks) * BLOCK_SIZE).ilog2();
                out.extend((ZSTD_LEN as u16).to_le_bytes());
                out.extend([0, window.saturating_sub(ZSTD_WINDOW_MIN) as u8]);
                out.resize(size_of::<u16>() + ZSTD_LEN, 0);
            }
            _ => {
                out.extend((LZ4_LEN as u16).to_le_bytes());
                out.extend(LZ4_DISTANCE.to_le_bytes());
                out.extend(cluster_blocks.to_le_bytes());
                out.resize(size_of::<u16>() + LZ4_LEN, 0);
            }
        }
        out
    }
}

/// The header in front of the index (`struct z_erofs_map_header`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the physical cluster behind the index, in bytes.
    pub(crate) inline_len: u16,
    pub(crate) advise: u16,
    /// Codes of the first and the second algorithm.
    pub(crate) methods: [u8; 2],
    /// Binary logarithm of the blocks in a logical cluster.
    pub(crate) cluster_bits: u8,
    /// The file is in the packed inode.
    pub(crate) whole_fragment: bool,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let [a, b] = self.inline_len.to_le_bytes();
        let [c, d] = self.advise.to_le_bytes();
        let methods = self.methods[0] | self.methods[1] << 4;
        let fragment = if self.whole_fragment {
            WHOLE_FRAGMENT
        } else {
            0
        };
        [0, 0, a, b, c, d, methods, self.cluster_bits | fragment]
    }

    pub(crate) fn decode(b: &[u8; HEADER_LEN]) -> Self {
        let methods = b[ALGORITHMS_OFFSET];
        let bits = b[CLUSTER_BITS_OFFSET];
        Self {
            inline_len: get_u16(b, INLINE_LEN_OFFSET),
            advise: get_u16(b, ADVISE_OFFSET),
            methods: [methods & 15, methods >> 4],
            cluster_bits: bits & CLUSTER_BITS_MASK,
            whole_fragment: bits & WHOLE_FRAGMENT != 0,
        }
    }
}

/// What the index says of a logical cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lcluster {
    /// An extent starts in it.
    Head {
        kind: HeadKind,
        /// Where, from the cluster's start.
        offset: u16,
        /// First block of the physical cluster.
        block: u32,
        /// Whether others refer to longer parts of the physical cluster.
        partial: bool,
    },
    /// It belongs to an extent that starts before.
    Tail {
        /// Blocks of the physical cluster, said by the first of these only.
        blocks: Option<u16>,
        /// Clusters back to the head, or to one closer to it.
        back: u16,
        /// Clusters to the next head, or to one closer to it.
        ahead: u16,
    },
}

/// How an extent is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadKind {
    /// As it is.
    Plain,
    /// Compressed by the first algorithm.
    First,
    /// Compressed by the second algorithm.
    Second,
}

impl HeadKind {
    const fn from_bits(bits: u32) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Plain),
            1 => Some(Self::First),
            3 => Some(Self::Second),
            _ => None,
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::First => 1,
            Self::Second => 3,
        }
    }
}

/// Type bits of a cluster in which no extent starts.
const TAIL_BITS: u32 = 2;

/// Bit of the distance back that says it is the number of blocks instead (`Z_EROFS_LI_D0_CBLKCNT`).
const BLOCK_COUNT: u16 = 1 << 11;

/// Greatest distance an index can say.
const DISTANCE_MAX: u16 = BLOCK_COUNT - 1;

/// Full indexes: eight bytes for each logical cluster, from the end of the header and as many zeros on.
pub(crate) mod full {
    use super::{BLOCK_COUNT, HeadKind, Lcluster, TAIL_BITS, get_u16, get_u32};

    /// Length of an entry, in bytes.
    pub(crate) const ENTRY_LEN: usize = BLOCK_OFFSET + size_of::<u32>();

    const OFFSET_OFFSET: usize = size_of::<u16>();
    const BLOCK_OFFSET: usize = OFFSET_OFFSET + size_of::<u16>();
    const AHEAD_OFFSET: usize = BLOCK_OFFSET + size_of::<u16>();

    /// Bit of the first field: the physical cluster holds more than this extent.
    const PARTIAL: u16 = 1 << 15;

    /// Reads an entry.
    pub(crate) fn decode(b: &[u8; ENTRY_LEN]) -> Lcluster {
        let first = get_u16(b, 0);
        match HeadKind::from_bits(u32::from(first)) {
            Some(kind) => Lcluster::Head {
                kind,
                offset: get_u16(b, OFFSET_OFFSET),
                block: get_u32(b, BLOCK_OFFSET),
                partial: first & PARTIAL != 0,
            },
            None => {
                debug_assert!(u32::from(first) & 3 == TAIL_BITS);
                let back = get_u16(b, BLOCK_OFFSET);
                let counts = back & BLOCK_COUNT != 0;
                Lcluster::Tail {
                    blocks: counts.then_some(back & !BLOCK_COUNT),
                    back: if counts { 1 } else { back },
                    ahead: get_u16(b, AHEAD_OFFSET),
                }
            }
        }
    }
}

/// Compact indexes: *packs* of two clusters in 8 bytes or sixteen in 32, the last four of which are a block number that
/// those of the heads are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packs {
    /// Clusters in packs of two, up to where packs of sixteen are aligned.
    front: u64,
    /// Clusters in packs of sixteen.
    packed: u64,
    /// All clusters.
    total: u64,
}

const PAIR: u64 = 2;
const PAIR_LEN: u64 = 8;
const PACK: u64 = 16;
const PACK_LEN: u64 = 32;

/// Where a pack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackAt {
    /// Offset from the start of the index, in bytes.
    pub(crate) offset: u64,
    /// Number of clusters it has room for: 2 or 16.
    pub(crate) capacity: usize,
    /// The first of them.
    pub(crate) first: u64,
}

impl PackAt {
    /// Length in bytes.
    pub(crate) const fn len(&self) -> usize {
        if self.capacity == PACK as usize {
            PACK_LEN as usize
        } else {
            PAIR_LEN as usize
        }
    }
}

impl Packs {
    /// How an index of `total` clusters that starts at `start` is divided. `packed` is what the header says.
    pub(crate) const fn new(start: u64, total: u64, packed: bool) -> Self {
        let front = (PACK_LEN - start % PACK_LEN) % PACK_LEN / (PAIR_LEN / PAIR);
        let front = if front > total { total } else { front };
        Self {
            front,
            packed: if packed {
                (total - front) / PACK * PACK
            } else {
                0
            },
            total,
        }
    }

    /// Whether there are packs of sixteen. The header must not claim it without: older kernels would then count a
    /// negative number of them in a short index.
    pub(crate) const fn has_packs(&self) -> bool {
        self.packed > 0
    }

    /// Length of the index, in bytes.
    pub(crate) const fn len(&self) -> u64 {
        let pairs =
            self.front.div_ceil(PAIR) + (self.total - self.front - self.packed).div_ceil(PAIR);
        pairs * PAIR_LEN + self.packed / PACK * PACK_LEN
    }

    /// The pack a cluster below the total is in.
    pub(crate) const fn find(&self, cluster: u64) -> PackAt {
        if cluster < self.front {
            let first = cluster / PAIR * PAIR;
            return PackAt {
                offset: first / PAIR * PAIR_LEN,
                capacity: PAIR as usize,
                first,
            };
        }
        let front_len = self.front / PAIR * PAIR_LEN;
        let behind = cluster - self.front;
        if behind < self.packed {
            return PackAt {
                offset: front_len + behind / PACK * PACK_LEN,
                capacity: PACK as usize,
                first: self.front + behind / PACK * PACK,
            };
        }
        let behind = behind - self.packed;
        PackAt {
            offset: front_len + self.packed / PACK * PACK_LEN + behind / PAIR * PAIR_LEN,
            capacity: PAIR as usize,
            first: self.front + self.packed + behind / PAIR * PAIR,
        }
    }
}

/// Bits of a cluster's entry in a pack of `capacity`.
const fn entry_bits(at: &PackAt) -> usize {
    (at.len() - size_of::<u32>()) * 8 / at.capacity
}

/// Encodes a pack of up to `at.capacity` clusters. `big` says whether physical clusters may have several blocks: then
/// numbers of blocks are stored and counted.
pub(crate) fn encode_pack(
    clusters: &[Lcluster],
    at: &PackAt,
    big: bool,
) -> [u8; PACK_LEN as usize] {
    const OFFSET_BITS: u32 = 12;
    debug_assert!(clusters.len() <= at.capacity);
    let mut out = [0; PACK_LEN as usize];
    let bits = entry_bits(at);
    // The first head's block number is the base plus the blocks of what started before: nothing in the pack but, with
    // several blocks per cluster, the count in the first entry. Without counts Linux adds one more.
    let mut before = u32::from(!big);
    let mut base = None;
    for (i, cluster) in clusters.iter().enumerate() {
        let (low, kind) = match *cluster {
            Lcluster::Head {
                kind,
                offset,
                block,
                ..
            } => {
                base.get_or_insert(block.wrapping_sub(before));
                (offset, kind.bits())
            }
            Lcluster::Tail {
                blocks,
                back,
                ahead,
            } => match blocks.filter(|_| big) {
                Some(blocks) => {
                    if i == 0 {
                        before += u32::from(blocks);
                    }
                    (BLOCK_COUNT | blocks, TAIL_BITS)
                }
                None if i + 1 == at.capacity => (ahead.min(DISTANCE_MAX), TAIL_BITS),
                None => (back.min(DISTANCE_MAX), TAIL_BITS),
            },
        };
        let value = u32::from(low) | kind << OFFSET_BITS;
        let position = i * bits;
        // At most 14 bits from within a byte: three bytes.
        let shifted = (value << (position % 8)).to_le_bytes();
        for (k, byte) in shifted.iter().take(3).enumerate() {
            out[position / 8 + k] |= byte;
        }
    }
    let end = at.len();
    out[end - size_of::<u32>()..end].copy_from_slice(&base.unwrap_or(0).to_le_bytes());
    out
}

/// Reads the cluster of number `index` in a pack, as Linux does (`unpack_compacted_index`). `bits` is the binary
/// logarithm of the size of a logical cluster. `None` for what Linux refuses.
pub(crate) fn decode_pack(
    pack: &[u8],
    at: &PackAt,
    index: usize,
    bits: u32,
    big: bool,
) -> Option<Lcluster> {
    let entry = |i: usize| {
        let position = i * entry_bits(at);
        let word = get_u32(pack, position / 8) >> (position % 8);
        ((word & ((1 << bits) - 1)) as u16, word >> bits & 3)
    };
    let (low, kind) = entry(index);
    let counted = |low: u16| (low & BLOCK_COUNT != 0).then_some(low & !BLOCK_COUNT);
    let Some(kind) = HeadKind::from_bits(kind) else {
        // Clusters to the next head, or to the end of the pack and what is said there.
        let mut ahead = 0_u16;
        let mut i = index;
        while i < at.capacity {
            let (low, kind) = entry(i);
            if kind != TAIL_BITS {
                break;
            }
            ahead += 1;
            i += 1;
            if i == at.capacity && counted(low).is_none() {
                ahead = ahead.checked_add(low)?.checked_sub(1)?;
            }
        }
        if let Some(blocks) = counted(low) {
            return big.then_some(Lcluster::Tail {
                blocks: Some(blocks),
                back: 1,
                ahead,
            });
        }
        let back = if index + 1 != at.capacity {
            low
        } else {
            // The last entry says the distance ahead.
            match entry(index - 1) {
                (_, kind) if kind != TAIL_BITS => 1,
                (low, _) if counted(low).is_some() => 2,
                (low, _) => low.checked_add(1)?,
            }
        };
        return Some(Lcluster::Tail {
            blocks: None,
            back,
            ahead,
        });
    };
    let mut blocks = u32::from(!big);
    let mut i = index as i64;
    while i > 0 {
        i -= 1;
        let (low, kind) = entry(i as usize);
        if kind != TAIL_BITS {
            blocks = blocks.checked_add(1)?;
        } else if !big {
            i -= i64::from(low);
            blocks = blocks.checked_add(u32::from(i >= 0))?;
        } else if let Some(n) = counted(low) {
            i -= 1;
            blocks = blocks.checked_add(u32::from(n))?;
        } else {
            // Without a count only one cluster would be between it and its head.
            i -= i64::from(low.checked_sub(2)?);
        }
    }
    let base = get_u32(pack, at.len() - size_of::<u32>());
    Some(Lcluster::Head {
        kind,
        offset: low,
        block: base.wrapping_add(blocks),
        partial: false,
    })
}

/// An extent of a file being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of the file, from the end of the extent before.
    pub(crate) length: u32,
    /// Blocks of the physical cluster; 0 for plain data, which takes one.
    pub(crate) blocks: u16,
}

/// The clusters of a file's index, in order.
#[derive(Debug)]
pub(crate) struct Clusters<I> {
    extents: I,
    /// The extent the next cluster may be the head of.
    next: Option<Extent>,
    /// Where that extent starts, in the file and in blocks.
    start: u64,
    block: u32,
    /// Head of the extent before, and its blocks.
    head: u64,
    blocks: u16,
    cluster: u64,
    total: u64,
}

impl<I: Iterator<Item = Extent>> Clusters<I> {
    /// Of a file of `total` clusters whose first physical cluster starts at `block`.
    pub(crate) fn new(mut extents: I, block: u32, total: u64) -> Self {
        Self {
            next: extents.next(),
            extents,
            start: 0,
            block,
            head: 0,
            blocks: 0,
            cluster: 0,
            total,
        }
    }
}

impl<I: Iterator<Item = Extent>> Iterator for Clusters<I> {
    type Item = Lcluster;

    fn next(&mut self) -> Option<Lcluster> {
        if self.cluster == self.total {
            return None;
        }
        let next_head = if self.next.is_some() {
            self.start / BLOCK_SIZE as u64
        } else {
            self.total
        };
        let cluster = self.cluster;
        self.cluster += 1;
        if let Some(extent) = self.next.filter(|_| next_head == cluster) {
            let offset = (self.start % BLOCK_SIZE as u64) as u16;
            let block = self.block;
            self.head = cluster;
            self.blocks = extent.blocks;
            self.start += u64::from(extent.length);
            self.block = block.wrapping_add(u32::from(extent.blocks.max(1)));
            self.next = self.extents.next();
            let kind = if extent.blocks == 0 {
                HeadKind::Plain
            } else {
                HeadKind::First
            };
            return Some(Lcluster::Head {
                kind,
                offset,
                block,
                partial: false,
            });
        }
        // Extents are far below 2¹⁶ clusters.
        let back = (cluster - self.head) as u16;
        Some(Lcluster::Tail {
            blocks: (back == 1).then_some(self.blocks),
            back,
            ahead: (next_head - cluster) as u16,
        })
    }
}

#[cfg(test)]
mod tests;
