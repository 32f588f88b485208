//! Free stretches between what is live, and the first of them with enough room.

use std::ops::Range;

/// Free stretches in order of place, with a tree of maxima to find the first with enough room.
///
/// ```
/// use lithify_fskit::Gaps;
///
/// let mut gaps = Gaps::between([12..20, 25..30], 10);
/// assert_eq!(gaps.total(), 2 + 5);
/// assert_eq!(gaps.take_first(3), Some(20));
/// assert_eq!(gaps.take_first(3), None);
/// assert_eq!(gaps.take_first(1), Some(10));
/// assert_eq!(gaps.rest(), [(11, 1), (23, 2)]);
/// ```
#[derive(Debug)]
pub struct Gaps {
    starts: Vec<u64>,
    /// Implicit binary tree: leaf `leaves + i` is the free length of gap `i`, each other node the larger of its two
    /// children.
    lengths: Vec<u64>,
    leaves: usize,
    /// Length of all gaps at first.
    total: u64,
}

impl Gaps {
    /// Finds the gaps before and between ranges in order of place, from `first` on. To have one behind the last range
    /// too, end with an empty range.
    pub fn between(ranges: impl IntoIterator<Item = Range<u64>>, first: u64) -> Self {
        let (mut starts, mut free) = (Vec::new(), Vec::new());
        let mut end = first;
        for range in ranges {
            if range.start > end {
                starts.push(end);
                free.push(range.start - end);
            }
            end = end.max(range.end);
        }
        let leaves = starts.len().next_power_of_two();
        let mut lengths = vec![0; 2 * leaves];
        lengths[leaves..leaves + free.len()].copy_from_slice(&free);
        for node in (1..leaves).rev() {
            lengths[node] = lengths[2 * node].max(lengths[2 * node + 1]);
        }
        Self {
            starts,
            lengths,
            leaves,
            total: free.iter().sum(),
        }
    }

    /// Whether there were none from the beginning.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Length of all gaps before anything was taken.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Takes `length` from the start of the first gap that has it.
    pub fn take_first(&mut self, length: u64) -> Option<u64> {
        if self.lengths[1] < length {
            return None;
        }
        let mut node = 1;
        while node < self.leaves {
            let left = 2 * node;
            node = if self.lengths[left] >= length {
                left
            } else {
                left + 1
            };
        }
        let gap = node - self.leaves;
        let start = *self.starts.get(gap)?;
        self.starts[gap] += length;
        self.lengths[node] -= length;
        while node > 1 {
            node /= 2;
            self.lengths[node] = self.lengths[2 * node].max(self.lengths[2 * node + 1]);
        }
        Some(start)
    }

    /// Start and length of what has not been taken.
    #[must_use]
    pub fn rest(&self) -> Vec<(u64, u64)> {
        let lengths = &self.lengths[self.leaves..];
        self.starts
            .iter()
            .zip(lengths)
            .filter(|(_, length)| **length > 0)
            .map(|(&start, &length)| (start, length))
            .collect()
    }
}
