//! Level 1: matches by the last position of each hash.
//!
//! The input is cut into blocks of 65535 bytes. A table has, for each hash of four bytes, the
//! position where such bytes were last looked at. The longer no match is found, the fewer
//! positions are looked at: after each 32 of them the stride grows by one. A match may reach back
//! into the block before. This is the algorithm of Snappy, whose limits show as well: the last 15
//! bytes of a block begin no match.

use crate::block::{BlockWriter, MAX_STORED};
use crate::bytes::{Bytes, SPARE, boxed};
use crate::token::{MAX_DISTANCE, MAX_LENGTH, Token};

/// The input kept before the current block.
const HISTORY: usize = MAX_DISTANCE;

/// The power of two that history and block fit into.
const POSITIONS: usize = 128 * 1024;

const HASH_BITS: u32 = 14;

/// The bytes at the end of a block that begin no match.
const MARGIN: usize = 15;

/// A last block that is shorter is not searched for matches.
const MIN_SEARCHED: usize = 128;

/// A last block of this length or less is stored.
const MAX_SMALL_STORED: usize = 16;

/// The fewest bytes that are coded.
const MIN_CODED: usize = MAX_SMALL_STORED + 1;

/// Positions before the first one of the input, so that an empty entry is too far from all of them.
const FIRST_ORIGIN: u32 = 2 * MAX_DISTANCE as u32;

/// The origin from which the entries are counted anew. A larger one would do as well, but be
/// tried less often.
const LAST_ORIGIN: u32 = 1 << 21;

/// Four bytes of the input, and where they are.
#[derive(Debug, Clone, Copy)]
struct Entry {
    word: u32,
    /// The position in the buffer, plus the origin at that time.
    position: u32,
}

/// The encoder of level 1.
pub(crate) struct Sampled {
    /// The history, and from [`HISTORY`] on the current block.
    bytes: Bytes<{ POSITIONS + SPARE }>,
    end: usize,
    table: Box<[Entry; 1 << HASH_BITS]>,
    /// Makes positions of different blocks comparable.
    origin: u32,
    tokens: Vec<Token>,
}

impl Sampled {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Bytes::new(),
            end: HISTORY,
            table: boxed(Entry {
                word: 0,
                position: 0,
            }),
            origin: FIRST_ORIGIN,
            tokens: Vec::with_capacity(MAX_STORED),
        }
    }

    /// Takes some bytes of `input`, after the block before if it is complete.
    pub(crate) fn absorb(&mut self, input: &[u8], out: &mut BlockWriter) -> usize {
        if self.end == HISTORY + MAX_STORED {
            self.write_block(out);
        }
        let count = self.bytes.fill(self.end, HISTORY + MAX_STORED, input);
        self.end += count;
        count
    }

    /// Writes what is left.
    pub(crate) fn finish(&mut self, out: &mut BlockWriter) {
        let input = self.bytes.slice(HISTORY, self.end);
        match input.len() {
            0 => {}
            1..=MAX_SMALL_STORED => out.write_stored(input),
            MIN_CODED..MIN_SEARCHED => out.write_literals(input),
            MIN_SEARCHED.. => self.write_block(out),
        }
    }

    fn write_block(&mut self, out: &mut BlockWriter) {
        self.find_tokens();
        let input = self.bytes.slice(HISTORY, self.end);
        if self.tokens.len() > input.len() - input.len() / 16 {
            out.write_literals(input);
        } else {
            out.write_tokens(&self.tokens, input);
        }
        self.next_block();
    }

    /// Makes the end of the block the history of the next one.
    fn next_block(&mut self) {
        let moved = self.end - HISTORY;
        self.bytes.move_to_front(moved, self.end);
        self.end = HISTORY;
        self.origin += moved as u32;
        if self.origin >= LAST_ORIGIN {
            // Entries too far away become empty ones; the others keep their distance.
            let excess = self.origin - FIRST_ORIGIN;
            for entry in &mut *self.table {
                entry.position = entry.position.saturating_sub(excess);
            }
            self.origin = FIRST_ORIGIN;
        }
    }

    fn find_tokens(&mut self) {
        self.tokens.clear();
        let bytes = &self.bytes;
        let origin = self.origin;
        let table = &mut *self.table;
        let limit = self.end - MARGIN;
        let mut literals_from = HISTORY;
        let mut next = HISTORY;
        let mut next_word = bytes.word(next);
        'block: loop {
            // Look for a position at which a match begins.
            let mut stride = 32;
            let (mut at, mut distance);
            loop {
                at = next;
                let word = next_word;
                next += stride >> 5;
                stride += stride >> 5;
                if next > limit {
                    break 'block;
                }
                next_word = bytes.word(next);
                distance = look_up(table, word, at as u32 + origin);
                if distance != NONE {
                    break;
                }
            }
            for literal in bytes.slice(literals_from, at) {
                self.tokens.push(Token::literal(*literal));
            }
            // Take it, and more matches for as long as one follows the other.
            loop {
                let longest = MAX_LENGTH.min(self.end - at);
                let length = bytes.common(at - distance, at, longest);
                self.tokens.push(Token::copy(length, distance));
                at += length;
                literals_from = at;
                if at >= limit {
                    break 'block;
                }
                let words = bytes.long(at - 1);
                let position = at as u32 + origin;
                look_up(table, words as u32, position - 1);
                distance = look_up(table, (words >> 8) as u32, position);
                if distance == NONE {
                    next = at + 1;
                    next_word = (words >> 16) as u32;
                    break;
                }
            }
        }
        for literal in bytes.slice(literals_from, self.end) {
            self.tokens.push(Token::literal(*literal));
        }
    }
}

/// The distance of a match that is not there.
const NONE: usize = 0;

/// Enters `word` at `position`. Returns how far before it the table had the same word.
#[inline(always)]
fn look_up(table: &mut [Entry; 1 << HASH_BITS], word: u32, position: u32) -> usize {
    let hash = word.wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS);
    let entry = &mut table[hash as usize];
    let last = std::mem::replace(entry, Entry { word, position });
    let distance = (position - last.position) as usize;
    if last.word == word && distance <= MAX_DISTANCE {
        distance
    } else {
        NONE
    }
}
