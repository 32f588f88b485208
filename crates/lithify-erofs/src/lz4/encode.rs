//! Encoding into blocks of a fixed size: not "how small does this get" but "how much of this fits".

use std::ops::Range;

use super::{LAST_LITERALS, LENGTH_MASK, MATCH_MARGIN, MAX_DISTANCE, MIN_MATCH};

/// Binary logarithm of the number of places remembered. 2¹³ places are 32 KiB, the level-1 cache of most processors.
const TABLE_BITS: u32 = 13;

/// Misses after which the search takes larger steps, as a power of two.
const SKIP_BITS: u32 = 6;

/// Greedy encoder: one candidate per position.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Where a sequence of bytes was last seen, by its hash: offset in the input plus `base`.
    table: Box<[u32; 1 << TABLE_BITS]>,
    /// What is below in the table is of other inputs. Never 0, so that an empty place is one of these.
    base: u32,
    /// `base` plus the length of the input.
    next_base: u32,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
            base: 1,
            next_base: 1,
        }
    }

    /// Announces an input of `length` bytes, which [`fill`](Self::fill) is then called with.
    pub(crate) fn begin(&mut self, length: usize) {
        debug_assert!(u32::try_from(length).is_ok_and(|l| l < 1 << 31));
        self.base = self.next_base;
        self.next_base = match self.base.checked_add(length as u32) {
            Some(next) => next,
            None => {
                self.table.fill(0);
                self.base = 1;
                1 + length as u32
            }
        };
    }

    /// Encodes as much of `input` from `start` on as fits `block`, at least 24 bytes long, without looking at what is
    /// before `start`. Gives the number of input bytes encoded, at least one, and the block's length.
    pub(crate) fn fill(&mut self, input: &[u8], start: usize, block: &mut [u8]) -> (usize, usize) {
        let mut writer = BlockWriter { block, length: 0 };
        let mut anchor = start;
        // Where the last match may start and end.
        let Some(start_max) = input.len().checked_sub(MATCH_MARGIN).filter(|&m| m > start) else {
            return writer.last_literals(input, start, anchor);
        };
        let match_end = input.len() - LAST_LITERALS;
        let mut at = start;
        let mut word = load(input, at);
        loop {
            // Search. Literals that do not fit need not be looked at.
            let search_end = start_max.min(anchor + writer.room());
            let mut tries = 1_usize << SKIP_BITS;
            let found = loop {
                let seen = self.remember(word, at);
                // Of another input, or left by blocks before, whose search went further than they did: far away.
                let place = u64::from(seen.wrapping_sub(self.base));
                if (at as u64).wrapping_sub(place).wrapping_sub(1) < MAX_DISTANCE as u64
                    && place >= start as u64
                    && load4(input, place as usize) == word as u32
                {
                    break Some(place as usize);
                }
                at += tries >> SKIP_BITS;
                tries += 1;
                if at > search_end {
                    break None;
                }
                word = load(input, at);
            };
            let Some(mut candidate) = found else { break };

            // The match may start earlier.
            while at > anchor && candidate > start && input[at - 1] == input[candidate - 1] {
                at -= 1;
                candidate -= 1;
            }
            let length = MIN_MATCH
                + common(
                    &input[at + MIN_MATCH..match_end],
                    &input[candidate + MIN_MATCH..],
                );
            let fitting = writer.fitting(at - anchor, length);
            if fitting == 0 {
                break;
            }
            writer.sequence(input, anchor..at, at - candidate, fitting);
            at += fitting;
            anchor = at;
            if fitting < length || at > start_max {
                break;
            }
            self.remember(load(input, at - 2), at - 2);
            word = load(input, at);
        }
        writer.last_literals(input, start, anchor)
    }

    /// Notes a place and gives what was noted before for the same hash.
    fn remember(&mut self, word: u64, at: usize) -> u32 {
        // Five bytes: with four, common beginnings hide what is behind them.
        const PRIME: u64 = 889_523_592_379;
        let hash = (word << 24).wrapping_mul(PRIME) >> (u64::BITS - TABLE_BITS);
        std::mem::replace(&mut self.table[hash as usize], self.base + at as u32)
    }
}

/// Eight bytes from an offset, which is at least [`MATCH_MARGIN`] before the end.
fn load(input: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&input[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Four bytes from an offset.
fn load4(input: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&input[at..at + 4]);
    u32::from_le_bytes(bytes)
}

/// Number of bytes two slices start with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut n = 0;
    while let (Some(x), Some(y)) = (a.get(n..n + 8), b.get(n..n + 8)) {
        let difference = load(x, 0) ^ load(y, 0);
        if difference != 0 {
            return n + difference.trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    n + a[n..]
        .iter()
        .zip(&b[n..])
        .take_while(|(x, y)| x == y)
        .count()
}

/// Bytes a length takes behind the token.
const fn extra(length: usize) -> usize {
    if length < LENGTH_MASK {
        0
    } else {
        (length - LENGTH_MASK) / 255 + 1
    }
}

/// A block being written. There is always room for the literals a block has to end with.
struct BlockWriter<'a> {
    block: &'a mut [u8],
    length: usize,
}

impl BlockWriter<'_> {
    fn room(&self) -> usize {
        self.block.len() - self.length
    }

    /// How much of a match fits behind literals, so that the block can still be ended as decoders want it; 0 if none.
    fn fitting(&self, literals: usize, length: usize) -> usize {
        let head = 1 + extra(literals) + literals + 2;
        let end = |length: usize| 1 + LAST_LITERALS.max(MATCH_MARGIN.saturating_sub(length));
        let code = length - MIN_MATCH;
        if head + extra(code) + end(length) <= self.room() {
            return length;
        }
        // With n bytes behind the token a match has up to 18 + 255 n.
        let Some(bytes) = self.room().checked_sub(head + 1 + LAST_LITERALS) else {
            return 0;
        };
        let fitting = length.min(MIN_MATCH + LENGTH_MASK - 1 + 255 * bytes);
        if fitting + LAST_LITERALS < MATCH_MARGIN {
            return 0;
        }
        fitting
    }

    fn sequence(&mut self, input: &[u8], literals: Range<usize>, distance: usize, length: usize) {
        let code = length - MIN_MATCH;
        self.token(input, literals, code.min(LENGTH_MASK));
        let distance = (distance as u16).to_le_bytes();
        self.block[self.length..self.length + 2].copy_from_slice(&distance);
        self.length += 2;
        self.extra(code);
    }

    fn token(&mut self, input: &[u8], literals: Range<usize>, low: usize) {
        /// Bytes copied at once, whether needed or not: most runs of literals are shorter.
        const COPY: usize = 16;
        let length = literals.len();
        self.block[self.length] = (length.min(LENGTH_MASK) << 4 | low) as u8;
        self.length += 1;
        self.extra(length);
        let target = &mut self.block[self.length..];
        if length <= COPY
            && let Some(target) = target.first_chunk_mut::<COPY>()
            && let Some(source) = input[literals.start..].first_chunk::<COPY>()
        {
            *target = *source;
        } else {
            target[..length].copy_from_slice(&input[literals]);
        }
        self.length += length;
    }

    fn extra(&mut self, length: usize) {
        if let Some(rest) = length.checked_sub(LENGTH_MASK) {
            let full = rest / 255;
            self.block[self.length..self.length + full].fill(u8::MAX);
            self.block[self.length + full] = (rest % 255) as u8;
            self.length += full + 1;
        }
    }

    /// Ends the block with as many literals from `anchor` on as fit.
    fn last_literals(mut self, input: &[u8], start: usize, anchor: usize) -> (usize, usize) {
        let room = self.room().saturating_sub(1);
        let mut literals = room.min(input.len() - anchor);
        while literals + extra(literals) > room {
            literals -= 1;
        }
        self.token(input, anchor..anchor + literals, 0);
        (anchor + literals - start, self.length)
    }
}
