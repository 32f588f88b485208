//! Literals and matches, and the symbols that stand for them (RFC 1951, 3.2.5).

/// The shortest length that the format can express.
pub(crate) const MIN_LENGTH: usize = 3;

/// The longest length that the format can express.
pub(crate) const MAX_LENGTH: usize = 258;

/// The farthest distance that the format can express.
pub(crate) const MAX_DISTANCE: usize = 32 * 1024;

/// The symbol that ends a block.
pub(crate) const END_OF_BLOCK: usize = 256;

/// The symbols of the literal/length code that a block may use.
pub(crate) const LITLEN_SYMBOLS: usize = 286;

/// The symbols of the distance code that a block may use.
pub(crate) const DISTANCE_SYMBOLS: usize = 30;

/// A literal byte, or a match: a length and a distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(u32);

const MATCH: u32 = 1 << 31;

impl Token {
    #[inline(always)]
    pub(crate) fn literal(byte: u8) -> Self {
        Self(u32::from(byte))
    }

    /// Makes a match of 3 to 258 bytes at a distance of 1 to 32768.
    #[inline(always)]
    pub(crate) fn copy(length: usize, distance: usize) -> Self {
        debug_assert!((MIN_LENGTH..=MAX_LENGTH).contains(&length));
        debug_assert!((1..=MAX_DISTANCE).contains(&distance));
        Self(MATCH | ((length - MIN_LENGTH) as u32) << 16 | (distance - 1) as u32)
    }

    #[inline(always)]
    pub(crate) fn is_literal(self) -> bool {
        self.0 & MATCH == 0
    }

    /// Returns the byte of a literal.
    #[inline(always)]
    pub(crate) fn byte(self) -> u8 {
        self.0 as u8
    }

    /// Returns the length of a match, less 3.
    #[inline(always)]
    pub(crate) fn length_less_min(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Returns the distance of a match, less 1.
    #[inline(always)]
    pub(crate) fn distance_less_one(self) -> u32 {
        self.0 & 0x7fff
    }
}

/// The symbol for a length, less 257, and the extra bits behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LengthSymbol {
    pub(crate) index: u8,
    pub(crate) extra_bits: u8,
    pub(crate) extra: u8,
}

/// The symbols of all lengths, by length less 3.
pub(crate) static LENGTH_SYMBOLS: [LengthSymbol; 256] = {
    let mut table = [LengthSymbol {
        index: 0,
        extra_bits: 0,
        extra: 0,
    }; 256];
    let mut length = 0;
    while length < 256 {
        table[length] = length_symbol(length as u8);
        length += 1;
    }
    table
};

const fn length_symbol(length: u8) -> LengthSymbol {
    // 258 has a symbol of its own, though the range of the symbol before would include it.
    let (index, extra_bits) = if length == u8::MAX {
        (28, 0)
    } else if length < 8 {
        (length, 0)
    } else {
        // Four symbols for each power of two, told apart by the two bits behind the highest.
        let extra_bits = length.ilog2() as u8 - 2;
        (4 * extra_bits + (length >> extra_bits), extra_bits)
    };
    LengthSymbol {
        index,
        extra_bits,
        extra: length & ((1 << extra_bits) - 1),
    }
}

/// Returns the number of extra bits behind the length symbol `257 + index`.
pub(crate) fn length_extra_bits(index: usize) -> u32 {
    match index {
        0..8 | 28.. => 0,
        _ => index as u32 / 4 - 1,
    }
}

/// Returns the symbol for a distance, given less 1.
#[inline(always)]
pub(crate) fn distance_symbol(distance_less_one: u32) -> usize {
    if distance_less_one < 2 {
        return distance_less_one as usize;
    }
    // Two symbols for each power of two, told apart by the bit behind the highest.
    let high = distance_less_one.ilog2();
    (2 * high + ((distance_less_one >> (high - 1)) & 1)) as usize
}

/// Returns the number of extra bits behind a distance symbol.
#[inline(always)]
pub(crate) fn distance_extra_bits(symbol: usize) -> u32 {
    (symbol as u32 / 2).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ranges of symbols as the tables of RFC 1951, 3.2.5 begin them.
    #[test]
    fn symbols_are_those_of_the_tables() {
        let lengths = [
            3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99,
            115, 131, 163, 195, 227, 258,
        ];
        for (index, &first) in lengths.iter().enumerate() {
            let last = lengths.get(index + 1).map_or(258, |next| next - 1);
            for length in first..=last {
                let symbol = LENGTH_SYMBOLS[length - MIN_LENGTH];
                assert_eq!(usize::from(symbol.index), index, "length {length}");
                assert_eq!(usize::from(symbol.extra), length - first, "length {length}");
                assert_eq!(u32::from(symbol.extra_bits), length_extra_bits(index));
            }
        }
        let distances = [
            1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025,
            1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577, 32769,
        ];
        for (symbol, range) in distances.windows(2).enumerate() {
            for distance in range[0]..range[1] {
                assert_eq!(distance_symbol(distance - 1), symbol, "{distance}");
            }
            assert_eq!(1 << distance_extra_bits(symbol), range[1] - range[0]);
        }
    }
}
