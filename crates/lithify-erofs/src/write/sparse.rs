//! Sparse files: which chunk size to map them with, and where their data goes.

use lithify_tree::DataSegment;

use crate::WriteError;
use crate::format::chunk::{CHUNK_BITS_MAX, MAP_ENTRY_LEN, USUAL_CHUNK_BITS_MAX};
use crate::format::{BLOCK_BITS, BLOCK_SIZE};

/// Most chunks a file with chunks of at most 2³¹ bytes may have before larger ones are considered.
pub(crate) const USUAL_CHUNKS_MAX: u64 = 1 << 14;

/// Consecutive chunks with data, stored in consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First chunk in the file.
    pub(crate) first: u32,
    /// Number of chunks.
    pub(crate) count: u32,
}

/// How a sparse file is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Binary logarithm of the chunk size in bytes.
    pub(crate) chunk_bits: u8,
    pub(crate) runs: Vec<Run>,
}

/// Checks that segments ascend, do not overlap and stay inside the file; gives their total length.
pub(crate) fn check(size: u64, segments: &[DataSegment]) -> Result<u64, WriteError> {
    let mut end = 0;
    let mut total = 0;
    for &DataSegment { offset, length } in segments {
        let segment_end = offset
            .checked_add(length)
            .filter(|&e| offset >= end && e <= size);
        end = segment_end.ok_or(WriteError::Segment {
            offset,
            length,
            size,
        })?;
        total += length;
    }
    Ok(total)
}

/// The chunk size for which map and stored bytes together are fewest; `None` when storing all zeros takes no more.
pub(crate) fn plan(size: u64, segments: &[DataSegment]) -> Option<Plan> {
    let usual = size >> USUAL_CHUNK_BITS_MAX <= USUAL_CHUNKS_MAX;
    let largest = if usual {
        USUAL_CHUNK_BITS_MAX
    } else {
        CHUNK_BITS_MAX
    };
    // The largest of equally good sizes: the shorter map is the faster one.
    let (cost, chunk_bits) = (BLOCK_BITS..=largest)
        .rev()
        .filter(|bits| chunk_count(size, *bits) <= u64::from(u32::MAX))
        .map(|bits| (cost(size, segments, bits), bits))
        .min_by_key(|&(cost, _)| cost)?;
    if cost >= size {
        return None;
    }
    let mut runs: Vec<Run> = Vec::new();
    for (first, last) in touched(segments, chunk_bits) {
        let (first, count) = (first as u32, (last - first + 1) as u32);
        match runs.last_mut() {
            Some(run) if run.first + run.count == first => run.count += count,
            _ => runs.push(Run { first, count }),
        }
    }
    Some(Plan { chunk_bits, runs })
}

/// Number of chunks in a file.
pub(crate) const fn chunk_count(size: u64, chunk_bits: u8) -> u64 {
    size.div_ceil(1 << chunk_bits)
}

/// Map bytes plus stored bytes.
fn cost(size: u64, segments: &[DataSegment], chunk_bits: u8) -> u64 {
    let chunks = chunk_count(size, chunk_bits);
    let stored: u64 = touched(segments, chunk_bits)
        .map(|(first, last)| stored_len(size, chunk_bits, first, last))
        .sum();
    chunks * MAP_ENTRY_LEN as u64 + stored
}

/// Bytes chunks `first` to `last` take: the file's last one ends with its last block.
fn stored_len(size: u64, chunk_bits: u8, first: u64, last: u64) -> u64 {
    let end = ((last + 1) << chunk_bits).min(size.next_multiple_of(BLOCK_SIZE as u64));
    end - (first << chunk_bits)
}

/// Ranges (both ends included) of chunks with data, each chunk once, ascending.
fn touched(segments: &[DataSegment], chunk_bits: u8) -> impl Iterator<Item = (u64, u64)> {
    let mut next = 0;
    segments
        .iter()
        .filter(|s| s.length > 0)
        .filter_map(move |s| {
            let first = (s.offset >> chunk_bits).max(next);
            let last = (s.offset + s.length - 1) >> chunk_bits;
            next = next.max(last + 1);
            (first <= last).then_some((first, last))
        })
}

/// Bytes all runs take together, a multiple of the block size.
pub(crate) fn stored(size: u64, plan: &Plan) -> u64 {
    plan.runs
        .iter()
        .map(|r| {
            stored_len(
                size,
                plan.chunk_bits,
                u64::from(r.first),
                u64::from(r.first + r.count) - 1,
            )
        })
        .sum()
}

/// Translates ascending offsets of data in the file to offsets in the stored bytes.
#[derive(Debug)]
pub(crate) struct Cursor {
    run: usize,
    /// Stored bytes before that run.
    before: u64,
}

impl Cursor {
    pub(crate) const fn new() -> Self {
        Self { run: 0, before: 0 }
    }

    /// Where the byte at `offset`, which is in a chunk with data, is stored, relative to the file's first block.
    pub(crate) fn seek(&mut self, plan: &Plan, offset: u64) -> u64 {
        let chunk = offset >> plan.chunk_bits;
        while let Some(run) = plan.runs.get(self.run) {
            if chunk < u64::from(run.first + run.count) {
                break;
            }
            self.before += u64::from(run.count) << plan.chunk_bits;
            self.run += 1;
        }
        let start = plan
            .runs
            .get(self.run)
            .map_or(0, |r| u64::from(r.first) << plan.chunk_bits);
        self.before + offset.saturating_sub(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, length: u64) -> DataSegment {
        DataSegment { offset, length }
    }

    #[test]
    fn all_hole_files_have_short_maps() {
        assert_eq!(
            plan(1 << 30, &[]),
            Some(Plan {
                chunk_bits: 31,
                runs: Vec::new()
            })
        );
        assert_eq!(plan(i64::MAX as u64, &[]).map(|p| p.chunk_bits), Some(43));
        assert_eq!(
            plan(5, &[]),
            Some(Plan {
                chunk_bits: 31,
                runs: Vec::new()
            })
        );
        assert_eq!(plan(4, &[]), None);
    }

    #[test]
    fn dense_files_are_not_mapped() {
        assert_eq!(plan(8192, &[segment(0, 4096), segment(4096, 4096)]), None);
        assert_eq!(plan(0, &[]), None);
        // A hole inside a block saves nothing.
        assert_eq!(plan(8192, &[segment(0, 10), segment(4100, 4092)]), None);
    }

    #[test]
    fn chunks_fit_the_data() {
        // One block of data in a gigabyte: large chunks would store zeros, small ones have long maps.
        let p = plan(1 << 30, &[segment(512 << 20, 4096)]).unwrap();
        assert_eq!(p.chunk_bits, 16);
        assert_eq!(
            p.runs,
            [Run {
                first: 8192,
                count: 1
            }]
        );
        // Data in aligned megabytes.
        let segments: Vec<_> = (0..64).map(|i| segment(i << 21, 1 << 20)).collect();
        let p = plan(128 << 20, &segments).unwrap();
        assert_eq!(p.chunk_bits, 20);
        assert_eq!(stored(128 << 20, &p), 64 << 20);
    }

    #[test]
    fn cursor_finds_stored_offsets() {
        let p = Plan {
            chunk_bits: 12,
            runs: vec![Run { first: 1, count: 2 }, Run { first: 9, count: 1 }],
        };
        let mut cursor = Cursor::new();
        assert_eq!(cursor.seek(&p, 4096), 0);
        assert_eq!(cursor.seek(&p, 4100), 4);
        assert_eq!(cursor.seek(&p, 8192), 4096);
        assert_eq!(cursor.seek(&p, 9 * 4096 + 7), 8192 + 7);
    }

    #[test]
    fn bad_segments_are_named() {
        for bad in [
            &[segment(0, 11)][..],
            &[segment(5, 2), segment(6, 1)],
            &[segment(u64::MAX, 1)],
            &[segment(11, 0)],
        ] {
            assert!(check(10, bad).is_err());
        }
        assert_eq!(
            check(10, &[segment(0, 2), segment(2, 0), segment(4, 6)]).unwrap(),
            8
        );
    }
}
