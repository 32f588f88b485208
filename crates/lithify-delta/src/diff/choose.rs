//! The best of several ways, by trial.

use std::io::Write;

use zstd::stream::write::Encoder as Frame;

use super::cover::Cover;
use super::price::Literals;
use crate::format::Encoder;

/// Bytes of the new file that are chosen for together.
const BLOCK: usize = 4096;

/// zstd's level of the trial: what compresses better here does so at higher levels too.
const LEVEL: i32 = 3;

/// The memory of a trial, in bytes: the window and the tables of the level.
pub(super) const MEMORY: u64 = 8 << 20;

/// What it costs to go on in another way, in bytes.
const SWITCH: u64 = 6;

/// Covers, and what they leave to compress.
#[derive(Debug)]
pub(super) struct Trial {
    covers: Vec<Cover>,
    /// Compressed bytes of each block, with all before it known.
    blocks: Vec<u32>,
}

impl Trial {
    /// Compresses what would be written with these covers.
    pub(super) fn of(old: &[u8], new: &[u8], covers: Vec<Cover>, shortest_copy: usize) -> Self {
        let ops = Encoder::with_shortest_copy(shortest_copy);
        let blocks = compressed(old, new, &covers, ops);
        Self {
            covers,
            // It is memory that is compressed into memory: nothing fails. Were it otherwise, all ways would be as good.
            blocks: blocks.unwrap_or_default(),
        }
    }

    /// Returns what the bytes of the new file cost, which is of that length, if this is the trial without covers.
    pub(super) fn literals(&self, new_len: usize) -> Literals {
        Literals::of(new_len, BLOCK, &self.blocks)
    }
}

fn compressed(
    old: &[u8],
    new: &[u8],
    covers: &[Cover],
    mut ops: Encoder,
) -> std::io::Result<Vec<u32>> {
    let mut frame = Frame::new(Counter(0), LEVEL)?;
    let mut sizes = Vec::with_capacity(new.len().div_ceil(BLOCK));
    let mut rest = covers;
    for from in (0..new.len()).step_by(BLOCK) {
        let to = (from + BLOCK).min(new.len());
        let mut at = from;
        for cover in take(&mut rest, from, to) {
            ops.data(&new[at..cover.new]);
            ops.changed(
                cover.old as u64,
                &old[cover.old..cover.old_end()],
                &new[cover.new..cover.new_end()],
            );
            at = cover.new_end();
        }
        ops.data(&new[at..to]);
        let before = frame.get_ref().0;
        frame.write_all(ops.take().as_bytes())?;
        frame.flush()?;
        sizes.push(frame.get_ref().0.wrapping_sub(before));
    }
    Ok(sizes)
}

/// Returns the parts of covers that lie within places of the new file, and goes past those that end there.
fn take<'a>(
    rest: &mut &'a [Cover],
    from: usize,
    to: usize,
) -> impl Iterator<Item = Cover> + use<'a> {
    let passed = rest.partition_point(|cover| cover.new_end() <= from);
    *rest = &rest[passed..];
    let inside = rest.partition_point(|cover| cover.new < to);
    rest[..inside]
        .iter()
        .filter_map(move |cover| cover.within(from, to))
}

/// Takes for each block of the new file the covers of the way that is smallest there, without changing too often.
pub(super) fn best(new_len: usize, ways: Vec<Trial>) -> Vec<Cover> {
    let blocks = new_len.div_ceil(BLOCK);
    // The least sum up to a block, if it is taken from a way; and for each block and way, from which way it is come to.
    let mut sums = vec![0_u64; ways.len()];
    let mut came_from = Vec::with_capacity(blocks);
    let least = |sums: &[u64]| (0..sums.len()).min_by_key(|way| sums[*way]).unwrap_or(0);
    for block in 0..blocks {
        let cheapest = least(&sums);
        let changed = sums.get(cheapest).map_or(0, |sum| sum + SWITCH);
        let mut from: Vec<usize> = (0..ways.len()).collect();
        for (way, trial) in ways.iter().enumerate() {
            if changed < sums[way] {
                sums[way] = changed;
                from[way] = cheapest;
            }
            sums[way] += u64::from(trial.blocks.get(block).copied().unwrap_or(0));
        }
        came_from.push(from);
    }
    let mut way = least(&sums);
    let mut chosen = vec![0; blocks];
    for (block, from) in came_from.iter().enumerate().rev() {
        chosen[block] = way;
        way = from[way];
    }
    let mut rests: Vec<&[Cover]> = ways.iter().map(|trial| &*trial.covers).collect();
    let mut covers = Vec::new();
    for (block, way) in chosen.into_iter().enumerate() {
        let from = block * BLOCK;
        for cover in take(&mut rests[way], from, (from + BLOCK).min(new_len)) {
            cover.push(&mut covers);
        }
    }
    covers
}

/// Counts what is written.
struct Counter(u32);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Files are shorter than 4 GiB; and no sum of blocks that wraps around makes a difference negative.
        self.0 = self.0.wrapping_add(bytes.len() as u32);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
