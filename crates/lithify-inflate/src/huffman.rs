//! Canonical Huffman codes (RFC 1951, 3.2.2): which codeword each symbol has, and which sets of
//! lengths are codes at all.

use crate::error::{CodeKind, DeflateError};

/// The longest codeword of a literal/length or distance code.
pub(crate) const MAX_CODE_BITS: u32 = 15;

/// Symbols of the largest code, the fixed literal/length code.
pub(crate) const MAX_SYMBOLS: usize = 288;

/// The low `len` bits of `code` in reverse: deflate packs codewords most significant bit first
/// into a stream that is otherwise read least significant bit first.
pub(crate) fn reverse(code: u32, len: u32) -> usize {
    (code.reverse_bits() >> (32 - len)) as usize
}

/// Symbols in the order of their codewords: by length, then by value.
pub(crate) struct Sorted {
    symbols: [u16; MAX_SYMBOLS],
    /// Where the symbols of each length end; those of length 0 have no codeword and are left out.
    end: [u16; MAX_CODE_BITS as usize + 1],
    /// Not all of the code space is used.
    incomplete: bool,
    over_subscribed: bool,
    max: u32,
}

impl Sorted {
    pub(crate) fn new(lens: &[u8]) -> Self {
        let mut count = [0_u16; MAX_CODE_BITS as usize + 1];
        for &len in lens {
            count[usize::from(len & 15)] += 1;
        }
        count[0] = 0;
        // Where the next symbol of each length goes; in the end, where they end.
        let mut end = [0_u16; MAX_CODE_BITS as usize + 1];
        let mut unused = 1_i32;
        let mut over_subscribed = false;
        let mut max = 0;
        let mut sum = 0;
        for len in 1..=MAX_CODE_BITS as usize {
            end[len] = sum;
            sum += count[len];
            unused = unused * 2 - i32::from(count[len]);
            if unused < 0 {
                over_subscribed = true;
                unused = 0;
            }
            if count[len] != 0 {
                max = len as u32;
            }
        }
        let mut symbols = [0; MAX_SYMBOLS];
        for (symbol, &len) in lens.iter().enumerate() {
            if len != 0 {
                let place = &mut end[usize::from(len & 15)];
                symbols[usize::from(*place)] = symbol as u16;
                *place += 1;
            }
        }
        Self {
            symbols,
            end,
            incomplete: unused > 0,
            over_subscribed,
            max,
        }
    }

    /// The symbols with codewords of `len` bits, which is at least 1.
    pub(crate) fn of_len(&self, len: u32) -> &[u16] {
        let len = len as usize;
        &self.symbols[usize::from(self.end[len - 1])..usize::from(self.end[len])]
    }

    /// Whether some sequences of bits are not, and do not begin with, a codeword.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Accepts and rejects sets of code lengths exactly as zlib's `inflate_table` does; gives the
    /// longest length.
    pub(crate) fn check(&self, kind: CodeKind) -> Result<u32, DeflateError> {
        if self.over_subscribed {
            return Err(DeflateError::OverSubscribed { code: kind });
        }
        let single = self.max == 1;
        let empty = self.max == 0;
        let may_be_incomplete = match kind {
            CodeKind::CodeLengths => empty,
            CodeKind::LitLen => single,
            CodeKind::Distance => single || empty,
        };
        if self.incomplete && !may_be_incomplete {
            return Err(DeflateError::Incomplete { code: kind });
        }
        Ok(self.max)
    }

    /// Bits for the subtable whose first codeword has `len` bits, `left` codewords of that length
    /// still being unplaced: as few as cover the prefix.
    pub(crate) fn subtable_width(&self, main_bits: u32, len: u32, left: usize, max: u32) -> u32 {
        let mut width = len - main_bits;
        let mut space = left;
        while space < 1 << width && main_bits + width < max {
            width += 1;
            space = space * 2 + self.of_len(main_bits + width).len();
        }
        width
    }
}
