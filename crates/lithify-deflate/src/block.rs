//! Blocks (RFC 1951, 3.2.3), and which kind of block Go writes.
//!
//! * At levels 2 to 9 a block takes the smallest of its forms; where sizes are equal, fixed codes
//!   go before dynamic ones and these before stored bytes. The stored form needs the input of the
//!   block, at most 65535 bytes of it, in the window.
//! * At level 1 a block never has fixed codes, and dynamic codes have to save a sixteenth over the
//!   stored form. Their size is estimated without extra bits.
//! * Two sizes are not what the block would really take: a block without matches is counted, and
//!   written, as if its distance code had one symbol; and its use, once, is counted as well.
//! * No block is the last one but an empty stored block, which ends the stream.

use crate::bits::BitWriter;
use crate::huffman::{Code, Codes, LONGEST};
use crate::lengths::CodeLengths;
use crate::token::{
    DISTANCE_SYMBOLS, END_OF_BLOCK, LENGTH_SYMBOLS, LITLEN_SYMBOLS, Token, distance_extra_bits,
    distance_symbol, length_extra_bits,
};

/// The most bytes that a stored block holds.
pub(crate) const MAX_STORED: usize = 65535;

/// The most bits that a match takes: two codewords and their extra bits.
const MAX_TOKEN_BITS: usize = 2 * LONGEST + 5 + 13;

/// Tokens written with one look at the room for output.
const TOKENS_AT_ONCE: usize = 1024;

const STORED: u32 = 0;
const FIXED: u32 = 1;
const DYNAMIC: u32 = 2;

/// The codes of a block.
struct BlockCodes {
    litlen: Codes<LITLEN_SYMBOLS>,
    distance: Codes<DISTANCE_SYMBOLS>,
}

impl BlockCodes {
    /// Makes the codes of a block with fixed codes (RFC 1951, 3.2.6).
    fn fixed() -> Self {
        // The code is complete only with two symbols that no block may use.
        let mut lengths = [8; LITLEN_SYMBOLS + 2];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        let mut litlen = [Code::default(); LITLEN_SYMBOLS];
        litlen.copy_from_slice(&Codes::from_lengths(&lengths).0[..LITLEN_SYMBOLS]);
        Self {
            litlen: Codes(litlen),
            distance: Codes::from_lengths(&[5; DISTANCE_SYMBOLS]),
        }
    }

    fn best(frequencies: &Frequencies) -> Self {
        Self {
            litlen: Codes::from_frequencies(&frequencies.litlen, LONGEST),
            distance: Codes::from_frequencies(&frequencies.distance, LONGEST),
        }
    }

    /// Returns the bits of all codewords, without extra bits.
    fn size(&self, frequencies: &Frequencies) -> usize {
        self.litlen.size(&frequencies.litlen) + self.distance.size(&frequencies.distance)
    }
}

/// The uses of each symbol in a block.
struct Frequencies {
    litlen: [u32; LITLEN_SYMBOLS],
    distance: [u32; DISTANCE_SYMBOLS],
}

impl Frequencies {
    fn of_tokens(tokens: &[Token]) -> Self {
        let mut counted = Self::end_only();
        for token in tokens {
            if token.is_literal() {
                counted.litlen[usize::from(token.byte())] += 1;
            } else {
                let length = LENGTH_SYMBOLS[usize::from(token.length_less_min())];
                counted.litlen[END_OF_BLOCK + 1 + usize::from(length.index)] += 1;
                counted.distance[distance_symbol(token.distance_less_one())] += 1;
            }
        }
        counted.count_a_distance();
        counted
    }

    fn of_literals(bytes: &[u8]) -> Self {
        let mut counted = Self::end_only();
        for &byte in bytes {
            counted.litlen[usize::from(byte)] += 1;
        }
        counted.count_a_distance();
        counted
    }

    fn end_only() -> Self {
        let mut litlen = [0; LITLEN_SYMBOLS];
        litlen[END_OF_BLOCK] = 1;
        Self {
            litlen,
            distance: [0; DISTANCE_SYMBOLS],
        }
    }

    /// A block needs a distance code even if there is no match: Go counts a use of its first
    /// symbol then.
    fn count_a_distance(&mut self) {
        if self.distance == [0; DISTANCE_SYMBOLS] {
            self.distance[0] = 1;
        }
    }

    /// Returns the bits behind the codewords.
    fn extra_bits(&self) -> usize {
        let lengths = self.litlen[END_OF_BLOCK + 1..].iter().enumerate();
        let distances = self.distance.iter().enumerate();
        let lengths = lengths.map(|(index, &uses)| length_extra_bits(index) * uses);
        let distances = distances.map(|(symbol, &uses)| distance_extra_bits(symbol) * uses);
        lengths.chain(distances).sum::<u32>() as usize
    }

    fn code_lengths(&self, codes: &BlockCodes) -> CodeLengths {
        CodeLengths::new(
            &codes.litlen,
            used(&self.litlen),
            &codes.distance,
            used(&self.distance),
        )
    }
}

/// Returns the number of symbols up to the last one in use.
fn used(frequencies: &[u32]) -> usize {
    let last = frequencies.iter().rposition(|&uses| uses != 0);
    last.map_or(0, |last| last + 1)
}

/// Writes blocks.
pub(crate) struct BlockWriter {
    pub(crate) bits: BitWriter,
    fixed: BlockCodes,
}

impl BlockWriter {
    pub(crate) fn new() -> Self {
        Self {
            bits: BitWriter::default(),
            fixed: BlockCodes::fixed(),
        }
    }

    /// Writes a block of levels 2 to 9. `input` is what the tokens stand for, if it is still there.
    pub(crate) fn write_smallest(&mut self, tokens: &[Token], input: Option<&[u8]>) {
        let frequencies = Frequencies::of_tokens(tokens);
        let best = BlockCodes::best(&frequencies);
        let code_lengths = frequencies.code_lengths(&best);
        let fixed_size = self.fixed.size(&frequencies);
        let dynamic_size = code_lengths.size() + best.size(&frequencies);
        let coded_size = 3 + fixed_size.min(dynamic_size) + frequencies.extra_bits();
        if let Some(input) = input.filter(|input| input.len() <= MAX_STORED)
            && stored_size(input) < coded_size
        {
            return self.write_stored(input);
        }
        if dynamic_size < fixed_size {
            self.begin(DYNAMIC);
            code_lengths.write(|bits, count| self.bits.put(bits, count));
            write_tokens(&mut self.bits, tokens, &best);
        } else {
            self.begin(FIXED);
            write_tokens(&mut self.bits, tokens, &self.fixed);
        }
    }

    /// Writes a block of level 1 with matches.
    pub(crate) fn write_tokens(&mut self, tokens: &[Token], input: &[u8]) {
        let frequencies = Frequencies::of_tokens(tokens);
        if let Some(codes) = self.begin_coded(&frequencies, input) {
            write_tokens(&mut self.bits, tokens, &codes);
        }
    }

    /// Writes a block of level 1 without matches.
    pub(crate) fn write_literals(&mut self, input: &[u8]) {
        let frequencies = Frequencies::of_literals(input);
        if let Some(codes) = self.begin_coded(&frequencies, input) {
            write_literals(&mut self.bits, input, &codes);
        }
    }

    /// Writes the beginning of a block with dynamic codes, or a stored block if that is not much
    /// larger.
    fn begin_coded(&mut self, frequencies: &Frequencies, input: &[u8]) -> Option<BlockCodes> {
        let codes = BlockCodes::best(frequencies);
        let code_lengths = frequencies.code_lengths(&codes);
        let size = 3 + code_lengths.size() + codes.size(frequencies);
        if stored_size(input) < size + size / 16 {
            self.write_stored(input);
            return None;
        }
        self.begin(DYNAMIC);
        code_lengths.write(|bits, count| self.bits.put(bits, count));
        Some(codes)
    }

    /// Writes a stored block of at most 65535 bytes.
    pub(crate) fn write_stored(&mut self, input: &[u8]) {
        self.begin(STORED);
        self.stored(input);
    }

    /// Writes the last block, and fills the last byte.
    pub(crate) fn finish(&mut self) {
        self.bits.put(1 | STORED << 1, 3);
        self.stored(&[]);
    }

    fn begin(&mut self, kind: u32) {
        self.bits.put(kind << 1, 3);
    }

    fn stored(&mut self, input: &[u8]) {
        debug_assert!(input.len() <= MAX_STORED);
        let len = input.len() as u16;
        self.bits.align();
        self.bits.append(&len.to_le_bytes());
        self.bits.append(&(!len).to_le_bytes());
        self.bits.append(input);
    }
}

/// Returns the bits of a stored block, with the most padding that it can need.
fn stored_size(input: &[u8]) -> usize {
    (input.len() + 5) * 8
}

/// Writes the symbols of a block, and its end.
fn write_tokens(out: &mut BitWriter, tokens: &[Token], codes: &BlockCodes) {
    let BlockCodes { litlen, distance } = codes;
    // A length's codeword together with its extra bits, so that they are put at once.
    let mut lengths = [(0_u32, 0_u8); 256];
    for (length, symbol) in lengths.iter_mut().zip(&LENGTH_SYMBOLS) {
        let code = litlen.0[END_OF_BLOCK + 1 + usize::from(symbol.index)];
        length.0 = u32::from(code.bits) | u32::from(symbol.extra) << code.len;
        length.1 = code.len + symbol.extra_bits;
    }
    for tokens in tokens.chunks(TOKENS_AT_ONCE) {
        out.with_room(tokens.len() * MAX_TOKEN_BITS, |cursor| {
            for token in tokens {
                if token.is_literal() {
                    let code = litlen.0[usize::from(token.byte())];
                    cursor.put(code.bits.into(), code.len.into());
                    continue;
                }
                let (bits, len) = lengths[usize::from(token.length_less_min())];
                let less_one = token.distance_less_one();
                let symbol = distance_symbol(less_one);
                let code = distance.0[symbol];
                let extra_bits = distance_extra_bits(symbol);
                let extra = less_one & ((1 << extra_bits) - 1);
                let far = u64::from(code.bits) | u64::from(extra) << code.len;
                let far_len = u32::from(code.len) + extra_bits;
                let len = u32::from(len);
                cursor.put(u64::from(bits) | far << len, len + far_len);
            }
        });
    }
    write_end(out, codes);
}

/// Writes the symbols of a block without matches, and its end.
fn write_literals(out: &mut BitWriter, input: &[u8], codes: &BlockCodes) {
    for bytes in input.chunks(TOKENS_AT_ONCE) {
        out.with_room(bytes.len() * LONGEST, |cursor| {
            for &byte in bytes {
                let code = codes.litlen.0[usize::from(byte)];
                cursor.put(code.bits.into(), code.len.into());
            }
        });
    }
    write_end(out, codes);
}

fn write_end(out: &mut BitWriter, codes: &BlockCodes) {
    let code = codes.litlen.0[END_OF_BLOCK];
    out.put(code.bits.into(), code.len.into());
}
