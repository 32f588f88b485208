//! The index behind an inode of compressed data.

use super::Settings;
use crate::WriteError;
use crate::format::BLOCK_SIZE;
use crate::format::compressed::{
    Clusters, Extent, HEADER_LEN, Header, Lcluster, Packs, advise, encode_pack,
};

/// How an index that follows `fixed` bytes from a slot's start is divided: padding, packs.
fn plan(fixed: u64, size: u64) -> (u64, Packs) {
    let start = fixed.next_multiple_of(HEADER_LEN as u64) + HEADER_LEN as u64;
    let total = size.div_ceil(BLOCK_SIZE as u64);
    (
        start - HEADER_LEN as u64 - fixed,
        // Slots are as long as packs are aligned.
        Packs::new(start, total, true),
    )
}

/// Length of header and index of a file of `size` bytes, behind `fixed` bytes from a slot's start.
pub(crate) fn index_len(fixed: u64, size: u64) -> u64 {
    let (padding, packs) = plan(fixed, size);
    padding + HEADER_LEN as u64 + packs.len()
}

/// Gives header and index to `sink`, piece by piece: an index may be long. `inline_len` bytes of data are to follow,
/// if not 0.
pub(crate) fn encode_index(
    settings: Settings,
    fixed: u64,
    size: u64,
    block: u32,
    inline_len: u16,
    extents: impl Iterator<Item = Extent>,
    mut sink: impl FnMut(&[u8]) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let (padding, packs) = plan(fixed, size);
    let big = settings.is_big();
    // Linux wants both algorithms of compact indexes to agree.
    let mut flags = 0;
    if packs.has_packs() {
        flags |= advise::PACKED;
    }
    if big {
        flags |= advise::BIG_1 | advise::BIG_2;
    }
    if inline_len > 0 {
        flags |= advise::INLINE;
    }
    let header = Header {
        inline_len,
        advise: flags,
        methods: [settings.method.code(), 0],
        cluster_bits: 0,
        whole_fragment: false,
    };
    sink(&[0; HEADER_LEN][..padding as usize])?;
    sink(&header.encode())?;
    let total = size.div_ceil(BLOCK_SIZE as u64);
    let mut clusters = Clusters::new(extents, block, total);
    let mut pack: Vec<Lcluster> = Vec::new();
    let mut next = 0;
    while next < total {
        let at = packs.find(next);
        pack.clear();
        pack.extend(clusters.by_ref().take(at.capacity));
        sink(&encode_pack(&pack, &at, big)[..at.len()])?;
        next += at.capacity as u64;
    }
    Ok(())
}
