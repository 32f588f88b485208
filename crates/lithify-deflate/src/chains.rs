//! Hash chains: the earlier positions with the same hash, the nearest first.

use crate::bytes::{Bytes, SPARE, boxed};
use crate::level::Effort;
use crate::token::{MAX_DISTANCE, MAX_LENGTH};

/// The positions of the window: the history, and as much again.
pub(crate) const WINDOW: usize = 2 * MAX_DISTANCE;

/// The window's content.
pub(crate) type WindowBytes = Bytes<{ WINDOW + SPARE }>;

/// The shortest match that is searched for: the hash is one of four bytes.
pub(crate) const MIN_MATCH: usize = 4;

/// A match of the shortest length that is farther away costs more than it saves.
const MAX_SHORT_DISTANCE: usize = 4096;

const HASH_BITS: u32 = 17;

/// A match that is better than the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match {
    pub(crate) length: usize,
    pub(crate) distance: usize,
}

/// The next four positions of a chain, 16 bits each, the nearest one lowest: modulo 64 KiB from the
/// beginning of the stream.
///
/// One would do. With four a search waits for memory once for four candidates. A position that is
/// not before the one that it follows in the chain says that the chain ends.
type Links = u64;

const LINKS: u32 = Links::BITS / 16;

/// The chains of the positions in the window.
pub(crate) struct Chains {
    /// For each hash, the last position that has it, modulo 64 KiB from the beginning of the
    /// stream; a position just before the window if none is in it.
    heads: Box<[u16; 1 << HASH_BITS]>,
    /// For each position of the last 32 KiB, modulo 32 KiB, its links.
    links: Box<[Links; MAX_DISTANCE]>,
    /// The beginning of the window in the stream, modulo 64 KiB: a multiple of 32 KiB.
    origin: u16,
}

impl Chains {
    pub(crate) fn new() -> Self {
        Self {
            heads: boxed(u16::MAX),
            links: boxed(0),
            origin: 0,
        }
    }

    /// Puts a position into its chain. Returns how far before it the one before is, or 0.
    #[inline(always)]
    pub(crate) fn insert(&mut self, bytes: &WindowBytes, at: usize) -> usize {
        let word = bytes.word(at).swap_bytes();
        let hash = word.wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS);
        let head = &mut self.heads[hash as usize];
        let position = (at as u16).wrapping_add(self.origin);
        let last = std::mem::replace(head, position);
        let distance = usize::from(position.wrapping_sub(last));
        let links = self.links[usize::from(last) % MAX_DISTANCE] << 16 | u64::from(last);
        // The history may be shorter than a distance may be, after the window moved.
        let is_there = distance <= at.min(MAX_DISTANCE);
        let end = u64::from(position) * 0x0001_0001_0001_0001;
        self.links[usize::from(position) % MAX_DISTANCE] = if is_there { links } else { end };
        if is_there { distance } else { 0 }
    }

    /// Returns the longest match at a position, the nearest one if there are several.
    ///
    /// * `distance` is what [`Chains::insert`] gave for the position, not 0.
    /// * Only a match that is longer than `beaten`, which is at least 3, counts.
    /// * `available` is the number of bytes from the position on, more than `beaten`.
    #[inline(always)]
    pub(crate) fn longest(
        &self,
        bytes: &WindowBytes,
        at: usize,
        distance: usize,
        available: usize,
        beaten: usize,
        effort: Effort,
    ) -> Option<Match> {
        debug_assert!(effort.tries.is_multiple_of(LINKS) && beaten < available);
        let limit = available.min(MAX_LENGTH);
        let enough = effort.enough.min(limit);
        let mut best = None;
        let mut length = beaten;
        // Candidates are counted from the lowest one possible: then one comparison tells both
        // that a link leads out of the window and that there is none.
        let lowest = at.saturating_sub(MAX_DISTANCE);
        let base = (lowest as u16).wrapping_add(self.origin);
        // A longer match has to agree in the last four bytes of what it has to be: few
        // candidates do, and this takes one comparison.
        let mut to_tail = length - 3;
        let mut tail = bytes.word(at + to_tail);
        to_tail += lowest;
        let mut above = at - lowest;
        let mut candidate = above - distance;
        let mut links = 0;
        let mut tries = effort.tries;
        while candidate < above {
            above = candidate;
            if tries.is_multiple_of(LINKS) {
                if tries == 0 {
                    break;
                }
                links = self.links[(usize::from(base) + candidate) % MAX_DISTANCE];
            }
            tries -= 1;
            if bytes.word(candidate + to_tail) == tail {
                let from = candidate + lowest;
                let distance = at - from;
                let common = bytes.common(from, at, limit);
                if common > length && (common > MIN_MATCH || distance <= MAX_SHORT_DISTANCE) {
                    length = common;
                    best = Some(Match { length, distance });
                    if length >= enough {
                        break;
                    }
                    to_tail = length - 3;
                    tail = bytes.word(at + to_tail);
                    to_tail += lowest;
                }
            }
            candidate = usize::from((links as u16).wrapping_sub(base));
            links >>= 16;
        }
        best
    }

    /// Follows the window, of which the first half is dropped. The next position is then `at`.
    pub(crate) fn slide(&mut self, at: usize) {
        self.origin = self.origin.wrapping_add(MAX_DISTANCE as u16);
        // Positions are known modulo 64 KiB only, so heads that have left the window must not stay
        // until they seem to be in it again. This one is too far away for each position of the
        // window: further than its beginning, and further than a match may reach.
        let nowhere = self.origin.wrapping_sub(1);
        let at = at as u16;
        for head in &mut *self.heads {
            *head = if head.wrapping_sub(self.origin) < at {
                *head
            } else {
                nowhere
            };
        }
    }
}
