//! Closing the space of contents no one refers to: data of files that later layers replaced or removed.
//!
//! The live blocks have to end up contiguous. Sliding everything behind a gap down would copy most of the image for
//! one dead file at its start; instead extents from the end are put into the gaps, largest first, each into the
//! first gap with room, and only what gaps are left are closed by sliding. Copied is then about as much as was dead.

use std::io;

use lithify_storage::Storage;

use crate::Gaps;

/// Contents in blocks, by number.
pub trait Placed {
    /// Returns the number of contents.
    fn count(&self) -> usize;

    /// Returns the first block of a content, and the number of its blocks.
    fn extent(&self, content: usize) -> (u32, u32);

    /// Notes that a content begins elsewhere now.
    fn set_start(&mut self, content: usize, start: u32);
}

/// A live extent: its place and which content it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    start: u32,
    blocks: u32,
    content: u32,
}

impl Extent {
    const fn end(&self) -> u32 {
        self.start + self.blocks
    }
}

/// Moves live extents so that they fill `first..end`. Returns that end and the bytes copied.
///
/// # Errors
/// The storage's.
pub fn close_gaps<S: Storage + ?Sized>(
    storage: &mut S,
    block_size: u32,
    contents: &mut impl Placed,
    live: impl Fn(usize) -> bool,
    first: u32,
) -> io::Result<(u32, u64)> {
    let byte_len = |blocks: u32| u64::from(blocks) * u64::from(block_size);
    let mut extents: Vec<Extent> = (0..contents.count())
        .filter(|&i| live(i))
        .filter_map(|i| {
            let (start, blocks) = contents.extent(i);
            (blocks > 0).then_some(Extent {
                start,
                blocks,
                content: i as u32,
            })
        })
        .collect();
    extents.sort_unstable_by_key(|e| e.start);

    let mut moved = 0;
    let mut relocate = |from: u32, to: u32, blocks: u32| {
        moved += byte_len(blocks);
        storage.move_down(byte_len(from), byte_len(to), byte_len(blocks))
    };
    for (index, to) in fill_gaps(&extents, first) {
        let e = &mut extents[index];
        relocate(e.start, to, e.blocks)?;
        e.start = to;
        contents.set_start(e.content as usize, to);
    }
    extents.sort_unstable_by_key(|e| e.start);

    // Slide what is left, neighbours together.
    let mut end = first;
    let mut i = 0;
    while i < extents.len() {
        let from = extents[i].start;
        let to = end;
        let mut run_end = from;
        while let Some(e) = extents.get(i).filter(|e| e.start == run_end) {
            run_end = e.end();
            contents.set_start(e.content as usize, e.start - (from - to));
            i += 1;
        }
        if from != to {
            relocate(from, to, run_end - from)?;
        }
        end = to + (run_end - from);
    }
    Ok((end, moved))
}

/// Which extents to put into gaps, and where. Extents are sorted by place.
fn fill_gaps(extents: &[Extent], first: u32) -> Vec<(usize, u32)> {
    let total: u32 = extents.iter().map(|e| e.blocks).sum();
    let boundary = first + total;
    let mut movers: Vec<usize> = (0..extents.len())
        .filter(|&i| extents[i].start >= boundary)
        .collect();
    // Up to the boundary, where the gap behind the last extent ends.
    let taken = extents
        .iter()
        .map(|e| u64::from(e.start.min(boundary))..u64::from(e.end()))
        .chain(std::iter::once(boundary.into()..boundary.into()));
    let mut gaps = Gaps::between(taken, first.into());
    if gaps.is_empty() {
        return Vec::new();
    }
    movers.sort_unstable_by_key(|&i| (std::cmp::Reverse(extents[i].blocks), extents[i].start));
    movers
        .into_iter()
        .filter_map(|i| {
            let to = gaps.take_first(extents[i].blocks.into())?;
            // Gaps are between blocks, whose numbers have 32 bits.
            Some((i, to as u32))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK_SIZE: usize = 512;

    #[derive(Default)]
    struct Contents(Vec<(u32, u32)>);

    impl Placed for Contents {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn extent(&self, content: usize) -> (u32, u32) {
            self.0[content]
        }

        fn set_start(&mut self, content: usize, start: u32) {
            self.0[content].0 = start;
        }
    }

    fn byte_len(blocks: u32) -> u64 {
        u64::from(blocks) * BLOCK_SIZE as u64
    }

    /// Contents of the given lengths one after another from block 1, each block filled with the content's number.
    fn written(lengths: &[u32]) -> (Vec<u8>, Contents) {
        let mut contents = Contents::default();
        let mut image = vec![0; BLOCK_SIZE];
        for (i, &blocks) in lengths.iter().enumerate() {
            let start = (image.len() / BLOCK_SIZE) as u32;
            contents.0.push((start, blocks));
            image.resize(image.len() + byte_len(blocks) as usize, i as u8 + 1);
        }
        (image, contents)
    }

    fn check(lengths: &[u32], live: &[bool]) -> u64 {
        let (mut image, mut contents) = written(lengths);
        let (end, moved) =
            close_gaps(&mut image, BLOCK_SIZE as u32, &mut contents, |i| live[i], 1).unwrap();
        let total: u32 = lengths
            .iter()
            .zip(live)
            .filter(|(_, l)| **l)
            .map(|(n, _)| n)
            .sum();
        assert_eq!(end, 1 + total);
        let mut used = vec![false; total as usize];
        for i in (0..lengths.len()).filter(|&i| live[i]) {
            let (start, blocks) = contents.extent(i);
            for b in start..start + blocks {
                assert!(
                    !std::mem::replace(&mut used[b as usize - 1], true),
                    "block {b} used twice"
                );
                let bytes = &image[byte_len(b) as usize..][..BLOCK_SIZE];
                assert!(
                    bytes.iter().all(|&x| x == i as u8 + 1),
                    "content {i} damaged"
                );
            }
        }
        moved
    }

    #[test]
    fn moves_little() {
        assert_eq!(check(&[3, 2, 4], &[true; 3]), 0);
        assert_eq!(check(&[3, 2, 4], &[true, true, false]), 0);
        // The last extent fills the gap exactly.
        assert_eq!(
            check(&[1, 9, 9, 1], &[false, true, true, true]),
            byte_len(1)
        );
        // It does not fit: everything slides.
        assert_eq!(
            check(&[1, 9, 9, 2], &[false, true, true, true]),
            byte_len(20)
        );
    }

    proptest! {
        #[test]
        fn live_data_survives(spec in prop::collection::vec((0_u32..6, any::<bool>()), 0..40)) {
            let (lengths, live): (Vec<u32>, Vec<bool>) = spec.into_iter().unzip();
            check(&lengths, &live);
        }
    }
}
