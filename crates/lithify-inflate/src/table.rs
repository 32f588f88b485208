//! The decode tables: one array of entries that is at once the three Huffman codes of a block and
//! the transition table of the fast loop.
//!
//! # Entry layout
//!
//! ```text
//!  63  62                        48 47    41  40    39  38  37     32 31          16 15      8 7       0
//! ┌───┬────────────────────────────┬─────────┬────┬─────┬───┬────────┬──────────────┬─────────┬─────────┐
//! │LIT│ base: byte, length or dist │    0    │DIST│ LEN │ 0 │codelen │     next     │  width  │  total  │
//! └───┴────────────────────────────┴─────────┴────┴─────┴───┴────────┴──────────────┴─────────┴─────────┘
//! ```
//!
//! * `total`: bits this step consumes, the codeword (or what is left of it in a subtable) plus
//!   extra bits. At most 28, so a 64-bit shift by the entry itself needs no mask.
//! * `width`, `next`: the following step looks at `width` bits and finds its entry at
//!   `entries[next + bits]`. A literal leads back to the literal/length table, a length to the
//!   distance table, a distance to the literal/length table, the prefix of a long codeword to its
//!   subtable. The end of the block and invalid codes lead to a *halt* state: width 0, an entry
//!   that consumes nothing and leads to itself.
//! * `codelen`: bits before the extra bits, so that the value of the symbol is
//!   `base + ((bits & mask(total)) >> codelen)`.
//! * `LIT` / `LEN` / `DIST`: what the value is. None is set for the prefix of a long codeword, the
//!   end of the block and invalid codes.
//!
//! Because the entry says where the next lookup happens, decoding one symbol is the same few
//! instructions whatever the symbol is; the loop has no branch on the kind of symbol, which is the
//! branch that no predictor gets right.
//!
//! # Array layout
//!
//! ```text
//! 0          1024             5632        5760             9856
//! ┌──────────┬────────────────┬───────────┬────────────────┬───────────┐
//! │ lit/len  │ its subtables  │ distance  │ its subtables  │ halt ×3   │
//! └──────────┴────────────────┴───────────┴────────────────┴───────────┘
//! ```
//!
//! A complete code puts at least two codewords into every subtable, so the 288 literal/length
//! symbols need at most 144 subtables of at most 2⁵ entries, and the 32 distance symbols at most
//! 16 of at most 2⁸.

use crate::error::{CodeKind, DeflateError};
use crate::huffman::{MAX_CODE_BITS, MAX_SYMBOLS, Sorted, reverse};

/// Bits that the first lookup of a literal/length codeword uses.
pub(crate) const LITLEN_BITS: u32 = 10;
/// Bits that the first lookup of a distance codeword uses.
pub(crate) const DIST_BITS: u32 = 7;

pub(crate) const LITLEN_START: usize = 0;
const LITLEN_SUBTABLES: usize = LITLEN_START + (1 << LITLEN_BITS);
pub(crate) const DIST_START: usize =
    LITLEN_SUBTABLES + (MAX_LITLEN_SYMBOLS / 2) * (1 << (MAX_CODE_BITS - LITLEN_BITS));
const DIST_SUBTABLES: usize = DIST_START + (1 << DIST_BITS);
/// The first halt state; every state from here on is one.
pub(crate) const HALT: usize =
    DIST_SUBTABLES + (MAX_DIST_SYMBOLS / 2) * (1 << (MAX_CODE_BITS - DIST_BITS));
/// The end of the block was read.
pub(crate) const HALT_END_OF_BLOCK: usize = HALT;
/// An invalid literal/length code was read.
pub(crate) const HALT_LITLEN: usize = HALT + 1;
/// An invalid distance code was read.
pub(crate) const HALT_DIST: usize = HALT + 2;
const ENTRIES: usize = HALT + 3;

/// Symbols of the fixed literal/length code, two of which are invalid.
const MAX_LITLEN_SYMBOLS: usize = MAX_SYMBOLS;
/// Symbols of the fixed distance code, two of which are invalid.
const MAX_DIST_SYMBOLS: usize = 32;

/// One step of decoding; see the module's documentation for the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Entry(pub(crate) u64);

pub(crate) const LEN_FLAG: u32 = 1 << 7;
pub(crate) const DIST_FLAG: u32 = 1 << 8;
const LIT_BIT: u64 = 1 << 63;

impl Entry {
    const fn new(base: u16, flags: u64, next: usize, width: u32, extra: u8) -> Self {
        Self((base as u64) << 48 | flags | (next as u64) << 16 | (width as u64) << 8 | extra as u64)
    }

    const fn literal(byte: u8) -> Self {
        Self::new(byte as u16, LIT_BIT, LITLEN_START, LITLEN_BITS, 0)
    }

    const fn length(base: u16, extra: u8) -> Self {
        Self::new(base, (LEN_FLAG as u64) << 32, DIST_START, DIST_BITS, extra)
    }

    const fn distance(base: u16, extra: u8) -> Self {
        Self::new(
            base,
            (DIST_FLAG as u64) << 32,
            LITLEN_START,
            LITLEN_BITS,
            extra,
        )
    }

    const fn subtable(start: usize, width: u32) -> Self {
        Self::new(0, 0, start, width, 0)
    }

    const fn halt(state: usize) -> Self {
        Self::new(0, 0, state, 0, 0)
    }

    /// The entry for a codeword, or rest of a codeword, of `len` bits.
    const fn with_codelen(self, len: u32) -> Self {
        // `total` holds the extra bits so far and `codelen` is zero; both fields have room.
        Self(self.0 + len as u64 * (1 | 1 << 32))
    }

    pub(crate) const fn total(self) -> u32 {
        (self.0 & 0x3f) as u32
    }

    pub(crate) const fn codelen(self) -> u32 {
        (self.0 >> 32) as u32 & 0x3f
    }

    pub(crate) const fn next(self) -> usize {
        (self.0 >> 16) as usize & 0xffff
    }

    pub(crate) const fn width(self) -> u32 {
        (self.0 >> 8) as u32 & 0xff
    }

    pub(crate) const fn is_literal(self) -> bool {
        self.0 & LIT_BIT != 0
    }

    /// Whether this is the beginning of a codeword that goes on in a subtable.
    pub(crate) const fn is_prefix(self) -> bool {
        const SYMBOL: u64 = LIT_BIT | ((LEN_FLAG | DIST_FLAG) as u64) << 32;
        self.0 & SYMBOL == 0 && self.next() < HALT
    }

    /// The literal's byte, in an entry that is one.
    pub(crate) const fn byte(self) -> u8 {
        (self.0 >> 48) as u8
    }

    /// The symbol's value, `bits` starting with its codeword.
    pub(crate) const fn value(self, bits: u64) -> u64 {
        let extra = (bits & ((1 << self.total()) - 1)) >> self.codelen();
        (self.0 >> 48) + extra
    }
}

/// Length symbols 257..=285: smallest length and extra bits (RFC 1951, 3.2.5).
const LENGTHS: [(u16, u8); 29] = {
    let mut table = [(0, 0); 29];
    let mut base = 3;
    let mut i = 0;
    while i < 28 {
        let extra = if i < 4 { 0 } else { (i as u8 / 4) - 1 };
        table[i] = (base, extra);
        base += 1 << extra;
        i += 1;
    }
    // 258 has a symbol of its own, although 284 could express it too.
    table[28] = (258, 0);
    table
};

/// Distance symbols 0..=29: smallest distance and extra bits (RFC 1951, 3.2.5).
const DISTANCES: [(u16, u8); 30] = {
    let mut table = [(0, 0); 30];
    let mut base = 1;
    let mut i = 0;
    while i < 30 {
        let extra = if i < 2 { 0 } else { (i as u8 / 2) - 1 };
        table[i] = (base, extra);
        base += 1 << extra;
        i += 1;
    }
    table
};

const LITLEN_SYMBOLS: [Entry; MAX_LITLEN_SYMBOLS] = {
    let mut table = [Entry::halt(HALT_LITLEN); MAX_LITLEN_SYMBOLS];
    let mut i = 0;
    while i < 256 {
        table[i] = Entry::literal(i as u8);
        i += 1;
    }
    table[256] = Entry::halt(HALT_END_OF_BLOCK);
    let mut i = 0;
    while i < 29 {
        let (base, extra) = LENGTHS[i];
        table[257 + i] = Entry::length(base, extra);
        i += 1;
    }
    table
};

const DIST_SYMBOLS: [Entry; MAX_DIST_SYMBOLS] = {
    let mut table = [Entry::halt(HALT_DIST); MAX_DIST_SYMBOLS];
    let mut i = 0;
    while i < 30 {
        let (base, extra) = DISTANCES[i];
        table[i] = Entry::distance(base, extra);
        i += 1;
    }
    table
};

/// The tables of the current block.
pub(crate) struct Tables {
    entries: Box<[Entry; ENTRIES]>,
    /// The tables hold the fixed codes, which need not be built again.
    fixed: bool,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables")
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

impl Tables {
    pub(crate) fn new() -> Self {
        let entries = vec![Entry::halt(HALT_LITLEN); ENTRIES].into_boxed_slice();
        #[expect(
            clippy::expect_used,
            reason = "the slice was made with this very length"
        )]
        let mut entries: Box<[Entry; ENTRIES]> = entries.try_into().expect("length is ENTRIES");
        for (i, entry) in entries[HALT..].iter_mut().enumerate() {
            *entry = Entry::halt(HALT + i);
        }
        Self {
            entries,
            fixed: false,
        }
    }

    /// Every entry. For each of them `next + 2^width` is at most their number, whatever code was
    /// or failed to be built: the fast loop relies on it.
    pub(crate) fn entries(&self) -> &[Entry; ENTRIES] {
        &self.entries
    }

    /// The entry that the first lookup of a literal/length codeword finds.
    pub(crate) fn litlen(&self, bits: u64) -> Entry {
        self.entries[LITLEN_START + (bits & ((1 << LITLEN_BITS) - 1)) as usize]
    }

    /// The entry that the first lookup of a distance codeword finds.
    pub(crate) fn distance(&self, bits: u64) -> Entry {
        self.entries[DIST_START + (bits & ((1 << DIST_BITS) - 1)) as usize]
    }

    /// The entry in the subtable that `prefix` refers to.
    pub(crate) fn subtable(&self, prefix: Entry, bits: u64) -> Entry {
        self.entries[prefix.next() + (bits & ((1 << prefix.width()) - 1)) as usize]
    }

    /// Builds the codes of a fixed block (RFC 1951, 3.2.6).
    pub(crate) fn build_fixed(&mut self) -> Result<(), DeflateError> {
        if self.fixed {
            return Ok(());
        }
        let mut litlen = [8; MAX_LITLEN_SYMBOLS];
        litlen[144..256].fill(9);
        litlen[256..280].fill(7);
        self.build(&litlen, &[5; MAX_DIST_SYMBOLS])?;
        self.fixed = true;
        Ok(())
    }

    /// Builds the codes of a dynamic block from the length of each symbol's codeword.
    pub(crate) fn build(&mut self, litlen: &[u8], dist: &[u8]) -> Result<(), DeflateError> {
        self.fixed = false;
        let code = Code {
            kind: CodeKind::LitLen,
            main_bits: LITLEN_BITS,
            start: LITLEN_START,
            subtables: LITLEN_SUBTABLES,
            invalid: HALT_LITLEN,
        };
        code.build(&mut self.entries[..DIST_START], litlen, &LITLEN_SYMBOLS)?;
        let code = Code {
            kind: CodeKind::Distance,
            main_bits: DIST_BITS,
            start: DIST_START,
            subtables: DIST_SUBTABLES,
            invalid: HALT_DIST,
        };
        code.build(&mut self.entries[..HALT], dist, &DIST_SYMBOLS)
    }
}

/// Where and how to build the table of one code.
struct Code {
    kind: CodeKind,
    main_bits: u32,
    start: usize,
    subtables: usize,
    invalid: usize,
}

impl Code {
    /// Fills the table for the canonical Huffman code with the given codeword lengths.
    ///
    /// The main table grows by doubling: when all codewords of up to `n` bits are in place, its
    /// first 2ⁿ entries are complete, and copying them once more makes it right for `n + 1` bits.
    /// So each codeword is written once, and the replication is one copy per length.
    fn build(
        &self,
        entries: &mut [Entry],
        lens: &[u8],
        symbols: &[Entry],
    ) -> Result<(), DeflateError> {
        let sorted = Sorted::new(lens);
        let max = sorted.check(self.kind)?;
        let main_size = 1 << self.main_bits;
        if sorted.is_incomplete() {
            let invalid = Entry::halt(self.invalid).with_codelen(1);
            entries[self.start..self.start + main_size].fill(invalid);
        }

        let mut code = 0_u32;
        let main = &mut entries[self.start..self.start + main_size];
        for len in 1..=self.main_bits {
            let size = 1 << (len - 1);
            main.copy_within(..size, size);
            code <<= 1;
            for &symbol in sorted.of_len(len) {
                main[reverse(code, len)] = symbols[usize::from(symbol)].with_codelen(len);
                code += 1;
            }
        }

        let mut free = self.subtables;
        let mut prefix = usize::MAX;
        let (mut start, mut width) = (0, 0);
        for len in self.main_bits + 1..=max {
            code <<= 1;
            let rest = len - self.main_bits;
            let of_len = sorted.of_len(len);
            for (i, &symbol) in of_len.iter().enumerate() {
                let reversed = reverse(code, len);
                if reversed & (main_size - 1) != prefix {
                    prefix = reversed & (main_size - 1);
                    width = sorted.subtable_width(self.main_bits, len, of_len.len() - i, max);
                    start = free;
                    free += 1 << width;
                    entries[self.start + prefix] =
                        Entry::subtable(start, width).with_codelen(self.main_bits);
                }
                let entry = symbols[usize::from(symbol)].with_codelen(rest);
                let subtable = &mut entries[start..start + (1 << width)];
                let first = reversed >> self.main_bits;
                for slot in subtable[first..].iter_mut().step_by(1 << rest) {
                    *slot = entry;
                }
                code += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fast loop relies on: from every entry, whatever the bits, another entry is found,
    /// and no two steps consume more bits than a refill provides.
    fn assert_closed(tables: &Tables) {
        for entry in tables.entries() {
            assert!(entry.next() + (1 << entry.width()) <= ENTRIES, "{entry:?}");
            assert!(
                entry.total() <= 21 && entry.codelen() <= entry.total(),
                "{entry:?}"
            );
            assert!(entry.0 & 0xc0 == 0, "{entry:?}");
            let largest = entry.value(u64::MAX);
            if (entry.0 >> 32) as u32 & LEN_FLAG != 0 {
                assert!(largest <= 258, "{entry:?}");
                assert_eq!(entry.next(), DIST_START);
            }
            if (entry.0 >> 32) as u32 & DIST_FLAG != 0 {
                assert!(largest <= crate::WINDOW_SIZE as u64, "{entry:?}");
                assert_eq!(entry.next(), LITLEN_START);
            }
        }
        for state in [HALT_END_OF_BLOCK, HALT_LITLEN, HALT_DIST] {
            assert_eq!(tables.entries()[state], Entry::halt(state));
        }
    }

    #[test]
    fn symbols_are_those_of_rfc_1951() {
        assert_eq!(LENGTHS[0], (3, 0));
        assert_eq!(LENGTHS[8], (11, 1));
        assert_eq!(LENGTHS[27], (227, 5));
        assert_eq!(LENGTHS[28], (258, 0));
        assert_eq!(DISTANCES[4], (5, 1));
        assert_eq!(DISTANCES[29], (24_577, 13));
    }

    #[test]
    fn fixed_tables_are_closed() {
        let mut tables = Tables::new();
        assert_closed(&tables);
        tables.build_fixed().unwrap();
        assert_closed(&tables);
    }

    #[test]
    fn tables_with_the_most_subtables_are_closed() {
        let mut tables = Tables::new();
        // One codeword of each length up to 3, the rest of the space in the longest ones.
        let mut litlen = [0; 286];
        litlen[0] = 1;
        litlen[1] = 2;
        litlen[2] = 3;
        // 284 codewords fill an eighth of the code space.
        let mut left = 1 << 12;
        for (i, len) in litlen[3..286].iter_mut().enumerate() {
            let codewords = 283 - i;
            let mut bits = 4;
            while (1 << (15 - bits)) > left - (codewords - 1) {
                bits += 1;
            }
            *len = bits as u8;
            left -= 1 << (15 - bits);
        }
        assert_eq!(left, 0);
        let mut dist = [15; 30];
        for (i, len) in dist[..14].iter_mut().enumerate() {
            *len = i as u8 + 1;
        }
        dist[16..].fill(0);
        tables.build(&litlen, &dist).unwrap();
        assert_closed(&tables);
    }

    #[test]
    fn a_failed_build_leaves_closed_tables() {
        let mut tables = Tables::new();
        for (litlen, dist) in [([15; 286], [5; 30]), ([1; 286], [5; 30])] {
            assert!(tables.build(&litlen, &dist).is_err());
            assert_closed(&tables);
        }
        let mut litlen = [9; 286];
        litlen[..226].fill(8);
        assert!(tables.build(&litlen, &[1; 30]).is_err());
        assert_closed(&tables);
    }

    #[test]
    fn a_failed_build_after_fixed_tables_does_not_pass_for_them() {
        let mut tables = Tables::new();
        tables.build_fixed().unwrap();
        assert!(tables.build(&[1; 286], &[1; 30]).is_err());
        assert!(!tables.fixed);
    }
}
