//! Compressed files: which extent a byte is in, and decompressing it.

use std::io::{self, Read as _};

use super::{Image, Inode};
use crate::error::IndexDamage;
use crate::format::compressed::{
    EXTENT_MAX, HEADER_LEN, HeadKind, Header, Lcluster, Method, PHYSICAL_MAX, Packs, advise,
    decode_pack, full,
};
use crate::format::inode::DataLayout;
use crate::format::superblock::incompat;
use crate::lz4;
use crate::{FileType, ReadAt, ReadError};

/// Bytes of an index read in one go.
const WINDOW_LEN: u64 = 4096;

/// Largest window of Zstandard data, as a power of two: what Linux accepts (`Z_EROFS_ZSTD_MAX_DICT_SIZE`).
const ZSTD_WINDOW_MAX: u32 = PHYSICAL_MAX.ilog2();

/// How the data of a compressed file is to be found.
#[derive(Debug)]
pub(super) struct ClusterMap {
    nid: u64,
    size: u64,
    header: Header,
    /// Binary logarithm of the size of a logical cluster.
    bits: u32,
    /// Number of logical clusters.
    total: u64,
    /// Where the index is in the image, in bytes.
    start: u64,
    end: u64,
    index: Index,
    /// A part of the index, and where it starts.
    window: Vec<u8>,
    window_start: u64,
}

#[derive(Debug)]
enum Index {
    Full,
    Compact(Packs),
}

/// A stretch of a file that is compressed, or stored, as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Offset in the file.
    pub(super) offset: u64,
    /// Bytes of the file, never 0.
    pub(super) length: u64,
    /// Offset in the image.
    pub(super) address: u64,
    /// Bytes in the image.
    pub(super) stored: u64,
    kind: HeadKind,
    /// The physical cluster may hold more than this extent.
    partial: bool,
    /// It stands behind the index.
    pub(super) inline: bool,
}

/// The extent decompressed last.
#[derive(Debug, Default)]
pub(super) struct Decompressed {
    offset: u64,
    data: Vec<u8>,
}

impl Decompressed {
    /// The bytes from an offset in the file on, if there are any.
    fn from(&self, offset: u64) -> &[u8] {
        offset
            .checked_sub(self.offset)
            .and_then(|o| self.data.get(usize::try_from(o).ok()?..))
            .unwrap_or_default()
    }
}

impl ClusterMap {
    /// Where header and index are in the image, in bytes, with a physical cluster behind them.
    pub(super) fn end(&self) -> u64 {
        self.end + u64::from(self.inline_len())
    }

    fn inline_len(&self) -> u16 {
        if self.has(advise::INLINE) {
            self.header.inline_len
        } else {
            0
        }
    }

    fn has(&self, flag: u16) -> bool {
        self.header.advise & flag != 0
    }

    /// What compresses an extent; `None` for a code that does not exist.
    pub(super) fn method(&self, extent: &Extent) -> Result<Option<Method>, ReadError> {
        let code = match extent.kind {
            HeadKind::Plain => return Ok(None),
            HeadKind::First => self.header.methods[0],
            HeadKind::Second => self.header.methods[1],
        };
        match Method::from_code(code) {
            Some(method) => Ok(Some(method)),
            None => Err(ReadError::Compressed {
                nid: self.nid,
                method: "an unknown algorithm",
            }),
        }
    }

    fn damage(&self, cluster: u64, reason: IndexDamage) -> ReadError {
        ReadError::Index {
            nid: self.nid,
            cluster,
            reason,
        }
    }
}

impl<R: ReadAt> Image<R> {
    /// Reads the header of a compressed file's index and checks that all of it is inside the image.
    pub(super) fn cluster_map(&self, inode: &Inode) -> Result<ClusterMap, ReadError> {
        let nid = inode.nid();
        if inode.file_type() != FileType::File {
            return Err(ReadError::Layout {
                nid,
                file_type: inode.file_type().name(),
                layout: inode.layout(),
            });
        }
        let unsupported = |method| Err(ReadError::Compressed { nid, method });
        let is_full = inode.layout() == DataLayout::CompressedFull;
        let address = inode.behind().next_multiple_of(HEADER_LEN as u64);
        let mut bytes = [0; HEADER_LEN];
        self.read_part("the index", nid, address, &mut bytes)?;
        // Before there were settings, full indexes had no header (`z_erofs_fill_inode`).
        if is_full && self.superblock.incompatible_features & incompat::COMPRESSION_SETTINGS == 0 {
            bytes = [0; HEADER_LEN];
        }
        let header = Header::decode(&bytes);
        if header.whole_fragment || header.advise & advise::FRAGMENT != 0 {
            return unsupported("fragments of several files together");
        }
        if header.advise & !advise::KNOWN != 0 || is_full && header.advise & advise::PACKED != 0 {
            return unsupported("an index of a newer kind");
        }
        let bits = u32::from(self.superblock.block_bits + header.cluster_bits);
        let total = inode.size().div_ceil(1 << bits);
        let start = address + HEADER_LEN as u64;
        let (start, index, length) = if is_full {
            // As many zeros as the header is long follow it.
            let length = total.saturating_mul(full::ENTRY_LEN as u64);
            (start + HEADER_LEN as u64, Index::Full, length)
        } else {
            let packed = header.advise & advise::PACKED != 0;
            if bits > 14 || packed && bits != 12 {
                return unsupported("logical clusters of an unusual size");
            }
            let packs = Packs::new(start, total, packed);
            let length = packs.len();
            (start, Index::Compact(packs), length)
        };
        if bits > 16 {
            return unsupported("logical clusters of an unusual size");
        }
        self.check_range("the index", nid, start, length)?;
        let map = ClusterMap {
            nid,
            size: inode.size(),
            header,
            bits,
            total,
            start,
            end: start + length,
            index,
            window: Vec::new(),
            window_start: 0,
        };
        self.check_range("the index", nid, start, map.end() - start)?;
        let inline_len = u64::from(map.inline_len());
        if map.end % self.block_size() + inline_len > self.block_size() {
            return Err(ReadError::InlineCrossesBlock { nid });
        }
        Ok(map)
    }

    /// Bytes of the index, at an offset from its start.
    fn index_part<'m>(
        &self,
        map: &'m mut ClusterMap,
        offset: u64,
        length: usize,
    ) -> Result<&'m [u8], ReadError> {
        let at = map.start + offset;
        let inside = at
            .checked_sub(map.window_start)
            .filter(|i| i + length as u64 <= map.window.len() as u64);
        let inside = match inside {
            Some(inside) => inside,
            None => {
                // A part of both sides: the way to a head leads back, the way to the end of an extent ahead.
                let start = map.start.max(at.saturating_sub(WINDOW_LEN / 2));
                let end = map.end.min(start + WINDOW_LEN).max(at + length as u64);
                map.window.resize((end - start) as usize, 0);
                map.window_start = u64::MAX;
                self.read_part("the index", map.nid, start, &mut map.window)?;
                map.window_start = start;
                at - start
            }
        };
        Ok(&map.window[inside as usize..][..length])
    }

    /// What the index says of a cluster.
    fn cluster(&self, map: &mut ClusterMap, cluster: u64) -> Result<Lcluster, ReadError> {
        let big = map.has(advise::BIG_1 | advise::BIG_2);
        let bits = map.bits;
        let found = match map.index {
            Index::Full => {
                let offset = cluster * full::ENTRY_LEN as u64;
                let part = self.index_part(map, offset, full::ENTRY_LEN)?;
                let mut entry = [0; full::ENTRY_LEN];
                entry.copy_from_slice(part);
                Some(full::decode(&entry))
            }
            Index::Compact(packs) => {
                let at = packs.find(cluster);
                let pack = self.index_part(map, at.offset, at.len())?;
                decode_pack(pack, &at, (cluster - at.first) as usize, bits, big)
            }
        };
        match found {
            Some(Lcluster::Head { offset, .. }) if u32::from(offset) >> bits != 0 => {
                Err(map.damage(cluster, IndexDamage::HeadOffset { offset }))
            }
            Some(Lcluster::Tail {
                blocks: Some(_), ..
            }) if !big => Err(map.damage(cluster, IndexDamage::Entry)),
            Some(found) => Ok(found),
            None => Err(map.damage(cluster, IndexDamage::Entry)),
        }
    }

    /// The extent the byte at `offset` is in, which is less than the file's size.
    pub(super) fn compressed_extent(
        &self,
        map: &mut ClusterMap,
        offset: u64,
    ) -> Result<Extent, ReadError> {
        let bits = map.bits;
        let in_cluster = offset & ((1 << bits) - 1);
        // Back to the cluster the extent starts in.
        let mut at = offset >> bits;
        let mut back = match self.cluster(map, at)? {
            Lcluster::Head { offset, .. } if u64::from(offset) <= in_cluster => 0,
            Lcluster::Head { .. } => 1,
            Lcluster::Tail { back: 0, .. } => {
                return Err(map.damage(at, IndexDamage::Distance { back: 0 }));
            }
            Lcluster::Tail { back, .. } => back,
        };
        let head = loop {
            at = at
                .checked_sub(u64::from(back))
                .filter(|&at| ((offset >> bits) - at) << bits <= EXTENT_MAX)
                .ok_or_else(|| map.damage(at, IndexDamage::Distance { back }))?;
            match self.cluster(map, at)? {
                Lcluster::Head {
                    kind,
                    offset,
                    block,
                    partial,
                } => {
                    break Head {
                        cluster: at,
                        start: (at << bits) + u64::from(offset),
                        kind,
                        block,
                        partial,
                    };
                }
                Lcluster::Tail { back: 0, .. } => {
                    return Err(map.damage(at, IndexDamage::Distance { back: 0 }));
                }
                Lcluster::Tail { back: next, .. } => back = next,
            }
        };
        let extent = self.extent_from(map, head)?;
        if offset - extent.offset >= extent.length {
            // The way back led past another head.
            return Err(map.damage(offset >> bits, IndexDamage::Distance { back }));
        }
        Ok(extent)
    }

    /// Goes ahead from a head to the next one, or to the end of the file.
    fn extent_from(&self, map: &mut ClusterMap, head: Head) -> Result<Extent, ReadError> {
        let bits = map.bits;
        let too_long = IndexDamage::ExtentLength { limit: EXTENT_MAX };
        // The blocks its first cluster behind the head says it has, if there is such a cluster.
        let mut tail = None;
        let mut at = head.cluster;
        let (end, is_last) = loop {
            at += 1;
            if at >= map.total {
                break (map.size, true);
            }
            match self.cluster(map, at)? {
                Lcluster::Head { offset, .. } => {
                    // Before physical clusters behind the index, some writers mark the end of the file by a head.
                    let next = (at << bits) + u64::from(offset);
                    break (next.min(map.size), next >= map.size);
                }
                Lcluster::Tail { blocks, .. } if tail.is_none() => tail = Some(blocks),
                Lcluster::Tail { blocks: None, .. } => {}
                Lcluster::Tail { .. } => return Err(map.damage(at, IndexDamage::BlockCount)),
            }
            if (at << bits).saturating_sub(head.start) > EXTENT_MAX {
                return Err(map.damage(head.cluster, too_long));
            }
        };
        let Some(length) = end.checked_sub(head.start).filter(|&l| l > 0) else {
            return Err(map.damage(head.cluster, IndexDamage::Entry));
        };
        if length > EXTENT_MAX {
            return Err(map.damage(head.cluster, too_long));
        }
        let inline = is_last && map.has(advise::INLINE);
        let block_size = self.block_size();
        let (address, stored) = if inline {
            (map.end, u64::from(map.inline_len()))
        } else {
            let big = match head.kind {
                HeadKind::First => map.has(advise::BIG_1),
                HeadKind::Second => map.has(advise::BIG_2),
                HeadKind::Plain => matches!(tail, Some(Some(_))),
            };
            let stored = match tail {
                Some(Some(blocks)) if big => u64::from(blocks) * block_size,
                Some(None) if big => {
                    return Err(map.damage(head.cluster, IndexDamage::BlockCount));
                }
                _ => 1 << bits,
            };
            (u64::from(head.block) * block_size, stored)
        };
        if stored == 0 || stored > PHYSICAL_MAX as u64 {
            return Err(map.damage(head.cluster, IndexDamage::BlockCount));
        }
        if head.kind == HeadKind::Plain && length > stored {
            return Err(map.damage(head.cluster, IndexDamage::ExtentLength { limit: stored }));
        }
        self.check_range("compressed data", map.nid, address, stored)?;
        Ok(Extent {
            offset: head.start,
            length,
            address,
            stored,
            kind: head.kind,
            partial: head.partial,
            inline,
        })
    }

    /// Decompresses an extent.
    pub(super) fn decompress(
        &self,
        map: &ClusterMap,
        extent: &Extent,
        out: &mut Decompressed,
    ) -> Result<(), ReadError> {
        let nid = map.nid;
        let method = map.method(extent)?;
        // Both lengths have been checked: at most 1 and 12 MiB.
        let mut stored = vec![0; extent.stored as usize];
        self.read_part("compressed data", nid, extent.address, &mut stored)?;
        out.data.clear();
        out.data.resize(extent.length as usize, 0);
        out.offset = extent.offset;
        let result = match method {
            None => {
                let interlaced = map.has(advise::INTERLACED) && !extent.inline;
                plain(
                    &stored,
                    extent,
                    interlaced,
                    self.block_size(),
                    &mut out.data,
                );
                Ok(())
            }
            Some(Method::Lz4) => self.lz4(&stored, extent, &mut out.data),
            Some(Method::Zstd) => zstd(self.without_padding(&stored), &mut out.data),
            Some(other) => {
                return Err(ReadError::Compressed {
                    nid,
                    method: other.name(),
                });
            }
        };
        result.map_err(|source| {
            out.data.clear();
            ReadError::Decompress {
                nid,
                offset: extent.offset,
                source,
            }
        })
    }

    fn lz4(&self, stored: &[u8], extent: &Extent, out: &mut [u8]) -> io::Result<()> {
        // Without padding in front there is some behind, of whatever kind.
        let padded = self.superblock.incompatible_features & incompat::ZERO_PADDING != 0;
        let data = if padded {
            self.without_padding(stored)
        } else {
            stored
        };
        let result = if padded && !extent.partial {
            lz4::decode(data, out)
        } else {
            lz4::decode_part(data, out)
        };
        result
            .map(drop)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// A physical cluster without the zeros in front, which are less than a block.
    fn without_padding<'a>(&self, stored: &'a [u8]) -> &'a [u8] {
        let limit = stored.len().min(self.block_size() as usize);
        let zeros = stored[..limit].iter().take_while(|&&b| b == 0).count();
        &stored[zeros..]
    }

    /// Reads compressed data from `offset` into `buffer`, up to the end of the file, from what was decompressed last
    /// as far as it goes.
    pub(super) fn read_compressed(
        &self,
        map: &mut ClusterMap,
        offset: u64,
        buffer: &mut [u8],
        last: &mut Decompressed,
    ) -> Result<usize, ReadError> {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = offset.checked_add(done as u64).filter(|&at| at < map.size) else {
                break;
            };
            if last.from(at).is_empty() {
                let extent = self.compressed_extent(map, at)?;
                self.decompress(map, &extent, last)?;
            }
            let data = last.from(at);
            let n = data.len().min(buffer.len() - done);
            buffer[done..done + n].copy_from_slice(&data[..n]);
            done += n;
        }
        Ok(done)
    }

    /// Goes through all extents of a compressed file.
    pub(super) fn compressed_extents(
        &self,
        map: &mut ClusterMap,
        mut visit: impl FnMut(&ClusterMap, &Extent) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut offset = 0;
        while offset < map.size {
            let extent = self.compressed_extent(map, offset)?;
            // The first starts at 0, and each where the one before ends.
            if extent.offset != offset {
                return Err(map.damage(offset >> map.bits, IndexDamage::Entry));
            }
            visit(map, &extent)?;
            offset += extent.length;
        }
        Ok(())
    }

    /// Whether the superblock says that a method is in use: Linux refuses data compressed otherwise.
    pub(super) fn is_announced(&self, method: Method) -> bool {
        if self.superblock.incompatible_features & incompat::COMPRESSION_SETTINGS == 0 {
            return method == Method::Lz4;
        }
        self.superblock.compression >> method.code() & 1 == 1
    }
}

/// The cluster an extent starts in.
#[derive(Clone, Copy, Debug)]
struct Head {
    cluster: u64,
    /// Where the extent starts in the file.
    start: u64,
    kind: HeadKind,
    block: u32,
    partial: bool,
}

/// Data stored as it is: from the start on, or where it is in its page, wrapped around at the end of the last block.
fn plain(stored: &[u8], extent: &Extent, interlaced: bool, block_size: u64, out: &mut [u8]) {
    if !interlaced {
        out.copy_from_slice(&stored[..out.len()]);
        return;
    }
    let inside = (extent.offset % block_size) as usize;
    let head = (block_size as usize - inside).min(out.len());
    let (first, rest) = out.split_at_mut(head);
    let at = stored.len() - block_size as usize + inside;
    first.copy_from_slice(&stored[at..at + head]);
    rest.copy_from_slice(&stored[..rest.len()]);
}

/// Decodes a frame until `out` is full. What would follow is left, as Linux leaves it.
fn zstd(frame: &[u8], out: &mut [u8]) -> io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame)?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW_MAX)?;
    decoder.read_exact(out)
}
