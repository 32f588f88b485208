//! Files whose data lies on further devices: chunk sizes as large as their pieces allow.

use super::sparse::{USUAL_CHUNKS_MAX, chunk_count};
use crate::format::chunk::{CHUNK_BITS_MAX, INDEX_LEN, USUAL_CHUNK_BITS_MAX, encode_index};
use crate::format::{BLOCK_BITS, NULL_BLOCK};

/// Indexes written in one go.
const BATCH: usize = 4096;

/// A file's chunks: which of all pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct External {
    pub(crate) size: u64,
    pub(crate) first_piece: u32,
    pub(crate) pieces: u32,
    pub(crate) chunk_bits: u8,
}

/// Chunks in consecutive blocks of a device, or that are all holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) chunks: u64,
    /// First block; [`NULL_BLOCK`] for holes.
    pub(crate) block: u32,
    /// Number of the device, from 1 on.
    pub(crate) device: u16,
}

/// A part of a file in consecutive blocks of a device, or a hole. It starts with a block of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Offset in the file, in bytes.
    pub(crate) offset: u64,
    /// Device and block.
    pub(crate) at: Option<(u16, u32)>,
}

impl Stretch {
    /// Whether `next` goes on where this one, which is of the same file, leads.
    pub(crate) fn leads_to(&self, next: &Self) -> bool {
        match (self.at, next.at) {
            (None, None) => true,
            (Some((device, block)), Some((next_device, next_block))) => {
                let blocks = (next.offset - self.offset) >> BLOCK_BITS;
                device == next_device && u64::from(block) + blocks == u64::from(next_block)
            }
            _ => false,
        }
    }
}

/// The largest chunks, and so the shortest map, that a file of `size` bytes can have. Stretches ascend and cover it,
/// and start at multiples of 2^`least` bytes, which chunks of a file with a map have: so a map is not longer than the
/// one it is made from, whatever that says.
pub(crate) fn plan(size: u64, stretches: &[Stretch], least: u8) -> (u8, Vec<Piece>) {
    let mut merged: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        if !merged.last().is_some_and(|last| last.leads_to(stretch)) {
            merged.push(*stretch);
        }
    }
    let usual = size >> USUAL_CHUNK_BITS_MAX <= USUAL_CHUNKS_MAX;
    let largest = if usual {
        USUAL_CHUNK_BITS_MAX
    } else {
        CHUNK_BITS_MAX
    };
    // A chunk is in one piece: every stretch starts with one.
    let aligned = merged
        .iter()
        .map(|s| s.offset.trailing_zeros())
        .chain([u64::BITS - size.saturating_sub(1).leading_zeros()])
        .fold(u32::from(largest), u32::min);
    let chunk_bits = (aligned as u8).max(least);
    let ends = merged.iter().skip(1).map(|s| s.offset).chain([size]);
    let pieces = merged
        .iter()
        .zip(ends)
        .map(|(stretch, end)| {
            let (device, block) = stretch.at.unwrap_or((0, NULL_BLOCK));
            Piece {
                chunks: chunk_count(end - stretch.offset, chunk_bits),
                block,
                device,
            }
        })
        .collect();
    (chunk_bits, pieces)
}

/// Hands out the map, in parts of some kilobytes.
pub(crate) fn encode_map<E>(
    chunk_bits: u8,
    pieces: &[Piece],
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let chunk_blocks = 1_u64 << (chunk_bits - BLOCK_BITS);
    let mut bytes = Vec::new();
    for piece in pieces {
        let mut block = u64::from(piece.block);
        for _ in 0..piece.chunks {
            // On the device, so below 2³².
            encode_index(piece.device, block as u32, &mut bytes);
            if piece.block != NULL_BLOCK {
                block += chunk_blocks;
            }
            if bytes.len() == BATCH * INDEX_LEN {
                sink(&bytes)?;
                bytes.clear();
            }
        }
    }
    if bytes.is_empty() {
        return Ok(());
    }
    sink(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(offset: u64, block: u32) -> Stretch {
        Stretch {
            offset,
            at: Some((1, block)),
        }
    }

    #[test]
    fn one_index_does_for_what_is_in_one_piece() {
        let piece = |chunks, block| Piece {
            chunks,
            block,
            device: 1,
        };
        assert_eq!(plan(1, &[at(0, 7)], BLOCK_BITS), (12, vec![piece(1, 7)]));
        assert_eq!(plan(4097, &[at(0, 7)], BLOCK_BITS), (13, vec![piece(1, 7)]));
        assert_eq!(
            plan(1 << 30, &[at(0, 7)], BLOCK_BITS),
            (30, vec![piece(1, 7)])
        );
        assert_eq!(
            plan((1 << 30) + 1, &[at(0, 7)], BLOCK_BITS),
            (31, vec![piece(1, 7)])
        );
        assert_eq!(
            plan(5 << 30, &[at(0, 7)], BLOCK_BITS),
            (31, vec![piece(3, 7)])
        );
        // Neighbours on the device are one stretch.
        assert_eq!(
            plan(9000, &[at(0, 7), at(4096, 8)], BLOCK_BITS),
            (14, vec![piece(1, 7)])
        );
        assert_eq!(
            plan(9000, &[at(0, 7), at(8192, 8)], BLOCK_BITS),
            (13, vec![piece(1, 7), piece(1, 8)])
        );
        let hole = Stretch {
            offset: 0,
            at: None,
        };
        let none = piece(1, NULL_BLOCK);
        assert_eq!(
            plan(1 << 20, &[hole], BLOCK_BITS),
            (20, vec![Piece { device: 0, ..none }])
        );
    }

    proptest! {
        #[test]
        fn every_block_is_found(
            parts in prop::collection::vec((1_u64..40, prop::option::of((1_u16..3, 0_u32..60))), 1..12),
            cut in 0_u64..4096,
        ) {
            let mut stretches = Vec::new();
            let mut wanted = Vec::new();
            for (blocks, place) in parts {
                stretches.push(Stretch { offset: wanted.len() as u64 * 4096, at: place });
                wanted.extend((0..blocks).map(|i| place.map(|(d, b)| (d, b + i as u32))));
            }
            let size = wanted.len() as u64 * 4096 - cut;
            let (chunk_bits, pieces) = plan(size, &stretches, BLOCK_BITS);
            let mut map = Vec::new();
            encode_map(chunk_bits, &pieces, |part| {
                map.extend_from_slice(part);
                Ok::<(), ()>(())
            }).unwrap();
            prop_assert_eq!(map.len() as u64, chunk_count(size, chunk_bits) * 8);
            let format = crate::format::chunk::ChunkFormat { block_bits: chunk_bits - 12, indexes: true };
            for (i, wanted) in wanted.iter().enumerate() {
                let chunk = (i as u64 * 4096) >> chunk_bits;
                let inside = i as u64 - (chunk << (chunk_bits - 12));
                let (device, block) = crate::format::chunk::decode_entry(format, &map[chunk as usize * 8..]);
                let found = (block != NULL_BLOCK).then(|| (device, block + inside as u32));
                prop_assert_eq!(found, *wanted);
            }
        }
    }
}
